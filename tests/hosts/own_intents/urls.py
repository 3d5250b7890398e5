from django.contrib import admin
from django.urls import path

from program_intent.admin import ProgramIntentAdmin, ProgramIntentsLink
from program_intent.models import ProgramIntent
from tests.hosts.own_intents.models import ProxyIntent, Student


class StudentAdmin(ProgramIntentsLink, admin.ModelAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    fields = ("username",)


class ProxyAdmin(ProgramIntentAdmin):
    pass


site = admin.AdminSite(name="own")
site.register(Student, StudentAdmin)
site.register(ProgramIntent, ProgramIntentAdmin)
site.register(ProxyIntent, ProxyAdmin)

urlpatterns = [path("own/", site.urls)]
