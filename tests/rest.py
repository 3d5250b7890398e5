"""Clients of the REST API, its URLs, and what its answers hold."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import yaml
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from rest_framework.renderers import BaseRenderer
from rest_framework.test import APIClient

from program_intent import api
from program_intent.data import Intent

V1 = "/api/program-intent/v1"
RECORD = f"{V1}/program-intents/"
LATEST = f"{V1}/program-intents/latest-certain/"
QUERY = f"{V1}/program-intents/latest-certain/query/"
EXPLAIN = f"{V1}/program-intents/explain/"
CHANGES = f"{V1}/program-intents/changes/"
RETIREMENTS = f"{V1}/retirements/"
ERASURES = f"{V1}/erasures/"
PROGRAM = "9a241637-6370-5561-bfb1-6dd5655333f4"
OTHER_PROGRAM = "51032e48-04ca-5d43-901a-80cd294a21e1"
OF_PROGRAM = f"{V1}/programs/{PROGRAM}/latest-certain/"
COUNTS = f"{V1}/programs/{PROGRAM}/counts/"
# The calls that read, but for the one with a body, and their parameters.
READS = {
    RECORD: [
        "learner",
        "program_uuid",
        "certainty",
        "reason",
        "effective_after",
        "effective_before",
        "cursor",
        "limit",
    ],
    LATEST: ["learner", "program_uuid", "as_of", "known_at"],
    EXPLAIN: ["learner", "program_uuid", "as_of", "known_at"],
    OF_PROGRAM: ["certainty", "after", "limit", "as_of", "known_at"],
    COUNTS: ["as_of", "known_at"],
    CHANGES: ["after", "limit"],
    ERASURES: ["since"],
}
OUTSIDE_THE_RFC = "4a458848-f946-c657-25a7-e5df7b05272c"  # MariaDB's UUID column cannot hold it
TIME = "2026-02-01T09:00:00Z"
LATER = "2026-03-01T00:00:00Z"
NOBODY = 987_654_321

ADD, VIEW, ERASE = "add_programintent", "view_programintent", "erase_learner"
MAY_NOT_VIEW = "To name another learner than yourself you need the permission program_intent.view_programintent."
MAY_NOT_VIEW_EVERYONE = "You need the permission program_intent.view_programintent."


class _Dumper(yaml.SafeDumper):
    """It knows no types but those of JSON, and Django REST framework's own lists and objects."""


_Dumper.add_multi_representer(list, _Dumper.represent_list)
_Dumper.add_multi_representer(dict, _Dumper.represent_dict)


class YAMLRenderer(BaseRenderer):
    """As djangorestframework-yaml's is, and others that are stricter than Django REST framework's JSON."""

    media_type = "application/yaml"
    format = "yaml"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> str:
        return yaml.dump(data, Dumper=_Dumper)


def client_of(user: User | None, *permissions: str) -> APIClient:
    client = APIClient()
    if user:
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_authenticate(User.objects.get(pk=user.pk))
    return client


def get(client: APIClient, url: str, **parameters: Any) -> Any:
    """The answer to a GET that succeeds."""
    return answer(client.get(f"{url}?{urlencode(parameters, doseq=True)}"), 200)


def refused(client: APIClient, url: str, **parameters: Any) -> Any:
    return answer(client.get(f"{url}?{urlencode(parameters, doseq=True)}"), 400)


def ask(client: APIClient, body: Any, status: int = 200) -> Any:
    """Of many learners."""
    return answer(client.post(QUERY, json.dumps(body), content_type="application/json"), status)


def answer(response: HttpResponse, status: int) -> Any:
    assert response.status_code == status, response.content[:500]
    return json.loads(response.content)


def pages(client: APIClient, url: str, direction: str = "next") -> Iterator[Any]:
    """The page and all that follow it."""
    following: str | None = url
    while following:
        page = answer(client.get(following), 200)
        yield page
        following = page[direction]


def record(user: User, program: str | UUID = PROGRAM, **changes: Any) -> Intent:
    values = {"reason": "R", "certainty": "CERTAIN_YES", "effective_timestamp": TIME, **changes}
    intent, _ = api.record_intent(user, program, **values)
    return intent


def ids(intents: Any) -> list[int]:
    return [intent["id"] for intent in intents]


def shown(intent: Intent, learner: Any) -> dict[str, Any]:
    """An intent as it is answered."""
    effective, created = (
        moment.isoformat().replace("+00:00", "Z") for moment in (intent.effective_timestamp, intent.created)
    )
    return {
        "id": intent.id,
        "learner": learner,
        "program_uuid": str(intent.program_uuid),
        "reason": intent.reason,
        "certainty": str(intent.certainty),
        "effective_timestamp": effective,
        "created": created,
    }
