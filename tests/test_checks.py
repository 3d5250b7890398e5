"""Each check has a test named after its id, which compares the whole message."""

from contextlib import nullcontext
from datetime import timedelta
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.checks import CheckMessage, Error, Warning, run_checks
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, models
from django.db.utils import ConnectionHandler, ConnectionRouter
from django.test import override_settings
from django.test.utils import isolate_apps

from program_intent import conf
from program_intent.admin import ReadOnlyIntents
from program_intent.checks import host
from program_intent.checks import settings as of_settings
from program_intent.management import options
from program_intent.models import ErasedName, ProgramIntent
from program_intent.store.erase import erase_name
from program_intent.validation import learners

KEYS = f"The keys are {', '.join(conf.SETTINGS)}."
OF_SOURCE = "The keys are URL, QUERY, CURSOR, LAG, LEARNER_FIELD, ASSUME_TIMEZONE."
URL = "an SQLAlchemy URL, or the dotted path of a function that returns an SQLAlchemy Engine"
LAG = "a timedelta or, for a cursor that is a number, an int, neither below zero"
GOOD = {"URL": "postgresql://ada:secret@warehouse/marts", "QUERY": "SELECT 1"}
UNIQUE_FIELDS = "Name learners by pk or by a unique field: id, username."


def found() -> list[CheckMessage]:
    """What ``manage.py check`` says about program_intent."""
    return [message for message in run_checks() if str(message.id).startswith("program_intent.")]


def test_the_test_project_has_nothing_to_complain_about() -> None:
    assert found() == []


@pytest.mark.parametrize("value", [None, ["MAX_BATCH_SIZE"], "username", 5])
def test_e001_program_intent_is_not_a_dictionary(value: object) -> None:
    with override_settings(PROGRAM_INTENT=value):
        assert found() == [
            Error(
                f"PROGRAM_INTENT is {value!r}, not a dictionary.",
                hint='Write PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}, or leave it out for the defaults.',
                id="program_intent.E001",
            )
        ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("MAX_BATCHSIZE", f"Did you mean MAX_BATCH_SIZE? {KEYS}"),
        ("learner_lookup_field", f"Did you mean LEARNER_LOOKUP_FIELD? {KEYS}"),
        ("TIMEOUT", KEYS),
        (7, KEYS),
        (None, KEYS),
    ],
)
def test_e002_a_key_is_unknown(key: object, hint: str) -> None:
    with override_settings(PROGRAM_INTENT={key: 1, "MAX_BATCH_SIZE": 10}):
        assert found() == [
            Error(f"PROGRAM_INTENT has the unknown key {key!r}.", hint=hint, id="program_intent.E002"),
        ]


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1000", None, [], 2**31])
def test_e003_max_batch_size_is_not_a_positive_int(value: object) -> None:
    with override_settings(PROGRAM_INTENT={"MAX_BATCH_SIZE": value}):
        assert found() == [
            Error(
                f"PROGRAM_INTENT['MAX_BATCH_SIZE'] is {value!r}, not an int from 1 to 2147483647.",
                hint="The default is 1000.",
                id="program_intent.E003",
            )
        ]


@pytest.mark.parametrize("value", [None, "utm_source", ["utm_source", 1], {"utm_source"}])
def test_e003_ignored_parameters_is_not_a_list_of_str(value: object) -> None:
    with override_settings(PROGRAM_INTENT={"IGNORED_PARAMETERS": value}):
        assert found() == [
            Error(
                f"PROGRAM_INTENT['IGNORED_PARAMETERS'] is {value!r}, not a list or tuple of str.",
                hint="The default is ().",
                id="program_intent.E003",
            )
        ]


@pytest.mark.parametrize("value", [None, 1, ["username"], b"username"])
def test_e003_learner_lookup_field_is_not_a_str(value: object) -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": value}):
        assert found() == [
            Error(
                f"PROGRAM_INTENT['LEARNER_LOOKUP_FIELD'] is {value!r}, not a str that names a field.",
                hint="The default is 'pk'.",
                id="program_intent.E003",
            )
        ]


@pytest.mark.parametrize("name", ["user_name", "", "groups__name", "USERNAME"])
def test_e004_the_user_model_lacks_the_learner_lookup_field(name: str) -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": name}):
        assert found() == [
            Error(
                f"LEARNER_LOOKUP_FIELD is {name!r}, not a field of the user model auth.User.",
                hint=UNIQUE_FIELDS,
                id="program_intent.E004",
            )
        ]


@pytest.mark.parametrize("name", ["groups", "logentry", "program_intents"])
def test_e005_the_learner_lookup_field_is_a_relation(name: str) -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": name}):
        assert found() == [
            Error(
                f"LEARNER_LOOKUP_FIELD is {name!r}, not a column but a relation of the user model auth.User.",
                hint=UNIQUE_FIELDS,
                id="program_intent.E005",
            )
        ]


def test_w002_the_learner_lookup_field_is_not_unique() -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "email"}):
        assert found() == [
            Warning(
                "LEARNER_LOOKUP_FIELD is 'email', not a unique field of the user model auth.User.",
                hint="A name that several users bear is refused. If other services name learners so, and it has to be, "
                "add program_intent.W002 to SILENCED_SYSTEM_CHECKS; else take a unique field: id, username.",
                id="program_intent.W002",
            )
        ]


@pytest.mark.parametrize("name", ["pk", "id", "username"])
def test_a_primary_key_and_a_unique_field_may_name_learners(name: str) -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": name}):
        assert found() == []


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("email", []),
        ("code", []),
        ("uuid", []),
        ("person_ptr", ["program_intent.E005"]),
        ("nickname", ["program_intent.W002"]),
        ("campus", ["program_intent.W002"]),
    ],
)
@isolate_apps("tests")
def test_only_a_constraint_on_the_field_alone_and_for_all_rows_makes_it_unique(
    name: str, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Person(models.Model):  # noqa: DJ008
        code = models.CharField(max_length=9)
        uuid = models.UUIDField(unique=True)

        class Meta:
            app_label = "tests"
            constraints = [models.UniqueConstraint(fields=["code"], name="code")]

    class Learner(Person):  # noqa: DJ008
        email = models.EmailField()
        nickname = models.CharField(max_length=9)
        campus = models.CharField(max_length=9)

        class Meta:
            app_label = "tests"
            constraints = [
                models.UniqueConstraint(fields=["email"], name="email"),
                models.UniqueConstraint(fields=["nickname"], condition=~models.Q(nickname=""), name="nickname"),
                models.UniqueConstraint(fields=["campus", "nickname"], name="campus"),
            ]

    monkeypatch.setattr(of_settings, "get_user_model", lambda: Learner)
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": name}):
        assert [message.id for message in of_settings.check_learner_lookup_field()] == ids
    monkeypatch.setattr(options, "get_user_model", lambda: Learner)
    is_error = "program_intent.E005" in ids
    with pytest.raises(CommandError) if is_error else nullcontext():  # the command's option is judged alike
        options.refuse_learner_field(name)


def use_key(monkeypatch: pytest.MonkeyPatch, key: "models.Field[Any, Any]") -> None:
    """Let users have this primary key; the model is made for the test alone."""
    body = {"__module__": __name__, "Meta": type("Meta", (), {"app_label": "tests"}), "key": key}
    model = type("Learner", (models.Model,), body)
    monkeypatch.setattr(learners, "get_user_model", lambda: model)
    monkeypatch.setattr(host, "get_user_model", lambda: model)


class Scrambled(models.BigAutoField):  # type: ignore[type-arg]  # not generic at run time
    """Of a host that hides its keys."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else int(value) ^ 3


@isolate_apps("tests")
def test_w004_the_primary_key_of_users_may_be_stored_otherwise_than_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_key(monkeypatch, Scrambled(primary_key=True))
    assert [message.id for message in host.check_key_of_users()] == ["program_intent.W004"]


NOT_TAKEN = ["Binary", "Boolean", "DateTime", "Duration", "File", "Float", "GenericIPAddress", "JSON"]


@pytest.mark.parametrize("name", [f"{name}Field" for name in NOT_TAKEN])
@isolate_apps("tests")
def test_w004_the_primary_key_of_users_is_of_a_type_that_is_not_taken(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_key(monkeypatch, getattr(models, name)(primary_key=True))
    assert host.check_key_of_users() == [
        Warning(
            f"The primary key of the user model tests.Learner is a {name}, by which not every call finds a learner.",
            hint="Take an integer, a UUID or a text. Decimals, dates and times of day are taken too.",
            id="program_intent.W004",
        )
    ]


TAKEN = ["BigAuto", "Char", "Date", "Email", "PositiveSmallInteger", "Slug", "Text", "Time", "URL", "UUID"]


@pytest.mark.parametrize("name", [f"{name}Field" for name in TAKEN])
@isolate_apps("tests")
def test_a_primary_key_of_another_type_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_key(monkeypatch, getattr(models, name)(primary_key=True))
    assert host.check_key_of_users() == []


@isolate_apps("tests")
def test_w004_looks_through_a_primary_key_that_is_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    class Person(models.Model):  # noqa: DJ008
        number = models.FloatField(primary_key=True)

        class Meta:
            app_label = "tests"

    use_key(monkeypatch, models.OneToOneField(Person, models.CASCADE, primary_key=True))
    assert [message.id for message in host.check_key_of_users()] == ["program_intent.W004"]


def test_e007_time_zones_are_off() -> None:
    with override_settings(USE_TZ=False):
        assert found() == [
            Error(
                "USE_TZ is False, not True.",
                hint="Set USE_TZ = True: the times of an intent are aware.",
                id="program_intent.E007",
            )
        ]


class UsersElsewhere:
    """A router that keeps the users in a database of their own."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "auth" else None


class AllElsewhere:
    """A router that keeps everything in the second database."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return "other"


def test_e008_users_and_intents_live_in_two_databases() -> None:
    with override_settings(DATABASE_ROUTERS=[UsersElsewhere()]):
        assert found() == [
            Error(
                "Intents are written to the database 'default', not to 'other' as users are.",
                hint="Let DATABASE_ROUTERS name one database for both.",
                id="program_intent.E008",
            )
        ]


def test_users_and_intents_may_share_any_database() -> None:
    with override_settings(DATABASE_ROUTERS=[AllElsewhere()]):
        assert found() == []


def use_databases(monkeypatch: pytest.MonkeyPatch, **databases: dict[str, Any]) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    handler = ConnectionHandler({alias: {**sqlite, **options} for alias, options in databases.items()})
    monkeypatch.setattr(host, "connections", handler)


READS_FIRST = {"ATOMIC_REQUESTS": True}
WRITES_FIRST = [{"transaction_mode": "IMMEDIATE"}, {"transaction_mode": "exclusive"}]


@pytest.mark.parametrize("options", [{}, {"timeout": 20}, {"transaction_mode": "DEFERRED"}, None, [1], "x"])
def test_w001_transactions_of_requests_begin_as_readers_on_sqlite(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_databases(monkeypatch, default={}, intents={**READS_FIRST, "OPTIONS": options})
    assert found() == [
        Warning(
            "The SQLite database 'intents' has ATOMIC_REQUESTS, and its transactions are DEFERRED, not IMMEDIATE.",
            hint='Set DATABASES[\'intents\']["OPTIONS"]["transaction_mode"] = "IMMEDIATE", '
            "or concurrent writes fail with 'database is locked', whatever the timeout.",
            id="program_intent.W001",
        )
    ]


@pytest.mark.parametrize("options", WRITES_FIRST, ids=str)
def test_transactions_that_begin_as_writers_pass(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    use_databases(monkeypatch, default={**READS_FIRST, "OPTIONS": options})
    assert found() == []


def test_other_engines_pass_with_atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    use_databases(monkeypatch, default={**READS_FIRST, "ENGINE": "django.db.backends.dummy"})
    assert found() == []


NEEDS_MYSQLCLIENT = pytest.mark.skipif(find_spec("MySQLdb") is None, reason="only mariadb and mysql have mysqlclient")
ENGINES_WITHOUT_TIME_ZONES = [
    "django.db.backends.sqlite3",
    pytest.param("django.db.backends.mysql", marks=NEEDS_MYSQLCLIENT),
]
CLOCKS = '"TIME_ZONE"], or name a zone such as Etc/GMT+5, where clocks are never put back. '
CLOCKS_HINT = f"Leave out DATABASES['intents'][{CLOCKS}Convert the times that are stored already."


@pytest.mark.parametrize("engine", ENGINES_WITHOUT_TIME_ZONES)
@pytest.mark.parametrize("zone", ["Europe/London", "America/Bogota", "America/Boa_Vista", "Asia/Shanghai"])
def test_e006_a_database_stores_times_in_a_zone_that_repeats_an_hour(
    zone: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_databases(monkeypatch, default={}, intents={"ENGINE": engine, "TIME_ZONE": zone})
    assert found() == [
        Error(
            f"The database 'intents' stores times without an offset, in {zone}, where clocks are put back: "
            "two moments of a repeated hour become one.",
            hint=CLOCKS_HINT,
            id="program_intent.E006",
        )
    ]


@pytest.mark.parametrize("engine", ENGINES_WITHOUT_TIME_ZONES)
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Africa/Johannesburg", "Asia/Kolkata"])
def test_w003_a_database_stores_times_in_a_zone_that_repeated_an_hour_before_1970(
    zone: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_databases(monkeypatch, default={}, intents={"ENGINE": engine, "TIME_ZONE": zone})
    assert found() == [
        Warning(
            f"The database 'intents' stores times without an offset, in {zone}, where clocks "
            "were put back before 1970: two moments of a repeated hour become one.",
            hint=CLOCKS_HINT,
            id="program_intent.W003",
        )
    ]


@pytest.mark.parametrize("engine", ENGINES_WITHOUT_TIME_ZONES)
@pytest.mark.parametrize("zone", [None, "UTC", "Etc/GMT+5", "Asia/Dubai", "Nowhere/Town", "Europe", "../x", ""])
def test_a_zone_that_repeats_no_hour_passes_and_what_is_no_zone_is_left_to_django(
    zone: str | None, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_databases(monkeypatch, default={"ENGINE": engine, "TIME_ZONE": zone})
    assert found() == []


def test_a_zone_that_repeats_an_hour_passes_where_times_are_stored_with_their_offset_or_no_intents_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    postgresql = {"ENGINE": "django.db.backends.postgresql", "TIME_ZONE": "Europe/London"}
    use_databases(monkeypatch, default=postgresql, other={"TIME_ZONE": "Europe/London"})
    with override_settings(DATABASE_ROUTERS=[IntentsInDefault()]):
        assert found() == []


class IntentsInDefault:
    """A router that keeps the intents out of every database but one."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "default" if app_label == "program_intent" else None


def test_a_database_without_intents_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_databases(monkeypatch, default={}, other=READS_FIRST)
    with override_settings(DATABASE_ROUTERS=[IntentsInDefault()]):
        assert found() == []


class Writable(admin.TabularInline):  # type: ignore[type-arg]  # generic for the type checker only
    model = ProgramIntent


class ReadOnly(ReadOnlyIntents, Writable):
    pass


class Unfinished(admin.TabularInline):  # type: ignore[type-arg]  # generic for the type checker only
    """Django's own check tells that it has no model."""


class WritableAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    pass


@pytest.mark.parametrize(
    ("model", "options", "class_name"),
    [
        (Group, {"inlines": [Writable]}, "Writable"),
        (ProgramIntent, {}, "WritableAdmin"),
        (Group, {"inlines": [ReadOnly, Unfinished]}, None),
        (Group, {}, None),
    ],
    ids=["inline", "admin", "read-only", "of another model"],
)
def test_e009_an_admin_of_intents_would_change_them(
    monkeypatch: pytest.MonkeyPatch, model: type[models.Model], options: dict[str, Any], class_name: str | None
) -> None:
    monkeypatch.setattr("django.contrib.admin.sites.all_sites", set())  # a new site adds itself
    site = admin.AdminSite(name="host")
    site.register(model, WritableAdmin, **options)
    expected = [
        Error(
            f"tests.test_checks.{class_name} would add, change or delete intents.",
            hint="Derive it from program_intent.admin.ReadOnlyIntents first.",
            id="program_intent.E009",
        )
    ]
    assert host.check_admins() == (expected if class_name else [])


def test_a_host_without_the_admin_passes() -> None:
    with override_settings(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "program_intent"]):
        assert host.check_admins() == []


def test_the_checks_of_the_models_ask_no_database_that_somebody_may_be_writing_to() -> None:
    """On SQLite the question whether it knows JSON is a transaction; here whoever asks a database is refused."""
    connection.features.__dict__.pop("supports_json_field", None)
    models_of_ours = apps.get_app_config("program_intent").get_models()
    assert [message for model in models_of_ours for message in model.check(databases=["default"])] == []


def run_each_check() -> list[CheckMessage]:
    own = [check for module in (of_settings, host) for name, check in vars(module).items() if name.startswith("check_")]
    return [message for check in own for message in check()]


@pytest.mark.parametrize("model", ["nowhere.User", "nonsense"])
def test_no_check_breaks_over_a_user_model_that_does_not_exist(model: str) -> None:
    with override_settings(AUTH_USER_MODEL=model, PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username"}):
        assert run_each_check() == []


def test_no_check_breaks_over_a_router_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "router", ConnectionRouter(["nowhere.Router"]))
    assert run_each_check() == []


def test_no_check_breaks_over_an_engine_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    use_databases(monkeypatch, default={"ENGINE": "nowhere"})
    assert run_each_check() == []


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError


def test_no_check_breaks_over_a_value_that_cannot_be_shown() -> None:
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": Unprintable(), Unprintable(): 1}):
        assert [message.id for message in run_each_check()] == ["program_intent.E002", "program_intent.E003"]


class Bare:
    """An inline without Django's class, which Django's own checks tell of."""

    model = ProgramIntent


@pytest.mark.parametrize("inlines", [None, Bare, [Bare], [None], ["x"]])
def test_an_inline_that_is_none_is_left_to_djangos_own_checks(monkeypatch: pytest.MonkeyPatch, inlines: Any) -> None:
    monkeypatch.setattr("django.contrib.admin.sites.all_sites", set())  # a new site adds itself
    site = admin.AdminSite(name="host")
    site.register(Group, type("GroupAdmin", (admin.ModelAdmin,), {"inlines": inlines}))
    assert host.check_admins() == []


def test_a_router_that_is_none_is_left_to_django(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "router", ConnectionRouter(["tests.urls.urlpatterns"]))
    assert run_each_check() == []


# Sources


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("postgresql://ada:secret@warehouse/marts", " is not a dictionary."),
        (
            {"QUERY": "SELECT 1"},
            f" has no URL: {URL}.",
        ),
        (
            {**GOOD, "URL": 5},
            f"['URL'] is not {URL}.",
        ),
        ({**GOOD, "URL": "host.settings:engine"}, f"['URL'] is not {URL}."),
        (
            {**GOOD, "URL": "tests.nowhere.engine"},
            "['URL'] cannot be imported: No module named 'tests.nowhere'.",
        ),
        ({**GOOD, "URL": "tests.urls.urlpatterns"}, "['URL'] names no function: tests.urls.urlpatterns."),
        ({**GOOD, "QUERY": " ;\n"}, "['QUERY'] is not an SQL query."),
        ({**GOOD, "LAG": 2**63}, f"['LAG'] is not {LAG}."),
        ({**GOOD, "CURSER": "loaded_at"}, f" has the unknown key 'CURSER'. {OF_SOURCE}"),
        (
            {**GOOD, "LAG": "1 day"},
            f"['LAG'] is not {LAG}.",
        ),
        (
            {**GOOD, "LAG": timedelta(-1)},
            f"['LAG'] is not {LAG}.",
        ),
        (
            {**GOOD, "ASSUME_TIMEZONE": "Mars"},
            "['ASSUME_TIMEZONE'] is not a str that names a time zone, such as Europe/London.",
        ),
        ({**GOOD, "LEARNER_FIELD": "nickname"}, "['LEARNER_FIELD'] is not a field of the user model."),
    ],
)
def test_e010_a_source_lacks_what_a_sync_needs(source: Any, problem: str) -> None:
    with override_settings(PROGRAM_INTENT={"SOURCES": {"reports": source}}):
        (message,) = found()
        assert message.id == "program_intent.E010"
        told = message.msg.replace('["LEARNER_FIELD"]', "['LEARNER_FIELD']").replace('["URL"]', "['URL']")
        assert told == f"PROGRAM_INTENT[\"SOURCES\"]['reports']{problem}"
        assert "secret" not in str(message)


@pytest.mark.parametrize("name", ["", "x" * 256, "two\nlines", "x ", 5])
def test_e010_a_source_has_a_name_that_can_be_told_from_others(name: Any) -> None:
    with override_settings(PROGRAM_INTENT={"SOURCES": {name: GOOD}}):
        (message,) = found()
        assert message.msg.endswith("expected a name of 1 to 255 printable characters, with no space around it.")


def test_w005_a_source_follows_the_time_at_which_rows_became_true() -> None:
    with override_settings(PROGRAM_INTENT={"SOURCES": {"reports": {**GOOD, "CURSOR": "effective_time"}}}):
        assert found() == [
            Warning(
                "PROGRAM_INTENT[\"SOURCES\"]['reports'] follows effective_time: when a row became true, not when it "
                "arrived in the warehouse. What arrives later than LAG is never read.",
                hint="Let CURSOR name the column that says when a row was loaded.",
                id="program_intent.W005",
            )
        ]


def test_a_source_with_all_that_it_needs_passes() -> None:
    every = {
        **GOOD,
        "CURSOR": "loaded_at",
        "LAG": timedelta(days=1),
        "LEARNER_FIELD": "username",
        "ASSUME_TIMEZONE": "UTC",
    }
    with override_settings(PROGRAM_INTENT={"SOURCES": {"reports": every, "others": {**GOOD, "LAG": 10}}}):
        assert found() == []


def test_e003_shows_nothing_of_sources_that_are_none() -> None:
    with override_settings(PROGRAM_INTENT={"SOURCES": [GOOD]}):
        (message,) = found()
        assert message.msg == "PROGRAM_INTENT['SOURCES'] is not a dict of warehouses by name."


# Events

EVENT = {
    "learner": "user.id",
    "program_uuid": "program.uuid",
    "effective_timestamp": "metadata.time",
    "reason": "SIGNED_UP",
    "certainty": "MAYBE",
}
PATH = "a dotted path into the event, such as metadata.time"
OF_EVENT = "The keys are learner, program_uuid, effective_timestamp, reason, certainty, learner_field."
OF_ROWS = "The keys are rows, learner_field."
ROWS = "tests.test_checks.found"


async def awaited(event: Any) -> list[Any]:
    return []


REASON = "letters, digits and underscores that starts with a letter, such as BUNDLE_PURCHASE, not 'signed up'."


@pytest.mark.parametrize(
    ("mapping", "problem", "hint"),
    [
        ([EVENT], " is not a dictionary.", OF_EVENT),
        ({**EVENT, "lerner": "user.id"}, f" has the unknown key 'lerner'. {OF_EVENT}", OF_EVENT),
        ({**EVENT, "rows": ROWS}, None, OF_ROWS),
        ({**EVENT, "learner": "user..id"}, f"['learner'] is not {PATH}.", OF_EVENT),
        ({**EVENT, "reason": "signed up"}, f"['reason']: Expected a reason of up to 64 {REASON}", OF_EVENT),
        (
            {**EVENT, "certainty": "SURE"},
            "['certainty']: Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'SURE'.",
            OF_EVENT,
        ),
        ({**EVENT, "learner_field": "nickname"}, "['learner_field'] is not a field of the user model.", OF_EVENT),
        ({"rows": "found"}, "['rows'] is not the dotted path of a function.", OF_ROWS),
        (
            {"rows": "tests.nowhere.rows"},
            "['rows'] cannot be imported: No module named 'tests.nowhere'.",
            OF_ROWS,
        ),
        ({"rows": "tests.test_checks.KEYS"}, "['rows'] names no function: tests.test_checks.KEYS.", OF_ROWS),
        (
            {"rows": "tests.test_checks.awaited"},
            "['rows'] names a function that would have to be awaited: tests.test_checks.awaited.",
            OF_ROWS,
        ),
    ],
)
def test_e011_an_event_lacks_what_makes_rows_of_it(mapping: Any, problem: str | None, hint: str) -> None:
    with override_settings(PROGRAM_INTENT={"EVENTS": {"of.the.host": mapping}}):
        messages = found()
    assert {(message.id, message.hint) for message in messages} == {("program_intent.E011", hint)}
    unknown = [f" has the unknown key {key!r}. {OF_ROWS}" for key in EVENT]
    problems = [problem] if problem else unknown  # rows, or the five
    assert [message.msg for message in messages] == [
        f"PROGRAM_INTENT[\"EVENTS\"]['of.the.host']{each}" for each in problems
    ]


def test_a_module_of_the_host_that_raises_is_told_and_stops_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(tmp_path, "raising.py").write_text("raise RuntimeError('not yet')\n")
    monkeypatch.syspath_prepend(tmp_path)
    configured = {"EVENTS": {"a": {"rows": "raising.rows"}}, "SOURCES": {"b": {**GOOD, "URL": "raising.engine"}}}
    with override_settings(PROGRAM_INTENT=configured):
        assert {message.id: message.msg for message in found()} == {
            f"program_intent.{check}": f"PROGRAM_INTENT{where} cannot be imported: RuntimeError: not yet."
            for check, where in (("E010", '["SOURCES"][\'b\']["URL"]'), ("E011", "[\"EVENTS\"]['a']['rows']"))
        }


def test_e011_an_event_lacks_one_of_the_five() -> None:
    for key in EVENT:
        mapping = {name: value for name, value in EVENT.items() if name != key}
        with override_settings(PROGRAM_INTENT={"EVENTS": {"of.the.host": mapping}}):
            (message,) = found()
            assert message.msg.startswith(f"PROGRAM_INTENT[\"EVENTS\"]['of.the.host'] has no {key}: ")


def test_e011_the_type_of_an_event_is_no_text() -> None:
    with override_settings(PROGRAM_INTENT={"EVENTS": {1: EVENT}}):
        assert [message.msg for message in found()] == [
            'PROGRAM_INTENT["EVENTS"][1]: expected the type of an event, a str.'
        ]


@pytest.mark.parametrize("mapping", [{**EVENT, "learner_field": "username"}, {"rows": ROWS}, {**EVENT}])
def test_events_of_the_host_with_all_that_they_need_pass(mapping: dict[str, str]) -> None:
    with override_settings(PROGRAM_INTENT={"EVENTS": {"of.the.host": mapping}}):
        assert found() == []


AWARDED = "org.openedx.learning.program.certificate.awarded.v1"
OF_CERTIFICATE = {
    **EVENT,
    "learner": "program_certificate.user.id",
    "program_uuid": "program_certificate.program.uuid",
}


def test_w006_an_id_of_the_lms_and_nothing_says_which_field_that_is() -> None:
    with override_settings(PROGRAM_INTENT={"EVENTS": {AWARDED: OF_CERTIFICATE}}):
        assert found() == [
            Warning(
                f"PROGRAM_INTENT[\"EVENTS\"]['{AWARDED}'] names learners by program_certificate.user.id, the primary "
                "key of the LMS, and nothing says which field of the user model that is.",
                hint="Give it learner_field, or set LEARNER_LOOKUP_FIELD; pk, if this is the LMS.",
                id="program_intent.W006",
            )
        ]
    for said in ({"EVENTS": {AWARDED: {**OF_CERTIFICATE, "learner_field": "pk"}}}, {"LEARNER_LOOKUP_FIELD": "pk"}):
        with override_settings(PROGRAM_INTENT={"EVENTS": {AWARDED: OF_CERTIFICATE}, **said}):
            assert found() == []


def test_e003_shows_nothing_of_a_url_that_may_hold_a_password() -> None:
    with override_settings(PROGRAM_INTENT={"EVENTS_URL": b"redis://:secret@host"}):
        (message,) = found()
        assert message.msg == (
            "PROGRAM_INTENT['EVENTS_URL'] is not a URL of Redis such as redis://user:password@host:6379/0."
        )


def of_databases(*aliases: str) -> list[CheckMessage]:
    """What ``manage.py check --database`` says."""
    return [each for each in run_checks(databases=aliases) if str(each.id).startswith("program_intent.")]


@pytest.mark.django_db
def test_w008_names_of_the_erased_were_hashed_with_a_key_that_is_lost() -> None:
    with override_settings(PROGRAM_INTENT={"ERASURE_KEYS": ["the key that was lost"]}):
        erase_name("username", "ada", using="default")
        assert of_databases("default") == []
    with override_settings(PROGRAM_INTENT={"ERASURE_KEYS": ["the key that was lost", "another of theirs"]}):
        erase_name("username", "grace", using="default")
        assert of_databases("default") == []
    with override_settings(PROGRAM_INTENT={"ERASURE_KEYS": ["another of theirs"]}):
        assert found() == []
        assert of_databases("default") == [
            Warning(
                "In the database 'default', 1 name of an erased learner was hashed with a key that is no longer known: "
                "what names a learner so would be stored again.",
                hint='Put the key that was in use back before the others in PROGRAM_INTENT["ERASURE_KEYS"], or, where '
                "that is left out, in SECRET_KEY_FALLBACKS.",
                id="program_intent.W008",
            )
        ]


@pytest.mark.django_db
def test_w008_tells_of_a_secret_key_that_was_changed_and_is_no_fallback() -> None:
    erase_name("username", "ada", using="default")
    former = settings.SECRET_KEY
    with override_settings(SECRET_KEY="another of theirs", SECRET_KEY_FALLBACKS=[former]):
        assert of_databases("default") == []
    with override_settings(SECRET_KEY="another of theirs"):
        assert [message.id for message in of_databases("default")] == ["program_intent.W008"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", ["check", "migrate"])
def test_w008_is_told_by_check_database_and_by_migrate(command: str) -> None:
    erase_name("username", "ada", using="default")
    database: dict[str, Any] = {"databases": ["default"]} if command == "check" else {"skip_checks": False}
    told = StringIO()
    with override_settings(SECRET_KEY="another of theirs"):
        call_command(command, stdout=StringIO(), stderr=told, **database)
    assert "program_intent.W008" in told.getvalue()


@pytest.mark.django_db(transaction=True)
def test_w008_is_silent_where_the_table_is_yet_to_be_made() -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(ErasedName)
    try:
        assert of_databases("default") == []
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(ErasedName)


@pytest.mark.django_db
@pytest.mark.parametrize("value", [None, {"ERASURE_KEYS": [5]}, {"ERASURE_KEYS": 5}])
def test_w008_leaves_keys_that_are_none_to_the_other_checks(value: Any) -> None:
    erase_name("username", "ada", using="default")
    with override_settings(PROGRAM_INTENT=value):
        assert "program_intent.W008" not in [message.id for message in of_databases("default")]


def test_w008_leaves_a_database_that_fails_to_django() -> None:
    with mock.patch.object(type(connection.introspection), "table_names", side_effect=OperationalError("away")):
        assert host.check_erasure_keys(databases=["default"]) == []
