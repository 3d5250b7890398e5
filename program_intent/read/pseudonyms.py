"""Everybody's intents, with a keyed hash in the place of each learner: whoever has no key learns of no person."""

import hmac
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from program_intent.data import in_utc
from program_intent.models import ProgramIntent

COLUMNS = ("learner", "program_uuid", "reason", "certainty", "effective_timestamp", "created")
_PAGE = 5000


def pages(key: bytes, *, using: str) -> Iterator[list[tuple[Any, ...]]]:
    """The intents in the order in which they were written, as texts in these columns; a query for each page."""
    intents = ProgramIntent.objects.using(using).order_by("pk").values_list("pk", "learner_id", *COLUMNS[1:])
    last = 0
    while page := list(intents.filter(pk__gt=last)[:_PAGE]):
        last = page[-1][0]
        yield [
            (_pseudonym(key, learner), program, reason, certainty, *(in_utc(each.astimezone(UTC)) for each in times))
            for _, learner, program, reason, certainty, *times in page
        ]


def _pseudonym(key: bytes, learner: Any) -> str:
    return hmac.digest(key, str(learner).encode(), "sha256").hex()
