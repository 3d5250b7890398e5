"""Recording from Python and over HTTP, and what the app adds to a host's start."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from django.contrib.auth import get_user_model
from django.db import connection, models, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks import database
from benchmarks.read import _alternate
from benchmarks.results import Result, alternate
from program_intent import api

PROGRAM = uuid5(UUID(int=0), "a program")
START = datetime(2020, 1, 1, tzinfo=UTC)


class Plain(models.Model):
    """A plain model of the same shape, for get_or_create."""

    learner = models.ForeignKey("auth.User", models.CASCADE, db_constraint=False, db_index=False)
    program_uuid = models.UUIDField()
    reason = models.CharField(max_length=64)
    certainty = models.CharField(max_length=11)
    effective_timestamp = models.DateTimeField()
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "program_intent"
        constraints = [
            models.UniqueConstraint(
                fields=["learner", "program_uuid", "certainty", "effective_timestamp", "reason"], name="plain_once"
            )
        ]
        indexes = [
            models.Index(fields=["program_uuid", "learner", "certainty", "effective_timestamp"], name="plain_program")
        ]

    def __str__(self) -> str:
        return self.reason


class ConstantView(APIView):
    """The limit: the same authentication and permission, and no work."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Any) -> Response:
        return Response([])

    def post(self, request: Any) -> Response:
        return Response(request.data, status=201)


urlpatterns = [path("constant/", ConstantView.as_view()), path("", include("program_intent.rest_api.urls"))]


def writes(calls: int) -> list[Result]:
    database.create(users=1000)
    with connection.schema_editor() as editor:
        editor.create_model(Plain)
    moments = (START + timedelta(seconds=number) for number in count())

    def record() -> None:
        api.record_intent(1, PROGRAM, reason="R", certainty="MAYBE", effective_timestamp=next(moments))

    def get_or_create() -> None:
        Plain._default_manager.get_or_create(
            learner_id=1, program_uuid=PROGRAM, reason="R", certainty="MAYBE", effective_timestamp=next(moments)
        )

    def batch() -> None:
        rows = [
            {"learner": 1, "program_uuid": PROGRAM, "reason": "R", "certainty": "MAYBE", "effective_timestamp": moment}
            for moment, _ in zip(moments, range(1000), strict=False)
        ]
        outcomes = api.record_intents(rows)
        assert {outcome.status for outcome in outcomes} == {"created"}

    with transaction.atomic(), CaptureQueriesContext(connection) as statements:
        record()
    with transaction.atomic():
        times = _alternate({"record": record, "get_or_create": get_or_create}, calls)
    apart = _alternate({"batch": batch, "record": record}, 10)
    return [
        Result("statements of record_intent for a new intent", len(statements), 1, unit=""),
        Result(
            "record_intent in a transaction, of get_or_create",
            times["record"] / times["get_or_create"],
            0.5,
            detail={name: round(seconds * 1000, 4) for name, seconds in times.items()},
        ),
        Result("record_intents of 1,000 rows, of 1,000 record_intent", apart["batch"] / (1000 * apart["record"]), 0.1),
        *_http(calls),
        *_start(),
    ]


@override_settings(ROOT_URLCONF="benchmarks.write")
def _http(calls: int) -> list[Result]:
    """Whole requests in process: middleware, the session's login, permission, view and rendering."""
    user = get_user_model().objects.get(pk=2)
    for number in range(10):
        program = uuid5(UUID(int=0), str(number % 5))
        moment = START + timedelta(seconds=number)
        api.record_intent(user, program, reason="R", certainty="MAYBE", effective_timestamp=moment)
    client, moments = Client(), (START + timedelta(days=1, seconds=number) for number in count())
    client.force_login(user)

    def get(url: str) -> None:
        response = client.get(url)
        assert response.status_code == 200, response.content

    def post(url: str) -> None:
        body = {"program_uuid": str(PROGRAM), "reason": "R", "certainty": "MAYBE"}
        body["effective_timestamp"] = next(moments).isoformat()
        response = client.post(url, body, content_type="application/json")
        assert response.status_code == 201, response.content

    latest = "/v1/program-intents/latest-certain/"
    etag = client.get(latest).headers["ETag"]

    def unchanged(url: str) -> None:
        response = client.get(url, headers={"If-None-Match": etag})
        assert response.status_code == 304, response.content

    times = _alternate({"unchanged": partial(unchanged, latest), "answered": partial(get, latest)}, calls)
    results = [Result("GET latest-certain answered 304, of 200", times["unchanged"] / times["answered"], 1.0)]
    for name, call, url in (
        ("GET latest-certain", get, latest),
        ("POST", post, "/v1/program-intents/"),
    ):
        times = _alternate({"ours": partial(call, url), "constant": partial(call, "/constant/")}, calls)
        results.append(
            Result(
                f"{name} of a learner with 10 intents, of a view that returns a constant",
                times["ours"] / times["constant"],
                1.5,
                detail={name: round(seconds * 1000, 4) for name, seconds in times.items()},
            )
        )
    return results


def _start() -> list[Result]:
    """What starting the test project costs with the app and its URLs, over without."""
    bare = (
        "import test_settings as s; s.INSTALLED_APPS.remove('program_intent');"
        "import django; django.setup();"
        "import rest_framework.views, rest_framework.serializers, drf_spectacular.utils"
    )
    with_app = (
        "import django; django.setup();"
        "import rest_framework.views, rest_framework.serializers, drf_spectacular.utils;"
        "import program_intent.rest_api.urls"
    )

    # pip compiles what it installs; the source tree is compiled by the first start.
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def start(code: str) -> float:
        # Time of the processor: the same start takes 20 ms more or less by the clock.
        timing = f"from time import process_time as t; a = t(); {code}; print(t() - a)"
        command = [sys.executable, "-c", timing]
        return float(subprocess.run(command, env=compiled, capture_output=True, text=True, check=True).stdout)

    times = alternate(21, without=lambda: start(bare), together=lambda: start(with_app))
    return [Result("import at host start, added", (times["together"] - times["without"]) * 1000, 30, unit="ms")]
