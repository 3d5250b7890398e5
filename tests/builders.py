"""Users, rows and stored intents with sound values; each takes what a test wants different."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet

from program_intent.data import Certainty, Intent
from program_intent.models.intent import ProgramIntent, engine_of
from program_intent.store.batches import PreparedRows
from program_intent.validation.judge import NewIntent

PROGRAM = UUID("51032e48-04ca-5d43-901a-80cd294a21e1")
MOMENT = datetime(2022, 4, 12, 8, 30, 0, 123456, tzinfo=UTC)

_numbers = count(1)


def make_user(**changes: Any) -> Any:
    """A stored user of whichever model the settings name."""
    return get_user_model()._default_manager.create(**{"username": f"learner-{next(_numbers)}", **changes})


def make_row(**changes: Any) -> dict[str, Any]:
    """A row as ``record_intents`` takes it; its learner 1 is only a number unless the test names a user."""
    return {
        "learner": 1,
        "program_uuid": PROGRAM,
        "reason": "BUNDLE_PURCHASE",
        "certainty": Certainty.CERTAIN_YES,
        "effective_timestamp": MOMENT,
        **changes,
    }


def make_intent(**changes: Any) -> ProgramIntent:
    """A stored intent; of a new user unless the test names one, and written now unless it says when, as fixtures do."""
    intent = ProgramIntent(**make_row(learner=changes.pop("learner", None) or make_user(), **changes))
    if "created" in changes:
        intent.save_base(raw=True)
    else:
        intent.save()
    return intent


@contextmanager
def rolled_back() -> Iterator[None]:
    """One generated example leaves nothing to the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def spelled(spell: Callable[..., Iterable[Any]], intents: Iterable[NewIntent]) -> list[Any]:
    """The rows in the form that an engine's ``speller`` gives them."""
    return list(spell(*zip(*intents, strict=True)))


def store_history(intents: Iterable[ProgramIntent]) -> None:
    """Store as they are, in one statement: past the closed bulk_create, because a history has many ``created``."""
    QuerySet[ProgramIntent](ProgramIntent).bulk_create(intents)


def stored_intents() -> list[Intent]:
    """Every stored intent, as the value that the API gives."""
    return [Intent(*values) for values in ProgramIntent.objects.values_list(*Intent.__match_args__)]


def write_batch(rows: Sequence[Any], using: str = "default", *, all_new: bool = False) -> tuple[int, Set[Any]]:
    """Store spelled rows as the loader does, in one transaction: how many were new, and those of unknown learners."""
    written = PreparedRows(rows, engine_of(using), all_new=all_new).write(lambda written: None)
    assert not written.erased
    return written.created, written.unknown
