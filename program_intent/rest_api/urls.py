"""The URLs a host includes, under a prefix of its choice."""

from typing import Any

from django.urls import URLPattern
from django.urls.resolvers import RoutePattern
from rest_framework.views import APIView

from program_intent.rest_api.erasure import ErasuresView, RetirementsView
from program_intent.rest_api.many_learners import (
    ChangesView,
    LatestCertainQueryView,
    ProgramCountsView,
    ProgramLatestCertainView,
)
from program_intent.rest_api.one_learner import ExplainView, LatestCertainIntentsView, ProgramIntentsView


class _EitherWay(RoutePattern):
    """A path with its last slash, which is answered without it too: a redirect would make a POST a GET."""

    def match(self, path: str) -> Any:
        return super().match(path) or super().match(f"{path}/")


def either_way(route: str, view: type[APIView], name: str) -> URLPattern:
    return URLPattern(_EitherWay(route, name=name, is_endpoint=True), view.as_view(), name=name)


app_name = "program_intent"
urlpatterns = [
    either_way("v1/program-intents/", ProgramIntentsView, "record"),
    either_way("v1/program-intents/latest-certain/", LatestCertainIntentsView, "latest-certain"),
    either_way("v1/program-intents/latest-certain/query/", LatestCertainQueryView, "latest-certain-query"),
    either_way("v1/program-intents/explain/", ExplainView, "explain"),
    either_way("v1/program-intents/changes/", ChangesView, "changes"),
    either_way("v1/programs/<str:program_uuid>/latest-certain/", ProgramLatestCertainView, "program-latest-certain"),
    either_way("v1/programs/<str:program_uuid>/counts/", ProgramCountsView, "program-counts"),
    either_way("v1/retirements/", RetirementsView, "retirements"),
    either_way("v1/erasures/", ErasuresView, "erasures"),
]
