"""What a host is promised whatever its user model; test_custom_user.py runs it once for each host."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.parse import unquote as unquote_url
from uuid import uuid4

import pytest
import yaml
from django.apps import apps
from django.conf import settings
from django.contrib.admin.utils import quote as admin_quote
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import RequestFactory, override_settings
from django.urls import resolve, reverse
from django.utils import timezone
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from program_intent import engines
from program_intent.api import (
    erase_learner,
    explain_latest_certain_intent,
    get_erasures,
    get_intent_history,
    get_latest_certain_intents,
    record_intent,
    record_intents,
)
from program_intent.data import Certainty, Intent
from program_intent.engines.generic import Generic
from program_intent.exceptions import InvalidIntent
from program_intent.models import ProgramIntent, RejectedIntent
from program_intent.models.intent import engine_of
from program_intent.rest_api.erasure import ErasuresView, RetirementsView
from program_intent.rest_api.many_learners import ChangesView, LatestCertainQueryView, ProgramLatestCertainView
from program_intent.rest_api.one_learner import ExplainView, LatestCertainIntentsView, ProgramIntentsView
from program_intent.store.batches import PreparedRows
from program_intent.store.erase import erase_orphans
from program_intent.store.record import record
from program_intent.validation.judge import NewIntent
from program_intent.validation.learners import learner_parser
from tests import builders
from tests.builders import MOMENT, PROGRAM, make_intent, make_row, spelled, write_batch
from tests.rest import YAMLRenderer

HOST = settings.AUTH_USER_MODEL.split(".")[0]
NOBODY: Any = {
    "uuid_user": uuid4(),
    "text_user": "nobody",
    "linked_user": "nobody",
    "inherited_user": 2**31 - 1,
    "decimal_user": Decimal("1234567890123.50"),
}[HOST]

NAMES_BY_TEXT = NOBODY == "nobody"

pytestmark = pytest.mark.django_db


def make_user(**changes: Any) -> Any:
    if NAMES_BY_TEXT:
        key = changes.pop("key", f"Key-{get_user_model()._default_manager.count()}")
        if HOST == "text_user":
            changes["key"] = key
        else:
            changes["person"] = apps.get_model(HOST, "Person")(code=key)
            changes["person"].save(force_insert=True)
    return builders.make_user(**changes)


@pytest.fixture
def learner() -> Any:
    return make_user()


def test_an_intent_is_recorded_once_by_user_by_key_and_by_its_text(learner: Any) -> None:
    intent, created = record_intent(**make_row(learner=learner))
    assert (intent.learner_id, type(intent.learner_id)) == (learner.pk, type(learner.pk))
    assert created
    for name in (learner, learner.pk, str(learner.pk)):
        assert record_intent(**make_row(learner=name)) == (intent, False)


def test_a_batch_is_recorded_and_its_bad_rows_are_refused(learner: Any) -> None:
    other = make_user()
    rows = [make_row(learner=name) for name in (other, NOBODY, learner.pk, learner, None, other.pk)]
    outcomes = record_intents(rows)
    statuses = ["created", "rejected", "created", "duplicate", "rejected", "duplicate"]
    assert [outcome.status for outcome in outcomes] == statuses
    assert outcomes[1].errors == {"learner": [f"No user is named by {NOBODY!r}."]}
    assert outcomes[4].errors == {"learner": ["This field is required."]}
    assert [outcome.status for outcome in record_intents(rows)].count("duplicate") == 4
    assert ProgramIntent.objects.count() == 2


def test_the_latest_intents_are_told_by_user_by_key_and_by_its_text(learner: Any) -> None:
    intent, _ = record_intent(**make_row(learner=learner))
    record_intent(**make_row(learner=make_user(), certainty="CERTAIN_NO"))
    for name in (learner, learner.pk, str(learner.pk)):
        assert get_latest_certain_intents(name) == {PROGRAM: intent}
    assert get_latest_certain_intents(NOBODY) == {}


def test_the_history_is_told_and_explained_by_user_by_key_and_by_its_text(learner: Any) -> None:
    intent, _ = record_intent(**make_row(learner=learner))
    record_intent(**make_row(learner=make_user(), certainty="CERTAIN_NO"))
    for name in (learner, learner.pk, str(learner.pk)):
        assert get_intent_history(name) == [intent]
        explanation = explain_latest_certain_intent(name, PROGRAM)
        assert (explanation.learner_id, explanation.winner, explanation.lost) == (learner.pk, intent, ())
    assert get_intent_history(NOBODY) == []


@pytest.mark.parametrize("names", ["pk", "username"])
def test_an_operator_names_a_learner_as_the_settings_say(learner: Any, names: str) -> None:
    make_intent(learner=learner)
    printed = StringIO()
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": names}):
        call_command("explain_program_intent", str(getattr(learner, names)), str(PROGRAM), stdout=printed)
        with pytest.raises(CommandError, match=r"^learner: No user is named by "):
            call_command("explain_program_intent", str(NOBODY), str(PROGRAM))
    assert "\nthe answer" in printed.getvalue()


@pytest.mark.parametrize("names", ["username", "lms_user_id"])
def test_a_learner_may_be_named_by_another_unique_field(learner: Any, names: str) -> None:
    if not hasattr(learner, names):
        pytest.skip(f"the users of {HOST} have no {names}")
    learner = make_user(**{names: "4711"})
    rows = [make_row(learner="4711"), make_row(learner=learner), make_row(learner="4712")]
    outcomes = record(rows, learner_field=names)
    assert [outcome.status for outcome in outcomes] == ["created", "duplicate", "rejected"]
    assert outcomes[0].intent is not None
    assert outcomes[0].intent.learner_id == learner.pk


def deleted(learner: Any) -> None:
    """By the farthest that takes the user along."""
    farthest = {"linked_user": "person", "inherited_user": "account_ptr"}.get(HOST)
    (getattr(learner, farthest) if farthest else learner).delete()


def test_who_is_erased_stays_away_by_every_name_and_so_does_what_was_refused() -> None:
    names = {"badge": "17", "lms_user_id": 4711} if HOST == "uuid_user" else {}
    learner, other = make_user(username="ada", **names), make_user()
    key = learner.pk
    names |= {"pk": key, "username": "ada", get_user_model()._meta.pk.name: key}
    make_intent(learner=learner)
    for field, name in names.items():
        keep_refused(field, str(name))
    keep_refused("pk", str(other.pk))
    deleted(learner)
    assert [str(other.pk)] == list(RejectedIntent.objects.values_list("learner", flat=True))
    assert [(each.learner_id, each.intents) for each in get_erasures()] == [(key, 1)]
    for field, name in names.items():
        if field != get_user_model()._meta.pk.name:
            (outcome,) = record([make_row(learner=name)], learner_field=field)
            assert outcome.errors == {"learner": [f"No user is named by {name!r}."]}
    assert not ProgramIntent.objects.exists()


def keep_refused(field: str, learner: str) -> None:
    values = dict.fromkeys(("program_uuid", "reason", "certainty", "effective_timestamp", "error"), "")
    moments = dict.fromkeys(("first_seen", "last_seen"), MOMENT)
    key = str(RejectedIntent.objects.count())
    RejectedIntent.objects.create(source="reports", key=key, learner_field=field, learner=learner, **values, **moments)


@pytest.mark.parametrize("spell", [str, str.upper, lambda key: f" {key} ", lambda key: key.replace("-", "").upper()])
def test_what_was_refused_goes_however_the_key_is_spelled(learner: Any, spell: Callable[[str], str]) -> None:
    spelled_key = spell(str(learner.pk))
    is_key = learner_parser("pk", connection)(spelled_key) == learner.pk
    keep_refused("pk", spelled_key)
    erase_learner(learner)
    assert RejectedIntent.objects.exists() != is_key
    assert is_key or NAMES_BY_TEXT, "of a text there is one spelling"


def test_who_stays_is_recorded_anew_and_nothing_of_before_comes_back(learner: Any) -> None:
    make_intent(learner=learner)
    assert erase_learner(str(learner.pk)).intents == 1
    assert [outcome.status for outcome in record_intents([make_row(learner=learner)])] == ["rejected"]
    assert write_batch_of(learner.pk) == (0, 1)
    assert record_intents([make_row(learner=learner, effective_timestamp=timezone.now())])[0].status == "created"


def test_rows_of_nobody_are_orphans_and_those_of_users_are_not(learner: Any) -> None:
    kept, left = make_intent(learner=learner), make_intent(learner=make_user())
    get_user_model()._base_manager.filter(pk=left.learner_id)._raw_delete("default")
    assert (erase_orphans(using="default", dry_run=True), erase_orphans(using="default")) == (1, 1)
    assert [intent.pk for intent in ProgramIntent.objects.all()] == [kept.pk]


def write_batch_of(key: Any) -> tuple[int, int]:
    """How many were stored of an old row, and how many left out as erased."""
    engine = engine_of("default")
    rows = spelled(engine.speller(), [NewIntent(key, PROGRAM, "OLD", Certainty.MAYBE, MOMENT)])
    written = PreparedRows(rows, engine).write(lambda written: None)
    return written.created, len(written.erased)


def made(is_generic: bool) -> engines.Engine:
    return Generic(connection, ProgramIntent) if is_generic else engine_of("default")


@pytest.mark.parametrize("is_generic", [True, False], ids=["generic", "vendor"])
def test_each_engine_keeps_the_contract(learner: Any, is_generic: bool) -> None:
    engine = made(is_generic)
    intents = [
        NewIntent(key, PROGRAM, "A", Certainty.MAYBE, MOMENT + timedelta(days=day))
        for day in range(2)
        for key in (learner.pk, NOBODY)
    ]
    rows = spelled(engine.speller(), intents)
    first = engine.prepare(rows[:1])
    (key,) = engine.insert(first, MOMENT)
    assert engine.stored(first) == [(0, key, MOMENT)]
    prepared = engine.prepare(rows)
    assert engine.refused(prepared) == {1, 3}
    with transaction.atomic():
        assert engine.count_inserted(prepared, MOMENT) == (1, {1, 3})
    assert {position for position, _, _ in engine.stored(prepared)} == {0, 2}
    assert engine.insert(prepared, MOMENT) == set()


def test_a_batch_of_the_loader_is_counted(learner: Any) -> None:
    unknown, known = rows_of([NOBODY, learner.pk])
    assert write_batch([unknown, known], all_new=True) == (1, {unknown})
    assert write_batch([unknown, known]) == (0, {unknown})


def rows_of(keys: Iterable[Any]) -> list[Any]:
    intents = [NewIntent(key, PROGRAM, "A", Certainty.MAYBE, MOMENT) for key in keys]
    return spelled(engine_of("default").speller(), intents)


@pytest.mark.parametrize("names", ["pk", "username"])
def test_a_report_names_learners_as_the_settings_say(learner: Any, names: str, tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    values = f"{PROGRAM.hex},{getattr(learner, names)},A,MAYBE,2022-04-12 00:00:00 Z"
    report.write_text(f"program_uuid,learner,reason,certainty,effective_timestamp\n{values}\n{values}\n")
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": names}):
        call_command("load_program_intents", str(report), stdout=StringIO())
    assert [intent.learner for intent in ProgramIntent.objects.all()] == [learner]


def test_a_new_row_is_judged_with_the_key_that_users_have() -> None:
    with pytest.raises(InvalidIntent) as refused:
        ProgramIntent.objects.create(**make_row(learner=None), learner_id=NOBODY)
    assert refused.value.errors == {"learner": [f"No user is named by {NOBODY!r}."]}


def test_deleting_a_user_takes_the_intents_along(learner: Any) -> None:
    kept = make_intent(learner=make_user())
    make_intent(learner=learner)
    learner.delete()
    assert list(ProgramIntent.objects.all()) == [kept]


@pytest.mark.skipif(
    connection.vendor == "postgresql" and "'" in ProgramIntent._meta.db_table,
    reason="Django's loaddata quotes no quote",
)
def test_a_fixture_of_stored_rows_passes_and_changes_nothing(learner: Any, tmp_path: Path) -> None:
    intent = make_intent(learner=learner)
    fixture = tmp_path / "intents.json"
    call_command("dumpdata", "program_intent", output=str(fixture), verbosity=0)
    call_command("loaddata", str(fixture), verbosity=0)
    carried = Intent.__match_args__
    assert list(ProgramIntent.objects.values(*carried)) == [{name: getattr(intent, name) for name in carried}]


@pytest.mark.parametrize("names", ["pk", "username"])
def test_the_rest_api_names_learners_in_and_out_as_the_settings_say(names: str) -> None:
    learners = [make_user() for _ in range(3)]
    for learner in learners:
        make_intent(learner=learner)
    named = {str(getattr(learner, names)) for learner in learners}
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": names}):
        walked, page = [], {"next": "/?limit=1"}
        while page["next"]:
            page = read(ProgramLatestCertainView, page["next"], learners[0], program_uuid=str(PROGRAM))
            walked += [str(intent["learner"]) for intent in page["results"]]
        assert (len(walked), set(walked)) == (3, named)
        assert {str(each["learner"]) for each in read(ChangesView, "/", learners[0])["intents"]} == named
        for name in named:
            history = read(ProgramIntentsView, f"/?learner={quote(name)}", learners[0])
            assert [str(intent["learner"]) for intent in history["results"]] == [name]
            (entry,) = read(LatestCertainQueryView, "/", learners[0], {"learners": [name]})
            assert str(entry["intents"][0]["learner"]) == str(entry["learner"]) == name


@pytest.mark.parametrize("key", ["learner", "username"])
def test_a_retirement_forgets_a_learner_and_followers_know_them_by_the_key(learner: Any, key: str) -> None:
    caller, other = make_user(), make_user()
    for each in (learner, other):
        make_intent(learner=each)
    told = [entry["learner_id"] for entry in read(ChangesView, "/", caller)["intents"]]
    assert told == json.loads(json.dumps([learner.pk, other.pk], default=str))
    name = str(learner.pk) if key == "learner" else learner.username
    for _ in range(2):
        assert asked(RetirementsView, "/", caller, {key: name}).status_code == 204
    assert [intent.learner for intent in ProgramIntent.objects.all()] == [other]
    assert read(ErasuresView, "/", caller) == [{"learner_id": told[0], "until": None}]


NAMES = {
    "badge": ("17", "17"),
    "met": (MOMENT, "2022-04-12T08:30:00.123456Z"),
    "score": (Decimal("1.5"), "1.500"),
    "born": (date(2001, 2, 3), "2001-02-03"),
    "rises": (time(4, 5, 6), "04:05:06"),
}


@pytest.mark.parametrize("names", ["pk", "username", *NAMES])
def test_a_learner_is_told_over_rest_by_one_integer_or_text_which_is_taken_back(names: str) -> None:
    if names != "pk" and not hasattr(get_user_model(), names):
        pytest.skip(f"the users of {HOST} have no {names}")
    value, expected = NAMES.get(names, (None, None))
    learner = get_user_model()._default_manager.get(pk=make_user(**({names: value} if value else {})).pk)
    row = make_row(program_uuid=str(PROGRAM), effective_timestamp=MOMENT.isoformat())
    del row["learner"]
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": names}):
        name = read(ProgramIntentsView, "/", learner, row, status=201)["learner"]
        assert name == (expected or json.loads(json.dumps(getattr(learner, names), default=str)))
        for caller in (learner, make_user()):
            tell_of(name, caller, {**row, "learner": name})
        key = told_by(read(ChangesView, "/", caller), "learner_id")
        assert asked(RetirementsView, "/", caller, {"learner": name}).status_code == 204
    assert told_by(read(ErasuresView, "/", caller), "learner_id") == key
    assert [erasure.learner_id for erasure in get_erasures()] == [learner.pk]


def tell_of(name: Any, caller: Any, row: dict[str, Any]) -> None:
    """Through each door that takes a name or tells it."""
    asks = f"/?learner={quote(str(name))}&program_uuid={PROGRAM}"
    answers = [
        read(ProgramIntentsView, "/", caller, row),
        read(ProgramIntentsView, "/", caller, [row]),
        *(read(view, asks, caller) for view in (ProgramIntentsView, LatestCertainIntentsView, ExplainView)),
        read(LatestCertainQueryView, "/", caller, {"learners": [name]}),
        read(ProgramLatestCertainView, "/", caller, program_uuid=str(PROGRAM)),
        read(ChangesView, "/", caller),
    ]
    assert [told_by(answer, "learner") for answer in answers] == [{name}] * len(answers)
    after = f"/?after={quote(str(name))}"
    assert read(ProgramLatestCertainView, after, caller, program_uuid=str(PROGRAM))["results"] == []


def told_by(answer: Any, name: str) -> set[Any]:
    """The values under the name, wherever in the answer."""
    if isinstance(answer, list):
        return {value for each in answer for value in told_by(each, name)}
    if not isinstance(answer, dict):
        return set()
    return told_by(list(answer.values()), name) | ({answer[name]} if name in answer else set())


def read(view: type[APIView], url: str, caller: Any, body: Any = None, status: int = 200, **path: str) -> Any:
    """The answer in JSON, which is the same in YAML."""
    response = asked(view, url, caller, body, **path)
    assert response.status_code == status, response.data
    told = json.loads(response.render().content)
    assert yaml.safe_load(YAMLRenderer().render(response.data)) == told
    return told


def asked(view: type[APIView], url: str, caller: Any, body: Any, **path: str) -> Any:
    """The answer to a caller who has all permissions, which these user models do without."""
    caller.has_perm = lambda permission: True
    requests = APIRequestFactory()
    request = requests.get(url) if body is None else requests.post(url, body, format="json")
    force_authenticate(request, caller)
    return view.as_view()(request, **path)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="on SQLite one transaction writes at a time")
def test_the_feed_of_changes_knows_a_writer_by_the_table(learner: Any) -> None:
    alone = engine_of("default").newest_and_writers()[1]
    with ThreadPoolExecutor() as pool:
        written = pool.submit(write_slowly, learner.pk)
        while engine_of("default").newest_and_writers()[1] == alone:
            assert not written.done()
        written.result()


def write_slowly(key: Any) -> None:
    """A statement that takes its time, and stores nothing."""
    slept = "SLEEP(3)" if connection.vendor == "mysql" else "length(pg_sleep(3)::text)"
    table = connection.ops.quote_name(ProgramIntent._meta.db_table)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (program_uuid, reason, certainty, effective_timestamp, created, learner_id)"
                f" SELECT '{PROGRAM}', 'A', 'MAYBE', '2022-04-12', '2022-04-12', '{key}'"
                f" FROM (SELECT 1 AS one) s WHERE {slept} = 5"
            )
    finally:
        connection.close()


if HOST == "uuid_user":

    @pytest.mark.parametrize("learner", [1, "1", "ada", None, True, b"1" * 16])
    def test_what_is_no_uuid_names_no_learner(learner: object) -> None:
        (outcome,) = record_intents([make_row(learner=learner)])
        assert set(outcome.errors) == {"learner"}

    def test_mariadb_refuses_a_learner_that_its_column_cannot_hold() -> None:
        outside_the_rfc = "4a458848-f946-c657-25a7-e5df7b05272c"
        (outcome,) = record_intents([make_row(learner=outside_the_rfc)])
        assert set(outcome.errors) == {"learner"}


# What the database's character set is, where it is not Unicode's.
CHARSET = getattr(settings, "CHARSET", "utf-8")


def can_be_spelled(key: str) -> bool:
    return key.encode(CHARSET, "replace").decode(CHARSET) == key


if NAMES_BY_TEXT:
    EVERY_KEY = [
        "it's",
        'say "hi"',
        "back\\slash",
        "\\",
        "a,b",
        "{a,b}",
        "{}",
        "[0]",
        "%s %d %%",
        "NULL",
        "null",
        "1",
        "01",
        "1.0",
        " leading",
        "tab\tline\nend",
        "\u00e9t\u00e9",
        "e\u0301",
        "\u6f22\u5b57",
        "\U0001f600\U0001f468\u200d\U0001f469",
        "\u200b",
        "k" * 20,
        "\u00e9" * 20,
        "\x7f\x01",
    ]
    KEYS = [*filter(can_be_spelled, EVERY_KEY)]

    @pytest.mark.parametrize("key", KEYS)
    def test_a_key_of_any_characters_is_taken_as_it_stands(key: str) -> None:
        learner = make_user(key=key)
        outcomes = record_intents([make_row(learner=key), make_row(learner=learner), make_row(learner="nobody")])
        assert [outcome.status for outcome in outcomes] == ["created", "duplicate", "rejected"]
        assert list(get_latest_certain_intents(key).values()) == [outcomes[0].intent]
        assert [intent.learner for intent in ProgramIntent.objects.all()] == [learner]

    @pytest.mark.parametrize("key", sorted({*EVERY_KEY} - {*KEYS}))
    @pytest.mark.parametrize("names", ["pk", "username"])
    def test_a_key_that_the_database_cannot_spell_names_nobody(
        learner: Any, key: str, names: str, tmp_path: Path
    ) -> None:
        nobody = f"No user is named by {key!r}."
        outcomes = record([make_row(learner=each) for each in (key, learner)], learner_field=names)
        assert [outcome.errors for outcome in outcomes] == [{"learner": [nobody]}, {}]
        for refusing in (get_latest_certain_intents, get_intent_history):
            with pytest.raises(InvalidIntent, match=r"^learner: No user is named by "):
                refusing(key)
        with pytest.raises(InvalidIntent, match=r"^learner: No user is named by "):
            ProgramIntent.objects.create(**make_row(learner=None), learner_id=key)
        report, rejects = tmp_path / "report.csv", tmp_path / "rejects.csv"
        lines = [f"{PROGRAM},{each},A,MAYBE,2022-04-12 00:00:00 Z" for each in (key, getattr(learner, names))]
        report.write_text("\n".join(["program_uuid,learner,reason,certainty,effective_timestamp", *lines]))
        with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": names}):
            with pytest.raises(CommandError, match=r"^1 row"):
                call_command("load_program_intents", str(report), rejects=str(rejects), stdout=StringIO())
            with pytest.raises(CommandError, match=r"^learner: No user is named by "):
                call_command("explain_program_intent", key, str(PROGRAM))
            asked = APIRequestFactory().get("/", {"learner": key, "program_uuid": str(PROGRAM)})
            learner.has_perm = lambda permission: True
            force_authenticate(asked, learner)
            for view in (ProgramIntentsView, LatestCertainIntentsView, ExplainView):
                assert view.as_view()(asked).data == {"learner": [nobody]}
        assert nobody in rejects.read_text()
        assert [intent.learner for intent in ProgramIntent.objects.all()] == [learner, learner]

    def test_keys_of_any_characters_go_into_one_batch() -> None:
        keys = set()
        for key in KEYS:
            # utf8mb4_unicode_ci takes some of them for the same.
            with suppress(IntegrityError), transaction.atomic():
                keys.add(make_user(key=key).pk)
        first, rest = rows_of(keys)[:1], rows_of(keys)[1:]
        assert write_batch(first) == (1, set())
        assert write_batch(rest, all_new=True) == (len(rest), set())
        assert write_batch(rows_of(keys), all_new=True) == write_batch(rows_of(keys)) == (0, set())
        assert set(ProgramIntent.objects.values_list("learner_id", flat=True)) == set(keys)

    @pytest.mark.parametrize(
        "key", [*filter(can_be_spelled, ("ADA", "Ada", "ada ", " ada", "ad\u00e1", "a", "ada\u200b", ""))]
    )
    def test_a_key_is_matched_exactly_not_as_a_collation_would(key: str) -> None:
        make_intent(learner=make_user(key="ada"))
        rows = [make_row(learner=key), make_row(learner=key, reason="OTHER")]
        assert [outcome.status for outcome in record_intents(rows)] == ["rejected", "rejected"]
        assert record_intents(rows[:1])[0].status == "rejected"
        for all_new in (False, True):
            assert write_batch(rows_of([key]), all_new=all_new) == (0, set(rows_of([key])))
        with pytest.raises(InvalidIntent):
            ProgramIntent.objects.create(**make_row(learner=None), learner_id=key)
        assert get_latest_certain_intents(key) == {}
        assert get_intent_history(key) == []
        assert explain_latest_certain_intent(key, PROGRAM).winner is None
        with pytest.raises(CommandError):
            call_command("explain_program_intent", key, str(PROGRAM))
        assert ProgramIntent.objects.count() == 1

    @pytest.mark.parametrize("is_generic", [True, False], ids=["generic", "vendor"])
    def test_a_key_that_a_collation_takes_for_a_stored_one_is_unknown(is_generic: bool) -> None:
        engine = made(is_generic)
        intent = make_intent(learner=make_user(key="ada"))
        row = NewIntent("ADA", PROGRAM, intent.reason, Certainty(intent.certainty), MOMENT)
        prepared = engine.prepare(spelled(engine.speller(), [row]))
        assert engine.refused(prepared) == {0}
        assert engine.stored(prepared) == []

    def test_keys_that_differ_in_case_are_two_learners_where_the_database_says_so() -> None:
        lower = make_user(key="ada")
        if connection.vendor == "mysql":
            pytest.skip("utf8mb4_unicode_ci holds no two keys that differ in case")
        upper = make_user(key="ADA")
        outcomes = record_intents(make_row(learner=learner) for learner in (lower, upper, "ada", "ADA"))
        assert [outcome.status for outcome in outcomes] == ["created", "created", "duplicate", "duplicate"]
        assert get_latest_certain_intents("ada")[PROGRAM].learner_id == "ada"
        assert get_latest_certain_intents("ADA")[PROGRAM].learner_id == "ADA"

    @pytest.mark.parametrize("more", ["x", " ", "\u00e9", "k" * 500])
    def test_a_key_longer_than_the_column_is_not_cut_to_another_users(more: str) -> None:
        key = make_user(key="k" * 20).pk
        rows = [make_row(learner=key + more), make_row(learner=key + more, reason="OTHER")]
        assert [outcome.status for outcome in record_intents(rows)] == ["rejected", "rejected"]
        assert record_intents(rows[:1])[0].status == "rejected"
        assert get_latest_certain_intents(key + more) == {}

    @pytest.mark.parametrize("is_generic", [True, False], ids=["generic", "vendor"])
    def test_an_erased_key_that_a_collation_takes_for_another_is_erased_as_it_is(is_generic: bool) -> None:
        deleted(make_user(key="ada"))
        later = make_user(key="ADA")
        now = timezone.now()
        assert record_intents([make_row(learner=later, effective_timestamp=now)])[0].status == "created"
        assert erase_learner(later).intents == 1
        assert "ADA" in {each.learner_id for each in get_erasures()}
        engine = made(is_generic)
        rows = spelled(engine.speller(), [NewIntent("ADA", PROGRAM, "OLD", Certainty.MAYBE, now)])
        assert engine.erased(engine.prepare(rows)) == {0}
        assert record_intents([make_row(learner=later, effective_timestamp=timezone.now())])[0].status == "created"

    def test_a_key_that_a_collation_takes_for_another_of_its_batch_is_unknown() -> None:
        """MariaDB keeps what a subquery answered for one of them."""
        make_user(key="ADA")
        rows = [make_row(learner=key, reason=reason) for reason in "ABC" for key in ("ADA", "ada")]
        assert [outcome.status for outcome in record_intents(rows)] == ["created", "rejected"] * 3
        first, second = rows_of(["ADA", "ada"])
        assert write_batch([first, second], all_new=True) == (1, {second})
        assert write_batch([first, second]) == (0, {second})

    @pytest.mark.parametrize("more", ["x", "k" * 500])
    def test_a_key_longer_than_the_column_is_nobodys_to_erase(learner: Any, more: str) -> None:
        key = "k" * 20 + more
        erasure = erase_learner(key)
        assert (erasure.learner_id, erasure.intents, get_erasures()) == (None, 0, [])
        assert asked(RetirementsView, "/", learner, {"learner": key}).status_code == 204

    def test_a_username_that_is_another_users_key_stands_for_its_own_user() -> None:
        make_user(key="a", username="b")
        rows = [make_row(learner="b"), make_row(learner="a")]
        outcomes = record(rows, learner_field="username")
        assert [outcome.status for outcome in outcomes] == ["created", "rejected"]
        assert outcomes[1].errors == {"learner": ["No user is named by 'a'."]}


if HOST == "text_user":

    @pytest.mark.parametrize("later", ["ADA", "ada "])
    def test_who_was_erased_is_matched_exactly_not_as_a_collation_would(later: str) -> None:
        make_intent(learner=make_user(key="ada")).learner.delete()
        intent = make_intent(learner=make_user(key=later))
        assert record([make_row(learner=later)])[0].status == "duplicate"
        erase_learner(intent.learner)
        assert [outcome.status for outcome in record([make_row(learner=later)])] == ["rejected"]
        assert [(each.learner_id, ProgramIntent.objects.count()) for each in get_erasures()][-1] == (later, 0)


if HOST == "text_user" and apps.is_installed("django.contrib.admin"):
    from program_intent.admin.learner import forget_context, key_of, learner_context

    @pytest.mark.parametrize("key", KEYS)
    def test_the_admins_page_of_a_learner_has_an_address_whatever_the_key(key: str) -> None:
        intent = make_intent(learner=make_user(key=key))
        address = reverse("admin:program_intent_programintent_learner", args=[admin_quote(key)])
        shown = learner_context(RequestFactory().get(address), unquote(resolve(unquote_url(address)).kwargs["key"]))
        assert shown["learner"] == intent.learner
        assert [each.id for each in shown["history"].intents] == [intent.pk]
        question = resolve(unquote_url(f"{address}forget/"))
        assert question.url_name == "program_intent_programintent_forget"
        asked = forget_context(key_of(unquote(question.kwargs["key"]), "default"))
        assert (asked["learner"], asked["intents"]) == (intent.learner, 1)

    def test_the_admins_page_of_a_learner_is_matched_exactly_not_as_a_collation_would() -> None:
        make_intent(learner=make_user(key="ada"))
        shown = learner_context(RequestFactory().get("/"), "ADA")
        assert (shown["learner"], shown["answers"], shown["history"].intents) == ("ADA", [], [])


if HOST == "decimal_user":

    @pytest.mark.parametrize("sent", ["1234567.50", "1234567.5", "1.2345675E+6"])
    def test_a_decimal_key_is_told_in_one_spelling_however_it_is_sent(learner: Any, sent: str) -> None:
        other = make_user(key=Decimal("1234567.5"))
        row = make_row(program_uuid=str(PROGRAM), effective_timestamp=MOMENT.isoformat(), learner=sent)
        told = read(ProgramIntentsView, "/", learner, row, status=201)
        assert told["learner"] == "1234567.50"
        tell_of(told["learner"], learner, row)
        assert told_by(read(ProgramIntentsView, f"/?learner={quote(sent)}", learner), "learner") == {told["learner"]}
        assert told_by(read(LatestCertainQueryView, "/", learner, {"learners": [sent]}), "learner") == {told["learner"]}
        assert record_intent(**make_row(learner=sent))[0].as_dict()["learner_id"] == told["learner"]
        assert [intent.learner for intent in ProgramIntent.objects.all()] == [other]

    def test_a_float_is_no_decimal_key() -> None:
        (outcome,) = record_intents([make_row(learner=float(make_user().pk))])
        assert set(outcome.errors) == {"learner"}

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps 15 digits")
    def test_a_decimal_key_of_more_digits_than_a_float_has_is_told_whole() -> None:
        learner = make_user(key=Decimal("123456789012345678.91"))
        row = make_row(program_uuid=str(PROGRAM), effective_timestamp=MOMENT.isoformat(), learner=str(learner.pk))
        assert read(ProgramIntentsView, "/", learner, row, status=201)["learner"] == "123456789012345678.91"
        tell_of("123456789012345678.91", learner, row)


if HOST == "uuid_user":

    def test_a_field_that_is_stored_otherwise_than_it_is_named_names_learners() -> None:
        learner = make_user(badge="17")
        (outcome,) = record([make_row(learner="17")], learner_field="badge")
        assert outcome.intent is not None
        assert outcome.intent.learner_id == learner.pk

    @pytest.mark.parametrize(
        ("field", "name"), [("badge", "17"), ("met", "2022-04-12T04:30:00.123456-04:00"), ("score", "1.5")]
    )
    def test_a_name_that_the_database_gives_in_another_form_is_known_as_erased(field: str, name: str) -> None:
        named = {"badge": "17", "met": MOMENT, "score": Decimal("1.5")}
        make_user(**named)
        told = {"learner_field": field, "learner": name, "first_seen": MOMENT, "last_seen": MOMENT}
        RejectedIntent.objects.create(**told)
        get_user_model().objects.get().delete()
        make_user(**named)
        (outcome,) = record([make_row(learner=name)], learner_field=field)
        assert outcome.status == "rejected"
        assert not RejectedIntent.objects.exists()

    def test_a_learner_is_erased_who_is_called_by_a_document() -> None:
        learner = make_user(card={"number": 17})
        with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "card"}):
            erase_learner(learner)
        assert [erasure.learner_id for erasure in get_erasures()] == [learner.pk]

    @pytest.mark.parametrize("name", [{"number": 17}, [17]])
    def test_a_document_names_nobody(learner: Any, name: Any) -> None:
        make_user(card=name)
        (outcome,) = record([make_row(learner=name)], learner_field="card")
        told = {"learner": [f"Expected a value that names a user, not {name}."]}
        assert outcome.errors == told
        with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "card"}):
            response = asked(RetirementsView, "/", learner, {"learner": name})
        assert (response.status_code, response.data) == (400, told)

    def test_a_user_who_is_deleted_by_the_text_of_the_key_is_erased_by_name_too(learner: Any) -> None:
        record_intent(**make_row(learner=learner))
        get_user_model()(pk=str(learner.pk)).delete()
        assert [(erasure.learner_id, erasure.intents) for erasure in get_erasures()] == [(learner.pk, 1)]
        make_user(username=learner.username)
        (outcome,) = record([make_row(learner=learner.username)], learner_field="username")
        assert outcome.status == "rejected"


def test_a_learner_is_exported_and_erased_by_the_text_of_the_key(learner: Any) -> None:
    record_intent(**make_row(learner=learner))
    other, _ = record_intent(**make_row(learner=make_user()))
    named = (str(learner.pk), "--learner-field", "pk")
    (intent,) = exported("--learner", *named)["intents"]
    assert str(intent["learner_id"]) == str(learner.pk)
    printed = StringIO()
    call_command("erase_program_intents", *named, stdout=printed)
    assert printed.getvalue().splitlines()[1].split()[:2] == [str(learner.pk), "1"]
    assert exported("--learner", *named)["erasures"][0]["intents"] == 1
    assert ProgramIntent.objects.get().pk == other.id


def exported(*arguments: str) -> dict[str, Any]:
    printed = StringIO()
    call_command("export_program_intents", *arguments, stdout=printed)
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found
