"""The URLs of the test project, mounted as a host would."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/program-intent/", include("program_intent.rest_api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
]
