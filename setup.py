import re
from pathlib import Path

from setuptools import find_packages, setup

# Read as text: importing the package would need Django, which a build does not have.
VERSION = re.search(r'^__version__ = "(.+)"$', Path("program_intent/__init__.py").read_text(), re.MULTILINE)
assert VERSION, "program_intent/__init__.py has no __version__"
# On a package index a link into the repository leads nowhere: the path stands beside its words there.
README = re.sub(r"`([^`<]+?) <((?!https?:)[^>]+)>`_", r"\1 (\2)", Path("README.rst").read_text(encoding="utf-8"))
REST = ["djangorestframework>=3.16,<3.19", "drf-spectacular>=0.28"]
# Where the plugin loader of Open edX looks: an LMS, and a credentials service.
PLUGIN = ["program_intent = program_intent.openedx.plugin:ProgramIntentConfig"]

setup(
    name="program-intent",
    version=VERSION[1],
    description="Append-only record of which learners intend to complete which programs, for Django",
    long_description=README,
    long_description_content_type="text/x-rst",
    license_expression="Apache-2.0",
    license_files=["LICENSE.txt"],
    packages=find_packages(include=["program_intent", "program_intent.*"]),
    package_data={"program_intent": ["py.typed", "static/**/*.css", "templates/**/*.html"]},
    python_requires=">=3.11",
    install_requires=[
        "Django>=5.2,<6.2",
        "django-model-utils>=5.0",
        "tqdm>=4.66",
    ],
    extras_require={
        "rest": REST,
        "openedx": REST,
        # The binary wheels need no compiler; a host that builds psycopg itself leaves the extra out.
        "postgresql": ["psycopg[binary]>=3.1.18"],
        "mysql": ["mysqlclient>=2.2.1"],
        # Without a driver: a host takes that of its warehouse.
        "warehouse": ["SQLAlchemy>=2.0,<3"],
        # openedx-events, which reads the values, is of the host: it brings packages under the AGPL.
        "events": ["redis>=5.0"],
    },
    entry_points={"lms.djangoapp": PLUGIN, "credentials.djangoapp": PLUGIN},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Django",
        "Framework :: Django :: 5.2",
        "Framework :: Django :: 6.0",
        "Framework :: Django :: 6.1",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Education",
        "Typing :: Typed",
    ],
)
