"""The OpenAPI schema: complete, without warnings, and true of the answers."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pytest_django import Settings
from rest_framework.test import APIClient

from program_intent.data import FIELDS
from program_intent.rest_api import openapi
from program_intent.rest_api.serializers import ProgramIntentErrorsSerializer

RECORD = "/api/program-intent/v1/program-intents/"
LATEST = "/api/program-intent/v1/program-intents/latest-certain/"


@pytest.fixture(scope="module")
def schema() -> Any:
    """As OpenAPI 3.1, which is plain JSON Schema."""
    with patched_settings({"OAS_VERSION": "3.1.0"}):
        generated = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return json.loads(json.dumps(generated, default=str))


@pytest.fixture
def client(db: None) -> APIClient:
    """Of the learner that the examples show, with every permission."""
    user = User.objects.create(pk=7, username="ada")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="program_intent"))
    client = APIClient()
    client.force_authenticate(user)
    return client


def bodies(schema: Any) -> Iterator[tuple[str, Any]]:
    """Each body that is sent or answered, with its place."""
    for path, method in ((RECORD, "post"), (LATEST, "get")):
        operation = schema["paths"][path][method]
        for content_type, body in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{method} {content_type}", body
        for status, response in operation["responses"].items():
            yield f"{method} {status}", response["content"]["application/json"]


def without_what_varies(answer: Any) -> Any:
    def fixed(shown: dict[str, Any]) -> dict[str, Any]:
        return {**shown, "id": None, "created": None} if "id" in shown else shown

    return json.loads(json.dumps(answer), object_hook=fixed)


def problems(schema: Any, part: Any, value: Any) -> list[str]:
    """Where the value differs from a part of the schema, whose objects are taken as closed."""
    whole = {"components": json.loads(json.dumps(schema["components"])), "allOf": [part]}
    for component in whole["components"]["schemas"].values():
        if component.get("type") == "object":
            component["additionalProperties"] = False
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


@pytest.mark.parametrize("field", ["pk", "username"])
def test_generating_the_schema_gives_a_valid_one_without_a_warning(settings: Settings, field: str) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    call_command("spectacular", "--fail-on-warn", "--validate", stdout=io.StringIO())


def test_operations_keep_their_names_and_statuses(schema: Any) -> None:
    record, latest = schema["paths"][RECORD]["post"], schema["paths"][LATEST]["get"]
    assert (record["operationId"], latest["operationId"]) == (
        "program_intents_record",
        "program_intents_latest_certain",
    )
    assert record["tags"] == latest["tags"] == ["program-intents"]
    assert set(record["responses"]) == {"200", "201", "400", "401", "403", "413", "415"}
    assert set(latest["responses"]) == {"200", "400", "401", "403"}
    assert {parameter["name"] for parameter in latest["parameters"]} == {"learner", "program_uuid", "as_of", "known_at"}


def test_every_body_and_parameter_has_examples_that_its_schema_allows(schema: Any) -> None:
    parts = dict(bodies(schema))
    parts |= {parameter["name"]: parameter for parameter in schema["paths"][LATEST]["get"]["parameters"]}
    assert len(parts) == 3 + 7 + 4 + 4
    for place, part in parts.items():
        assert part["examples"], place
        for example in part["examples"].values():
            assert problems(schema, part["schema"], example["value"]) == [], place


def test_the_examples_are_what_the_api_answers(client: APIClient, schema: Any) -> None:
    examples = schema["paths"][RECORD]["post"]["requestBody"]["content"]["application/json"]["examples"]
    one, two = (example["value"] for example in examples.values())

    batch = client.post(RECORD, two, format="json").json()
    assert without_what_varies(batch) == without_what_varies(openapi.BATCH)
    intent = client.post(RECORD, one, format="json").json()
    assert without_what_varies(intent) == without_what_varies(openapi.INTENT)
    refused = client.post(RECORD, {**one, "certainty": "YES"}, format="json")
    assert refused.json() == openapi.REFUSED
    assert client.get(LATEST, {"learner": 8}).json() == openapi.UNKNOWN
    too_many = client.post(RECORD, [one] * 1001, format="json").json()
    assert too_many in [example["value"] for example in dict(bodies(schema))["post 400"]["examples"].values()]


def test_the_answers_are_as_the_schema_says(client: APIClient, schema: Any) -> None:
    row = {**openapi.NEW, "learner": 7}
    anonymous = APIClient()
    answers = {
        "post 201": client.post(RECORD, row, format="json"),
        "post 200": client.post(RECORD, row, format="json"),
        "post 200 of an array": client.post(RECORD, [row, {}, 5, {"learner": 8}], format="json"),
        "post 400": client.post(RECORD, {"learner": "x"}, format="json"),
        "post 400 of a text": client.post(RECORD, "x", format="json"),
        "post 403": anonymous.post(RECORD, row, format="json"),
        "post 413": client.post(RECORD, "a" * 10**7, format="json"),
        "post 415": client.post(RECORD, "a", content_type="text/plain"),
        "get 200": client.get(LATEST),
        "get 400": client.get(LATEST, {"learner": "x", "as_of": "x", "known_at": "x", "program_uuid": "x"}),
        "get 403": anonymous.get(LATEST),
    }
    documented = dict(bodies(schema))
    for name, response in answers.items():
        method, status, *_ = name.split()
        assert response.status_code == int(status), name
        assert problems(schema, documented[f"{method} {status}"]["schema"], response.json()) == [], name


def test_errors_are_documented_for_every_field_that_is_judged() -> None:
    """What is not documented would not be answered either."""
    assert set(ProgramIntentErrorsSerializer().fields) == {*FIELDS, "non_field_errors"}
