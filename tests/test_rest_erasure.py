"""Erasure over REST: who drives retirements has a learner forgotten, and who follows the feed forgets them too."""

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from pytest_django import Settings
from rest_framework.test import APIClient

from program_intent import api
from program_intent.intake.retirements import SENT_AS
from program_intent.models import ErasedLearner, ErasedName, ProgramIntent
from program_intent.validation import learners
from tests.builders import make_row, make_user
from tests.rest import (
    ADD,
    CHANGES,
    ERASE,
    ERASURES,
    NOBODY,
    RETIREMENTS,
    VIEW,
    answer,
    client_of,
    get,
    record,
    refused,
)
from tests.test_store_concurrency import WAIT

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)

NAMES = ", ".join(SENT_AS)


@pytest.fixture
def driver() -> APIClient:
    return client_of(User.objects.create(username="driver"), ERASE)


def retire(driver: APIClient, **named: Any) -> None:
    response = driver.post(RETIREMENTS, named, format="json")
    assert (response.status_code, response.content) == (204, b"")


def told(learner: User) -> list[int]:
    return list(ProgramIntent.objects.filter(learner=learner).values_list("pk", flat=True))


def outcome_of(name: Any, field: str, **changes: Any) -> str:
    (outcome,) = api.record_intents([make_row(learner=name, **changes)], learner_field=field)
    return outcome.status


def test_zero_is_a_key_like_another_though_some_databases_give_it_to_nobody(driver: APIClient) -> None:
    retire(driver, learner=0)
    assert api.erase_learner(0).intents == 0


def test_whoever_signs_in_by_a_number_retires_learners(
    ada: User, driver: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "get_username", lambda user: 5551234)
    retire(driver, learner=ada.pk)
    assert ErasedLearner.objects.get().by == "5551234"


# Who is meant


@pytest.mark.parametrize("name", SENT_AS)
def test_a_learner_is_forgotten_for_good_under_each_key_that_drivers_send(
    ada: User, bob: User, driver: APIClient, name: str
) -> None:
    record(ada)
    kept = record(bob)
    retire(driver, **{name: ada.username if "username" in name else ada.pk})
    assert (told(ada), told(bob)) == ([], [kept.id])
    erased = ErasedLearner.objects.get()
    assert (erased.pk, erased.key_until, erased.intents, erased.by) == (ada.pk, None, 1, "driver")
    assert outcome_of(ada.pk, "pk", effective_timestamp=datetime(9999, 12, 30, tzinfo=UTC)) == "rejected"
    assert outcome_of("ada", "username") == "rejected"


@pytest.mark.usefixtures("by_username")
def test_a_learner_is_named_as_in_the_other_calls_and_by_the_primary_key_of_the_lms(
    ada: User, bob: User, driver: APIClient
) -> None:
    record(ada)
    record(bob)
    retire(driver, learner="ada")
    assert not told(ada)
    retire(driver, lms_user_id=str(bob.pk))
    assert not told(bob)
    assert list(answer(driver.post(RETIREMENTS, {"learner": bob.pk}, format="json"), 400)) == ["learner"]


def test_a_former_name_comes_along_for_whoever_was_renamed_already(ada: User, driver: APIClient) -> None:
    """As after Open edX's retirement; the name is refused as long as the learner's latest intent counts."""
    later = datetime(2040, 1, 1, tzinfo=UTC)
    record(ada, effective_timestamp=later)
    User.objects.filter(pk=ada.pk).update(username="retired__user_1")
    retire(driver, lms_user_id=ada.pk, username="ada_lovelace", original_username="ada")
    assert not ProgramIntent.objects.exists()
    untils = dict(ErasedName.objects.filter(field="username").values_list("hash", "until"))
    assert len(untils) == 3, "the present name, and two former ones"
    assert set(untils.values()) == {later}
    new = User.objects.create(username="ada")
    assert outcome_of("ada", "username", effective_timestamp=later) == "rejected"
    assert outcome_of(new.pk, "pk", effective_timestamp=later) == "created"


def test_a_name_that_somebody_else_bears_by_now_takes_nothing_from_them(
    ada: User, bob: User, driver: APIClient
) -> None:
    record(ada)
    kept = record(bob)
    retire(driver, edx_lms_user_id=ada.pk, original_username="bob")
    assert (told(ada), told(bob)) == ([], [kept.id])
    assert outcome_of("bob", "username") == "rejected"
    assert outcome_of("bob", "username", effective_timestamp=timezone.now()) == "created"
    assert not ErasedLearner.objects.filter(pk=bob.pk).exists()


def test_of_two_user_names_the_one_that_is_borne_says_who_is_meant(ada: User, bob: User, driver: APIClient) -> None:
    record(ada)
    kept = record(bob)
    retire(driver, username="countess", original_username="ada")
    assert (told(ada), told(bob)) == ([], [kept.id])
    assert outcome_of("countess", "username") == "rejected"
    retire(driver, username="driver", original_username="bob")
    assert told(bob) == [kept.id]


def test_keys_of_several_users_are_refused_and_nothing_is_erased(ada: User, bob: User, driver: APIClient) -> None:
    kept = record(ada).id, record(bob).id
    errors = answer(driver.post(RETIREMENTS, {"learner": ada.pk, "lms_user_id": bob.pk}, format="json"), 400)
    assert errors == {"non_field_errors": ["Expected keys of one user, not of 2."]}
    assert (*told(ada), *told(bob)) == kept
    assert not ErasedLearner.objects.exists()


def test_a_name_that_several_users_bear_is_refused(ada: User, bob: User, driver: APIClient, settings: Settings) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "email"}
    User.objects.filter(pk__in=[ada.pk, bob.pk]).update(email="both@example.com")
    kept = record(ada).id
    for more in ({}, {"lms_user_id": ada.pk}):
        errors = answer(driver.post(RETIREMENTS, {"learner": "both@example.com", **more}, format="json"), 400)
        assert errors == {"learner": ["Several users are named by 'both@example.com'."]}
    assert told(ada) == [kept]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("named", [{"username": "linus"}, {"lms_user_id": NOBODY}, {"learner": str(NOBODY)}])
def test_who_was_never_here_is_forgotten_all_the_same(driver: APIClient, named: dict[str, Any], times: int) -> None:
    for _ in range(times):
        retire(driver, **named)
    ((name, value),) = named.items()
    newcomer = make_user(**({"username": value} if name == "username" else {"pk": int(value)}))
    assert outcome_of(newcomer.username, "username") == "rejected"
    is_new = outcome_of(newcomer.username, "username", effective_timestamp=timezone.now())
    assert is_new == ("created" if name == "username" else "rejected"), "a later bearer of the name is another"


@pytest.mark.parametrize("value", [10**30, -(10**30), "9" * 39])
def test_a_key_that_no_user_can_have_was_never_here(driver: APIClient, value: Any) -> None:
    retire(driver, lms_user_id=value)
    assert not ErasedLearner.objects.exists()


def test_a_name_that_the_column_cannot_spell_was_never_here(driver: APIClient, ada: User) -> None:
    record(ada)
    retire(driver, original_username="\0", lms_user_id=ada.pk)
    retire(driver, username="\0")
    assert not told(ada)


def test_a_retirement_may_run_again_by_the_name_that_the_learner_had(ada: User, driver: APIClient) -> None:
    record(ada)
    retire(driver, username="ada")
    before = list(ErasedName.objects.values_list("field", "hash").order_by("pk"))
    retire(driver, username="ada")
    assert list(ErasedName.objects.values_list("field", "hash").order_by("pk")) == before
    erased = ErasedLearner.objects.get()
    assert (erased.intents, erased.key_until) == (1, None)


def test_who_calls_is_kept_as_far_as_there_is_room(
    ada: User, driver: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "get_username", lambda user: "d" * 300)
    retire(driver, username="ada")
    assert ErasedLearner.objects.get().by == "d" * 255


@committed
def test_a_retirement_fits_into_the_transaction_of_a_request(
    ada: User, driver: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    record(ada)
    retire(driver, username="ada")
    assert not told(ada)


# Where the user model has no field of that name


def test_a_model_without_a_username_is_asked_by_its_username_field(
    ada: User, driver: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``email`` stands for it here: ``username`` is taken for no column."""
    monkeypatch.setattr(User, "USERNAME_FIELD", "email")
    problem = learners.field_problem
    monkeypatch.setattr(
        "program_intent.intake.retirements.field_problem",
        lambda user, name: ("E004", "") if name == "username" else problem(user, name),
    )
    User.objects.filter(pk=ada.pk).update(email="ada@example.com")
    record(ada)
    retire(driver, original_username="ada")
    assert told(ada)
    retire(driver, original_username="ada@example.com")
    assert not told(ada)


# What is refused


@pytest.mark.parametrize("name", SENT_AS)
@pytest.mark.parametrize(
    "value", [None, True, 1.5, [], {}, [1], "", "x" * 5000, "\ud800", "007", " ", "1e5"], ids=ascii
)
def test_a_malformed_value_is_400_under_its_name_or_names_nobody(driver: APIClient, name: str, value: Any) -> None:
    response = driver.generic("POST", RETIREMENTS, json.dumps({name: value}), content_type="application/json")
    is_text = "username" in name and isinstance(value, str) and value
    assert response.status_code == (204 if is_text else 400)
    if not is_text:
        assert list(answer(response, 400)) == [name]
    assert not ErasedLearner.objects.exists()


def test_all_malformed_values_are_told_together_and_nothing_is_erased(ada: User, driver: APIClient) -> None:
    kept = record(ada).id
    body = {"learner": ada.pk, "lms_user_id": "x", "username": 5}
    assert answer(driver.post(RETIREMENTS, body, format="json"), 400) == {
        "lms_user_id": ["Expected an integer that names a user, not 'x'."],
        "username": ["Expected a text that names a user, not 5."],
    }
    assert told(ada) == [kept]


@pytest.mark.parametrize("body", [{}, [], [{"username": "ada"}], "ada", 5, None], ids=ascii)
def test_a_body_that_names_nobody_is_400(driver: APIClient, body: Any) -> None:
    errors = answer(driver.generic("POST", RETIREMENTS, json.dumps(body), content_type="application/json"), 400)
    assert errors == {"non_field_errors": [f"Expected an object with one of {NAMES}, not {body!r}."]}


def test_an_unknown_key_is_400_and_what_the_host_ignores_is_ignored(
    ada: User, driver: APIClient, settings: Settings
) -> None:
    body = {"username": "ada", "original_usename": "ada"}
    assert answer(driver.post(RETIREMENTS, body, format="json"), 400) == {
        "original_usename": [f"Unknown. Did you mean original_username? Known: {NAMES}."]
    }
    settings.PROGRAM_INTENT = {"IGNORED_PARAMETERS": ["original_usename"]}
    assert "non_field_errors" in answer(driver.post(RETIREMENTS, {"original_usename": "ada"}, format="json"), 400)
    retire(driver, **body)


def test_a_retirement_has_no_parameters(ada: User, driver: APIClient) -> None:
    url = f"{RETIREMENTS}?lms_user_id={ada.pk}"
    assert list(answer(driver.post(url, {"username": "ada"}, format="json"), 400)) == ["lms_user_id"]


UNREADABLE = {"empty": "", "broken": "{", "deep": "[" * 100_000, "bytes": b'{"username": "\xff"}'}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_cannot_be_read_is_400(driver: APIClient, body: Any) -> None:
    response = driver.generic("POST", RETIREMENTS, body, content_type="application/json")
    assert list(answer(response, 400)) == ["non_field_errors"]


@pytest.mark.parametrize("body", [{"username": "ada"}, {"username": NOBODY}, {}, {"name": "ada"}], ids=str)
def test_without_the_permission_nobody_is_forgotten_or_told_who_exists(ada: User, body: dict[str, Any]) -> None:
    kept = record(ada).id
    for client in (client_of(ada), client_of(ada, ADD, VIEW)):
        errors = answer(client.post(RETIREMENTS, body, format="json"), 403)
        assert errors == {"detail": "You need the permission program_intent.erase_learner."}
    assert client_of(None).post(RETIREMENTS, body, format="json").status_code == 403
    assert told(ada) == [kept]


# For those who keep copies


def test_followers_are_told_who_was_erased_and_until_when_in_order(as_staff: APIClient) -> None:
    stays, retired, nobody = make_user().pk, make_user().pk, NOBODY
    for learner, is_retired in ((retired, True), (stays, False), (nobody, False)):
        api.erase_learner(learner, retired=is_retired)
    until = {erasure.learner_id: erasure.until for erasure in api.get_erasures()}
    assert get(as_staff, ERASURES) == [
        {"learner_id": retired, "until": None},
        *(
            {"learner_id": each, "until": until[each].isoformat().replace("+00:00", "Z")}  # type: ignore[union-attr]
            for each in (stays, nobody)
        ),
    ]


def test_only_what_was_erased_since_is_told(as_staff: APIClient) -> None:
    assert get(as_staff, ERASURES) == []
    api.erase_learner(NOBODY)
    moment = timezone.now()
    api.erase_learner(5)
    told = get(as_staff, ERASURES, since=moment.isoformat())
    assert [each["learner_id"] for each in told] == [5]
    at = ErasedLearner.objects.get(pk=5).erased
    assert len(get(as_staff, ERASURES, since=at.isoformat())) == 1
    assert get(as_staff, ERASURES, since=(at + timedelta(microseconds=1)).isoformat()) == []
    assert list(refused(as_staff, ERASURES, since="yesterday")) == ["since"]


def test_an_intent_of_the_feed_says_by_which_key_an_erasure_would_name_its_learner(
    ada: User, as_staff: APIClient, settings: Settings
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": "username"}
    record(ada)
    (intent,) = get(as_staff, CHANGES)["intents"]
    assert (intent["learner"], intent["learner_id"]) == ("ada", ada.pk)
    api.erase_learner(ada)
    (erasure,) = get(as_staff, ERASURES)
    assert erasure["learner_id"] == intent["learner_id"]


class Follower:
    """A copy over HTTP, by the rules of docs/how-tos/follow-changes.rst."""

    def __init__(self, client: APIClient, seed: int) -> None:
        self._client = client
        self._chance = random.Random(seed)
        self._after: dict[str, str] = {}
        self._since: dict[str, str] = {}
        self._until: dict[Any, str | None] = {}
        self.copy: dict[int, dict[str, Any]] = {}
        self.dropped = self.refused = 0

    def take_page(self, meanwhile: Callable[[], object] | None = None) -> bool:
        """Whether it, or its place, is news; now and then erasures are asked for while it is on its way."""
        page = get(self._client, CHANGES, limit=self._chance.randint(1, 9), **self._after)
        if meanwhile:
            meanwhile()
        if meanwhile or self._chance.random() < 0.5:
            self.take_erasures()
        for intent in page["intents"]:
            if self._is_forgotten(intent):
                self.refused += 1
            else:
                self.copy[intent["id"]] = intent
        is_news = bool(page["intents"]) or self._after != {"after": page["cursor"]}
        self._after = {"after": page["cursor"]}
        return is_news

    def take_all(self) -> None:
        while self.take_page():
            pass

    def take_erasures(self) -> None:
        asked = timezone.now() - timedelta(days=1)
        self._until |= {each["learner_id"]: each["until"] for each in get(self._client, ERASURES, **self._since)}
        self._since = {"since": asked.isoformat()}
        for intent in [each for each in self.copy.values() if self._is_forgotten(each)]:
            del self.copy[intent["id"]]
            self.dropped += 1

    def _is_forgotten(self, intent: dict[str, Any]) -> bool:
        learner = intent["learner_id"]
        until = self._until.get(learner)
        return learner in self._until and (until is None or moment(intent["effective_timestamp"]) <= moment(until))


def moment(text: str) -> datetime:
    parsed = parse_datetime(text)
    assert parsed
    return parsed


class RolledBackError(Exception):
    pass


class Life:
    """What happens on a host meanwhile: people come, mean something, are forgotten, retired and deleted."""

    def __init__(self, driver: APIClient, seed: int) -> None:
        self._chance = random.Random(seed)
        self._driver = driver
        self._reasons = (f"R{number}" for number in count())
        self.people = [make_user() for _ in range(8)]
        self._names = count()

    def __call__(self) -> None:
        acts: list[Callable[[User], object]] = [self.record, self.erase, self.retire, self.delete]
        for _ in range(80):
            (act,) = self._chance.choices(acts, [12, 1, 1, 1])
            with suppress(RolledBackError):
                self.do(act, self._chance.choice(self.people))

    def do(self, act: Callable[[User], object], learner: User) -> None:
        if self._chance.random() < 0.6:
            act(learner)
            return
        with transaction.atomic():
            act(learner)
            self.record(learner)
            if self._chance.random() < 0.3:
                raise RolledBackError

    def record(self, learner: User) -> None:
        for _ in range(self._chance.randint(1, 3)):
            when = timezone.now() + timedelta(days=self._chance.choice([-30, 0, 30]))
            api.record_intents([make_row(learner=learner.pk, reason=next(self._reasons), effective_timestamp=when)])

    def erase(self, learner: User) -> None:
        api.erase_learner(learner.pk)

    def retire(self, learner: User) -> None:
        original = User.objects.filter(pk=learner.pk).values_list("username", flat=True).first() or "gone"
        User.objects.filter(pk=learner.pk).update(username=f"retired__{next(self._names)}")
        retire(self._driver, lms_user_id=learner.pk, original_username=original)
        self.people.append(make_user())

    def delete(self, learner: User) -> None:
        User.objects.filter(pk=learner.pk).delete()
        self.people.append(make_user())


def table(field: str) -> dict[int, tuple[Any, Any]]:
    """The name and the key of the learner of each stored intent."""
    rows = ProgramIntent.objects.values_list("pk", f"learner__{field}", "learner_id")
    return {key: (name, learner) for key, name, learner in rows}


@committed
@pytest.mark.parametrize("field", ["pk", "username"])
@pytest.mark.parametrize("seed", range(2))
def test_a_follower_ends_with_the_table_whoever_is_forgotten_meanwhile(
    driver: APIClient, as_staff: APIClient, settings: Settings, field: str, seed: int
) -> None:
    settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": field}
    life, follower = Life(driver, seed), Follower(as_staff, seed)
    for learner in life.people:
        life.record(learner)
    follower.take_all()

    def live() -> None:
        try:
            life()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(live)
        while not living.done():
            follower.take_page()
        living.result(WAIT)
    follower.take_all()
    follower.take_erasures()
    assert {key: (each["learner"], each["learner_id"]) for key, each in follower.copy.items()} == table(field)
    assert follower.copy, "somebody is left"
    assert follower.dropped, "nobody was forgotten whom it had"


@committed
@pytest.mark.parametrize("forget", [api.erase_learner, User.delete], ids=["erased", "deleted"])
def test_a_page_that_was_on_its_way_brings_nobody_back(
    ada: User, bob: User, as_staff: APIClient, forget: Callable[[User], object]
) -> None:
    record(ada)
    kept = record(bob)
    follower = Follower(as_staff, 0)
    while not follower.copy:
        follower.take_page(meanwhile=partial(forget, ada))
    follower.take_all()
    assert (list(follower.copy), follower.refused) == ([kept.id], 1)
