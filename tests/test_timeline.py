"""The picture of a timeline: what it chooses, where it puts it, and that it is sound whatever it is given."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from program_intent.admin import timeline
from program_intent.data import Certainty, Explanation, Intent
from program_intent.read.history import explain
from tests.strategies import certainties, generated, reasons

PROGRAM = UUID(int=7)
NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SVG = "{http://www.w3.org/2000/svg}"


def intent(number: int, days: float = 0, certainty: Certainty = Certainty.MAYBE, reason: str = "VISITED") -> Intent:
    return Intent(number, 1, PROGRAM, reason, certainty, NOW + days * DAY, NOW)


def explained(*intents: Intent) -> Explanation:
    newest_first = sorted(intents, key=lambda each: each.effective_timestamp, reverse=True)
    return explain(newest_first, {}, learner=1, program_uuid=PROGRAM, as_of=NOW, known_at=None)


def drawn(*intents: Intent, marked: int | None = None, title: str = "Intents", zone: Any = UTC) -> ElementTree.Element:
    points = timeline.choose(explained(*intents), keep=marked or 0)
    return ElementTree.fromstring(timeline.draw(points, now=NOW, zone=zone, title=title, marked=marked))


def points(svg: ElementTree.Element) -> list[ElementTree.Element]:
    """The groups that show an intent; each has a tooltip, which those of the legend have not."""
    return [group for group in svg.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]


def x_of(group: ElementTree.Element) -> float:
    return float(group.find(f"{SVG}circle").get("cx", ""))  # type: ignore[union-attr]  # each point has circles


def told(element: ElementTree.Element | None) -> str:
    assert element is not None
    return element.text or ""


def labels(svg: ElementTree.Element) -> list[str]:
    return [told(group.find(f"{SVG}text")) for group in points(svg)]


def texts(svg: ElementTree.Element, name: str) -> list[str]:
    return [told(text) for text in svg.iter(f"{SVG}text") if text.get("class") == name]


# What is chosen


def test_the_points_come_in_the_order_of_the_explanation_with_its_verdicts() -> None:
    chosen = timeline.choose(
        explained(
            intent(1, -3, Certainty.CERTAIN_YES), intent(2, -2), intent(3, 1), intent(4, -4, Certainty.CERTAIN_NO)
        ),
        keep=2,
    )
    assert [(point.intent.id, point.kind, point.verdict) for point in chosen] == [
        (1, "winner", "the answer"),
        (4, "lost", "the winner became true later"),
        (2, "lost", "a certain intent beats MAYBE"),
        (3, "not-counted", "not counted: not yet true"),
    ]


def test_of_a_long_history_the_newest_the_answer_and_the_intent_of_the_page_are_kept() -> None:
    old = [intent(1, -900, Certainty.CERTAIN_YES), intent(2, -800)]
    visits = [intent(number, -number) for number in range(3, 300)]
    chosen = {point.intent.id for point in timeline.choose(explained(*old, *visits), keep=2)}
    assert chosen == {1, 2, *range(3, timeline.DRAWN + 1)}


# What is drawn


def test_each_point_has_its_reason_and_the_whole_story_as_a_tooltip() -> None:
    svg = drawn(intent(1, -1, Certainty.CERTAIN_NO, "REFUND"), zone=ZoneInfo("America/New_York"))
    assert labels(svg) == ["REFUND"]
    assert told(points(svg)[0].find(f"{SVG}title")).splitlines() == [
        "CERTAIN_NO REFUND",
        "effective 2024-02-28 07:00:00-05:00",
        "created 2024-02-29 07:00:00-05:00",
        "the answer",
    ]


def test_a_long_reason_is_shortened_at_its_point_and_whole_in_the_tooltip() -> None:
    svg = drawn(intent(1, reason="A" * 64))
    assert labels(svg) == ["A" * 27 + "…"]
    assert "A" * 64 in told(points(svg)[0].find(f"{SVG}title"))


def test_the_answer_what_lost_what_is_not_counted_and_the_intent_of_the_page_are_told_apart() -> None:
    svg = drawn(intent(1, -3, Certainty.CERTAIN_YES), intent(2, -2), intent(3, 1), marked=2)
    assert [group.get("class") for group in points(svg)] == ["winner", "lost marked", "not-counted"]
    legend = [group.get("class", "") for group in svg.iter(f"{SVG}g") if group not in points(svg)]
    assert legend == ["legend winner", "legend lost", "legend not-counted", "legend marked"]


def test_each_certainty_has_a_lane_also_when_it_is_empty() -> None:
    assert texts(drawn(), "name") == list(Certainty)


def test_the_dates_are_those_of_the_zone_and_give_way_to_the_answers() -> None:
    svg = drawn(intent(1, -700.01), intent(2, -700), intent(3, -350), intent(4, -349.6), zone=ZoneInfo("Asia/Tokyo"))
    assert texts(svg, "date") == ["2023-03-17", "2024-02-29", "2022-03-31"]


def test_a_silence_that_is_cut_takes_a_third() -> None:
    first, second = (x_of(group) for group in points(drawn(intent(1, -5000), intent(2, -4900))))
    assert second - first == pytest.approx((timeline.END - timeline.START) * 2 / 3, abs=0.1)


@pytest.mark.parametrize(
    ("days", "cuts"),
    [((-5000, -4900), 1), ((-300, -150), 0), ((-5000,), 0), ((-5000, -4999), 0), ((), 0)],
    ids=["one long silence", "even", "nothing but silence", "a silence after a single day", "nothing"],
)
def test_only_a_silence_beside_which_the_rest_would_vanish_is_cut(days: tuple[float, ...], cuts: int) -> None:
    svg = drawn(*(intent(number, day) for number, day in enumerate(days, 1)))
    assert len(svg.findall(f"{SVG}path[@class='cut']")) == cuts


def test_nothing_that_it_is_given_becomes_markup() -> None:
    svg = drawn(intent(1, reason='<b>&"'), title="Intents of <script>")
    assert labels(svg) == ['<b>&"']
    assert told(svg.find(f"{SVG}title")) == "Intents of <script>"


def test_a_screen_reader_is_told_that_it_is_a_picture_and_of_what() -> None:
    svg = drawn(intent(1, -3, Certainty.CERTAIN_YES, "BUNDLE_PURCHASE"), intent(2, -2))
    assert svg.get("role") == "img"
    named = {element.get("id"): told(element) for element in svg}
    title, description = (named[name] for name in svg.get("aria-labelledby", "").split())
    assert title == "Intents"
    assert description == "CERTAIN_YES BUNDLE_PURCHASE: the answer; MAYBE VISITED: a certain intent beats MAYBE"


moments = st.one_of(
    st.timedeltas(datetime(1900, 1, 1, tzinfo=UTC) - NOW, datetime(9999, 12, 30, tzinfo=UTC) - NOW).map(NOW.__add__),
    st.sampled_from([-400, -1, 0, 1e-11, 1e-6, 1]).map(lambda days: NOW + days * DAY),
)


@generated
@given(st.lists(st.tuples(moments, certainties, reasons), max_size=60))
def test_any_history_is_drawn_in_order_of_time_without_one_point_touching_another(
    history: list[tuple[datetime, Certainty, str]],
) -> None:
    intents = [Intent(n, 1, PROGRAM, reason, c, moment, NOW) for n, (moment, c, reason) in enumerate(history, 1)]
    svg = drawn(*intents)
    assert len(points(svg)) == min(len(history), timeline.DRAWN)
    now = float(svg.find(f"{SVG}rect").get("x", ""))  # type: ignore[union-attr]  # the time to come
    boxes = []
    for group in points(svg):
        x, label = x_of(group), group.find(f"{SVG}text")
        assert label is not None
        assert x >= now - 0.1 if group.get("class") == "not-counted" else x <= now + 0.1
        width = len(told(label)) * timeline.CHARACTER
        start = float(label.get("x", "")) - (width if label.get("text-anchor") == "end" else 0)
        boxes.append((min(x - 9, start), max(x + 9, start + width), label.get("y")))
        assert timeline.START - 10 < boxes[-1][0] < boxes[-1][1] <= timeline.WIDTH
    for number, (left, right, y) in enumerate(boxes):
        assert [box for box in boxes[:number] if box[2] == y and box[0] < right and left < box[1]] == []
