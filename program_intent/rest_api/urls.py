"""The URLs a host includes, under a prefix of its choice."""

from django.urls import path

from program_intent.rest_api.views import LatestCertainIntentsView, RecordIntentsView

app_name = "program_intent"
urlpatterns = [
    path("v1/program-intents/", RecordIntentsView.as_view(), name="record"),
    path("v1/program-intents/latest-certain/", LatestCertainIntentsView.as_view(), name="latest-certain"),
]
