"""Generated input. Few distinct values on purpose: what the rule and the unique key decide are ties."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from program_intent.data import FIELDS, Certainty

# A database that answers slowly once is no failure; the fixtures reset nothing that an example could spoil.
generated = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)
LEARNERS = 2
PROGRAMS = [UUID(int=number << 96 | 0x4000 << 64 | 0x8000 << 48) for number in (1, 2, 0xFFFFFFFF)]

# Collations such as ICU's and MariaDB's unicode_ci order underscores, digits and letters otherwise than code points.
reasons = st.one_of(
    st.sampled_from(["A_B", "A1", "AB", "A", "A_", "A__B", "A_1", "AA", "Z", "Z9", "A" * 64]),
    st.from_regex(r"\A[A-Z][A-Z0-9_]{0,3}\Z"),
)
certainties = st.sampled_from(list(Certainty))
moments = st.builds(
    lambda days, microseconds: NOW + timedelta(days=days, microseconds=microseconds),
    st.sampled_from([-20_000, -1, 0, 1]),
    st.integers(-1, 1),
)


class Question(NamedTuple):
    """What is asked of a history: the fields of intents as they arrive, ``learner`` a number below ``LEARNERS``."""

    history: list[dict[str, Any]]
    as_of: datetime
    known_at: datetime | None
    program_uuids: set[UUID] | None


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Each history has at most three programs, effective times and times of writing, so that most intents tie."""
    programs = st.sampled_from(draw(st.lists(st.sampled_from(PROGRAMS), min_size=1, max_size=3)))
    effective, written = (st.sampled_from(draw(st.lists(moments, min_size=1, max_size=3))) for _ in range(2))
    intent = st.fixed_dictionaries(
        {
            "learner": st.integers(0, LEARNERS - 1),
            "program_uuid": programs,
            "reason": reasons,
            "certainty": certainties,
            "effective_timestamp": effective,
            "created": written,
        }
    )
    history = st.lists(intent, max_size=14, unique_by=lambda fields: tuple(fields[name] for name in FIELDS))
    return Question(
        draw(history),
        as_of=draw(effective | moments),
        known_at=draw(st.none() | written | moments),
        program_uuids=draw(st.none() | st.sets(st.sampled_from(PROGRAMS))),
    )


def rows(learners: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Batches for ``record_intents``, rich in duplicates; ``learner`` is a number below ``learners``."""
    row = st.fixed_dictionaries(
        {
            "learner": st.integers(0, learners - 1),
            "program_uuid": st.sampled_from(PROGRAMS[:2]),
            "reason": st.sampled_from(["A_B", "A1"]),
            "certainty": certainties,
            "effective_timestamp": st.sampled_from([NOW, NOW + timedelta(microseconds=1)]),
        }
    )
    return st.lists(row, max_size=8)
