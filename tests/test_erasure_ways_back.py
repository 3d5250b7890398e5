"""Every way by which what was erased might come back, whatever became of the learner and of the name."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.core import serializers
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from program_intent import api
from program_intent.data import FIELDS, LoadReport, RunKind
from program_intent.intake.events import Meant, Stored
from program_intent.intake.sync import Sync
from program_intent.models import Checkpoint, ErasedLearner, ErasedName, ProgramIntent, RejectedIntent, Run
from program_intent.store.erase import erase_name
from program_intent.store.rejected import forget_rejected_of_erased
from tests.builders import MOMENT, PROGRAM, make_row, make_user
from tests.reports import HEADER, load
from tests.rest import ADD, RECORD, client_of
from tests.test_sync import Warehouse, configure

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("pk", "username", "email")


class Told(NamedTuple):
    """What a source tells: whom it names, how, and since when the intent is in effect."""

    learner: Any
    field: str
    moment: datetime
    certainty: str = "MAYBE"

    def texts(self) -> tuple[str, ...]:
        return str(self.learner), str(PROGRAM), "BOUGHT", self.certainty, self.moment.isoformat()


class Sources:
    """A directory of files and a warehouse; each way tells something, and where rows are counted says the counts."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self._directory, self._settings = directory, settings
        self._rejects = directory / "rejects.csv"
        self.warehouse = Warehouse(directory / "warehouse.sqlite3")

    def csv(self, told: Told) -> Any:
        learner, program, *others = told.texts()
        return self._load("report.csv", HEADER, ",".join((program, learner, *others)), told)

    def json_lines(self, told: Told) -> Any:
        return self._load("report.jsonl", json.dumps(dict(zip(FIELDS, told.texts(), strict=True))), "", told)

    def rejects_file(self, told: Told) -> Any:
        """Which a load has left, in which somebody else's rows were wrong."""
        learner, program, *others = told.texts()
        row = f'report.csv,2,"learner: No user is named by {learner}.",{",".join((program, learner, *others))}'
        return self._load("old.csv", f"source,line,error,{HEADER}", row, told)

    def _load(self, name: str, head: str, row: str, told: Told) -> Any:
        report = self._directory / name
        report.write_text("\n".join((head, row)))
        loaded = load(report, "--learner-field", told.field, "--rejects", self._rejects)
        assert loaded.status == 0, loaded
        return LoadReport(*loaded.counts, loaded.erased, 0, dry_run=False)

    def kept(self) -> list[str]:
        """What a load has written to its rejects file, but for the names of the columns."""
        return self._rejects.read_text().splitlines()[1:] if self._rejects.exists() else []

    def event(self, told: Told) -> Any:
        stored = Stored(RunKind.EVENTS, using="default", by="tests", source="topic")
        stored.store("topic", [Meant("1-0", told.field, [told.texts()])])
        return stored.counts

    def sync(self, told: Told) -> Any:
        return self._sync(told, full=False)

    def full_sync(self, told: Told) -> Any:
        return self._sync(told, full=True)

    def _sync(self, told: Told, *, full: bool) -> Any:
        """Within the lag, or from the beginning."""
        Checkpoint.objects.all().delete()
        self.warehouse._connection.execute("DELETE FROM intents")
        learner, _, reason, certainty, moment = told.texts()
        configure(self._settings, self.warehouse, LEARNER_FIELD=told.field)
        self.warehouse.add(learner, reason=reason, certainty=certainty, time=moment, program_uuid=str(PROGRAM))
        return Sync("reports", by="tests", full=full).run()

    def record_intents(self, told: Told) -> None:
        api.record_intents([self._row(told)], learner_field=told.field)

    def record_intent(self, told: Told) -> None:
        with suppress(api.InvalidIntent):
            api.record_intent(**self._row(told))

    def create(self, told: Told) -> None:
        with suppress(api.InvalidIntent):
            ProgramIntent.objects.create(**{**self._row(told), "learner": None}, learner_id=told.learner)

    def save(self, told: Told) -> None:
        with suppress(api.InvalidIntent):
            ProgramIntent(**{**self._row(told), "learner": None}, learner_id=told.learner).save()

    def fixture(self, told: Told, kind: str = "json") -> None:
        intent = ProgramIntent(**{**self._row(told), "learner": None}, learner_id=told.learner, pk=4711)
        path = self._directory / f"fixture.{kind}"
        path.write_text(serializers.serialize(kind, [intent]))
        with suppress(api.InvalidIntent):
            call_command("loaddata", str(path), verbosity=0)

    def xml_fixture(self, told: Told) -> None:
        self.fixture(told, "xml")

    def rest(self, told: Told, many: bool = False) -> None:
        self._settings.PROGRAM_INTENT = {"LEARNER_LOOKUP_FIELD": told.field}
        staff = client_of(User.objects.get_or_create(username="staff")[0], ADD)
        row = dict(zip(FIELDS, told.texts(), strict=True))
        answer = staff.post(RECORD, [row, row] if many else row, format="json")
        assert answer.status_code in (200, 201, 400)

    def rest_array(self, told: Told) -> None:
        self.rest(told, many=True)

    def _row(self, told: Told) -> dict[str, Any]:
        return {
            **dict(zip(FIELDS, told.texts(), strict=True)),
            "learner": told.learner,
            "effective_timestamp": told.moment,
        }


COUNTED = ("csv", "json_lines", "rejects_file", "event", "sync", "full_sync")
BY_ANY_NAME = (*COUNTED, "record_intents", "rest", "rest_array")
BY_KEY = ("record_intent", "create", "save", "fixture", "xml_fixture")
WAYS = [(way, field) for way in BY_ANY_NAME for field in NAMES] + [(way, "pk") for way in BY_KEY]


@pytest.fixture
def sources(tmp_path: Path, settings: Settings) -> Iterator[Sources]:
    settings.PROGRAM_INTENT = {}
    found = Sources(tmp_path, settings)
    yield found
    found.warehouse.close()


def alice() -> User:
    user: User = make_user(username="alice", email="alice@example.org")
    return user


def stays(user: User) -> User | None:
    return user


def is_retired(user: User) -> User | None:
    """As Open edX does it: the row stays, and no signal tells."""
    ErasedLearner.objects.all().delete()
    api.erase_learner(user, retired=True)
    name = f"retired__user_{user.pk}"
    User.objects.filter(pk=user.pk).update(username=name, email=f"{name}@retired.invalid", is_active=False)
    return None


def is_gone(user: User) -> User | None:
    user.delete()
    return None


def is_retired_and_the_name_taken(user: User) -> User | None:
    is_retired(user)
    return alice()


def is_gone_and_the_name_taken(user: User) -> User | None:
    is_gone(user)
    return alice()


@pytest.mark.parametrize(
    "happens", [stays, is_retired, is_gone, is_retired_and_the_name_taken, is_gone_and_the_name_taken]
)
@pytest.mark.parametrize(("way", "field"), WAYS)
def test_no_way_leads_back_and_whoever_bears_the_name_now_is_recorded_anew(
    sources: Sources, way: str, field: str, happens: Callable[[User], User | None]
) -> None:
    user = alice()
    api.record_intent(**make_row(learner=user))
    tell: Callable[[Told], Any] = getattr(sources, way)
    told = Told(getattr(user, field), field, MOMENT + timedelta(days=1))
    api.erase_learner(user)
    bearer = happens(user)
    counts = tell(told)
    assert not ProgramIntent.objects.exists()
    assert not RejectedIntent.objects.exists()
    assert sources.kept() == []
    if way in COUNTED:
        assert (counts.read, counts.erased) == (1, 1)
        assert (Run.objects.latest("pk").read, Run.objects.latest("pk").erased) == (1, 1)
    if bearer and getattr(bearer, field) == told.learner:
        tell(told._replace(moment=timezone.now()))
        assert [intent.learner_id for intent in ProgramIntent.objects.all()] == [bearer.pk]


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("way", COUNTED)
def test_a_refused_row_of_somebody_who_was_erased_is_kept_nowhere_and_stops_nothing(
    sources: Sources, way: str, field: str
) -> None:
    user = alice()
    told = Told(getattr(user, field), field, MOMENT, certainty="SURE")
    user.delete()
    counts = getattr(sources, way)(told)
    assert (counts.read, counts.rejected, counts.erased) == (1, 0, 1)
    assert not RejectedIntent.objects.exists()
    assert sources.kept() == []


def test_a_refused_row_of_a_later_bearer_of_the_name_is_kept_as_any(sources: Sources) -> None:
    alice().delete()
    alice()
    told = Told("alice", "username", timezone.now(), certainty="SURE")
    assert sources.sync(told).rejected == 1
    assert sources.sync(told._replace(moment=MOMENT)).erased == 1
    forget_rejected_of_erased(using="default")
    assert RejectedIntent.objects.count() == 1


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_was_erased_is_not_among_the_rejects_that_stop_a_load(
    sources: Sources, tmp_path: Path, options: tuple[str, ...]
) -> None:
    user = alice()
    user.delete()
    told = Told("alice", "username", MOMENT)
    rows = [told, told._replace(certainty="SURE"), told, told._replace(learner="bob")]
    lines = [",".join((str(PROGRAM), learner, *others)) for learner, _, *others in (each.texts() for each in rows)]
    report = tmp_path / "report.csv"
    report.write_text("\n".join((HEADER, *lines)))
    loaded = load(report, "--learner-field", "username", "--max-rejects", "1", *options)
    assert (loaded.counts, loaded.erased) == ((4, 0, 0, 1), 3)
    assert "Stopped" not in loaded.message


REFUSED = [("pk", " {} "), ("id", "{}"), ("username", "alice"), ("email", "alice@example.org")]


@pytest.mark.parametrize("how", ["erased", "deleted"])
def test_what_was_refused_of_a_learner_goes_with_the_erasure_however_it_names_them(sources: Sources, how: str) -> None:
    user, other = alice(), make_user()
    for number, (field, name) in enumerate([*REFUSED, ("username", "alicea"), ("pk", f"{other.pk}")]):
        told = {"source": "reports", "key": str(number), "learner_field": field, "error": "certainty: Expected ..."}
        moments = dict.fromkeys(("first_seen", "last_seen"), timezone.now())
        values = dict(zip(FIELDS, Told(name.format(user.pk), field, MOMENT).texts(), strict=True))
        RejectedIntent.objects.create(**values, **told, **moments)
    if how == "erased":
        api.erase_learner(user)
    else:
        User.objects.filter(pk=user.pk).delete()
    assert set(RejectedIntent.objects.values_list("learner", flat=True)) == {"alicea", str(other.pk)}
    call_command("retry_rejected_program_intents", stdout=StringIO())
    assert {intent.learner_id for intent in ProgramIntent.objects.all()} <= {other.pk}


# Fixtures of the erasures themselves

FAR = datetime(2094, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
by_kind = pytest.mark.parametrize("kind", ["json", "xml"])


def dumped(fixture: Path) -> str:
    tables = ("program_intent.erasedlearner", "program_intent.erasedname")
    call_command("dumpdata", *tables, format=fixture.suffix[1:], output=str(fixture), verbosity=0)
    return str(fixture)


def loaded(fixture: str) -> None:
    call_command("loaddata", fixture, verbosity=0)


def erased() -> list[tuple[Any, ...]]:
    return [row for model in (ErasedLearner, ErasedName) for row in model._base_manager.order_by("pk").values_list()]


def status_of(learner: Any, field: str, moment: datetime) -> str:
    (outcome,) = api.record_intents([make_row(learner=learner, effective_timestamp=moment)], learner_field=field)
    return outcome.status


def statuses_of(user: User, moment: datetime) -> set[str]:
    return {status_of(getattr(user, field), field, moment) for field in NAMES}


@by_kind
def test_an_older_fixture_of_erasures_makes_none_of_them_weaker(tmp_path: Path, kind: str) -> None:
    retired, later = alice(), make_user()
    for user in (retired, later):
        api.erase_learner(user, by="before")
    fixture = dumped(tmp_path / f"erased.{kind}")
    api.erase_learner(retired, retired=True, by="after")
    api.record_intent(**make_row(learner=later, effective_timestamp=FAR))
    api.erase_learner(later, by="after")
    before, listed = erased(), api.get_erasures(since=timezone.now() - timedelta(hours=1))
    loaded(fixture)
    assert erased() == before
    assert api.get_erasures(since=timezone.now() - timedelta(hours=1)) == listed
    assert status_of(retired.pk, "pk", FAR) == "rejected"
    assert statuses_of(later, FAR) == {"rejected"}


@by_kind
def test_a_newer_fixture_of_erasures_makes_them_stronger(tmp_path: Path, kind: str) -> None:
    retired, later = alice(), make_user()
    for user in (retired, later):
        api.erase_learner(user, by="before")
    older = dumped(tmp_path / "older.xml")
    api.erase_learner(retired, retired=True, by="after")
    api.record_intent(**make_row(learner=later, effective_timestamp=FAR))
    api.erase_learner(later, by="after")
    fixture = dumped(tmp_path / f"erased.{kind}")
    ErasedLearner.objects.all().delete()
    loaded(older)
    loaded(fixture)
    assert set(ErasedLearner.objects.values_list("intents", "by")) == {(0, "after"), (1, "after")}
    assert status_of(retired.pk, "pk", FAR) == "rejected"
    assert statuses_of(later, FAR) == {"rejected"}


@by_kind
@pytest.mark.parametrize("moment", [FAR, FAR.replace(microsecond=0)], ids=["microseconds", "seconds"])
def test_a_fixture_that_tells_of_the_erasures_that_are_stored_changes_none(
    tmp_path: Path, kind: str, moment: datetime
) -> None:
    user = alice()
    api.record_intent(**make_row(learner=user, effective_timestamp=moment))
    api.erase_learner(user)
    before = erased()
    loaded(dumped(tmp_path / f"erased.{kind}"))
    assert erased() == before


@by_kind
def test_what_a_fixture_brings_into_an_empty_table_forgets_nothing_less(tmp_path: Path, kind: str) -> None:
    """JSON cuts times to milliseconds: a millisecond more at most, and no more where that is dumped anew."""
    user = alice()
    api.record_intent(**make_row(learner=user, effective_timestamp=FAR))
    api.erase_learner(user)
    since = ErasedLearner.objects.get().erased
    for _ in range(2):
        fixture = dumped(tmp_path / f"erased.{kind}")
        ErasedLearner.objects.all().delete()
        loaded(fixture)
        assert statuses_of(user, FAR) == {"rejected"}
        assert [each.learner_id for each in api.get_erasures(since=since)] == [user.pk]
    assert statuses_of(user, FAR.replace(microsecond=124000)) == {"created", "duplicate"}


@by_kind
def test_a_name_that_was_erased_since_keeps_its_row_where_a_fixture_has_another_of_that_number(
    tmp_path: Path, kind: str
) -> None:
    """As where a database was restored, and somebody erased, before who was erased meanwhile was loaded."""
    names = ["before", "meanwhile", "since"]
    for name in names[:2]:
        erase_name("username", name, using="default")
    fixture = dumped(tmp_path / f"erased.{kind}")
    number = ErasedName.objects.latest("pk").pk
    ErasedName.objects.filter(pk=number).delete()
    erase_name("username", "since", using="default")
    ErasedName.objects.filter(pk=ErasedName.objects.latest("pk").pk).update(id=number)
    loaded(fixture)
    loaded(fixture)
    assert ErasedName.objects.count() == 3
    for name in names:
        make_user(username=name)
        assert status_of(name, "username", MOMENT) == "rejected"


def test_a_dump_tells_who_was_erased_before_any_intent_so_that_each_is_judged_by_it(tmp_path: Path) -> None:
    api.erase_learner(alice())
    api.record_intent(**make_row(learner=make_user()))
    fixture = tmp_path / "all.json"
    call_command("dumpdata", "auth.user", "program_intent", output=str(fixture), verbosity=0)
    models = [row["model"] for row in json.loads(fixture.read_text())]
    assert models.index("program_intent.erasedlearner") < models.index("program_intent.programintent")
