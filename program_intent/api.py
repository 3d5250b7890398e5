"""The functions that hosts call; everything else in this package may change without notice."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.transaction import TransactionManagementError

from program_intent.data import (
    FIELDS,
    Certainty,
    Clause,
    Erasure,
    Explanation,
    Intent,
    IntentChanges,
    Outcome,
    RunKind,
    RunSummary,
    SyncReport,
    Unchosen,
)
from program_intent.exceptions import InvalidIntent
from program_intent.intake.sync import Sync
from program_intent.read import changes, erasures, history, latest, many
from program_intent.read import program as programs_read
from program_intent.read.parameters import Parameters, knowing_until, read_from, written_to
from program_intent.store.erase import erase_named
from program_intent.store.record import record
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import parse_by, parse_certainty

__all__ = [
    "Certainty",
    "Clause",
    "Erasure",
    "Explanation",
    "Intent",
    "IntentChanges",
    "InvalidIntent",
    "Outcome",
    "RunKind",
    "RunSummary",
    "SyncReport",
    "Unchosen",
    "as_known_at",
    "count_latest_certain_intents_for_program",
    "count_latest_certain_intents_for_programs",
    "erase_learner",
    "explain_latest_certain_intent",
    "get_erasures",
    "get_intent_changes",
    "get_intent_history",
    "get_latest_certain_intent",
    "get_latest_certain_intents",
    "get_latest_certain_intents_for_learners",
    "iter_latest_certain_intents_for_program",
    "record_intent",
    "record_intents",
    "sync_program_intents",
]


def record_intent(
    learner: Any,
    program_uuid: UUID | str,
    *,
    reason: str,
    certainty: Certainty | str,
    effective_timestamp: datetime | str | None = None,
) -> tuple[Intent, bool]:
    """Record one intent once: the stored intent, and whether it is new.

    :param learner: a user, or a user's primary key.
    :param reason: up to 64 letters, digits and underscores; upper-cased.
    :param effective_timestamp: when it became true, aware; now if left out.
    :raises InvalidIntent: a value is refused or the learner does not exist; nothing was written.
    """
    values = (learner, program_uuid, reason, certainty, effective_timestamp)
    (outcome,) = record([dict(zip(FIELDS, values, strict=True))])
    if outcome.intent is None:
        raise InvalidIntent(outcome.errors)
    return outcome.intent, outcome.status == "created"


def record_intents(rows: Iterable[Mapping[str, Any]], *, learner_field: str = "pk") -> list[Outcome]:
    """Record many intents at once: one outcome per row, in the same order; the good are kept, the bad refused.

    :param rows: mappings with the keys learner, program_uuid, reason, certainty and, optionally,
        effective_timestamp, with the values that :func:`record_intent` takes. A row with another key is refused.
    :param learner_field: the user model's field whose values name the learners; a name that several users bear is
        refused. A user is known by primary key under any.
    """
    return record(rows, learner_field=learner_field)


@contextmanager
def as_known_at(moment: datetime | str) -> Iterator[None]:
    """Within the block, every read below answers from what had been written by ``moment``, aware.

    A ``known_at`` given to a call, or an inner block, can only go further back: the earlier of the two counts.
    ``as_of`` stays what it is, now if left out: with both in the past, an answer never changes again, unless the
    learner's user is deleted. One edge is excepted: ``created`` is the writer's clock *before* its commit, so a
    transaction that was still open at ``moment`` can add to what was known by then; choose a moment that is older than
    your longest write. The block holds for its own thread or async task, and not in threads that are started in it;
    a generator that is left open within it holds it open, so hand ``known_at`` to the call there.

    :raises InvalidIntent: the moment is malformed, named ``known_at`` in ``errors``.
    """
    given = Parameters(read_from())
    known = given.parsed("known_at", parse_timestamp, moment)
    given.check()
    with knowing_until(known):
        yield


def get_latest_certain_intents(
    learner: Any,
    *,
    program_uuids: Iterable[UUID | str] | None = None,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> dict[UUID, Intent]:
    """Per program, the learner's latest and most certain intent; ordered by program.

    One query for a learner with up to 128 intents, two beyond.

    :param learner: a user, or a user's primary key; one who does not exist has no intents.
    :param program_uuids: only these programs; all if left out.
    :param as_of: count what was true by then, aware; now if left out.
    :param known_at: count what had been written by then, aware; everything if left out.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    given = Parameters(read_from())
    key, programs = given.learner(learner), given.programs(program_uuids)
    moment, known = given.moments(as_of, known_at)
    intents = latest.latest_certain(key, using=given.using, as_of=moment, known_at=known, program_uuids=programs)
    return {intent.program_uuid: intent for intent in intents}


def get_latest_certain_intent(
    learner: Any,
    program_uuid: UUID | str,
    *,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> Intent | None:
    """The learner's latest and most certain intent for one program, or None; otherwise as the plural.

    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    intents = get_latest_certain_intents(learner, program_uuids=[program_uuid], as_of=as_of, known_at=known_at)
    return next(iter(intents.values()), None)


def get_latest_certain_intents_for_learners(
    learners: Iterable[Any],
    *,
    program_uuids: Iterable[UUID | str] | None = None,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> dict[Any, dict[UUID, Intent]]:
    """What :func:`get_latest_certain_intents` answers for each of many learners, in one query.

    :param learners: users, or primary keys; each has an entry under the primary key, empty if there are no intents.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    given = Parameters(read_from())
    keys, programs = given.learners(learners), given.programs(program_uuids)
    moment, known = given.moments(as_of, known_at)
    answers: dict[Any, dict[UUID, Intent]] = {key: {} for key in keys}
    for intent in many.for_learners(
        list(answers), using=given.using, program_uuids=programs, as_of=moment, known_at=known
    ):
        answers[intent.learner_id][intent.program_uuid] = intent
    return answers


def iter_latest_certain_intents_for_program(
    program_uuid: UUID | str,
    *,
    certainty: Certainty | str | None = None,
    after: Any = None,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> Iterator[Intent]:
    """The latest and most certain intent of each learner who has one for the program, in the order of their keys: the
    database's, which for UUIDs on MariaDB is not that of their digits.

    Streamed in pages, one query each. All pages answer for the same moment: what is written after the first is asked
    for is in none of them.

    :param certainty: only the intents that have it.
    :param after: a user or a user's primary key: continue behind this learner.
    :raises InvalidIntent: at once, a parameter is malformed, named in ``errors``.
    """
    given = Parameters(read_from())
    program = given.program(program_uuid)
    wanted = None if certainty is None else given.parsed("certainty", parse_certainty, certainty)
    start = None if after is None else given.learner(after, name="after")
    moment, known = given.moments(as_of, known_at)
    return programs_read.iterate(
        program, using=given.using, certainty=wanted, after=start, as_of=moment, known_at=known
    )


def count_latest_certain_intents_for_program(
    program_uuid: UUID | str, *, as_of: datetime | str | None = None, known_at: datetime | str | None = None
) -> dict[Certainty, int]:
    """The number of learners whose latest and most certain intent for the program has each certainty.

    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    given = Parameters(read_from())
    program = given.program(program_uuid)
    moment, known = given.moments(as_of, known_at)
    return programs_read.counts([program], using=given.using, as_of=moment, known_at=known)[program]


def count_latest_certain_intents_for_programs(
    program_uuids: Iterable[UUID | str] | None = None,
    *,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> dict[UUID, dict[Certainty, int]]:
    """The same for each of many programs, in one query; ordered by program.

    :param program_uuids: these programs, also those without intents; if left out, all that have one that counts.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    given = Parameters(read_from())
    programs = given.programs(program_uuids)
    moment, known = given.moments(as_of, known_at)
    return programs_read.counts(programs, using=given.using, as_of=moment, known_at=known)


def get_intent_history(learner: Any, *, program_uuid: UUID | str | None = None) -> list[Intent]:
    """All of a learner's intents, those not yet in effect included: the latest to become true first.

    :param program_uuid: only this program; all if left out.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    given = Parameters(read_from())
    key = given.learner(learner)
    programs = None if program_uuid is None else [given.program(program_uuid)]
    known = given.known_at(None)
    given.check()
    return history.history(key, using=given.using, program_uuids=programs, known_at=known)


def explain_latest_certain_intent(
    learner: Any,
    program_uuid: UUID | str,
    *,
    as_of: datetime | str | None = None,
    known_at: datetime | str | None = None,
) -> Explanation:
    """Why :func:`get_latest_certain_intent` answers so: what won, what lost by which clause, what does not count.

    What was written after ``known_at`` is listed as not counted, so with both times in the past that list can grow,
    and nothing else changes. What a load brought says which, in ``runs``.

    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    given = Parameters(read_from())
    key, program = given.learner(learner), given.program(program_uuid)
    moment, known = given.moments(as_of, known_at)
    intents, runs = history.with_runs(key, [program], using=given.using)
    return history.explain(intents, runs, learner=key, program_uuid=program, as_of=moment, known_at=known)


def sync_program_intents(source: str, *, by: str = "") -> SyncReport:
    """Bring in what is new in a source of ``PROGRAM_INTENT["SOURCES"]``, for a scheduler in the host.

    :param by: who is told to have started it, in its run; up to 255 characters.
    :raises LoadError: the source is not configured or cannot be read, or breaks off; what was stored stays.
    :raises SyncBusy: another run is at work on it.
    :raises django.db.transaction.TransactionManagementError: inside a transaction, which would undo the checkpoint
        with the rows long after they were read.
    """
    connection = connections[written_to()]
    if connection.in_atomic_block or not connection.get_autocommit():
        raise TransactionManagementError("sync_program_intents() commits batch by batch: call it outside of one.")
    return Sync(source, by=by).run()


def get_intent_changes(*, after: str | None = None, limit: int = 1000) -> IntentChanges:
    """The next intents that were written, each once, whoever wrote them and however late they were committed.

    They come in the order of their keys, and none that is seen later has a lower one. So an intent is held back while
    a transaction that may still bring a lower key is open, however long that takes: on PostgreSQL one that has written
    intents or tried to, on MariaDB and MySQL one that has written intents not yet committed. A call under way at the
    same moment as a writer may hold back a little more; the next call gives it. When no writer is at work, one call
    gives all there is, up to the limit. An empty answer says that there is nothing *yet*; its cursor is where to go on.

    They are read where intents are written, because a replica may lag behind. A cursor lasts, also over a restart of
    the database, but it is of that database: start again after intents were restored, or loaded with keys of their
    own, as fixtures do. Inside :func:`as_known_at` only what had been written by then is given, and the cursor serves
    only there.

    :param after: the ``cursor`` of the page before; from the beginning if left out.
    :param limit: the most intents in one answer, at least 1.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    :raises ChangesError: in a transaction of PostgreSQL that is REPEATABLE READ or SERIALIZABLE, on a replica, or on
        a database other than SQLite, PostgreSQL, MariaDB and MySQL, or where several servers give keys, as on Galera.
    """
    given = Parameters(written_to())
    parse = partial(changes.parse_cursor, known_at=given.known_at(None))
    start, size = given.parsed("after", parse, after), given.limit(limit)
    given.check()
    return changes.changes(start, limit=size, using=given.using)


def erase_learner(learner: Any, *, by: str = "", retired: bool = False) -> Erasure:
    """Forget what is stored of a learner, for good: their intents, and what was refused of them.

    What they were called is kept as keyed hashes, so that no report, event or sync brings back what was in effect by
    now, or by the latest time that was erased, where that is later. Whoever stays, or comes back, is recorded anew, and
    whoever takes the name is another. Outside a transaction it waits, up to ten seconds, for those who are writing.

    :param learner: a user, or a user's primary key, also of one who is gone or whom nothing is known of.
    :param by: who erases; up to 255 characters.
    :param retired: the account stays and is nobody's any more: its primary key is refused for ever.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``; nothing was erased.
    """
    given = Parameters(written_to())
    key = given.learner(learner)
    given.parsed("by", parse_by, by)
    given.check()
    return erase_named("pk", key, using=given.using, by=by, retired=retired)


def get_erasures(*, since: datetime | str | None = None) -> list[Erasure]:
    """Who was erased, in the order of the times of it: for those who keep copies of intents.

    Drop each learner's intents in effect by ``until``, or all where it is None, and refuse them from then on: the
    order in which erasures and changes come does not matter then. Ask ``since`` a day before you last asked, because an
    erasure is seen only when its transaction is committed; to apply one twice does no harm.

    :param since: only what was erased then or later, aware; all if left out.
    :raises InvalidIntent: a parameter is malformed, named in ``errors``.
    """
    given = Parameters(written_to())
    moment = None if since is None else given.parsed("since", parse_timestamp, since)
    given.check()
    return erasures.erasures(since=moment, using=given.using)
