"""The documentation is complete, and what it shows happens: Python, commands and HTTP calls are run as printed."""

import argparse
import ast
import doctest
import json
import re
import shlex
import subprocess
import sys
import textwrap
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from html import unescape
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import CommandParser
from django.test import Client
from django.utils.module_loading import import_string
from pytest_django import Settings
from rest_framework.settings import DEFAULTS

import program_intent
import test_settings
from program_intent import api, conf, data, exceptions
from program_intent.rest_api.base import IntentsView
from tests.reports import make_row, write_report

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FRONT = [ROOT / name for name in ("README.rst", "CONTRIBUTING.rst", "SECURITY.rst")]
PAGES = [*FRONT, *sorted(path for path in DOCS.rglob("*.rst") if "_build" not in path.parts)]


def page(name: str) -> str:
    return Path(DOCS, f"{name}.rst").read_text()


# What a page shows is run.


class Block(NamedTuple):
    """A code block of a page; a bare ``>>>`` paragraph has the language pycon."""

    line: int
    language: str
    caption: str
    text: str


_BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\S+)\n(?:   :(?:caption|name): (?P<caption>.+)\n)?(?P<code>(?:\n|   .*\n)+)"
    r"|^(?P<pycon>>>> (?:.+\n)+)",
    re.MULTILINE,
)


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text() + "\n"
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        code = match["pycon"] or textwrap.dedent(match["code"]).strip("\n") + "\n"
        yield Block(line, match["language"] or "pycon", match["caption"] or "", code)


SHOWN = [path for path in PAGES if any(block.language in ("pycon", "console", "python") for block in blocks(path))]

# Steps that need an environment or a server of their own.
NOT_RUN = re.compile(
    r"mkdir |python3 -m venv |\. \.venv|pip install |django-admin |python manage.py (migrate|shell|runserver)$"
)
# What differs each time: how long it took, a primary key, and until when a learner's intents are erased.
VARYING = re.compile(
    r"(?<=seconds) +[\d.]+$|(?<=^Learner )\d+(?=,)|^\d+ +(?=\d+ +20\S+Z$)|20[\d-]+T[\d:.]+Z$", re.MULTILINE
)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, db: None) -> "Reader":
    """Someone in an empty directory, on a host that names learners by username."""
    monkeypatch.chdir(tmp_path)
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    return Reader(settings)


class Reader:
    """Does what a page shows, in order, and compares what comes of it with what the page says."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names: dict[str, Any] = {}
        self.rest_framework: dict[str, Any] = {}
        self.exit_status = 0

    def follow(self, path: Path) -> None:
        if 'create_user("ada"' not in path.read_text():
            for name in ("ada", "grace"):
                get_user_model().objects.create_user(name, password="change-me")
        for block in blocks(path):
            if block.language == "pycon":
                self.run_python(block, path)
            elif block.language == "python":
                self.run_configuration(block)
            elif block.language == "console":
                self.run_console(block, path)
            elif block.caption:
                Path(block.caption).write_text(block.text)

    def run_python(self, block: Block, path: Path) -> None:
        name = f"{path.name}:{block.line}"
        example = doctest.DocTestParser().get_doctest(block.text, {}, name, str(path), block.line - 1)
        example.globs = self.names  # not a copy, so that a function finds what is defined after it
        report: list[str] = []
        with clock_at(block.caption):
            doctest.DocTestRunner(verbose=False).run(example, out=report.append, clear_globs=False)
        assert not report, "".join(report)

    def run_configuration(self, block: Block) -> None:
        """Settings count from there on; a host's other modules have only to be sound."""
        names: dict[str, Any] = {"INSTALLED_APPS": [], "REST_FRAMEWORK": self.rest_framework, "BASE_DIR": Path()}
        exec(block.text, names)
        if "PROGRAM_INTENT" in names:
            self.settings.PROGRAM_INTENT = names["PROGRAM_INTENT"]
        self.rest_framework = names["REST_FRAMEWORK"]

    def run_console(self, block: Block, path: Path) -> None:
        for command, expected in dialogue(block.text):
            if NOT_RUN.match(command):
                assert not expected
                continue
            printed = self.run_command(shlex.split(command))
            assert same(printed, expected), f"{path.name}: $ {command}\n{printed}"

    def run_command(self, command: list[str]) -> str:
        match command:
            case ["python", "manage.py", *arguments]:
                return self.manage(arguments)
            case ["curl", *arguments]:
                return self.curl(arguments)
            case ["cat", name]:
                return Path(name).read_text()
            case ["echo", "$?"]:
                return str(self.exit_status)
        raise AssertionError(f"This test does not know how to run {command}.")

    def manage(self, arguments: list[str]) -> str:
        printed = StringIO()
        try:
            call_command(*arguments, stdout=printed, stderr=printed)
            self.exit_status = 0
        except CommandError as error:
            printed.write(f"CommandError: {error}")
            self.exit_status = error.returncode
        return printed.getvalue()

    def curl(self, arguments: list[str]) -> str:
        parser = argparse.ArgumentParser()
        for option in ("--user", "--header", "--data"):
            parser.add_argument(option, default="")
        parser.add_argument("--silent", action="store_true")
        parser.add_argument("url")
        options = parser.parse_args(arguments[: arguments.index("|")])
        assert arguments[-4:] == ["|", "python", "-m", "json.tool"]
        credentials = b64encode(options.user.encode()).decode()
        client = Client(headers={"Authorization": f"Basic {credentials}"})
        url = urlsplit(options.url)
        target = f"{url.path}?{url.query}"
        with mock.patch.object(IntentsView, "authentication_classes", self.authentication_classes()):
            if not options.data:
                return client.get(target).content.decode()
            _name, content_type = options.header.split(": ")
            body = Path(options.data.removeprefix("@")).read_text()
            return client.post(target, body, content_type=content_type).content.decode()

    def authentication_classes(self) -> list[type]:
        """Those of the page, else Django REST framework's own: the views took theirs when they were imported."""
        configured: dict[str, Any] = {**DEFAULTS, **self.rest_framework}
        return list(map(import_string, configured["DEFAULT_AUTHENTICATION_CLASSES"]))


def clock_at(caption: str) -> AbstractContextManager[Any]:
    """The application server's clock stands at the moment that an example's caption names, if it has one."""
    if not caption:
        return nullcontext()
    moment = datetime.strptime(caption, "%d %B %Y, %H:%M UTC").replace(tzinfo=UTC)
    return mock.patch("django.utils.timezone.now", return_value=moment)


def dialogue(text: str) -> Iterator[tuple[str, str]]:
    """The commands after ``$``, each with what the page says it prints; a backslash carries one to the next line."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _newline, expected = part.replace("\\\n", " ").partition("\n")
        yield command, expected


def same(printed: str, expected: str) -> bool:
    """Whether a page told the truth, but for what differs each time: seconds, keys, and when it was written."""
    try:
        return bool(json.loads(printed, object_hook=lasting) == json.loads(expected, object_hook=lasting))
    except ValueError:
        one, other = (VARYING.sub("", text).replace("\r\n", "\n").strip() for text in (printed, expected))
        return one == other


def lasting(values: dict[str, Any]) -> dict[str, Any]:
    is_intent = "program_uuid" in values  # where "created" is a time and not a count
    varying = ("id", "created") if is_intent else ("seconds", "started", "finished")
    return {name: None if name in (*varying, "learner_id") else value for name, value in values.items()}


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_page_shows_is_what_happens(path: Path, reader: Reader) -> None:
    reader.follow(path)


def test_the_query_for_orphans_finds_one(db: None) -> None:
    learner = get_user_model().objects.create_user("ada")
    api.record_intent(learner, UUID(int=7), reason="VISITED", certainty="MAYBE")
    get_user_model().objects.filter(pk=learner.pk)._raw_delete("default")  # as SQL written by hand
    (shown,) = (block.text for block in blocks(DOCS / "how-tos/embed-in-a-host.rst") if "Exists" in block.text)
    names: dict[str, Any] = {"get_user_model": get_user_model}
    exec(doctest.script_from_examples(shown), names)
    assert [intent.learner_id for intent in names["orphans"]] == [learner.pk]


ROUTED_HOST = """
import json, sys
import django
from django.conf import settings
from django.urls import path

{router}

settings.configure(
    DATABASES={{
        alias: {{"ENGINE": "django.db.backends.sqlite3", "NAME": f"{{alias}}.sqlite3"}}
        for alias in ("default", "people")
    }},
    DATABASE_ROUTERS=["__main__.PeopleRouter"],
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
        "django.contrib.messages", "program_intent",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {{"context_processors": [
            "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]}},
    }}],
    ROOT_URLCONF="__main__", SECRET_KEY="x", ALLOWED_HOSTS=["testserver"], USE_TZ=True,
)
django.setup()

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from program_intent.api import get_latest_certain_intents
from program_intent.models import ProgramIntent

urlpatterns = [path("admin/", admin.site.urls)]
for alias in ("default", "people"):
    call_command("migrate", database=alias, verbosity=0)
call_command("check", databases=["default", "people"], stdout=sys.stderr)
ada = User.objects.create_user("ada")
call_command("load_program_intents", sys.argv[1], stdout=sys.stderr)
answers = len(get_latest_certain_intents(ada))
client = Client()
client.force_login(User.objects.create_superuser("root"))
deleted = client.post(f"/admin/auth/user/{{ada.pk}}/delete/", {{"post": "yes"}})
print(json.dumps([answers, deleted.status_code, ProgramIntent.objects.count()]))
"""


def test_the_router_of_the_page_carries_an_ordinary_host(tmp_path: Path) -> None:
    """Its loader and its admin: in a process of its own, with two databases of SQLite's."""
    (router,) = (block.text for block in blocks(DOCS / "how-tos/embed-in-a-host.rst") if "Router" in block.text)
    report = write_report(tmp_path / "report.csv", make_row())
    command = [sys.executable, "-c", ROUTED_HOST.format(router=router), str(report)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [1, 302, 0]


def test_the_pages_that_teach_show_something_to_run() -> None:
    taught = {path.stem for path in SHOWN}
    assert taught >= {"README", "quickstart", "record", "rule", "two-times", "once", "rest", "commands-reading"}
    how_tos = {path.stem for path in Path(DOCS, "how-tos").glob("*.rst")}
    assert how_tos - taught == set()


@pytest.mark.parametrize("name", ["README.rst", "docs/quickstart.rst"])
def test_the_wheel_to_install_is_this_version(name: str) -> None:
    assert f"program_intent-{program_intent.__version__}-py3-none-any.whl" in Path(ROOT, name).read_text()


def test_the_readme_has_no_markup_that_only_sphinx_knows() -> None:
    text = Path(ROOT, "README.rst").read_text()
    assert not re.findall(r":[a-z]+:`|:caption:", text)
    assert set(re.findall(r"^\.\. ([a-z-]+)::", text, re.MULTILINE)) <= {"code-block"}


def test_pre_commit_runs_what_make_check_runs() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.+\n)+)", Path(ROOT, "Makefile").read_text(), re.MULTILINE)
    assert recipe
    text = recipe[1].replace("$(BIN)", ".venv/bin").replace("$(MAKE)", "make").replace(" $(DISCOVER)", "")
    hooks = re.findall(r"entry: (.+?),", Path(ROOT, ".pre-commit-config.yaml").read_text())
    assert hooks == [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_by_path_lead_to_files(path: Path) -> None:
    links = re.findall(r"<([\w./-]+\.(?:rst|txt))>`_", path.read_text())
    assert [link for link in links if not Path(path.parent, link).exists()] == []


HOUSE = [ROOT / "CONTRIBUTING.rst", DOCS / "concepts/architecture.rst"]


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: path.name)
def test_each_file_that_the_pages_about_the_house_name_exists(path: Path) -> None:
    named = re.findall(r"``((?:program_intent|tests|docs|benchmarks|\.ci)/[\w./-]*)``", path.read_text())
    assert len(named) > 15
    assert [name for name in named if not Path(ROOT, name).exists()] == []


def test_the_picture_of_the_house_shows_each_room_and_no_other() -> None:
    shown = re.findall(r"<text [^>]+>([a-z_]+)</text>", Path(DOCS, "concepts/architecture.svg").read_text())
    rooms = {path.stem for path in Path(ROOT, "program_intent").iterdir() if path.suffix == ".py" or path.is_dir()}
    no_room = {"__init__", "__pycache__", "apps", "migrations", "static", "templates"}
    assert {*shown} - {"program_intent"} == rooms - no_room


# What there is, is documented.


@pytest.mark.parametrize("name", [name for name in api.__all__ if name.islower()])
def test_each_api_function_is_in_the_reference(name: str) -> None:
    assert f".. autofunction:: {name}\n" in page("reference/python")


def test_each_value_that_crosses_the_api_is_in_the_reference() -> None:
    values = {name for name in api.__all__ if hasattr(data, name)}
    assert values == set(re.findall(r"autoclass:: program_intent\.data\.(\w+)", page("reference/python")))


def test_each_exception_is_in_the_reference() -> None:
    raised = {
        name for name, value in vars(exceptions).items() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert raised == set(re.findall(r"autoexception:: program_intent\.exceptions\.(\w+)", page("reference/errors")))


COMMANDS = sorted(path.stem for path in Path(ROOT, "program_intent/management/commands").glob("[!_]*.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_each_command_is_in_the_reference(name: str) -> None:
    text = page("reference/command") + page("reference/commands-reading")
    _start, *sections = re.split(r"^\.\. program:: (.+)$", text, flags=re.MULTILINE)
    documented = dict(zip(sections[::2], sections[1::2], strict=True))
    options = re.findall(r"^\.\. option:: (.+)$", documented[name], re.MULTILINE)
    assert options == [spelled(action) for action in own_actions(name)]


def own_actions(name: str) -> list[argparse.Action]:
    command = load_command_class("program_intent", name)
    parser = CommandParser()
    command.add_arguments(parser)
    return [action for action in parser._actions if action.dest != "help"]


def spelled(action: argparse.Action) -> str:
    value = f"{{{','.join(action.choices)}}}" if action.choices and not action.metavar else action.metavar
    words = [*action.option_strings, value] if action.nargs != 0 else action.option_strings
    return " ".join(map(str, words)) + ("..." if action.nargs in ("+", "*") else "")


def test_each_system_check_is_in_the_reference() -> None:
    modules = [*Path(ROOT, "program_intent/checks").glob("*.py"), Path(ROOT, "program_intent/openedx/checks.py")]
    identified = {check for module in modules for check in re.findall(r"[EW]\d{3}", module.read_text())}
    assert identified
    assert identified == set(re.findall(r"``program_intent\.([EW]\d{3})``", page("reference/checks")))


def test_each_message_is_in_the_reference() -> None:
    """With words in the place of what a message names."""
    literals = [
        " ".join(literal.split()) for literal in re.findall(r"``(.+?)``(?!`)", page("reference/errors"), re.DOTALL)
    ]
    package = Path(ROOT, "program_intent")
    sources = set(package.rglob("*.py")).difference(*map(package.glob, OF_OTHER_PAGES))
    patterns = {pattern for path in sources for pattern in Messages(path).patterns}
    assert len(patterns) > 40
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, literal) for literal in literals)] == []


OF_OTHER_PAGES = (
    "admin/*.py",
    "checks/*.py",
    "openedx/checks.py",
    "conf.py",
    "rest_api/examples.py",
    "rest_api/openapi.py",
    "rest_api/parameters.py",
    "rest_api/refusals.py",
    "rest_api/serializers.py",
)


class Messages(ast.NodeVisitor):
    """The sentences in a module's code, each as a pattern; docstrings and help texts are none."""

    def __init__(self, path: Path) -> None:
        self.patterns: set[str] = set()
        self.visit(ast.parse(path.read_text()))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not (isinstance(node.targets[0], ast.Name) and node.targets[0].id == "help"):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in ("help", "help_text"):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self.add([node])

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.add(node.values)

    def add(self, parts: Sequence[ast.expr]) -> None:
        texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
        pattern = "".join(re.escape(text) if isinstance(text, str) else ".+" for text in texts)
        if r"\ " in pattern and pattern.endswith((r"\.", r":\ .+")):
            self.patterns.add(pattern)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as ``make docs`` builds them the second time; takes some seconds."""
    if test_settings.ENGINE != "sqlite":
        pytest.skip("the pages are the same on every engine: built once, with ENGINE=sqlite")
    for needed in ("sphinx", "furo"):
        pytest.importorskip(needed, reason="the documentation is built with requirements/check.txt")
    pages = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", str(DOCS), str(pages)]
    for _ in range(2):
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    return pages


@pytest.mark.slow
def test_each_setting_is_in_the_reference_with_its_default(built: Path) -> None:
    text = unescape(re.sub(r"<[^>]+>", "", Path(built, "reference/settings.html").read_text())).replace("\u2019", "'")
    tables = (conf.SETTINGS, conf.OF_SOURCE, conf.OF_EVENT, conf.OF_EVENT_WITH_ROWS)
    for key, setting in chain.from_iterable(table.items() for table in tables):
        described = text.partition(f"\n{key}")[2].partition("\n")[0]
        default = "Required" if setting.default is conf.NEEDED else f"Default: {setting.default!r}"
        assert f"{default}, {setting.kind}." in described


@pytest.mark.slow
@pytest.mark.parametrize("query", ["rejects", "rejects file", "rejected rows"])
def test_the_search_finds_load_a_report_first_for_rejects(query: str, built: Path) -> None:
    """A main entry of the index that is equal to the query scores 100, a title 16 at most (Sphinx's searchtools.js)."""
    text = Path(built, "searchindex.js").read_text()
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    ((document, _anchor, is_main),) = index["indexentries"][query]
    assert (index["docnames"][document], is_main) == ("how-tos/load-a-report", True)


def test_each_call_parameter_status_and_field_of_the_schema_is_in_the_reference() -> None:
    printed = StringIO()
    urls = "program_intent.rest_api.urls"
    call_command("spectacular", "--urlconf", urls, "--format", "openapi-json", stdout=printed)
    schema = json.loads(printed.getvalue())
    text = page("reference/rest")
    sections = re.split(r"^.+: ``((?:GET|POST) .+)``$", text, flags=re.MULTILINE)
    documented = dict(zip(sections[1::2], sections[2::2], strict=True))
    calls = {
        f"{method.upper()} {path.lstrip('/')}": call
        for path, methods in schema["paths"].items()
        for method, call in methods.items()
    }
    assert documented.keys() == calls.keys()
    for name, call in calls.items():
        words = [*call["responses"], *(f"``{each['name']}``" for each in call.get("parameters", []))]
        assert [word for word in words if word not in documented[name]] == []
    assert [
        field for field in schema["components"]["schemas"]["ProgramIntent"]["properties"] if field not in text
    ] == []
