"""Imports only point downwards, optional packages stay optional, and the models match the migrations."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from program_intent.models import ProgramIntent

ROOT = Path(__file__).parent.parent

WITHOUT_REST = """
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
        "program_intent",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    SILENCED_SYSTEM_CHECKS=["admin.E403", "admin.E404"],
    SECRET_KEY="for tests only",
    USE_TZ=True,
)
django.setup()
call_command("check")
"""


def loaded_by(code: str, *names: str) -> set[str]:
    """Which of the top-level packages a fresh Python has loaded after running the code."""
    report = (
        f"\nimport sys\nprint('loaded', *{names!r} and {{m.partition('.')[0] for m in sys.modules}} & {{*{names!r}}})"
    )
    command = [sys.executable, "-c", code + report]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split()[1:])


def test_importing_the_package_loads_nothing_of_django() -> None:
    assert loaded_by("import program_intent", "django", "model_utils", "tqdm", "program_intent") == {"program_intent"}


def test_a_plain_host_loads_neither_rest_framework_nor_sqlalchemy_nor_anything_of_open_edx() -> None:
    files = sorted(path.relative_to(ROOT) for path in Path(ROOT, "program_intent").rglob("*.py"))
    modules = [".".join(path.with_suffix("").parts) for path in files if not {"rest_api", "migrations"} & {*path.parts}]
    optional = (
        "rest_framework",
        "drf_spectacular",
        "openedx",
        "openedx_events",
        "edx_django_utils",
        "edx_rest_framework_extensions",
        "sqlalchemy",
        "redis",
    )
    assert loaded_by(WITHOUT_REST + "".join(map("import {}\n".format, modules)), "django", *optional) == {"django"}


def test_the_frozen_values_load_the_standard_library_alone() -> None:
    assert loaded_by("import program_intent.data", "django", "model_utils", "tqdm") == set()


def test_the_models_match_the_migrations() -> None:
    command = ["-m", "django", "makemigrations", "--check", "--dry-run", "--settings=test_settings", "program_intent"]
    # On SQLite, whose database may be missing: Django 6.1 asks a server for its version.
    environment = {**os.environ, "ENGINE": "sqlite"}
    result = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "No changes detected" in result.stdout


def test_the_table_has_two_indexes_besides_the_primary_key_and_no_foreign_key(db: None) -> None:
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, ProgramIntent._meta.db_table).values()
    indexed = [each["columns"] for each in constraints if each["index"] or each["unique"] or each["primary_key"]]
    assert sorted(indexed) == [
        ["id"],
        ["learner_id", "program_uuid", "certainty", "effective_timestamp", "reason"],
        ["program_uuid", "learner_id", "certainty", "effective_timestamp"],
    ]
    assert [each["columns"] for each in constraints if each["foreign_key"]] == []


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, with the contracts beside it."""
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return Path(shutil.copytree(ROOT / "program_intent", tmp_path / "program_intent"))


def lint(package: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the package if each text that names one of its modules is an import."""
    paths = {path: path.relative_to(package.parent).with_suffix("") for path in package.rglob("*.py")}
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths.values()} - {package.name}
    for path in paths:
        nodes = ast.walk(ast.parse(path.read_text()))
        texts = {node.value.rstrip(".") for node in nodes if isinstance(node, ast.Constant) and type(node.value) is str}
        with path.open("a") as file:
            file.writelines(f"import {module}\n" for module in modules & texts)
    command: list[str | Path] = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=package.parent, capture_output=True, text=True)


# But for Python's own sqlite3: a dry run has a private file.
VENDOR = re.compile(r"postgres|mysql|mariadb|sqlite(?!3\b)|oracle|^vendor$", re.I)
MAY_NAME_A_DATABASE = {"engines", "migrations", "checks"}


def test_only_the_engines_the_checks_and_the_migrations_name_a_database() -> None:
    """Comments and docstrings may: they are documentation."""
    package = Path(ROOT, "program_intent")
    named = []
    for path in package.rglob("*.py"):
        if not {*path.relative_to(package).parts} & MAY_NAME_A_DATABASE:
            tree = ast.parse(path.read_text())
            documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            named += [f"{path.name}: {word}" for node in ast.walk(tree) for word in words(node, documentation)]
    assert named == []


def words(node: ast.AST, documentation: set[int]) -> Iterator[str]:
    """Those in a node's own names and texts that name a database, or ask which it is."""
    found = [getattr(node, name, None) for name in ("id", "attr", "module", "name", "arg")]
    found += [node.value] if isinstance(node, ast.Constant) and id(node) not in documentation else []
    yield from (word for word in found if isinstance(word, str) and VENDOR.search(word))


def test_imports_only_point_downwards_and_in_no_circle(package: Path) -> None:
    result = lint(package)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "text", "contract"),
    [
        ("rest_api/openapi.py", "program_intent.rest_api.base", "No module or package imports one that imports it"),
        ("rest_api/record.py", "program_intent.store", "rest_api stands on api and the reads"),
        ("admin/pages.py", "program_intent.engines.sql", "admin stands on api and the model"),
        ("data.py", "program_intent.api", "Imports point one way"),
        ("api.py", "program_intent.openedx.plugin", "Imports point one way"),
    ],
)
def test_an_import_that_is_a_text_is_seen(package: Path, module: str, text: str, contract: str) -> None:
    with Path(package, module).open("a") as file:
        file.write(f"import_module({text!r})\n")
    result = lint(package)
    assert result.returncode == 1
    assert re.findall(f"{contract}.*?(KEPT|BROKEN)", result.stdout, re.DOTALL)[:1] == ["BROKEN"], result.stdout
