"""Generated input. Few distinct values on purpose: what the rule and the unique key decide are ties."""

from datetime import UTC, datetime, timedelta
from typing import Any
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
programs = st.sampled_from(PROGRAMS)
moments = st.builds(
    lambda days, microseconds: NOW + timedelta(days=days, microseconds=microseconds),
    st.sampled_from([-20_000, -1, 0, 1]),
    st.integers(-1, 1),
)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The fields of intents in the order in which they are written; ``learner`` is a number below ``LEARNERS``."""
    intent = st.fixed_dictionaries(
        {
            "learner": st.integers(0, LEARNERS - 1),
            "program_uuid": programs,
            "reason": reasons,
            "certainty": certainties,
            "effective_timestamp": moments,
            "created": moments,
        }
    )
    return draw(st.lists(intent, max_size=14, unique_by=lambda fields: tuple(fields[name] for name in FIELDS)))


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
