"""The OpenAPI schema: complete, without warnings, and true of the answers."""

import io
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import extend_schema
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pytest_django import Settings
from rest_framework import serializers
from rest_framework.authentication import BasicAuthentication
from rest_framework.request import Request
from rest_framework.test import APIClient
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from program_intent import api
from program_intent.data import FIELDS
from program_intent.exceptions import ChangesError
from program_intent.rest_api import examples
from program_intent.rest_api.base import IntentsView
from tests.rest import (
    CHANGES,
    COUNTS,
    ERASURES,
    EXPLAIN,
    LATEST,
    OF_PROGRAM,
    PROGRAM,
    QUERY,
    READS,
    RECORD,
    RETIREMENTS,
)

WRITTEN = Path(__file__).parent.parent / "docs" / "openapi.yaml"
PREFIX = "/api/program-intent/"
# What reads by GET, each with the name of its operation.
NAMES = {
    RECORD: "history",
    LATEST: "latest_certain",
    EXPLAIN: "explain",
    CHANGES: "changes",
    ERASURES: "erasures",
    OF_PROGRAM: "program_latest_certain",
    COUNTS: "program_counts",
}
STATUSES = {
    "program_intents_record": {"200", "201", "400", "401", "403", "406", "413", "415", "422", "429"},
    "program_intents_history": {"200", "400", "401", "403", "406", "429"},
    "program_intents_latest_certain": {"200", "304", "400", "401", "403", "406", "412", "429"},
    "program_intents_latest_certain_query": {"200", "400", "401", "403", "406", "413", "415", "429"},
    "program_intents_explain": {"200", "400", "401", "403", "406", "429"},
    "program_intents_changes": {"200", "400", "401", "403", "406", "429", "503"},
    "program_intents_erasures": {"200", "400", "401", "403", "406", "429"},
    "program_intents_retire": {"204", "400", "401", "403", "406", "413", "415", "429"},
    "program_intents_program_latest_certain": {"200", "400", "401", "403", "406", "429"},
    "program_intents_program_counts": {"200", "400", "401", "403", "406", "429"},
}


class LetsNobodyPass(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False

    def wait(self) -> float:
        return 5


@pytest.fixture(scope="module")
def schema() -> Any:
    """As OpenAPI 3.1, which is plain JSON Schema."""
    with patched_settings({"OAS_VERSION": "3.1.0"}):
        generated = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return json.loads(json.dumps(generated, default=str))


@pytest.fixture
def client(db: None) -> APIClient:
    """Of the learner that the examples show, with every permission."""
    user = User.objects.create(pk=examples.LEARNER, username="ada")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="program_intent"))
    client = APIClient()
    client.force_authenticate(user)
    return client


def operations(schema: Any) -> dict[str, Any]:
    """Ours, by their ids."""
    return {
        operation["operationId"].removeprefix("program_intents_"): operation
        for path, methods in schema["paths"].items()
        if path.startswith(PREFIX)
        for operation in methods.values()
    }


def bodies(schema: Any) -> Iterator[tuple[str, Any]]:
    """Each body that is sent or answered, with its place."""
    for name, operation in operations(schema).items():
        for content_type, body in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {content_type}", body
        for status, response in operation["responses"].items():
            if status not in ("204", "304"):
                yield f"{name} {status}", response["content"]["application/json"]


def parameters(schema: Any) -> Iterator[tuple[str, Any]]:
    for name, operation in operations(schema).items():
        for parameter in operation.get("parameters", []):
            yield f"{name} {parameter['name']}", parameter


def without_what_varies(answer: Any) -> Any:
    def fixed(shown: dict[str, Any]) -> dict[str, Any]:
        varying = {name: None for name in ("id", "created", "started") if name in shown}
        runs = {"runs": list(shown["runs"].values())} if "runs" in shown else {}
        return shown | varying | runs

    return json.loads(json.dumps(answer), object_hook=fixed)


def problems(schema: Any, part: Any, value: Any) -> list[str]:
    """Where the value differs from a part of the schema, whose objects are taken as closed."""
    whole = {"components": json.loads(json.dumps(schema["components"])), "allOf": [part]}
    for component in whole["components"]["schemas"].values():
        if component.get("type") == "object":
            component["additionalProperties"] = False
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


@pytest.mark.usefixtures("schema")  # generating it once, as another version too, changes nothing for the next time
@pytest.mark.parametrize("field", ["pk", "username"])
def test_generating_the_schema_gives_a_valid_one_without_a_warning(settings: Settings, field: str) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    call_command("spectacular", "--fail-on-warn", "--validate", stdout=io.StringIO())


def test_the_schema_of_the_docs_is_that_of_the_views() -> None:
    """Written here where it is out of date; for hosts whose tools do not read drf-spectacular's descriptions."""
    printed = io.StringIO()
    call_command("spectacular", "--urlconf", "program_intent.rest_api.urls", stdout=printed)
    written = WRITTEN.read_text() if WRITTEN.exists() else ""
    if yaml.safe_load(written) != yaml.safe_load(printed.getvalue()):
        WRITTEN.write_text(printed.getvalue())
        pytest.fail(f"{WRITTEN.name} was out of date and is written anew: look at it, and commit it.")


def test_operations_keep_their_names_and_statuses(schema: Any) -> None:
    documented = operations(schema)
    assert {each["operationId"]: set(each["responses"]) for each in documented.values()} == STATUSES
    assert all(each["tags"] == ["program-intents"] for each in documented.values())


@pytest.mark.parametrize("url", READS)
def test_each_parameter_that_is_read_is_documented(schema: Any, url: str) -> None:
    documented = operations(schema)[NAMES[url]]["parameters"]
    queried = {parameter["name"] for parameter in documented if parameter["in"] == "query"}
    assert queried == set(READS[url])


def test_the_moments_that_a_link_carries_are_documented(client: APIClient, schema: Any) -> None:
    for learner in (examples.LEARNER, User.objects.create(username="bob").pk):
        client.post(RECORD, {**examples.NEW, "learner": learner}, format="json")
    following = client.get(OF_PROGRAM, {"limit": 1}).json()["next"]
    carried = parse_qs(urlsplit(following).query).keys() - {"limit", "after"}
    description = operations(schema)["program_latest_certain"]["description"]
    assert set(re.findall("`(as_of|known_at)`", description)) == carried


def test_json_alone_is_documented_for_what_is_posted(schema: Any) -> None:
    posted = [each["requestBody"]["content"] for each in operations(schema).values() if "requestBody" in each]
    assert [set(content) for content in posted] == [{"application/json"}] * 3


def test_a_learner_in_a_url_is_typed_as_in_bodies(schema: Any) -> None:
    typed = [part["schema"] for place, part in parameters(schema) if place.endswith(("learner", "certain after"))]
    in_body = schema["components"]["schemas"]["NewProgramIntent"]["properties"]["learner"]
    assert [each["oneOf"] for each in typed] == [in_body["oneOf"]] * 4


class HostSerializer(serializers.Serializer[Any]):
    certainty = serializers.ChoiceField(["high", "low"])
    status = serializers.ChoiceField(["open", "closed"])
    clause = serializers.ChoiceField(["a", "b"])


class OtherHostSerializer(HostSerializer):
    """In two components, drf-spectacular cannot call an enum after one of them."""


class HostView(APIView):
    @extend_schema(request=HostSerializer, responses=OtherHostSerializer)
    def post(self, request: Request) -> None: ...


def test_a_hosts_enums_and_ours_do_not_collide(schema: Any, capsys: pytest.CaptureFixture[str]) -> None:
    host = [path("host/", HostView.as_view()), *import_module(settings.ROOT_URLCONF).urlpatterns]
    with patched_settings({"OAS_VERSION": "3.1.0"}):
        both = SchemaGenerator(patterns=host).get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    components = json.loads(json.dumps(both, default=str))["components"]["schemas"]
    ours = schema["components"]["schemas"]
    assert {name: components[name] for name in ours} == ours
    assert components.keys() - ours.keys() == {"Host", "OtherHost", "CertaintyEnum", "StatusEnum", "ClauseEnum"}
    assert capsys.readouterr().err == ""


def test_no_name_of_ours_is_one_that_a_host_would_choose(schema: Any) -> None:
    assert [name for name in schema["components"]["schemas"] if "ProgramIntent" not in name] == []


def test_the_tag_of_an_answer_is_documented(schema: Any) -> None:
    latest = operations(schema)["latest_certain"]
    assert "If-None-Match" in {parameter["name"] for parameter in latest["parameters"] if parameter["in"] == "header"}
    assert all(latest["responses"][status]["headers"]["ETag"]["examples"] for status in ("200", "304"))


def test_every_body_and_parameter_has_examples_that_its_schema_allows(schema: Any) -> None:
    parts = {**dict(bodies(schema)), **dict(parameters(schema))}
    assert len(parts) == 1 + 1 + 1 + 7 + 4 + 8 + 5 + 5 + 1 + 6 + 4 + 4 + 5 + 2 + 4 + 6 + 4 + 3 + 8 + 8 + 6 + 1 + 1 + 7
    del parts["history cursor"]  # which nobody makes up
    for place, part in parts.items():
        assert part["examples"], place
        for example in part["examples"].values():
            assert problems(schema, part["schema"], example["value"]) == [], place


def test_the_examples_are_what_the_api_answers(client: APIClient, schema: Any) -> None:
    sent = schema["paths"][RECORD]["post"]["requestBody"]["content"]["application/json"]["examples"]
    one, two = (example["value"] for example in sent.values())

    batch = client.post(RECORD, two, format="json").json()
    assert without_what_varies(batch) == without_what_varies(examples.BATCH)
    intent = client.post(RECORD, one, format="json").json()
    assert without_what_varies(intent) == without_what_varies(examples.INTENT)
    refused = client.post(RECORD, {**one, "certainty": "YES"}, format="json")
    assert refused.json() == examples.REFUSED
    for url in (LATEST, RECORD, EXPLAIN):
        assert client.get(url, {"learner": 8}).json() == examples.UNKNOWN
    too_many = client.post(RECORD, [one] * 1001, format="json").json()
    assert too_many in [example["value"] for example in dict(bodies(schema))["record 400"]["examples"].values()]


def test_the_examples_of_reads_are_what_the_api_answers(client: APIClient, schema: Any, tmp_path: Path) -> None:
    header, values = ",".join(FIELDS), ",".join(str(examples.INTENT[name]) for name in FIELDS)
    report = tmp_path / "report.csv"
    report.write_text(f"{header}\n{values}\n")
    call_command("load_program_intents", report, by="operator", verbosity=0)
    client.post(RECORD, {name: examples.LOSER[name] for name in FIELDS}, format="json")
    shown = {place: next(iter(body["examples"].values()))["value"] for place, body in bodies(schema)}
    explanation = client.get(EXPLAIN, {"program_uuid": PROGRAM, "as_of": "2026-03-01T00:00:00Z"}).json()
    assert without_what_varies(explanation) == without_what_varies(examples.EXPLANATION)
    assert client.get(f"{CHANGES}?after={examples.CHANGES['cursor']}").status_code == 200
    query = shown["latest_certain_query application/json"]
    answers = {
        "latest_certain 200": client.get(LATEST),
        "latest_certain_query 200": client.post(QUERY, query, format="json"),
        "program_latest_certain 200": client.get(OF_PROGRAM),
        "history 200": client.get(RECORD, {"certainty": "CERTAIN_YES"}),
        "latest_certain_query 400": client.post(QUERY, {"learners": [8]}, format="json"),
        "changes 400": client.get(CHANGES, {"after": "x"}),
        "erasures 400": client.get(ERASURES, {"since": "yesterday"}),
        "retire 400": client.post(RETIREMENTS, {"lms_user_id": "x"}, format="json"),
        "program_counts 400": client.get(COUNTS.replace(PROGRAM, "x")),
        "program_latest_certain 400": client.get(OF_PROGRAM.replace(PROGRAM, "x")),
    }
    for place, response in answers.items():
        assert without_what_varies(response.json()) == without_what_varies(shown[place]), place


def answers_of_every_call(client: APIClient) -> Iterator[tuple[str, Any]]:
    for url, name in NAMES.items():
        yield name, client.get(url)
    yield "record", client.post(RECORD)
    yield "latest_certain_query", client.post(QUERY)
    yield "retire", client.post(RETIREMENTS)


def test_the_answers_are_as_the_schema_says(client: APIClient, schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {**examples.NEW, "learner": examples.LEARNER}
    anonymous, powerless = APIClient(), APIClient()
    powerless.force_authenticate(User.objects.create(username="bob"))
    answers = {
        "record 201": client.post(RECORD, row, format="json"),
        "record 200": client.post(RECORD, row, format="json"),
        "record 200 of an array": client.post(RECORD, [row, {}, 5, {"learner": 8}], format="json"),
        "record 400": client.post(RECORD, {"learner": "x"}, format="json"),
        "record 400 of a text": client.post(RECORD, "x", format="json"),
        "record 403": anonymous.post(RECORD, row, format="json"),
        "record 413": client.post(RECORD, "a" * 10**7, format="json"),
        "record 422": client.post(f"{RECORD}?strict=true", [row, {}, 5], format="json"),
        "record 415": client.post(RECORD, "a", content_type="text/plain"),
        "latest_certain 200": client.get(LATEST),
        "latest_certain 412": client.get(LATEST, headers={"If-Match": '"a"'}),
        "history 200": client.get(RECORD),
        "history 200 of pages": client.get(RECORD, {"limit": 1}),
        "explain 200": client.get(EXPLAIN, {"program_uuid": PROGRAM, "known_at": examples.NEW["effective_timestamp"]}),
        "explain 400": client.get(EXPLAIN),
        "latest_certain_query 200": client.post(QUERY, {"learners": [str(examples.LEARNER)]}, format="json"),
        "latest_certain_query 400": client.post(QUERY, {"program_uuids": 5}, format="json"),
        "latest_certain_query 400 of a value": client.post(QUERY, {"learners": [], "as_of": 5}, format="json"),
        "latest_certain_query 413": client.post(QUERY, "a" * 10**7, format="json"),
        "latest_certain_query 415": client.post(QUERY, "a", content_type="text/plain"),
        "program_latest_certain 200": client.get(OF_PROGRAM),
        "program_counts 200": client.get(COUNTS),
        "changes 200": client.get(CHANGES),
        "retire 400": client.post(RETIREMENTS, {"username": 5}, format="json"),
        "retire 400 of a value": client.post(RETIREMENTS, {"username": 5, "learner": "x"}, format="json"),
        "retire 400 of nobody": client.post(RETIREMENTS, {}, format="json"),
        "retire 403": powerless.post(RETIREMENTS, {"username": "ada"}, format="json"),
        "retire 413": client.post(RETIREMENTS, "a" * 10**7, format="json"),
        "retire 415": client.post(RETIREMENTS, "a", content_type="text/plain"),
    }
    for erased, retired in ((examples.LEARNER, False), (7, True)):
        api.erase_learner(erased, retired=retired)
    answers["erasures 200"] = client.get(ERASURES)
    for url, name in NAMES.items():
        wrong = dict.fromkeys(READS[url], "x")
        answers[f"{name} 400"] = client.get(url, wrong)
        answers[f"{name} 400 but for the learner"] = client.get(url, {**wrong, "learner": str(examples.LEARNER)})
        answers[f"{name} 403"] = anonymous.get(url)
        answers[f"{name} 403 of others"] = powerless.get(url, {"learner": str(examples.LEARNER)})
    with monkeypatch.context() as patch:
        patch.setattr(api, "get_intent_changes", Mock(side_effect=ChangesError("Not here.")))
        answers["changes 503"] = client.get(CHANGES)
    with monkeypatch.context() as patch:
        patch.setattr(IntentsView, "authentication_classes", [BasicAuthentication])
        answers |= {f"{name} 401": answer for name, answer in answers_of_every_call(anonymous)}
    with monkeypatch.context() as patch:
        patch.setattr(IntentsView, "throttle_classes", [LetsNobodyPass])
        answers |= {f"{name} 429": answer for name, answer in answers_of_every_call(client)}
    client.defaults["HTTP_ACCEPT"] = "image/png"
    answers |= {f"{name} 406": answer for name, answer in answers_of_every_call(client)}
    documented = dict(bodies(schema))
    for name, response in answers.items():
        call, status, *_ = name.split()
        assert response.status_code == int(status), name
        assert problems(schema, documented[f"{call} {status}"]["schema"], response.json()) == [], name
