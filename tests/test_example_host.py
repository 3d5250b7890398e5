"""The page of the example host on which the API is tried out: signed in first, and each call answers as it is shown."""

import csv
import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from pytest_django import Settings

from program_intent.api import record_intents
from program_intent.rest_api import examples

EXAMPLE = Path(__file__).parent.parent / "example"
REPORT = EXAMPLE / "data" / "oulad_intents.csv.gz"
DOCS = "/api/docs/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Client:
    """With the rows of its report about the learner of the examples and some behind; nobody has signed in."""
    monkeypatch.syspath_prepend(EXAMPLE)
    settings.ROOT_URLCONF = "example_host.urls"
    with gzip.open(REPORT, "rt", encoding="utf-8", newline="") as file:
        near = range(examples.LEARNER, examples.LEARNER + 1000)
        rows = [row for row in csv.DictReader(file) if int(row["learner"]) in near]
    User.objects.bulk_create(User(pk=pk, username=f"learner-{pk}") for pk in {int(row["learner"]) for row in rows})
    User.objects.create_superuser("admin", password="admin")
    assert {outcome.status for outcome in record_intents(rows)} == {"created"}
    return Client()


def test_the_first_click_leads_to_signing_in_and_back(host: Client) -> None:
    asked = host.get("/", follow=True)
    assert asked.redirect_chain == [(DOCS, 302), (f"/admin/login/?next={DOCS}", 302)]
    signed_in = host.post(asked.redirect_chain[-1][0], {"username": "admin", "password": "admin"}, follow=True)
    assert signed_in.redirect_chain == [(DOCS, 302)]
    assert "swagger-ui" in signed_in.content.decode()


def test_each_call_answers_something_with_all_that_the_page_fills_in(host: Client) -> None:
    host.login(username="admin", password="admin")
    schema = json.loads(json.dumps(SchemaGenerator().get_schema(public=True), default=str))  # type: ignore[no-untyped-call]
    statuses = []
    for path, methods in schema["paths"].items():
        for method, call in methods.items():
            # In the example nobody was erased, nor is to be.
            if call["operationId"].startswith("program_intents_") and not path.endswith(("erasures/", "retirements/")):
                filled = {place: filled_in(call, place) for place in ("path", "query")}
                url = f"{path.format(**filled['path'])}?{urlencode(filled['query'], doseq=True)}"
                for body in bodies(call):
                    response = host.generic(method.upper(), url, json.dumps(body), content_type="application/json")
                    assert tells_something(response.json()), response.content
                    statuses.append(response.status_code)
    # One of the bodies shows what is refused, and the page asks strictly.
    assert Counter(statuses) == {200: 7, 201: 1, 422: 1}


def test_the_page_of_a_user_in_its_admin_leads_to_the_learners_intents() -> None:
    asked = """
import os, sys
sys.path.insert(0, "example")
os.environ["DJANGO_SETTINGS_MODULE"] = "example_host.settings"
from example_host import settings
settings.INSTALLED_APPS.remove("drf_spectacular_sidecar")  # which the tests do not install
import django
django.setup()
from django.contrib import admin
from django.contrib.auth.models import User
from program_intent.admin import ProgramIntentsLink
print(isinstance(admin.site.get_model_admin(User), ProgramIntentsLink))
"""
    told = subprocess.run([sys.executable, "-c", asked], cwd=EXAMPLE.parent, capture_output=True, text=True)
    assert (told.stdout, told.stderr) == ("True\n", "")


def filled_in(call: Any, place: str) -> dict[str, str]:
    given = {
        each["name"]: first(each) for each in call.get("parameters", []) if each["in"] == place and "examples" in each
    }
    return {name: json.dumps(value) if isinstance(value, bool) else value for name, value in given.items()}


def bodies(call: Any) -> list[Any]:
    if "requestBody" not in call:
        return [None]
    return [each["value"] for each in call["requestBody"]["content"]["application/json"]["examples"].values()]


def first(part: Any) -> Any:
    return next(iter(part["examples"].values()))["value"]


def tells_something(answer: Any) -> bool:
    """An intent, or how many there are."""
    return '"reason": "' in json.dumps(answer) or (isinstance(answer, dict) and answer.get("CERTAIN_YES", 0) > 0)
