"""A name that the column's or the connection's character set cannot spell names nobody, through every door."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from program_intent import engines
from program_intent.api import record_intents
from program_intent.models import ProgramIntent
from tests.builders import PROGRAM, make_row, make_user
from tests.reports import load
from tests.rest import ADD, EXPLAIN, LATEST, OF_PROGRAM, QUERY, RECORD, VIEW, answer, client_of, get, refused
from tests.work import execute

UNSPELLABLE = "zo\U0001f600"
NOBODY = f"No user is named by '{UNSPELLABLE}'."
SPELLABLE = "zo\u00eb"
REPORT = f"""program_uuid,learner,reason,certainty,effective_timestamp
{PROGRAM},ada,FILE,MAYBE,2024-01-01T00:00:00Z
{PROGRAM},{UNSPELLABLE},FILE,MAYBE,2024-01-01T00:00:00Z
"""
NARROW = {
    "sqlite": [],
    "postgresql": ["connection"],
    "mysql": ["connection", "latin1", "utf8mb3"],
}[connection.vendor]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not NARROW, reason="SQLite has no character sets but Unicode's"),
]


@pytest.fixture(autouse=True, params=NARROW)
def narrow(request: pytest.FixtureRequest, settings: Settings, transactional_db: None) -> Iterator[None]:
    """Too few characters: for the column of user names, or on the way to it."""
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    if request.param == "connection":
        yield from narrow_connection()
    else:
        column = "ALTER TABLE auth_user MODIFY username VARCHAR(150) CHARACTER SET {} NOT NULL"
        execute(column.format(request.param))
        connection.close()  # which may have been told of the column as it was
        yield
        execute(column.format("utf8mb4 COLLATE utf8mb4_unicode_ci"))
    connection.close()


def narrow_connection() -> Iterator[None]:
    if connection.vendor == "postgresql":
        execute("SET client_encoding = 'LATIN1'")
        yield
        return
    options = connection.settings_dict["OPTIONS"]
    connection.settings_dict["OPTIONS"] = {**options, "charset": "latin1"}
    connection.close()
    yield
    connection.settings_dict["OPTIONS"] = options


@pytest.fixture
def ada() -> Any:
    return make_user(username="ada")


def test_python_refuses_the_name_row_by_row_and_keeps_the_callers_transaction(ada: User) -> None:
    zoe = make_user(username=SPELLABLE)
    rows = [make_row(learner=name) for name in (UNSPELLABLE, "ada", SPELLABLE)]
    with transaction.atomic():
        outcomes = record_intents(rows, learner_field="username")
        assert [outcome.status for outcome in outcomes] == ["rejected", "created", "created"]
    assert outcomes[0].errors == {"learner": [NOBODY]}
    assert set(ProgramIntent.objects.values_list("learner_id", flat=True)) == {ada.pk, zoe.pk}


@pytest.mark.parametrize("options", [{}, {"dry_run": True}])
def test_a_load_rejects_the_name_and_keeps_the_rest(tmp_path: Path, ada: User, options: dict[str, Any]) -> None:
    report, rejects = tmp_path / "report.csv", tmp_path / "rejects.csv"
    report.write_text(REPORT)
    loaded = load(report, rejects=str(rejects), **options)
    assert loaded.status == 3
    assert (loaded.counts.created, loaded.counts.rejected) == (1, 1)
    assert f"report.csv,3,learner: {NOBODY}" in rejects.read_text()


@pytest.mark.parametrize("url", [LATEST, RECORD, EXPLAIN])
def test_a_read_of_one_learner_refuses_the_name(ada: User, url: str) -> None:
    of_program = {"program_uuid": PROGRAM}
    assert refused(client_of(make_user(), VIEW), url, learner=UNSPELLABLE, **of_program) == {"learner": [NOBODY]}
    assert client_of(ada).get(url, {"learner": UNSPELLABLE, "program_uuid": str(PROGRAM)}).status_code == 403


def test_the_calls_about_many_refuse_the_name(ada: User) -> None:
    client = client_of(make_user(), VIEW)
    assert refused(client, OF_PROGRAM, after=UNSPELLABLE) == {"after": [NOBODY]}
    asked = client.post(QUERY, {"learners": ["ada", UNSPELLABLE]}, format="json")
    assert answer(asked, 400) == {"learners": [NOBODY]}


def test_a_post_refuses_the_name_row_by_row(ada: User) -> None:
    client = client_of(make_user(), ADD)
    row = make_row(program_uuid=str(PROGRAM), effective_timestamp="2026-02-01T09:00:00Z", learner="ada")
    unspellable = {**row, "learner": UNSPELLABLE}
    assert answer(client.post(RECORD, unspellable, format="json"), 400) == {"learner": [NOBODY]}
    batch = answer(client.post(RECORD, [unspellable, row], format="json"), 200)
    assert [outcome["status"] for outcome in batch["outcomes"]] == ["rejected", "created"]
    assert batch["outcomes"][0]["errors"] == {"learner": [NOBODY]}


def test_the_admin_finds_nobody_by_the_name(admin_client: Client) -> None:
    intents = "/admin/program_intent/programintent/"
    page = admin_client.get(intents, {"q": UNSPELLABLE})
    assert "No learner and no program is named by" in page.content.decode()
    assert admin_client.get(intents, {"certainty__exact": UNSPELLABLE}).status_code == 400
    assert admin_client.get(intents, {"reason": UNSPELLABLE}).status_code == 200


def test_a_command_refuses_the_name() -> None:
    with pytest.raises(CommandError, match=f"^learner: {NOBODY}$"):
        call_command("explain_program_intent", UNSPELLABLE, str(PROGRAM), stdout=StringIO())


def test_a_name_that_can_be_spelled_is_found_through_rest(ada: User) -> None:
    make_user(username=SPELLABLE)
    record_intents([make_row(learner=SPELLABLE)], learner_field="username")
    (intent,) = get(client_of(make_user(), VIEW), LATEST, learner=SPELLABLE)
    assert intent["learner"] == SPELLABLE


def test_the_database_is_asked_once_per_connection_and_not_for_ascii() -> None:
    engine, field = engines.of(connection, ProgramIntent), User._meta.get_field("username")
    connection.ensure_connection()
    with CaptureQueriesContext(connection) as queries:
        record_intents([make_row(learner="nobody")], learner_field="username")
        named = len(queries)
        for text in (SPELLABLE, UNSPELLABLE) * 2:
            assert engine.can_spell(field, text) is (text == SPELLABLE)
    assert len(queries) - named <= 1
