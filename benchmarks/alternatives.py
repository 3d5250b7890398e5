"""What people would install instead, with the real report on PostgreSQL: ``make bench-alternatives``.

The packages go into an environment of their own. Each load runs in a new process, on a new database with the demo's
users; then each package gets a good row together with a bad one.
"""

import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import IO, Any, NamedTuple

import django

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "example" / "data" / "oulad_intents.csv.gz"
ENVIRONMENT = Path(tempfile.gettempdir(), "program_intent_alternatives")
PACKAGES = ("django-import-export", "dlt[postgres]", f"{ROOT}[rest,postgresql]")
NATURAL_KEY = ("learner", "program_uuid", "certainty", "effective_timestamp", "reason")
HEADER = "program_uuid,learner,reason,certainty,effective_timestamp\n"
GOOD = "51032e48-04ca-5d43-901a-80cd294a21e1,{},REGISTERED,MAYBE,2012-03-28T09:00:00Z\n"
BAD_ROWS = {
    "a learner who is no user": GOOD.format(9),
    "a certainty that is none": GOOD.replace("MAYBE", "PERHAPS"),
    "a program that is no UUID": GOOD.replace("51032e48", "program"),
}
REJECTS = "rejects.csv"
RUNS = 3


def main() -> None:
    if not ENVIRONMENT.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    # Ours is imported from the worktree; installed, it brings what it needs.
    subprocess.run([ENVIRONMENT / "bin" / "pip", "install", "--quiet", "--upgrade", *PACKAGES], check=True)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in TOOLS}
    for turn in range(RUNS):
        for name, tool in TOOLS.items():
            if not (tool.takes_minutes and turn):
                runs[name].append(_run(name))
    table = "\n".join(_table(runs))
    print(table)
    (ROOT / "benchmarks" / "results" / "alternatives.rst").write_text(table)


def _run(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "DLT_DATA_DIR": folder,
            "ENGINE": "postgresql",
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "BENCHMARK_DATABASE": "program_intent_alternatives",
            "PYTHONPATH": str(ROOT / "example"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        command: list[str | Path] = [ENVIRONMENT / "bin" / "python", "-m", "benchmarks.alternatives", name]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {found}", file=sys.stderr)
    return found


def _table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    from benchmarks.results import machine

    (some, *_), *_ = runs.values()
    measured = f"{some['rows']:,} rows into {some['server']}, median of {RUNS} loads, of one where it takes minutes"
    lines = [
        f".. list-table:: {measured}; {machine()}; {datetime.now(UTC):%Y-%m-%d}",
        "   :header-rows: 1",
        "",
        "   * - what",
        "     - seconds",
        *(f"     - {what}" for what in BAD_ROWS),
    ]
    for name, found in runs.items():
        lines += [
            f"   * - {TOOLS[name].what.format(**found[0]['versions'])}",
            f"     - {median(run['seconds'] for run in found):.3g}",
            *(f"     - {found[0]['bad_rows'][what]}" for what in BAD_ROWS),
        ]
    return [*lines, ""]


def child(name: str) -> None:
    """Load the report, then a good row with each bad one, and print what came of it."""
    django.setup()

    from django.core.management import call_command
    from django.db import connection

    from benchmarks import database
    from benchmarks.results import server
    from benchmarks.write import Plain

    database.create(users=0)
    with connection.schema_editor() as editor:
        editor.create_model(Plain)
    create_demo_users = import_module("example_host.management.commands.create_demo_users").Command()
    call_command(create_demo_users, str(REPORT), stdout=StringIO())
    database.analyze()
    tool = TOOLS[name]
    for module in tool.modules:
        import_module(module)
    start = perf_counter()
    tool.load(REPORT)
    seconds, rows = perf_counter() - start, _stored(tool)
    versions = {key: version(package) for key, package in DISTRIBUTIONS.items()}
    bad_rows = {what: _outcome(tool, row, year) for year, (what, row) in enumerate(BAD_ROWS.items(), 2100)}
    print(
        json.dumps({"seconds": seconds, "rows": rows, "versions": versions, "server": server(), "bad_rows": bad_rows})
    )


def _stored(tool: "Tool") -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {tool.table}")
        return int(cursor.fetchone()[0])


def _outcome(tool: "Tool", bad: str, year: int) -> str:
    """What becomes of a bad row with a good one before it, both new."""
    from django.contrib.auth import get_user_model

    learner, before = get_user_model()._default_manager.earliest("pk").pk, _stored(tool)
    with tempfile.TemporaryDirectory() as folder:
        file, rejects = Path(folder, "report.csv"), Path(folder, REJECTS)
        rows = GOOD.format(learner) + bad.format(learner)
        file.write_text(HEADER + rows.replace("2012", str(year)))
        said = ""
        try:
            tool.load(file)
        except Exception as error:
            said = f" ({type(error).__name__})"
        stored = _stored(tool) - before
        kept = rejects.exists() and len(rejects.read_text().splitlines()) == 2
    match stored:
        case 2:
            return "is stored"
        case 1:
            return "is kept in the rejects file" if kept else "is left out"
        case _:
            return f"nothing is stored{said}"


class Tool(NamedTuple):
    what: str
    table: str
    modules: tuple[str, ...]  # imported before the time is taken
    load: Callable[[Path], object]
    takes_minutes: bool = False


def _by_ours(path: Path) -> None:
    from django.core.management import call_command

    options = () if path == REPORT else ("--rejects", str(path.with_name(REJECTS)))
    call_command("load_program_intents", str(path), "--no-progress", *options, stdout=StringIO())


def _by_dlt(path: Path) -> None:
    dlt = import_module("dlt")

    from django.db import connection

    destination = dlt.destinations.postgres(
        "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**connection.settings_dict)
    )
    with _open(path) as file:
        rows = dlt.resource(
            csv.DictReader(file),
            name="intents",
            write_disposition="merge",
            primary_key=NATURAL_KEY,
            columns={"learner": {"data_type": "bigint"}},
        )
        dlt.pipeline("report", destination=destination, dataset_name="warehouse").run(rows)


def _by_import_export(path: Path, *, looks_up_learners: bool) -> None:
    fields, resources, widgets = map(import_module, IMPORT_EXPORT)

    from benchmarks.write import Plain

    moment = widgets.DateTimeWidget("%Y-%m-%dT%H:%M:%S%z")
    own = {"effective_timestamp": fields.Field("effective_timestamp", "effective_timestamp", moment)}
    if not looks_up_learners:
        own["learner"] = fields.Field("learner_id", "learner", widgets.IntegerWidget())
    meta = {"use_bulk": True, "skip_diff": True, "import_id_fields": NATURAL_KEY, "fields": NATURAL_KEY}
    resource = resources.modelresource_factory(Plain, meta_options=meta, custom_fields=own)()
    with _open(path) as file:
        rows = import_module("tablib").Dataset().load(file.read(), format="csv")
    resource.import_data(rows, raise_errors=True)


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="")


DISTRIBUTIONS = {"ours": "program-intent", "dlt": "dlt", "import_export": "django-import-export"}
IMPORT_EXPORT = ("import_export.fields", "import_export.resources", "import_export.widgets")
PLAIN, BY_KEY = "program_intent_plain", "``use_bulk``, natural keys as ``import_id_fields``"
TOOLS = {
    "ours": Tool(
        "``load_program_intents`` {ours}",
        "program_intent_programintent",
        ("program_intent.management.commands.load_program_intents",),
        _by_ours,
    ),
    "dlt": Tool("dlt {dlt}: ``merge`` by the natural key", "warehouse.intents", ("dlt", "psycopg2"), _by_dlt),
    "import_export": Tool(
        f"django-import-export {{import_export}}: {BY_KEY}",
        PLAIN,
        (*IMPORT_EXPORT, "tablib"),
        partial(_by_import_export, looks_up_learners=True),
        takes_minutes=True,
    ),
    "import_export_keys": Tool(
        "the same, the learner taken as a number",
        PLAIN,
        (*IMPORT_EXPORT, "tablib"),
        partial(_by_import_export, looks_up_learners=False),
        takes_minutes=True,
    ),
}

if __name__ == "__main__":
    if sys.argv[1:]:
        child(*sys.argv[1:])
    else:
        main()
