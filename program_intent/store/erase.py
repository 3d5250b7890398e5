"""Erasing: what is stored of a learner goes, and what would bring it back is refused.

An erasure and a writer may not see each other, each in a transaction of its own. So whoever commits looks once more:
who erases, at the rows of the learner; who stores many rows, at those erased of late.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import (
    BooleanField,
    Count,
    DateTimeField,
    Exists,
    F,
    Func,
    Max,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from program_intent import conf
from program_intent.data import Erasure
from program_intent.exceptions import ChangesError
from program_intent.models import ErasedLearner, ErasedName, ProgramIntent, RejectedIntent
from program_intent.models.intent import engine_of, spelled_out
from program_intent.store import erased_names
from program_intent.store.erased_names import OF_LATE, ErasedNames
from program_intent.store.retrying import retrying
from program_intent.validation.learners import Learners
from program_intent.validation.values import Refused

_logger = logging.getLogger("program_intent.erase")
# Seconds. A load stores a batch in less; whoever leaves a transaction open for longer is not waited for.
LONGEST_WAIT = 10
_ROWS = 500
# What a learner is called, canonical, each with its field; also formerly, so two may be by one field.
Names = Collection[tuple[str, Any]]
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

    def work() -> None:
        _keep_names(None, [(field, name)], timezone.now(), using)
        _forget_rejected([(field, name)], using)

    retrying(using, work)
    return Erasure(None, 0, timezone.now())


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


def names_of(key: Any, *, using: str) -> dict[str, Any]:
    """What the user of that key is called, by field."""
    fields = erased_names.fields()
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
    # First, because on SQLite a transaction that begins by reading cannot wait to write.
    erased.bulk_create([ErasedLearner(pk=key, key_until=now, erased=now)], ignore_conflicts=True)
    before = erased.select_for_update().get(pk=key)
    found = _intents(key, using).aggregate(number=Count("pk"), latest=Max("effective_timestamp"))
    # Of a retired learner the names alone say what was erased.
    names_until = before.names.using(using).aggregate(latest=Max("until"))["latest"]
    until = max(filter(None, (now, found["latest"], before.key_until, names_until))).astimezone(UTC)
    key_until = None if retired or before.key_until is None else until
    count = found["number"] if is_cascaded else _intents(key, using, key_until)._raw_delete(using)
    # With the key, for a collation may have found another's, who is gone: they could not be users at one time.
    told = {"learner": key, "key_until": key_until, "erased": now, "by": spelled_out(ErasedLearner, "by", by, using)}
    erased.filter(pk=key).update(**told, intents=F("intents") + count)
    known = [*names_of(key, using=using).items()]
    known += [each for each in names if each not in known]  # no set, which would not hold a value of JSON
    _keep_names(key, known, until, using)
    _forget_rejected([("pk", key), *known], using)
    return Erasure(key, count, key_until)


def _intents(key: Any, using: str, until: datetime | None = None) -> "QuerySet[ProgramIntent]":
    """A learner's intents, or those in effect by a moment."""
    found = ProgramIntent.objects.using(using).filter(learner_id=key)
    if isinstance(key, str):
        found = found.filter(_Exactly(key, using))
    return found if until is None else found.filter(effective_timestamp__lte=until)


class _Exactly(Func):
    """That the learner's key is this text, whatever a collation takes for equal."""

    output_field = BooleanField()

    def __init__(self, key: str, using: str) -> None:
        super().__init__(F("learner_id"), Value(key))
        self._exact = engine_of(using).exact

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        column, key = (compiler.compile(each) for each in self.source_expressions)
        return f"{self._exact(column[0])} = {self._exact(key[0])}", [*column[1], *key[1]]


def _keep_names(key: Any, names: Names, until: datetime, using: str) -> None:
    signing = conf.erasure_keys()[-1]
    for field, name in names:
        told = {"erased_id": key, "field": field, "hash": erased_names.hashed(signing, field, name)}
        kept = ErasedName.objects.using(using)
        if not kept.filter(**told).update(until=Greatest(F("until"), Value(until, output_field=DateTimeField()))):
            kept.create(**told, key_id=erased_names.key_id(signing), until=until)


def _forget_rejected(names: Names, using: str) -> None:
    _drop_rejected(list(rejected_of(names, using=using)), using)


def rejected_of(names: Names, *, using: str) -> Iterator[int]:
    """The keys of the rows that were refused and name the learner so; ``pk`` is the field of the primary key."""
    for field, name in names:
        learners = Learners(field, using)
        # A part of the text that each spelling has: of a UUID, of a number with spaces around it; of 1.500 none has.
        part = str(name)[:8] if isinstance(name, str | int | UUID) else ""
        rows = _rejected_by(learners, using).filter(learner__icontains=part)
        yield from (pk for pk, text in rows.values_list("pk", "learner") if _parsed(learners, text) == name)


def _rejected_by(learners: Learners, using: str) -> "QuerySet[RejectedIntent]":
    """What was refused of learners named by that field, or, for the primary key, by either name of it."""
    fields = {learners.field}
    if learners.are_named_by_key:
        fields = {"pk", get_user_model()._meta.pk.name}
    return RejectedIntent.objects.using(using).filter(learner_field__in=fields)


def _parsed(learners: Learners, text: str) -> Any:
    with suppress(Refused):
        return learners.parse(text)
    return None


def _drop_rejected(keys: list[int], using: str) -> None:
    for start in range(0, len(keys), _ROWS):
        RejectedIntent.objects.using(using).filter(pk__in=keys[start : start + _ROWS]).delete()


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


def _erase_again(erasure: Erasure, using: str) -> None:
    key = erasure.learner_id
    count = retrying(using, lambda: _intents(key, using, erasure.until)._raw_delete(using))
    if count:
        ErasedLearner.objects.using(using).filter(pk=key).update(intents=F("intents") + count)


def erase_later(erasure: Erasure, *, using: str) -> None:
    """After the commit, what others have brought meanwhile."""
    _after_commit(partial(_erase_again, erasure, using), using)


def erase_again_later(using: str) -> None:
    """After the commit of a transaction that stores many rows, of those who were erased meanwhile."""
    _after_commit(partial(erase_forbidden, using=using, since=timezone.now() - OF_LATE), using)


def _after_commit(work: Callable[[], object], using: str) -> None:
    def later() -> None:  # Django asks a robust one for its name, which a partial has not
        work()

    if connections[using].in_atomic_block:
        transaction.on_commit(later, using=using, robust=True)


def erase_forbidden(*, using: str, since: datetime | None = None, dry_run: bool = False) -> int:
    """Delete what is stored of those who were erased, since a moment, and is in effect by then; how many rows."""
    brought_back = ProgramIntent.objects.filter(
        learner_id=OuterRef("pk"), effective_timestamp__lte=Coalesce(OuterRef("key_until"), _FOR_EVER)
    )
    erased = ErasedLearner.objects.using(using).filter(Exists(brought_back))
    if since is not None:
        erased = erased.filter(erased__gte=since)
    return _delete(erased.values_list("pk", "key_until"), using, dry_run=dry_run)


def erase_orphans(*, using: str, dry_run: bool = False) -> int:
    """Delete the rows of learners who are no users; how many."""
    users = get_user_model()._base_manager.filter(pk=OuterRef("learner_id"))
    orphans = ProgramIntent.objects.using(using).filter(~Exists(Subquery(users.values("pk")))).values_list("learner_id")
    return _delete(((key, None) for (key,) in orphans.distinct()), using, dry_run=dry_run)


def _delete(learners: Any, using: str, *, dry_run: bool) -> int:
    number = 0
    for key, until in list(learners):
        found = _intents(key, using, until)
        number += found.count() if dry_run else retrying(using, partial(found._raw_delete, using))
    return number


def forget_rejected_of_erased(*, using: str, dry_run: bool = False) -> int:
    """Drop the rows that were refused and name somebody who was erased; how many."""
    found = list(_rejected_of_erased(using))
    if not dry_run:
        _drop_rejected(found, using)
    return len(found)


def _rejected_of_erased(using: str) -> Iterator[int]:
    fields = RejectedIntent.objects.using(using).values_list("learner_field", flat=True).distinct()
    for field in list(fields):
        with suppress(Refused):
            learners = Learners(field, using)
            rows = [
                (pk, _parsed(learners, text)) for pk, text in _rejected_by(learners, using).values_list("pk", "learner")
            ]
            names = {name for _, name in rows if name is not None}
            if learners.are_named_by_key:
                erased: Any = set(ErasedLearner.objects.using(using).values_list("pk", flat=True)) & names
            else:
                erased = ErasedNames(field, using=using).until(names)
            yield from (pk for pk, name in rows if name in erased)
