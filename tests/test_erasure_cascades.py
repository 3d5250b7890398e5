"""The deletion of a user is an erasure, and stays Django's own: few statements, little memory, nobody else slowed."""

import tracemalloc
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model
from django.db.models.deletion import Collector
from django.db.models.signals import post_delete, pre_delete
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from program_intent import api
from program_intent.models import ErasedLearner, ErasedName, ProgramIntent, RejectedIntent
from program_intent.store import deletions
from tests.builders import MOMENT, make_intent, make_row, make_user, store_history
from tests.reports import ON_ONE_ENGINE
from tests.test_admin import make_staff

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 10_000
OURS = (ProgramIntent, ErasedLearner, ErasedName, RejectedIntent)


def by_instance(user: User) -> None:
    user.delete()


def by_queryset(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def by_admin(user: User) -> None:
    client = Client()
    client.force_login(make_staff("delete_user", "view_user"))
    client.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})


def learner_with_many() -> User:
    user: User = make_user()
    moments = [MOMENT + timedelta(seconds=number) for number in range(MANY)]
    store_history([ProgramIntent(**make_row(learner=user, effective_timestamp=each)) for each in moments])
    return user


def changed(queries: CaptureQueriesContext, model: type[Model]) -> Counter[str]:
    """How many statements of each kind but reads there were on a table."""
    table = connection.ops.quote_name(model._meta.db_table)
    verbs = [each["sql"].split()[0] for each in queries if table in each["sql"]]
    return Counter(verb for verb in verbs if verb != "SELECT")


@pytest.mark.parametrize(
    "delete", [by_instance, by_queryset, pytest.param(by_admin, marks=[pytest.mark.slow, ON_ONE_ENGINE])]
)
def test_however_many_intents_a_user_has_they_go_in_one_statement(delete: Callable[[User], None]) -> None:
    user, other = learner_with_many(), make_intent()
    first, second = make_user(), make_user()
    delete(first)
    with CaptureQueriesContext(connection) as of_no_intents:
        delete(second)
    tracemalloc.start()
    try:
        with CaptureQueriesContext(connection) as queries:
            delete(user)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [intent.pk for intent in ProgramIntent.objects.all()] == [other.pk]
    assert ErasedLearner.objects.latest("erased").intents == MANY
    assert changed(queries, ProgramIntent) == {"DELETE": 2}, "in the transaction, and once more behind it"
    assert changed(queries, ErasedName) == {"INSERT": 1}
    assert changed(queries, ErasedLearner) == {"INSERT": 1, "UPDATE": 1}
    assert len(queries) == len(of_no_intents)
    assert most < 2 * 2**20 or delete is by_admin, "whose page lists all that goes"


def test_the_deletion_of_a_user_costs_so_many_statements_more() -> None:
    users = [make_user(email=f"{number}@example.org") for number in range(10)]
    with CaptureQueriesContext(connection) as queries:
        User.objects.filter(pk__in=[user.pk for user in users]).delete()
    ours = [each["sql"] for each in queries if "program_intent" in each["sql"]]
    assert changed(queries, ProgramIntent)["DELETE"] == 1 + len(users)
    assert len(ours) <= 2 + 9 * len(users), ours


def test_no_other_model_is_listened_to() -> None:
    """Whose deletions would no longer be one statement."""
    listened = {model for model in apps.get_models() if pre_delete.has_listeners(model)}
    assert listened == {User}
    assert not [model for model in OURS if post_delete.has_listeners(model)]
    assert Collector(using="default").can_fast_delete(LogEntry.objects.all())
    assert not pre_delete.has_listeners(Group)


def test_the_intents_of_an_erasure_are_those_of_every_way_they_went() -> None:
    user, gone = make_user(), make_user()
    keys = user.pk, gone.pk
    for learner in (user, gone):
        make_intent(learner=learner)
    api.erase_learner(user)
    api.record_intent(**make_row(learner=user, effective_timestamp=timezone.now()))
    assert api.erase_learner(user).intents == 1
    user.delete()
    gone.delete()
    assert dict(ErasedLearner.objects.values_list("pk", "intents")) == dict(zip(keys, (2, 1), strict=True))


def test_who_is_deleted_through_a_proxy_is_erased() -> None:
    class ProxyUser(User):
        class Meta:
            proxy = True
            app_label = "auth"

    deletions.connect()
    try:
        user = make_user()
        make_intent(learner=user)
        ProxyUser.objects.get(pk=user.pk).delete()
        assert ErasedLearner.objects.get().intents == 1
    finally:
        pre_delete.disconnect(sender=ProxyUser, dispatch_uid=("program_intent", ProxyUser))
        del apps.all_models["auth"]["proxyuser"]
        apps.clear_cache()
