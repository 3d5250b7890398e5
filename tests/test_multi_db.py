"""Hosts with several databases: what is written, and what is read to write it, goes to the write database."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.test import override_settings
from rest_framework.test import APIClient

from program_intent.api import (
    erase_learner,
    explain_latest_certain_intent,
    get_erasures,
    get_intent_history,
    get_latest_certain_intents,
    record_intent,
    record_intents,
)
from program_intent.data import Certainty
from program_intent.exceptions import AppendOnlyError, InvalidIntent
from program_intent.models import ErasedName, ProgramIntent
from program_intent.models.intent import engine_of
from program_intent.store.erase import erase
from program_intent.store.record import record
from program_intent.validation.judge import NewIntent
from tests.builders import MOMENT, PROGRAM, make_intent, make_row, make_user, spelled, write_batch
from tests.rest import CHANGES

pytestmark = pytest.mark.django_db(databases=["default", "other"])


class ReadsFromAReplica:
    """Writes go to ``other``; reads to ``default``, a replica that lags behind so far that it is empty."""

    def db_for_read(self, model: object, **hints: object) -> str:
        return "default"

    def db_for_write(self, model: object, **hints: object) -> str:
        return "other"

    def allow_relation(self, one: object, another: object, **hints: object) -> bool:
        return True


@pytest.fixture
def replica() -> Iterator[None]:
    with override_settings(DATABASE_ROUTERS=[ReadsFromAReplica()]):
        yield


@pytest.fixture
def learner(replica: None) -> Any:
    return make_user()


def written(alias: str) -> int:
    return QuerySet(ProgramIntent, using=alias).count()


def test_an_intent_is_written_to_the_write_database(learner: Any) -> None:
    intent, created = record_intent(**make_row(learner=learner))
    assert created
    assert (written("default"), written("other")) == (0, 1)
    assert ProgramIntent.objects.using("other").get().pk == intent.id


def test_the_read_that_follows_a_write_goes_to_the_write_database(learner: Any) -> None:
    row = make_row(learner=learner)
    first, _ = record_intent(**row)
    assert record_intent(**row) == (first, False)
    outcomes = record_intents([row, {**row, "reason": "OTHER"}, {**row, "learner": 2**31 - 1}])
    assert [outcome.status for outcome in outcomes] == ["duplicate", "created", "rejected"]
    assert outcomes[0].intent == first
    assert written("other") == 2


def test_a_learner_is_erased_in_the_write_database(learner: Any) -> None:
    late = MOMENT.replace(year=2040)
    make_intent(learner=learner, effective_timestamp=late)
    erase_learner(learner, retired=True)
    assert written("other") == 0
    # Of a retired learner the names alone say until when.
    erase(learner.pk, using="other", names=[("username", "formerly")])
    get_user_model().objects.using("other").get().delete()
    untils = ErasedName.objects.using("other").values_list("until", flat=True)
    assert list(untils) == [late, late]
    assert [erasure.learner_id for erasure in get_erasures()] == [learner.pk]


def test_a_learner_is_looked_up_in_the_write_database(learner: Any) -> None:
    rows = [make_row(learner=name) for name in (learner.username, "nobody")]
    outcomes = record(rows, learner_field="username")
    assert [outcome.status for outcome in outcomes] == ["created", "rejected"]


def test_a_new_row_is_judged_by_the_write_database(learner: Any) -> None:
    intent = make_intent(learner=learner)
    assert (written("default"), written("other")) == (0, 1)
    with pytest.raises(AppendOnlyError):
        intent.save()
    with pytest.raises(InvalidIntent):
        ProgramIntent.objects.create(**make_row(learner=None), learner_id=2**31 - 1)


def test_the_question_is_asked_of_the_read_database(learner: Any) -> None:
    intent, _ = record_intent(**make_row(learner=learner))
    assert get_latest_certain_intents(learner) == {}
    assert get_intent_history(learner) == []
    assert explain_latest_certain_intent(learner, PROGRAM).winner is None
    QuerySet[ProgramIntent](ProgramIntent, using="default").bulk_create(list(ProgramIntent.objects.using("other")))
    assert get_latest_certain_intents(learner) == {PROGRAM: intent}
    assert get_intent_history(learner) == [intent]
    assert explain_latest_certain_intent(learner, PROGRAM).winner == intent


def test_changes_over_rest_and_their_learners_are_read_from_the_write_database(learner: Any) -> None:
    """A replica may not know a new learner yet."""
    record_intent(**make_row(learner=learner))
    client = APIClient()
    client.force_authenticate(User(is_superuser=True))
    (intent,) = client.get(CHANGES).json()["intents"]
    assert intent["learner"] == learner.pk


def test_a_named_database_is_used_without_a_router() -> None:
    user = User(username="ada")
    user.save(using="other")
    ProgramIntent.objects.using("other").create(**make_row(learner=user))
    assert (written("default"), written("other")) == (0, 1)
    with pytest.raises(InvalidIntent):
        ProgramIntent.objects.using("default").create(**make_row(learner=None), learner_id=user.pk)


def test_a_batch_of_the_loader_is_written_to_the_database_it_names() -> None:
    user = User(username="ada")
    user.save(using="other")
    row = NewIntent(user.pk, PROGRAM, "A", Certainty.MAYBE, MOMENT)
    rows = spelled(engine_of("other").speller(), [row])
    assert write_batch(rows, "other") == (1, set())
    assert write_batch(rows, "other") == (0, set())
    assert write_batch(rows, "default") == (0, set(rows))
    assert (written("default"), written("other")) == (0, 1)


def test_deleting_a_user_takes_along_the_intents_of_that_database() -> None:
    user = User(username="ada")
    user.save(using="other")
    ProgramIntent.objects.using("other").create(**make_row(learner=user))
    user.delete(using="other")
    assert written("other") == 0
