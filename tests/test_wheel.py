"""The built wheel in clean environments, with a freshly generated project and no source tree at hand."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import test_settings

ROOT = Path(__file__).parent.parent
BUILT_FROM = ["CHANGELOG.rst", "LICENSE.txt", "MANIFEST.in", "README.rst", "pyproject.toml", "setup.py"]
PROGRAM_UUID = "51032e48-04ca-5d43-901a-80cd294a21e1"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        test_settings.ENGINE != "sqlite",
        reason="the wheel is the same for every engine: tested once, with ENGINE=sqlite",
    ),
]


def run(command: Sequence[str | Path], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run without what would lead back to the source tree or to the settings of this suite."""
    foreign = ("PYTHON", "COV", "DJANGO", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def succeed(command: Sequence[str | Path], cwd: Path) -> str:
    result = run(command, cwd)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@dataclass(frozen=True)
class Host:
    """A generated project with the app added, and the Python of its own environment."""

    python: Path
    directory: Path

    def manage(self, *arguments: str) -> str:
        return succeed([self.python, "manage.py", *arguments], self.directory)

    def shell(self, code: str) -> str:
        return self.manage("shell", "-c", code)

    @contextmanager
    def urls_mounted(self) -> Iterator[None]:
        urls = self.directory / "host" / "urls.py"
        before = urls.read_text()
        urls.write_text(
            "from django.urls import include, path\n"
            "urlpatterns = [path('api/', include('program_intent.rest_api.urls'))]\n"
        )
        try:
            yield
        finally:
            urls.write_text(before)


def make_host(requirement: str, directory: Path) -> Host:
    python = directory / "venv" / "bin" / "python"
    succeed([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], directory)
    install = ["install", "--quiet", "--no-compile", requirement]
    succeed([sys.executable, "-m", "pip", "--python", python, *install], directory)
    succeed([python, "-m", "django", "startproject", "host"], directory)
    settings = directory / "host" / "host" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS.append('program_intent')\n")
    host = Host(python, directory / "host")
    host.manage("migrate", "--verbosity", "0")
    host.shell("from django.contrib.auth.models import User; User.objects.create(pk=7, username='ada')")
    return host


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing left from an earlier build gets in."""
    directory = tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, directory)
    shutil.copytree(ROOT / "program_intent", directory / "program_intent")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    succeed(command, directory)
    return next(Path(directory, "dist").iterdir())


@pytest.fixture(scope="module")
def host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return make_host(str(wheel), tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="module")
def host_with_rest(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return make_host(f"{wheel}[rest]", tmp_path_factory.mktemp("host_with_rest"))


def test_the_wheel_carries_every_module_the_type_marker_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = Path(ROOT, "program_intent")
    modules = {str(path.relative_to(ROOT)) for suffix in ("py", "html", "css") for path in package.rglob(f"*.{suffix}")}
    assert modules <= names
    assert "program_intent/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE.txt") for name in names)


def test_no_link_of_its_description_leads_nowhere_on_a_package_index(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        description = archive.read(name).decode()
    assert "Quickstart (docs/quickstart.rst)" in description
    assert [link for link in re.findall(r"<([^>\s]+)>`__?", description) if not link.startswith("http")] == []


def test_a_fresh_host_passes_the_checks_and_has_no_migration_to_make(host: Host) -> None:
    assert "no issues" in host.manage("check", "--database", "default")
    assert "No changes detected" in host.manage("makemigrations", "--check", "--dry-run")


def test_a_fresh_host_records_an_intent_and_is_told_the_latest_and_most_certain(host: Host) -> None:
    printed = host.shell(
        "from program_intent.api import record_intent, get_latest_certain_intents\n"
        f"record_intent(7, '{PROGRAM_UUID}', reason='BUNDLE_PURCHASE', certainty='CERTAIN_YES')\n"
        f"record_intent(7, '{PROGRAM_UUID}', reason='VISITED', certainty='MAYBE')\n"
        f"intents = get_latest_certain_intents(7, program_uuids=['{PROGRAM_UUID}'])\n"
        "print([intent.reason for intent in intents.values()])\n"
    )
    assert printed.splitlines()[-1] == "['BUNDLE_PURCHASE']"


def test_a_fresh_host_loads_a_report(host: Host) -> None:
    Path(host.directory, "report.csv").write_text(
        "program_uuid,learner,reason,certainty,effective_timestamp\n"
        "9a241637-6370-5561-bfb1-6dd5655333f4,7,REGISTERED,MAYBE,2014-02-01T09:00:00Z\n"
    )
    host.manage("load_program_intents", "report.csv", "--report", "report.json")
    report = Path(host.directory, "report.json").read_text()
    assert host.shell(f"import json; print(json.loads('''{report}''')['created'])").splitlines()[-1] == "1"


def test_starting_a_host_that_mounts_no_urls_imports_neither_drf_nor_open_edx(host_with_rest: Host) -> None:
    """In the environment that has DRF, where an import would not fail but only show."""
    printed = host_with_rest.shell(
        "import sys, program_intent.api, program_intent.admin, django.urls\n"
        "django.urls.get_resolver().url_patterns\n"
        "from django.core.management import call_command; call_command('check')\n"
        "optional = ('rest_framework', 'drf_spectacular', 'openedx')\n"
        "print([name for name in sys.modules if name.startswith(optional)])\n"
    )
    assert printed.splitlines()[-1] == "[]"


def test_including_the_urls_without_drf_gives_one_error_that_names_the_extra(host: Host) -> None:
    with host.urls_mounted():
        result = run([host.python, "manage.py", "check"], host.directory)
    assert result.returncode != 0
    assert "program-intent[rest]" in result.stderr.splitlines()[-1]


def test_with_the_rest_extra_the_urls_mount(host_with_rest: Host) -> None:
    with host_with_rest.urls_mounted():
        printed = host_with_rest.shell(
            "from django.urls import resolve\n"
            "for path in ('/api/v1/program-intents/', '/api/v1/program-intents/latest-certain/'):\n"
            "    print(resolve(path).url_name)\n"
        )
    assert printed.splitlines()[-2:] == ["record", "latest-certain"]
