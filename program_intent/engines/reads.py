"""The reads that the vendors share: one learner's answers, those of many, of a program, and how many there are.

``t`` is the table of intents, or what is chosen of it.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, F, Field, Lookup, Model, QuerySet

from program_intent import rule
from program_intent.data import Certainty, Intent
from program_intent.engines.sql import Sql

# So many of a learner's intents are fetched and chosen among in Python; beyond, a second statement finds candidates.
_PLAIN = "SELECT {columns} FROM {table} t WHERE {is_learner} AND {counted} {among} LIMIT {limit}"
# For databases that step through an index fast, a probe for each program of the learner: none does so by itself.
EACH_PROGRAM = """WITH RECURSIVE p (program_uuid) AS (
SELECT * FROM (SELECT program_uuid FROM {table} WHERE learner_id = %(learner)s ORDER BY program_uuid LIMIT 1) f
UNION ALL
SELECT (SELECT t.program_uuid FROM {table} t WHERE t.learner_id = %(learner)s AND t.program_uuid > p.program_uuid
ORDER BY t.program_uuid LIMIT 1)
FROM p WHERE p.program_uuid IS NOT NULL)"""
_OF_ONE_CERTAINTY = [key for key in rule.ORDER if key.column != "certainty"]
PROBED = f"""{{is_learner}} AND t.program_uuid = p.program_uuid AND t.certainty = {{certainty}} AND {{counted}}
ORDER BY {rule.order_by("t.{}", _OF_ONE_CERTAINTY)} LIMIT 1"""
# All of the candidates are ranked: up to a hundred intents of a learner, that costs less than probing for each program.
_CHOSEN = """SELECT {columns} FROM (
SELECT t.*, ROW_NUMBER() OVER (PARTITION BY t.learner_id, t.program_uuid ORDER BY {order}) AS place
FROM {candidates} AND {counted}
) t WHERE t.place = 1 ORDER BY t.learner_id"""
_OF_LEARNERS = "{table} t WHERE {learners} {programs}"
# The index of a program's learners gives the next of them, however deep. A learner without an intent that counts is
# none of them, so that a page that is not full is the last.
_NEXT_OF_PROGRAM = """(
SELECT DISTINCT t.learner_id FROM {table} t {by_index} WHERE t.program_uuid = %(program)s {behind} AND {counted}
ORDER BY t.learner_id LIMIT %(limit)s) l
JOIN {table} t {by_index} ON {same_learner} AND t.program_uuid = %(program)s"""
# Of the same snapshot as the page.
_NEWEST = ", (SELECT MAX(id) FROM {table})"

# Of a learner only the certainty is wanted. The index has all that decides it, in the order of the groups, but where
# certainties of one rank became true at the same moment.
_COUNTS = """SELECT {of_group} COUNT(*) {within} {answers}
FROM (SELECT {group} t.learner_id {latest}
FROM {table} t WHERE {counted} {programs} GROUP BY {group} t.learner_id) m {by_group}"""
# The learners whose answer is one of the certainties of a rank.
_IS_ANSWER = """, COUNT(CASE WHEN {lost} THEN NULL WHEN {won} THEN 1 ELSE (
SELECT CASE t.certainty WHEN '{certainty}' THEN 1 END FROM {{table}} t WHERE {{same_learner}}
AND t.program_uuid = {{program}} AND t.certainty IN ({rank}) AND t.effective_timestamp = {own} {{known}}
ORDER BY {order} LIMIT 1) END)"""
# Those told apart by their latest effective time: where the last rank has one certainty alone, it is what remains.
_TOLD_APART = [*chain(*rule.RANKS[:-1]), *(rule.RANKS[-1] if len(rule.RANKS[-1]) > 1 else ())]


class Row(NamedTuple):
    """An intent as the driver gives it; times are texts, because drivers take longer to make times than the database
    to find the intents."""

    id: int
    learner_id: Any
    program_uuid: Any
    reason: str
    certainty: str
    effective_timestamp: str
    created: str


class _Among(Lookup):
    """Whether a text is one of many, which are one parameter: the ORM takes 0.5 s to make a query of 65,000.

    A lookup, because MySQL and MariaDB take no index for any other expression of Django's.
    """

    prepare_rhs = False

    def __init__(self, column: str, engine: "Reads", values: list[str]) -> None:
        super().__init__(F(column), values)
        self._engine = engine

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        column, params = self.process_lhs(compiler, connection)
        return self._engine.AMONG.format(column, "%s"), [*params, self._engine.many(self.rhs)]


class Reads(Sql):
    # How many intents are fetched before the candidates are searched; 0 where the search itself chooses, and is faster.
    SHORT = 128
    PROGRAM = "{}"
    TIME_AS_TEXT = "{}"
    AMONG = "{} = ANY({})"  # a column's value is one of many, given as one parameter
    # The latest effective time of a certainty; FILTER saves a fifth of the cost of CASE.
    LATEST = "MAX(t.effective_timestamp) FILTER (WHERE t.certainty = '{}')"
    # What the rule may choose of all of a learner's programs, or of those given; where SHORT is 0, what it chooses.
    OF_ALL = OF_GIVEN = ""
    BY_INDEX = ""  # where the planner would read a program's learners from the first on

    def of_learner(
        self, learner: Any, programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> list[Intent]:
        engine: Any = type(self)
        plain, search = _of_learner(engine, self.model, self.SHORT, known_at is not None, programs is not None)
        given = {"learner": self.prepared_learner(learner), **self._moments(as_of, known_at)}
        if programs is not None:
            given["programs"] = self.many([self.program(each) for each in programs])
        if not self.SHORT:
            return self._to_intents(self.fetch(search, given))
        rows = self.fetch(plain, given)
        if len(rows) > self.SHORT:
            rows = self.fetch(search, given)
        return self._to_intents(rule.choose(map(Row._make, rows)))

    def of_learners(
        self, learners: Collection[Any], programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> list[Intent]:
        among = "" if programs is None else f"AND {self.AMONG.format('t.program_uuid', '%(programs)s')}"
        candidates = self.text(_OF_LEARNERS, learners=self.AMONG.format("t.learner_id", "%(learners)s"), programs=among)
        given = {
            "learners": self.many([self.prepared_learner(each) for each in learners]),
            "programs": self.many([self.program(each) for each in programs or ()]),
        }
        return self._to_intents(self._chosen(candidates, given, as_of, known_at))

    def page_of_program(
        self,
        program: UUID,
        *,
        after: Any | None,
        limit: int,
        newest: int | None,
        as_of: datetime,
        known_at: datetime | None,
    ) -> tuple[list[Intent], int | None]:
        candidates = self.text(
            _NEXT_OF_PROGRAM,
            by_index=self.BY_INDEX,
            behind="" if after is None else "AND t.learner_id > %(after)s",
            same_learner=self.same_learner(self.model, "t.learner_id", "l.learner_id"),
            **_conditions(known_at is not None, newest is not None),
        )
        given = {
            "program": self.program(program),
            "after": None if after is None else self.prepared_learner(after),
            "limit": limit,
            "newest": newest,
        }
        rows = self._chosen(candidates, given, as_of, known_at, more=self.text(_NEWEST))
        return self._to_intents(row[:-1] for row in rows), rows[0][-1] if rows else None

    def _chosen(
        self, candidates: str, given: dict[str, Any], as_of: datetime, known_at: datetime | None, more: str = ""
    ) -> list[tuple[Any, ...]]:
        """The rows of the chosen ones of the candidates, in the order of the learners' keys."""
        text = _CHOSEN.format(
            columns=self.columns() + more,
            order=rule.order_by("t.{}"),
            candidates=candidates,
            **_conditions(known_at is not None, given.get("newest") is not None),
        )
        return self.fetch(text, {**given, **self._moments(as_of, known_at)})

    def counts(
        self, programs: list[UUID] | None, *, as_of: datetime, known_at: datetime | None
    ) -> dict[UUID, dict[Certainty, int]]:
        one = programs[0] if programs and len(programs) == 1 else None
        # Comparing the program of every row, where there is one alone, would cost a third more, on MariaDB three times.
        names = dict.fromkeys(("group", "of_group", "by_group"), "")
        given = self._moments(as_of, known_at)
        if one:
            among, given["program"] = "AND t.program_uuid = %(program)s", self.program(one)
        else:
            names = {"group": "t.program_uuid,", "of_group": "m.program_uuid,", "by_group": "GROUP BY m.program_uuid"}
            among = "" if programs is None else f"AND {self.AMONG.format('t.program_uuid', '%(programs)s')}"
            given["programs"] = self.many([self.program(each) for each in programs or ()])
        answers = _ANSWERS.format(
            table="{table}",
            same_learner=self.same_learner(self.model, "t.learner_id", "m.learner_id"),
            program="%(program)s" if one else "m.program_uuid",
            known="{known}",
        )
        template = _COUNTS.replace("{answers}", answers).replace("{within}", _WITHIN)
        latest = "".join(f", {self.LATEST.format(each)} AS latest_{each}" for each in _TOLD_APART)
        text = self.text(template, **names, **_conditions(known_at is not None), programs=among, latest=latest)
        rows = self.fetch(text, given)
        return {one or to_uuid(row[0]): _counts(row if one else row[1:]) for row in rows}

    def rows_having(self, rows: "QuerySet[Any, Any]", field: str, values: list[Any]) -> Iterable["QuerySet[Any, Any]"]:
        kind: Any = type(rows.model._meta.pk if field == "pk" else rows.model._meta.get_field(field))
        # A class of the host's own may write a value otherwise than it is named.
        is_as_named = (
            kind.get_prep_value is CharField.get_prep_value and kind.get_db_prep_value is Field.get_db_prep_value
        )
        if is_as_named and set(map(type, values)) == {str}:
            return [rows.filter(_Among(field, self, values))]
        return super().rows_having(rows, field, values)

    def many(self, prepared: list[Any]) -> Any:
        """A list as one parameter."""
        return prepared

    def program(self, value: UUID) -> Any:
        field: Any = self.model._meta.get_field("program_uuid")
        return field.get_db_prep_value(value, self.connection)

    @classmethod
    def columns(cls) -> str:
        """What makes a :class:`Row` of ``t``."""
        program = cls.PROGRAM.format("t.program_uuid")
        effective, created = map(cls.TIME_AS_TEXT.format, ("t.effective_timestamp", "t.created"))
        return f"t.id, t.learner_id, {program}, t.reason, t.certainty, {effective}, {created}"

    def _moments(self, as_of: datetime, known_at: datetime | None) -> dict[str, Any]:
        adapt = self.connection.ops.adapt_datetimefield_value
        return {"as_of": adapt(as_of), "known_at": known_at and adapt(known_at)}

    def _to_intents(self, rows: Iterable[tuple[Any, ...]]) -> list[Intent]:
        learner: Any = self.model._meta.get_field("learner")
        to_key, to_utc, parse = learner.target_field.to_python, self.to_utc, datetime.fromisoformat
        return [
            Intent(
                key,
                to_key(learner),
                to_uuid(program),
                reason,
                Certainty(certainty),
                to_utc(parse(effective)),
                to_utc(parse(created)),
            )
            for key, learner, program, reason, certainty, effective, created in rows
        ]


@lru_cache
def _of_learner(engine: type[Reads], model: type[Model], short: int, is_known_at: bool, are_given: bool) -> list[str]:
    """The two texts of :meth:`Reads.of_learner`, built once: for all programs or for those given."""
    names = {
        **engine.names_of(model),
        **_conditions(is_known_at),
        "columns": engine.columns(),
        "is_learner": engine.same_learner(model, "t.learner_id", "%(learner)s"),
        "among": f"AND {engine.AMONG.format('t.program_uuid', '%(programs)s')}" if are_given else "",
        "limit": str(short + 1),
    }
    return [text.format(**names) for text in (_PLAIN, engine.OF_GIVEN if are_given else engine.OF_ALL)]


def _conditions(is_known_at: bool, is_up_to_newest: bool = False) -> dict[str, str]:
    """The conditions that an intent counts, and that it was known."""
    known = "AND t.created <= %(known_at)s" if is_known_at else ""
    written = "AND t.id <= %(newest)s" if is_up_to_newest else ""
    return {"counted": f"t.effective_timestamp <= %(as_of)s {known} {written}", "known": known}


def _is_answer(before: Iterable[str], rank: tuple[str, ...], certainty: str) -> str:
    """How many learners have the certainty as their answer: none of an earlier rank, and it is first in its own."""
    own, others = f"m.latest_{certainty}", [f"m.latest_{each}" for each in rank if each != certainty]
    lost = [f"m.latest_{each} IS NOT NULL" for each in before] + [
        f"{own} IS NULL",
        *(f"{each} > {own}" for each in others),
    ]
    return _IS_ANSWER.format(
        certainty=certainty,
        own=own,
        lost=" OR ".join(lost),
        won=" AND ".join(f"({each} IS NULL OR {own} > {each})" for each in others),
        rank=", ".join(f"'{each}'" for each in rank),
        order=rule.order_by("t.{}"),
    )


_WITHIN = "".join(
    f", COUNT(COALESCE({', '.join(f'm.latest_{each}' for each in chain(*rule.RANKS[:end]))}, NULL))"
    for end in range(1, len(rule.RANKS))
)
_ANSWERS = "".join(
    _is_answer(chain(*rule.RANKS[:place]), rank, each) for place, rank in enumerate(rule.RANKS) for each in rank[:-1]
)


def _counts(numbers: tuple[int, ...]) -> dict[Certainty, int]:
    """By certainty, from the numbers of _COUNTS: all learners, those within each rank but the last, the answers."""
    ranks = len(rule.RANKS)
    within, answers = [0, *numbers[1:ranks], numbers[0]], iter(numbers[ranks:])
    found: dict[str, int] = {}
    for rank, (fewer, more) in zip(rule.RANKS, pairwise(within), strict=True):
        found |= {certainty: next(answers) for certainty in rank[:-1]}
        found[rank[-1]] = more - fewer - sum(found[each] for each in rank[:-1])
    return {certainty: found[certainty] for certainty in Certainty}


@lru_cache(maxsize=4096)  # few programs, many intents
def to_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
