"""What a host's own subclasses of the record cannot do, and their pages; test_custom_user.py runs it."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone

from program_intent.exceptions import AppendOnlyError, InvalidIntent
from program_intent.models import ErasedLearner, ProgramIntent
from tests.builders import MOMENT, make_row, make_user
from tests.hosts.own_intents.models import ChildIntent, ProxyIntent, Student

pytestmark = pytest.mark.django_db


def table() -> list[dict[str, Any]]:
    return [dict(row) for row in ProgramIntent.objects.order_by("pk").values()]


@pytest.fixture(params=[ProxyIntent, ChildIntent])
def model(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def stored(model: Any) -> Any:
    return model.objects.create(**make_row(learner=make_user()))


def changed(intent: Any) -> Any:
    intent.reason = "CHANGED"
    return intent


def as_new(intent: Any, **keys: Any) -> Any:
    return type(intent)(**make_row(learner=intent.learner, reason="CHANGED"), **keys)


def load(fixture: Path, *intents: Any) -> None:
    fixture.write_text(serializers.serialize("xml", intents))
    call_command("loaddata", str(fixture), verbosity=0)


DOORS: dict[str, Callable[[Any], object]] = {
    "save()": lambda stored: changed(stored).save(),
    "save_base(raw)": lambda stored: changed(ProxyIntent.objects.get(pk=stored.pk)).save_base(raw=True),
    "save() with a stored pk": lambda stored: as_new(stored, pk=stored.pk).save(),
    "save() with a stored id": lambda stored: as_new(stored, id=stored.pk).save(),
    "save() of a child of a stored row": lambda stored: ChildIntent(
        **make_row(learner=stored.learner, reason="CHANGED"), programintent_ptr_id=stored.pk
    ).save(),
    "create() with a stored pk": lambda stored: type(stored).objects.create(
        **make_row(learner=stored.learner, reason="CHANGED"), pk=stored.pk
    ),
    "update_or_create()": lambda stored: type(stored).objects.update_or_create(
        pk=stored.pk, defaults={"reason": "CHANGED"}
    ),
    "update()": lambda stored: type(stored).objects.update(reason="CHANGED"),
    "_base_manager.update()": lambda stored: type(stored)._base_manager.update(reason="CHANGED"),
    "bulk_update()": lambda stored: type(stored).objects.bulk_update([changed(stored)], ["reason"]),
    "bulk_create()": lambda stored: type(stored).objects.bulk_create([as_new(stored)]),
    "delete()": lambda stored: stored.delete(),
    "all().delete()": lambda stored: type(stored).objects.all().delete(),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_a_stored_row_is_not_changed_or_dropped(door: Callable[[Any], object], stored: Any) -> None:
    before = table()
    with pytest.raises(AppendOnlyError), transaction.atomic():
        door(stored)
    assert table() == before


@pytest.mark.parametrize("dumped", [ProgramIntent, ProxyIntent])
def test_a_fixture_does_not_overwrite_a_stored_row(dumped: Any, stored: Any, tmp_path: Path) -> None:
    before = table()
    with pytest.raises(AppendOnlyError):
        load(tmp_path / "intents.xml", changed(dumped.objects.get(pk=stored.pk)))
    assert table() == before


def test_a_fixture_of_a_proxy_is_judged(tmp_path: Path) -> None:
    row = make_row(learner=make_user().pk, reason="no reason")
    fixture = tmp_path / "intents.json"
    fixture.write_text(json.dumps([{"model": "own_intents.proxyintent", "fields": row}], default=str))
    with pytest.raises(InvalidIntent):
        call_command("loaddata", str(fixture), verbosity=0)
    assert table() == []


def test_a_fixture_brings_back_what_was_dumped(model: Any, stored: Any, tmp_path: Path) -> None:
    intents = [ProgramIntent.objects.get(), *ChildIntent.objects.all()]
    before, learner = table(), stored.learner
    learner.delete()
    ErasedLearner.objects.all().delete()  # as in another database
    learner.save()
    load(tmp_path / "intents.xml", *intents)
    assert table() == before
    assert list(ChildIntent.objects.all()) == intents[1:]


def test_a_new_row_is_judged_and_written_now(model: Any) -> None:
    learner, before = make_user(), timezone.now()
    with pytest.raises(InvalidIntent) as refused, transaction.atomic():
        model.objects.create(**make_row(learner=learner, reason="no reason"))
    assert set(refused.value.errors) == {"reason"}
    model.objects.create(**make_row(learner=learner, reason=" visited "), created=MOMENT)
    (intent,) = ProgramIntent.objects.all()
    assert intent.reason == "VISITED"
    assert before <= intent.created <= timezone.now() < before + timedelta(hours=1)


def test_deleting_a_user_takes_the_intents_along(stored: Any) -> None:
    stored.learner.delete()
    assert (table(), list(ChildIntent.objects.all())) == ([], [])


def test_the_admin_of_a_proxy_has_pages_of_its_own_for_learners(admin_client: Client) -> None:
    intent = ProxyIntent.objects.create(**make_row(learner=make_user()))
    pages, learner = "/own/own_intents/proxyintent/", f"learner/{intent.learner_id}/"
    for path in ("", f"{intent.pk}/change/", learner, f"{learner}forget/"):
        page = admin_client.get(pages + path)
        assert page.status_code == 200
        assert "/own/program_intent/programintent/" not in page.content.decode().partition('id="content"')[2]
    response = admin_client.post(f"{pages}{learner}forget/")
    assert (response.status_code, response.headers["Location"]) == (302, pages + learner)
    assert table() == []


def test_the_page_of_a_child_of_the_user_model_leads_to_the_user_that_it_is(admin_client: Client) -> None:
    make_user()
    student = Student.objects.create(username="student")
    assert student.pk != student.id
    page = admin_client.get(f"/own/own_intents/student/{student.pk}/change/").content.decode()
    (link,) = re.findall(r'<a href="([^"]+)">Answers and history', page)
    assert link == f"/own/program_intent/programintent/learner/{student.id}/"
    assert "Intents of student" in admin_client.get(link).content.decode()
