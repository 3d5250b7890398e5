"""Erasing: what is stored of a learner goes, and what would bring it back is refused.

An erasure and a writer may not see each other, each in a transaction of its own. So whoever commits looks once more:
who erases, at the rows of the learner; who stores many rows, at those erased of late.
"""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import (
    BooleanField,
    CharField,
    Count,
    DateTimeField,
    Exists,
    F,
    Func,
    Max,
    OuterRef,
    Q,
    QuerySet,
    TextField,
    Value,
)
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from program_intent import conf
from program_intent.data import Erasure
from program_intent.engines.generic import column_of
from program_intent.exceptions import ChangesError
from program_intent.models import ErasedLearner, ErasedName, ProgramIntent
from program_intent.models.intent import engine_of, spelled_out
from program_intent.store import erased_names
from program_intent.store.erased_names import OF_LATE, Names
from program_intent.store.rejected import forget_rejected
from program_intent.store.retrying import retrying
from program_intent.validation.learners import Learners
from program_intent.validation.times import EARLIEST

_logger = logging.getLogger("program_intent.erase")
# Seconds. A load stores a batch in less; whoever leaves a transaction open for longer is not waited for.
LONGEST_WAIT = 10
_NEVER = EARLIEST - timedelta(days=1)
_FOR_EVER = Value(datetime(9999, 12, 31, tzinfo=UTC), output_field=DateTimeField())


def erase(key: Any, *, using: str, by: str = "", retired: bool = False, names: Names = ()) -> Erasure:
    """Erase a learner by primary key, by what the user is called, and by what they are said to have been called.

    Outside a transaction whoever is writing at that moment is waited for. In one of the caller's, what they bring is
    erased once that is committed.
    """
    erasure = retrying(using, partial(_erase, key, names, using=using, by=by, retired=retired))
    connection = connections[using]
    if connection.in_atomic_block:
        erase_later(erasure, using=using)
    elif connection.get_autocommit():
        _wait_for_writers(using)
        _erase_again(erasure, using)
    return erasure


def erase_name(field: str, name: Any, *, using: str) -> Erasure:
    """Erase a canonical name that nobody bears; what is written of a later bearer counts from now on."""
    now, signing = timezone.now(), conf.erasure_keys()[-1]
    told = {"erased": None, "field": field, "hash": erased_names.hashed(signing, field, name)}
    alone = ErasedName.objects.using(using)

    def work() -> None:
        if not alone.filter(**told).update(until=now):
            alone.create(**told, key_id=erased_names.key_id(signing), until=now)
        forget_rejected([(field, name)], using)

    retrying(using, work)
    return Erasure(None, 0, now)


def erase_named(field: str, name: Any, *, using: str, by: str = "", retired: bool = False) -> Erasure:
    """Erase who bears a name, canonical or a text.

    A primary key is erased also where it is nobody's, and another name that nobody bears alone.

    :raises Refused: it is no name by that field, or several users bear it; nothing was erased.
    """
    learners = Learners(field, using)
    name, key = learners.bearer(name)
    if key is None:
        return erase_name(field, name, using=using)
    names = () if learners.are_named_by_key else ((field, name),)
    return erase(key, using=using, by=by, retired=retired, names=names)


def note_deletion(key: Any, *, using: str) -> None:
    """In the transaction that deletes a user, before their intents: they are not to come back."""
    erasure = _erase(key, (), using=using, by="", retired=False, is_cascaded=True)
    erase_later(erasure, using=using)


def lift(key: Any, *, using: str, names: Names = ()) -> bool:
    """Take an erasure back, by primary key or by names that were erased alone; whether there was one."""
    hashes = [each for field, name in names for each in erased_names.hashes(field, [name])]
    alone = ErasedName.objects.using(using).filter(erased=None, hash__in=hashes)
    count, _ = alone.delete()
    if key is not None:
        count += ErasedLearner.objects.using(using).filter(pk=key).delete()[0]
    return count > 0


def names_borne(key: Any, *, using: str) -> dict[str, Any]:
    """What the user of that key is called, by field."""
    fields = erased_names.fields(using)
    users = get_user_model()._base_manager.using(using).filter(pk=key).values("pk", *fields)
    found: dict[str, Any] = next((user for user in users if user["pk"] == key), {})
    return {field: found[field] for field in fields if found and found[field] not in (None, "")}


def _erase(
    key: Any,
    names: Names,
    *,
    using: str,
    by: str,
    retired: bool,
    is_cascaded: bool = False,
) -> Erasure:
    now, erased = timezone.now(), ErasedLearner.objects.using(using)
    _lock(ErasedLearner(pk=key, key_until=now, erased=now), using)
    # Of a retired learner the names alone say what was erased.
    before = erased.annotate(names_until=Max("names__until")).get(pk=key)
    known = [*names_borne(key, using=using).items()]
    known += [each for each in names if each not in known]  # no set, which would not hold a value of JSON
    found = _intents(key, using).aggregate(number=Count("pk"), latest=Max("effective_timestamp"))
    until = max(filter(None, (now, found["latest"], before.key_until, before.names_until))).astimezone(UTC)
    key_until = None if retired or before.key_until is None else until
    count = found["number"] if is_cascaded else _intents(key, using, key_until)._raw_delete(using)
    # With the key, for a collation may have found another's, who is gone: they could not be users at one time.
    told = {"learner": key, "key_until": key_until, "erased": now, "by": spelled_out(ErasedLearner, "by", by, using)}
    erased.filter(pk=key).update(**told, intents=F("intents") + count)
    _keep_names(key, known, until, using)
    forget_rejected([("pk", key), *known], using)
    return Erasure(key, count, key_until)


def _lock(erased: ErasedLearner, using: str) -> None:
    """Add the learner, or keep others from those who are there; before any read, because on SQLite a transaction that
    begins by reading cannot wait to write."""
    has_target = connections[using].features.supports_update_conflicts_with_target
    ErasedLearner.objects.using(using).bulk_create(
        [erased], update_conflicts=True, update_fields=["erased"], unique_fields=["learner"] if has_target else None
    )


def _intents(key: Any, using: str, until: datetime | None = None) -> "QuerySet[ProgramIntent]":
    """A learner's intents, or those in effect by a moment."""
    found = ProgramIntent.objects.using(using).filter(_is("learner_id", Value(key), using))
    return found if until is None else found.filter(effective_timestamp__lte=until)


def _brought_back(key: Any, using: str, until: datetime | None) -> "QuerySet[ProgramIntent]":
    """Of an erased learner's intents those in effect by a moment; all of one who is no user."""
    found = _intents(key, using)
    return found if until is None else found.filter(Q(effective_timestamp__lte=until) | ~_is_user(Value(key), using))


def _is_user(key: Any, using: str) -> Exists:
    return Exists(get_user_model()._base_manager.using(using).filter(_is("pk", key, using)).values("pk"))


def _is(column: str, key: Any, using: str) -> Q:
    """That both are one key; exactly, also where it is a text."""
    is_text = isinstance(column_of(get_user_model()._meta.pk), CharField | TextField)
    is_equal = Q((column, key))
    return is_equal & Q(_Exactly(F(column), key, using)) if is_text else is_equal


class _Exactly(Func):
    """That two texts are the same, whatever a collation takes for equal."""

    output_field = BooleanField()

    def __init__(self, one: Any, other: Any, using: str) -> None:
        super().__init__(one, other)
        self._exact = engine_of(using).exact

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        (one, given), (other, more) = (compiler.compile(each) for each in self.source_expressions)
        return f"{self._exact(one)} = {self._exact(other)}", [*given, *more]


def _keep_names(key: Any, names: Names, until: datetime, using: str) -> None:
    signing = conf.erasure_keys()[-1]
    fields = {erased_names.hashed(signing, field, name): field for field, name in names}
    kept = ErasedName.objects.using(using).filter(erased_id=key, hash__in=fields)
    if known := set(kept.values_list("hash", flat=True)):
        kept.update(until=Greatest(F("until"), Value(until, output_field=DateTimeField())))
    told = {"erased_id": key, "key_id": erased_names.key_id(signing), "until": until}
    new = [ErasedName(hash=each, field=field, **told) for each, field in fields.items() if each not in known]
    ErasedName.objects.using(using).bulk_create(new)


def _wait_for_writers(using: str) -> None:
    """Until those have ended who are writing now; what they bring may have been judged before the erasure."""
    engine, last = engine_of(using), time.monotonic() + LONGEST_WAIT
    try:
        _, waited_for = engine.newest_and_writers()
        while waited_for and time.monotonic() < last:
            time.sleep(0.05)
            waited_for &= engine.newest_and_writers()[1]
    except ChangesError:  # nothing here says who is writing
        return
    if waited_for:
        _logger.warning("Somebody has been writing for %s seconds: run erase_program_intents --orphans", LONGEST_WAIT)


def _erase_again(erasure: Erasure, using: str) -> int:
    """How many rows; in a transaction of their own, whose locks no erasure waits for."""
    key = erasure.learner_id
    count = retrying(using, lambda: _brought_back(key, using, erasure.until)._raw_delete(using))
    if count:
        ErasedLearner.objects.using(using).filter(pk=key).update(intents=F("intents") + count)
    return count


def erase_later(erasure: Erasure, *, using: str) -> None:
    """After the commit, what others have brought meanwhile."""
    _after_commit(partial(_erase_committed, erasure, using, timezone.now()), using)


def _erase_committed(erasure: Erasure, using: str, begun: datetime) -> None:
    if timezone.now() - begun > OF_LATE / 2:  # or who stores many rows does not look at it any more
        ErasedLearner.objects.using(using).filter(pk=erasure.learner_id).update(erased=timezone.now())
    _erase_again(erasure, using)


def erase_again_later(using: str) -> None:
    """After the commit of a transaction that stores many rows, of those who were erased meanwhile."""
    _after_commit(partial(_erase_of_late, using, timezone.now() - OF_LATE), using)


def _erase_of_late(using: str, since: datetime) -> None:
    """In plain SQL: nearly always there is nobody, and the ORM takes longer to ask than the database to say so."""
    connection, meta = connections[using], ErasedLearner._meta
    table, column = (connection.ops.quote_name(name) for name in (meta.db_table, "erased"))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT COUNT(*) FROM {table} WHERE {column} >= %s", [connection.ops.adapt_datetimefield_value(since)]
        )
        (number,) = cursor.fetchone()
    if number:
        erase_forbidden(using=using, since=since)


def _after_commit(work: Callable[[], object], using: str) -> None:
    def later() -> None:  # Django asks a robust one for its name, which a partial has not
        work()

    if connections[using].in_atomic_block:
        transaction.on_commit(later, using=using, robust=True)


def erase_forbidden(*, using: str, since: datetime | None = None, dry_run: bool = False) -> int:
    """Delete what is stored of those who were erased, since a moment, and is in effect by then, or all where they are
    no users; how many rows."""
    intents = ProgramIntent.objects.filter(learner_id=OuterRef("pk"))
    forbidden = intents.filter(effective_timestamp__lte=Coalesce(OuterRef("key_until"), _FOR_EVER))
    is_orphaned = Exists(intents) & ~_is_user(OuterRef("pk"), using)
    erased = ErasedLearner.objects.using(using).filter(Exists(forbidden) | is_orphaned)
    if since is not None:
        erased = erased.filter(erased__gte=since)
    return _delete(_read(erased.values_list("pk", "key_until"), using), using, dry_run=dry_run)


def erase_orphans(*, using: str, dry_run: bool = False) -> int:
    """Delete the rows of learners who are no users; how many."""
    orphans = ProgramIntent.objects.using(using).filter(~_is_user(OuterRef("learner_id"), using))
    keys = _read(orphans.values_list("learner_id", flat=True).distinct(), using)
    return _delete([(key, _NEVER) for key in keys], using, dry_run=dry_run)


def _read(rows: "QuerySet[Any, Any]", using: str) -> list[Any]:
    """In a statement that fails and is done again, as one that only reads may where a host is SERIALIZABLE."""
    return retrying(using, lambda: list(rows), is_one_statement=True)


def _delete(learners: Iterable[tuple[Any, datetime | None]], using: str, *, dry_run: bool) -> int:
    number = 0
    for key, until in learners:
        found = _brought_back(key, using, until)
        number += found.count() if dry_run else _erase_again(Erasure(key, 0, until), using)
    return number
