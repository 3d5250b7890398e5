from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="docs")),
    path("admin/", admin.site.urls),
    path("api/program-intent/", include("program_intent.rest_api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    # Signed in first: what the page asks is then answered at the first click.
    path("api/docs/", login_required(SpectacularSwaggerView.as_view(), login_url="admin:login"), name="docs"),
]
