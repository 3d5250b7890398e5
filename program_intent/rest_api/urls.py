"""The URLs a host includes, under a prefix of its choice."""

from django.urls import path

from program_intent.rest_api.many_learners import (
    ChangesView,
    LatestCertainQueryView,
    ProgramCountsView,
    ProgramLatestCertainView,
)
from program_intent.rest_api.one_learner import ExplainView, LatestCertainIntentsView, ProgramIntentsView

app_name = "program_intent"
urlpatterns = [
    path("v1/program-intents/", ProgramIntentsView.as_view(), name="record"),
    path("v1/program-intents/latest-certain/", LatestCertainIntentsView.as_view(), name="latest-certain"),
    path("v1/program-intents/latest-certain/query/", LatestCertainQueryView.as_view(), name="latest-certain-query"),
    path("v1/program-intents/explain/", ExplainView.as_view(), name="explain"),
    path("v1/program-intents/changes/", ChangesView.as_view(), name="changes"),
    path(
        "v1/programs/<str:program_uuid>/latest-certain/",
        ProgramLatestCertainView.as_view(),
        name="program-latest-certain",
    ),
    path("v1/programs/<str:program_uuid>/counts/", ProgramCountsView.as_view(), name="program-counts"),
]
