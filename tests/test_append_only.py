"""Every door that could change, drop or smuggle in a row is shut."""

import json
import unittest
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core import serializers
from django.core.management import call_command
from django.core.serializers.base import DeserializedObject
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.signals import post_delete
from django.test import TransactionTestCase
from django.utils import timezone

from program_intent.api import record_intent
from program_intent.data import Certainty
from program_intent.exceptions import AppendOnlyError, InvalidIntent, ProgramIntentError
from program_intent.models import ProgramIntent
from tests.builders import MOMENT, PROGRAM, make_intent, make_row, make_user

pytestmark = pytest.mark.django_db

NEVER = "Intents are never modified or deleted: record a new intent with program_intent.api.record_intent."
Door = Callable[[ProgramIntent], object]


def changed(intent: ProgramIntent) -> ProgramIntent:
    intent.reason = "CHANGED"
    return intent


def as_new(intent: ProgramIntent, **fields: Any) -> ProgramIntent:
    """An instance that was not read from the database and carries the stored primary key."""
    return ProgramIntent(**{**make_row(learner=intent.learner, reason="CHANGED"), "pk": intent.pk, **fields})


def wait_for(call: Callable[[], Awaitable[object]]) -> object:
    async def wait() -> object:
        return await call()

    return async_to_sync(wait)()


def load_fixture(intent: ProgramIntent) -> None:
    for loaded in serializers.deserialize("json", serializers.serialize("json", [intent])):
        loaded.save()


class ProxyIntent(ProgramIntent):
    class Meta:
        app_label = "tests"
        proxy = True


SAVES: dict[str, Door] = {
    "save()": lambda stored: changed(stored).save(),
    "save() with nothing changed": lambda stored: stored.save(),
    "save(update_fields) of none": lambda stored: changed(stored).save(update_fields=[]),
    "save(update_fields)": lambda stored: changed(stored).save(update_fields=["reason"]),
    "save(force_update)": lambda stored: changed(stored).save(force_update=True),
    "save(force_insert)": lambda stored: changed(stored).save(force_insert=True),
    "save_base()": lambda stored: changed(stored).save_base(),
    "save_base(raw)": lambda stored: changed(stored).save_base(raw=True),
    "asave()": lambda stored: wait_for(lambda: changed(stored).asave()),
    "save() of a deferred instance": lambda stored: changed(
        ProgramIntent.objects.only("reason").get(pk=stored.pk)
    ).save(),
    "save() of a new instance": lambda stored: as_new(stored).save(),
    "save() of a new instance with the same values": lambda stored: as_new(stored, reason=stored.reason).save(),
    "save(update_fields) of a new instance": lambda stored: as_new(stored).save(update_fields=["reason"]),
    "save(force_update) of a new instance": lambda stored: as_new(stored).save(force_update=True),
    "save(force_insert) of a new instance": lambda stored: as_new(stored).save(force_insert=True),
    "save() through a proxy": lambda stored: changed(ProxyIntent.objects.get(pk=stored.pk)).save(),
    "create() with a stored key": lambda stored: ProgramIntent.objects.create(
        **make_row(learner=stored.learner, reason="CHANGED"), pk=stored.pk
    ),
    "a fixture": lambda stored: load_fixture(changed(stored)),
    "user.program_intents.add()": lambda stored: stored.learner.program_intents.add(changed(stored), bulk=False),
    "update_or_create()": lambda stored: ProgramIntent.objects.update_or_create(
        pk=stored.pk, defaults={"reason": "CHANGED"}
    ),
    "aupdate_or_create()": lambda stored: wait_for(
        lambda: ProgramIntent.objects.aupdate_or_create(pk=stored.pk, defaults={"reason": "CHANGED"})
    ),
    "user.program_intents.update_or_create()": lambda stored: stored.learner.program_intents.update_or_create(
        program_uuid=stored.program_uuid, defaults={"reason": "CHANGED"}
    ),
}

UPDATES: dict[str, Door] = {
    "objects.update()": lambda stored: ProgramIntent.objects.update(reason="CHANGED"),
    "filter().update()": lambda stored: ProgramIntent.objects.filter(pk=stored.pk).update(reason=F("certainty")),
    "none().update()": lambda stored: ProgramIntent.objects.none().update(reason="CHANGED"),
    "aupdate()": lambda stored: wait_for(lambda: ProgramIntent.objects.aupdate(reason="CHANGED")),
    "_base_manager.update()": lambda stored: ProgramIntent._base_manager.update(reason="CHANGED"),
    "_default_manager.update()": lambda stored: ProgramIntent._default_manager.update(reason="CHANGED"),
    "user.program_intents.update()": lambda stored: stored.learner.program_intents.update(reason="CHANGED"),
    "user.program_intents.filter().update()": lambda stored: stored.learner.program_intents.filter(
        certainty=stored.certainty
    ).update(reason="CHANGED"),
    "user.program_intents.add() of another's": lambda stored: make_user().program_intents.add(stored),
    "user.program_intents.set() of another's": lambda stored: make_user().program_intents.set([stored]),
    "update() through a proxy": lambda stored: ProxyIntent.objects.update(reason="CHANGED"),
}

BULK_UPDATES: dict[str, Door] = {
    "objects.bulk_update()": lambda stored: ProgramIntent.objects.bulk_update([changed(stored)], ["reason"]),
    "abulk_update()": lambda stored: wait_for(
        lambda: ProgramIntent.objects.abulk_update([changed(stored)], ["reason"])
    ),
    "_base_manager.bulk_update()": lambda stored: ProgramIntent._base_manager.bulk_update(
        [changed(stored)], ["reason"]
    ),
    "user.program_intents.bulk_update()": lambda stored: stored.learner.program_intents.bulk_update(
        [changed(stored)], ["reason"]
    ),
}

DELETES: dict[str, Door] = {
    "delete()": lambda stored: stored.delete(),
    "adelete()": lambda stored: wait_for(lambda: stored.adelete()),
    "delete() through a proxy": lambda stored: ProxyIntent.objects.get(pk=stored.pk).delete(),
    "all().delete()": lambda stored: ProgramIntent.objects.all().delete(),
    "filter().delete()": lambda stored: ProgramIntent.objects.filter(pk=stored.pk).delete(),
    "all().adelete()": lambda stored: wait_for(lambda: ProgramIntent.objects.all().adelete()),
    "_base_manager.all().delete()": lambda stored: ProgramIntent._base_manager.all().delete(),
    "user.program_intents.all().delete()": lambda stored: stored.learner.program_intents.all().delete(),
}

UPSERT = {"update_conflicts": True, "unique_fields": ["id"], "update_fields": ["reason"]}
BULK_CREATES: dict[str, Door] = {
    "bulk_create()": lambda stored: ProgramIntent.objects.bulk_create([as_new(stored, pk=None)]),
    "bulk_create(ignore_conflicts)": lambda stored: ProgramIntent.objects.bulk_create(
        [as_new(stored)], ignore_conflicts=True
    ),
    "bulk_create(update_conflicts)": lambda stored: ProgramIntent.objects.bulk_create([as_new(stored)], **UPSERT),
    "bulk_create() of nothing": lambda stored: ProgramIntent.objects.bulk_create([]),
    "abulk_create()": lambda stored: wait_for(lambda: ProgramIntent.objects.abulk_create([as_new(stored, pk=None)])),
    "_base_manager.bulk_create()": lambda stored: ProgramIntent._base_manager.bulk_create([as_new(stored, pk=None)]),
    "user.program_intents.bulk_create()": lambda stored: stored.learner.program_intents.bulk_create(
        [as_new(stored, pk=None)]
    ),
}


def table() -> list[dict[str, Any]]:
    return [dict(row) for row in ProgramIntent.objects.order_by("pk").values()]


@pytest.fixture
def stored() -> ProgramIntent:
    return make_intent()


def refusal(door: Door, stored: ProgramIntent) -> str:
    """The message of the door, after which the table is as before."""
    before = table()
    # Django's related managers mark the surrounding transaction for rollback, whatever is raised in them.
    with pytest.raises(AppendOnlyError) as refused, transaction.atomic():
        door(stored)
    assert table() == before
    assert isinstance(refused.value, ProgramIntentError)
    return str(refused.value)


@pytest.mark.parametrize("door", SAVES.values(), ids=SAVES)
def test_saving_a_stored_row_is_refused(door: Door, stored: ProgramIntent) -> None:
    assert refusal(door, stored) == f"save() of a stored intent is refused. {NEVER}"


@pytest.mark.parametrize("door", UPDATES.values(), ids=UPDATES)
def test_updating_is_refused(door: Door, stored: ProgramIntent) -> None:
    assert refusal(door, stored) == f"update() is refused. {NEVER}"


@pytest.mark.parametrize("door", BULK_UPDATES.values(), ids=BULK_UPDATES)
def test_updating_in_bulk_is_refused(door: Door, stored: ProgramIntent) -> None:
    assert refusal(door, stored) == f"bulk_update() is refused. {NEVER}"


@pytest.mark.parametrize("door", DELETES.values(), ids=DELETES)
def test_deleting_is_refused(door: Door, stored: ProgramIntent) -> None:
    assert refusal(door, stored) == f"delete() is refused. {NEVER}"


@pytest.mark.parametrize("door", BULK_CREATES.values(), ids=BULK_CREATES)
def test_creating_in_bulk_is_refused_with_the_name_of_what_to_use(door: Door, stored: ProgramIntent) -> None:
    assert "use program_intent.api.record_intents" in refusal(door, stored)


@pytest.mark.parametrize("name", ["delete", "raw_delete", "clear", "remove"])
def test_no_manager_offers_what_would_delete(name: str, stored: ProgramIntent) -> None:
    for manager in (ProgramIntent.objects, ProgramIntent._base_manager, stored.learner.program_intents):
        assert not hasattr(manager, name)


def test_no_template_can_delete_or_update(stored: ProgramIntent) -> None:
    for queryset in (ProgramIntent.objects.all(), stored.learner.program_intents.all()):
        for name in ("delete", "update", "bulk_update", "bulk_create"):
            assert getattr(queryset, name).alters_data, name


def test_loaddata_of_a_stored_row_is_refused(stored: ProgramIntent, tmp_path: Path) -> None:
    fixture = tmp_path / "intents.json"
    fixture.write_text(serializers.serialize("json", [changed(stored)]))
    before = table()
    with pytest.raises(AppendOnlyError):
        call_command("loaddata", str(fixture), verbosity=0)
    assert table() == before


@pytest.mark.parametrize("form", ["json", "jsonl", "xml"])
def test_loaddata_of_identical_rows_passes_and_changes_nothing(form: str, tmp_path: Path) -> None:
    """JSON cuts times to milliseconds; the stored ones keep their microseconds."""
    make_intent(), make_intent()
    fixture, before = tmp_path / f"intents.{form}", table()
    call_command("dumpdata", "program_intent", format=form, output=str(fixture), verbosity=0)
    for _ in range(2):
        call_command("loaddata", str(fixture), verbosity=0)
    assert table() == before


OTHER_VALUES: dict[str, Any] = {
    "program_uuid": UUID(int=1),
    "reason": "CHANGED",
    "certainty": "MAYBE",
    "effective_timestamp": MOMENT + timedelta(microseconds=1),
    "created": MOMENT,
}


@pytest.mark.parametrize("name", [*OTHER_VALUES, "learner"])
def test_a_fixture_with_one_other_value_under_a_stored_key_is_refused(
    name: str, stored: ProgramIntent, tmp_path: Path
) -> None:
    before = table()
    setattr(stored, name, make_user() if name == "learner" else OTHER_VALUES[name])
    fixture = tmp_path / "intents.xml"
    fixture.write_text(serializers.serialize("xml", [stored]))
    with pytest.raises(AppendOnlyError):
        call_command("loaddata", str(fixture), verbosity=0)
    assert table() == before


def test_a_fixture_with_a_stored_intent_under_another_key_is_an_integrity_error(
    stored: ProgramIntent, tmp_path: Path
) -> None:
    before = table()
    stored.pk += 1
    fixture = tmp_path / "intents.xml"
    fixture.write_text(serializers.serialize("xml", [stored]))
    with pytest.raises(IntegrityError):
        call_command("loaddata", str(fixture), verbosity=0)
    assert table() == before


@pytest.mark.django_db(transaction=True)
def test_a_test_case_with_serialized_rollback_has_the_rows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoTests(TransactionTestCase):
        serialized_rollback = True

        def test_first(self) -> None:
            assert ProgramIntent.objects.count() == 1

        test_second = test_first

    make_intent()
    contents = connection.creation.serialize_db_to_string()
    monkeypatch.setattr(connection, "_test_serialized_contents", contents, raising=False)
    result = unittest.TestResult()
    for name in ("test_first", "test_second"):  # the first one finds the rows, the second one an empty table
        TwoTests(name)(result)
    assert (result.testsRun, result.errors, result.failures) == (2, [], [])


def test_loaddata_of_new_rows_stores_them_normalised_also_before_their_users(tmp_path: Path) -> None:
    row = make_row(learner=4711, reason=" bundle_purchase ", effective_timestamp="2022-04-12T10:30:00.123456+02:00")
    intents = [{"model": "program_intent.programintent", "pk": 5, "fields": row}]
    users = [{"model": "auth.user", "pk": 4711, "fields": {"username": "ada"}}]
    fixture = tmp_path / "intents.json"
    fixture.write_text(json.dumps(intents + users, default=str))
    call_command("loaddata", str(fixture), verbosity=0)
    intent = ProgramIntent.objects.get(pk=5)
    assert (intent.learner.username, intent.reason) == ("ada", "BUNDLE_PURCHASE")
    assert intent.effective_timestamp == MOMENT


def test_loaddata_of_a_bad_row_is_refused(tmp_path: Path) -> None:
    row = make_row(learner=make_user().pk, reason="no reason")
    fixture = tmp_path / "intents.json"
    fixture.write_text(json.dumps([{"model": "program_intent.programintent", "fields": row}], default=str))
    with pytest.raises(InvalidIntent):
        call_command("loaddata", str(fixture), verbosity=0)
    assert table() == []


CREATES: dict[str, Callable[..., object]] = {
    "save()": lambda **row: ProgramIntent(**row).save(),
    "save(force_insert)": lambda **row: ProgramIntent(**row).save(force_insert=True),
    "asave()": lambda **row: wait_for(lambda: ProgramIntent(**row).asave()),
    "objects.create()": lambda **row: ProgramIntent.objects.create(**row),
    "objects.acreate()": lambda **row: wait_for(lambda: ProgramIntent.objects.acreate(**row)),
    "_base_manager.create()": lambda **row: ProgramIntent._base_manager.create(**row),
    "objects.get_or_create()": lambda **row: ProgramIntent.objects.get_or_create(defaults=row, pk__lt=0),
    "objects.update_or_create()": lambda **row: ProgramIntent.objects.update_or_create(defaults=row, pk__lt=0),
    "save() through a proxy": lambda **row: ProxyIntent(**row).save(),
}
BY_USER: dict[str, Callable[..., object]] = {
    "user.program_intents.create()": lambda learner, **row: learner.program_intents.create(**row),
    "user.program_intents.add(bulk=False)": lambda learner, **row: learner.program_intents.add(
        ProgramIntent(**row), bulk=False
    ),
}


@pytest.mark.parametrize("create", [*CREATES.values(), *BY_USER.values()], ids=[*CREATES, *BY_USER])
def test_a_new_row_is_stored_normalised(create: Callable[..., object]) -> None:
    learner = make_user()
    create(
        learner=learner,
        program_uuid=str(PROGRAM).upper(),
        reason=" bundle_purchase ",
        certainty="MAYBE",
        effective_timestamp=MOMENT.isoformat(),
    )
    (intent,) = learner.program_intents.all()
    assert (intent.program_uuid, intent.reason) == (PROGRAM, "BUNDLE_PURCHASE")
    assert (intent.certainty, intent.effective_timestamp) == (Certainty.MAYBE, MOMENT)


@pytest.mark.parametrize("create", [*CREATES.values(), *BY_USER.values()], ids=[*CREATES, *BY_USER])
def test_a_new_row_is_judged(create: Callable[..., object]) -> None:
    row = make_row(
        learner=make_user(), reason="A" * 65, certainty="YES", effective_timestamp=MOMENT.replace(tzinfo=None)
    )
    with pytest.raises(InvalidIntent) as refused, transaction.atomic():
        create(**row)
    assert set(refused.value.errors) == {"reason", "certainty", "effective_timestamp"}
    assert table() == []


@pytest.mark.parametrize("create", CREATES.values(), ids=CREATES)
def test_a_new_row_of_an_unknown_learner_is_refused(create: Callable[..., object]) -> None:
    row = make_row()
    del row["learner"]
    with pytest.raises(InvalidIntent) as refused:
        create(**row, learner_id=2**31 - 1)
    assert refused.value.errors == {"learner": ["No user is named by 2147483647."]}
    assert table() == []


@pytest.mark.parametrize(
    ("created", "message"),
    [
        (MOMENT.replace(tzinfo=None), "Expected a time with a UTC offset, such as 2022-04-12T00:00:00Z, not "),
        ("2024-01-01T00:00:00", "Expected a time with a UTC offset, such as 2022-04-12T00:00:00Z, not "),
        ("yesterday", "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not 'yesterday'."),
        (None, "Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not None."),
        (MOMENT.replace(year=1899), "Expected a time from 1900-01-01 to 9999-12-30, not "),
    ],
)
def test_the_time_of_writing_that_a_fixture_brings_is_judged(created: Any, message: str) -> None:
    intent = ProgramIntent(**make_row(learner=make_user(), created=created))
    with pytest.raises(InvalidIntent) as refused:
        DeserializedObject(intent).save()
    assert set(refused.value.errors) == {"created"}
    assert refused.value.errors["created"][0].startswith(message)
    assert table() == []


@pytest.mark.parametrize("carried", [MOMENT, MOMENT.replace(year=2999), None, "yesterday"], ids=str)
@pytest.mark.parametrize("create", [*CREATES.values(), *BY_USER.values()], ids=[*CREATES, *BY_USER])
def test_a_new_row_is_written_now_whatever_the_instance_carries(create: Callable[..., object], carried: Any) -> None:
    before = timezone.now()
    create(**make_row(learner=make_user(), created=carried))
    (intent,) = ProgramIntent.objects.all()
    assert before <= intent.created <= timezone.now()


def test_an_instance_is_written_when_it_is_saved_not_when_it_is_made() -> None:
    intent = ProgramIntent(**make_row(learner=make_user()))
    made = timezone.now()
    intent.save()
    assert made <= intent.created == ProgramIntent.objects.get().created


def test_a_user_who_is_not_saved_yet_is_refused_in_the_words_of_the_api() -> None:
    errors = {"learner": ["Expected a saved user, not one without a primary key."]}
    user = get_user_model()(username="later")
    for create in (ProgramIntent.objects.create, record_intent):
        with pytest.raises(InvalidIntent) as refused:
            create(**make_row(learner=user))
        assert refused.value.errors == errors
    intent = ProgramIntent(**make_row(learner=user))
    user.save()
    intent.save()
    assert intent.learner_id == user.pk


def test_a_new_row_needs_its_values() -> None:
    with pytest.raises(InvalidIntent) as refused:
        ProgramIntent.objects.create()
    required = ["This field is required."]
    assert refused.value.errors == dict.fromkeys(
        ["learner", "program_uuid", "reason", "certainty", "effective_timestamp"], required
    )


def test_a_refused_row_leaves_the_callers_transaction_usable(stored: ProgramIntent) -> None:
    with pytest.raises(InvalidIntent):
        make_intent(reason="")
    with pytest.raises(AppendOnlyError):
        changed(stored).save()
    make_intent()
    assert len(table()) == 2


def test_an_intent_stored_already_is_an_integrity_error_as_for_any_unique_row(stored: ProgramIntent) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_intent(learner=stored.learner)
    assert len(table()) == 1


def test_the_database_checks_the_certainty(stored: ProgramIntent) -> None:
    sql = "INSERT INTO {0} ({1}, certainty) SELECT {1}, 'SURE' FROM {0}".format(
        ProgramIntent._meta.db_table, "learner_id, program_uuid, reason, effective_timestamp, created"
    )
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert len(table()) == 1


@pytest.fixture(params=["fast delete", "a post_delete receiver"])
def deleted_pks(request: pytest.FixtureRequest) -> Iterator[list[int] | None]:
    """A receiver makes Django collect the intents and delete them by key instead of in one statement."""
    deleted: list[int] = []

    def receive(instance: ProgramIntent, **kwargs: Any) -> None:
        deleted.append(instance.pk)

    if request.param == "fast delete":
        yield None
        return
    post_delete.connect(receive, sender=ProgramIntent)
    yield deleted
    post_delete.disconnect(receive, sender=ProgramIntent)


@pytest.mark.parametrize(
    "delete",
    [
        pytest.param(lambda user: user.delete(), id="instance"),
        pytest.param(lambda user: get_user_model()._default_manager.filter(pk=user.pk).delete(), id="queryset"),
        pytest.param(lambda user: wait_for(lambda: user.adelete()), id="async"),
    ],
)
def test_deleting_a_user_takes_the_intents_along(
    delete: Callable[[Any], object], deleted_pks: list[int] | None
) -> None:
    kept, gone = make_intent(), make_intent()
    also_gone = make_intent(learner=gone.learner, effective_timestamp=MOMENT + timedelta(days=1))
    delete(gone.learner)
    assert [row["id"] for row in table()] == [kept.pk]
    assert deleted_pks is None or sorted(deleted_pks) == [gone.pk, also_gone.pk]
