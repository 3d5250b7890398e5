"""What a sync refused is kept as it was read, and comes in for whom it named, and for nobody else."""

from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from program_intent.intake.refused import LONGEST_VALUE
from program_intent.models import Checkpoint, ProgramIntent, RejectedIntent, Run
from test_settings import ENGINE
from tests.builders import make_user
from tests.test_sync import T0, Warehouse, configure, counts, sync, warehouse  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def by_username(warehouse: Warehouse, settings: Settings) -> Warehouse:  # noqa: F811
    configure(settings, warehouse, LEARNER_FIELD="username")
    return warehouse


def sync_an_hour_later() -> Any:
    Checkpoint.objects.update(retried=None, cursor="text 2026-11-25 00:00:00")
    return sync()


def retry() -> None:
    call_command("retry_rejected_program_intents", stdout=StringIO())


def learners_of_intents() -> list[str]:
    return sorted(intent.learner.username for intent in ProgramIntent.objects.all())


@pytest.mark.parametrize("name", ["eve\u200b", "a\u3000b", "c\u00a0d", "\x1f", "zo\u00eb"])
def test_a_name_that_nobody_bears_waits_for_him_who_will_and_lets_in_nobody_else(
    by_username: Warehouse, name: str
) -> None:
    by_username.add(name)
    assert counts(sync()) == (1, 0, 0, 1)
    make_user(username=name.encode("unicode_escape").decode())
    sync_an_hour_later()
    retry()
    assert not ProgramIntent.objects.exists()
    make_user(username=name)
    sync_an_hour_later()
    assert learners_of_intents() == [name]
    assert not RejectedIntent.objects.exists()


def test_a_name_that_no_database_holds_is_kept_spelled_out_and_lets_in_nobody(by_username: Warehouse) -> None:
    by_username.add("nul\0")
    sync()
    assert RejectedIntent.objects.get().learner == r"nul\x00"
    make_user(username=r"nul\x00")
    sync_an_hour_later()
    retry()
    assert not ProgramIntent.objects.exists()


def test_a_name_that_two_bear_is_nobodys_until_one_bears_it(warehouse: Warehouse, settings: Settings) -> None:  # noqa: F811
    configure(settings, warehouse, LEARNER_FIELD="email")
    one, other = (make_user(email="shared@example.org") for _ in range(2))
    warehouse.add("shared@example.org")
    assert counts(sync()) == (1, 0, 0, 1)
    assert RejectedIntent.objects.get().error == "learner: Several users are named by 'shared@example.org'."
    sync_an_hour_later()
    assert not ProgramIntent.objects.exists()
    type(other).objects.filter(pk=other.pk).update(email="other@example.org")
    sync_an_hour_later()
    assert learners_of_intents() == [one.username]


def test_a_number_that_is_no_name_is_refused_also_when_it_is_tried_again(by_username: Warehouse) -> None:
    make_user(username="7000")
    by_username.add(7000)
    report = sync()
    assert (counts(report), report.new_rejects) == ((1, 0, 0, 1), 1)
    retry()
    Checkpoint.objects.update(retried=None)
    report = sync()
    assert (counts(report), report.new_rejects) == ((1, 0, 0, 1), 0)
    assert not ProgramIntent.objects.exists()


def test_a_corrected_field_names_also_those_who_were_refused_before(warehouse: Warehouse, settings: Settings) -> None:  # noqa: F811
    warehouse.add("7000")
    sync()
    make_user(pk=7001, username="7000")
    configure(settings, warehouse, LEARNER_FIELD="username")
    make_user(pk=7000, username="somebody-else")
    retry()
    assert learners_of_intents() == ["7000"]


def test_a_field_that_is_gone_stops_neither_the_sync_nor_the_retry_of_others(warehouse: Warehouse) -> None:  # noqa: F811
    warehouse.add(77_777, 88_888)
    sync()
    RejectedIntent.objects.filter(learner="77777").update(learner_field="nickname")
    make_user(pk=77_777)
    make_user(pk=88_888)
    retry()
    assert [intent.learner_id for intent in ProgramIntent.objects.all()] == [88_888]
    assert counts(sync_an_hour_later()) == (0, 0, 0, 0)  # which knows the field of its source
    assert ProgramIntent.objects.count() == 2


def test_what_is_refused_again_says_why_and_is_no_longer_tried_each_hour(warehouse: Warehouse) -> None:  # noqa: F811
    warehouse.add(77_777, time="2026-11-01 00:00:00")
    sync()
    RejectedIntent.objects.update(error="learner: No user is named by 77777.")
    make_user(pk=77_777)
    sync_an_hour_later()
    kept = RejectedIntent.objects.get()
    assert kept.error.startswith("effective_timestamp: ")
    assert kept.attempts == 2
    runs = Run.objects.count()
    sync_an_hour_later()
    assert Run.objects.count() == runs


@pytest.mark.skipif(ENGINE != "sqlite", reason="what is kept is cut before any database has it")
def test_a_document_in_place_of_a_value_is_kept_in_part_and_stops_nothing(warehouse: Warehouse) -> None:  # noqa: F811
    for number in range(40):
        warehouse.add(1, reason=f"{number} {'x' * 500_000}")
    for number in range(600):
        warehouse.add(1, reason=f"{number} {'x' * 9_000}")
    warehouse.add("y" * 20_000_000)
    warehouse.add(2)
    assert counts(sync()) == (642, 1, 0, 641)
    assert max(len(str(row.reason)) for row in RejectedIntent.objects.all()) == LONGEST_VALUE + 3
    report = sync()
    assert (report.rejected, report.new_rejects) == (641, 0)


def test_a_name_of_any_length_is_nobodys(by_username: Warehouse) -> None:
    by_username.add("y" * 20_000_000)
    by_username.add("zo\u00eb" * 5_000_000)
    make_user(username="ada")
    by_username.add("ada")
    assert counts(sync()) == (3, 1, 0, 2)


def test_two_rows_that_differ_only_in_where_a_value_ends_are_two(by_username: Warehouse) -> None:
    by_username.add("a\x1fb", program_uuid="c")
    by_username.add("a", program_uuid="b\x1fc")
    sync()
    assert RejectedIntent.objects.count() == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others wait for a writer wherever they meet him")
def test_no_transaction_begins_by_reading_so_that_each_can_wait(warehouse: Warehouse) -> None:  # noqa: F811
    warehouse.add(1, 77_777)
    with CaptureQueriesContext(connection) as asked:
        sync()
        make_user(pk=77_777)
        retry()
    texts = [each["sql"].lstrip() for each in asked]
    begun = [after for before, after in pairwise(texts) if before.startswith(("BEGIN", "START"))]
    assert len(begun) > 3
    assert [text for text in begun if text.startswith("SELECT")] == []
