"""What a source brought and was refused: kept once, tried again, forgotten in the end."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from program_intent import conf
from program_intent.data import FIELDS
from program_intent.intake.batch import Reject, Settled
from program_intent.models import RejectedIntent
from program_intent.models.intent import engine_of, spelled_out
from program_intent.sources.rows import Block
from program_intent.store.erase import names_borne
from program_intent.store.rejected import rejected_of
from program_intent.validation.learners import NO_TEXT, NOBODY, SEVERAL, SOME, Learners
from program_intent.validation.values import Refused

# Rows of one statement.
CHUNK = 500
# Rejected rows that are in memory while they are tried again.
KEPT_AT_ONCE = 10_000
SEEN_AGAIN_AFTER = timedelta(days=1)
# Characters of a value: a column mapped by mistake may hold a document.
LONGEST_VALUE = 1000
# Refused because of who was a user then; and because the learner was no text, which the text of it would be.
OF_UNKNOWN_LEARNERS = Q(error__startswith=f"learner: {NOBODY}") | Q(error__startswith=f"learner: {SOME}")
_OF_ANOTHER_TYPE = Q(error__startswith=f"learner: {NO_TEXT}")


class RefusedRows:
    """The rejected rows of a source, in its database."""

    def __init__(self, source: str, *, using: str) -> None:
        self.source = source
        self._using = using
        self.rows: QuerySet[RejectedIntent] = RejectedIntent.objects.using(using).filter(source=source)

    def unknown(self, rejects: Sequence[Reject]) -> dict[str, Reject]:
        """Those that are not kept yet, by key."""
        by_key = {_key_of(reject): reject for reject in rejects}
        for keys in _chunks(list(by_key)):
            for key in self.rows.filter(key__in=keys).values_list("key", flat=True):
                del by_key[key]
        return by_key

    def keep(self, settled: Settled, learner_field: str) -> list[Reject]:
        """In the transaction of a batch: keep what it brought that was refused; those that were not known.

        Another consumer may keep the same meanwhile.
        """
        rejects, now = list(settled.rejects()), timezone.now()
        new = self.unknown(rejects)
        for chunk in _chunks(sorted(new.items())):  # in one order, or consumers wait for each other
            kept = [self._row(key, reject, learner_field, now) for key, reject in chunk]
            self.rows.bulk_create(kept, ignore_conflicts=True)
        for keys in _chunks([_key_of(reject) for reject in rejects]) if len(new) < len(rejects) else ():
            old = self.rows.filter(key__in=keys, last_seen__lt=now - SEEN_AGAIN_AFTER)
            old.update(last_seen=now, attempts=F("attempts") + 1)
        return list(new.values())

    def _row(self, key: str, reject: Reject, learner_field: str, now: datetime) -> RejectedIntent:
        values = {name: self._kept(name, text) for name, text in zip(FIELDS, reject.values, strict=True)}
        told = {"error": self._error(reject.error), "first_seen": now, "last_seen": now}
        return RejectedIntent(source=self.source, key=key, learner_field=learner_field, **values, **told)

    def _kept(self, name: str, text: str) -> str:
        """The text as it is, unless it is too long or the column cannot spell it: then its key is another's."""
        text = text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
        field: Any = RejectedIntent._meta.get_field(name)
        can_spell = "\0" not in text and engine_of(self._using).can_spell(field, text)
        return text if can_spell else text.encode("ascii", "backslashreplace").decode().replace("\0", r"\x00")

    def _error(self, error: str) -> str:
        return spelled_out(RejectedIntent, "error", error, self._using)

    def settle(self, settled: Settled) -> None:
        """In the transaction of a batch of :class:`KeptRows`: what is stored is kept no longer, and why the rest is."""
        places = list(settled.places())
        keys = [key for position, key in enumerate(places) if position not in settled.errors]
        for chunk in _chunks(keys):
            self.rows.filter(pk__in=chunk).delete()
        for position, error in settled.errors.items():
            self.rows.filter(pk=places[position]).update(error=self._error(error), attempts=F("attempts") + 1)

    def forget(self) -> int:
        """Drop what was not seen for ``REJECTED_KEPT_DAYS``; how many there were."""
        last = timezone.now() - timedelta(days=conf.rejected_kept_days())
        return self.rows.filter(last_seen__lt=last).delete()[0]


class KeptRows:
    """Some of the rejected rows as a source; a place is a primary key."""

    name, unit, learner_name = "rejected rows", "row", "learner"

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def blocks(self) -> Iterator[Block]:
        yield Block([key for key, *_ in self._rows], None, [tuple(values) for _, *values in self._rows])

    def position(self) -> int:
        return 0

    def close(self) -> None:
        pass


def kept_of_known_learners(rows: "QuerySet[RejectedIntent]", learners: Learners) -> Iterator[KeptRows]:
    """Those of the rejected rows whose learners are users by now; read here, on the connection that stores them.

    Only rows that are kept as they were read.
    """
    in_order, last = rows.exclude(_OF_ANOTHER_TYPE).order_by("pk").values_list("pk", *FIELDS, "key"), 0
    while read := list(in_order.filter(pk__gt=last)[:KEPT_AT_ONCE]):
        last = read[-1][0]
        found = [row for *row, key in read if _key(row[1:]) == key]
        names = {}
        for _, text, *_ in found:
            with suppress(Refused):
                names[text] = learners.parse(text)
        keys = learners.keys(list(names.values()))
        known = [row for row in found if keys.get(names.get(row[1]), SEVERAL) is not SEVERAL]
        if known:
            yield KeptRows(known)


def count_naming(learner: Any, *, using: str) -> int:
    """How many of the rejected rows, of all sources, name the learner of a primary key: an erasure takes them."""
    return sum(1 for _ in rejected_of([("pk", learner), *names_borne(learner, using=using).items()], using=using))


def _key_of(reject: Reject) -> str:
    """Of a message that cannot be read its id, by which it can be read again."""
    if reject.source.unit == "message" and not any(reject.values):
        return str(reject.place)
    return _key(reject.values)


def _key(values: Sequence[str]) -> str:
    return sha256(json.dumps(list(values)).encode()).hexdigest()


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
