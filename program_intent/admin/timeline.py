"""A learner's intents for a program as a picture: values in, SVG text out; how it looks is in ``admin.css``."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import accumulate, pairwise
from typing import NamedTuple

from django.utils.html import escape

from program_intent.data import Certainty, Explanation, Intent

DRAWN = 40  # points at most, so that the worst history (all on one day) is still one screen or two
WIDTH, START, END, TOP, ROW = 960, 120, 905, 32, 24
# Of the style sheet's 12 px in the widest monospace font in use (DejaVu Sans Mono: 7.22), so that labels keep apart.
CHARACTER = 7.3
LONGEST_LABEL = 28  # characters
KINDS = {"winner": "the answer", "lost": "counted, but lost", "not-counted": "not counted yet"}


class Point(NamedTuple):
    """An intent, its kind (a key of ``KINDS``), and what the rule says of it."""

    intent: Intent
    kind: str
    verdict: str


def choose(explanation: Explanation, *, keep: int) -> list[Point]:
    """The points worth showing, at most ``DRAWN``: the answer, the intent of that primary key, the newest others."""
    points = [Point(explanation.winner, "winner", KINDS["winner"])] if explanation.winner else []
    points += [Point(each.intent, "lost", each.clause.words) for each in explanation.lost]
    points += [Point(each.intent, "not-counted", each.clause.words) for each in explanation.not_counted]
    newest = sorted(points, key=lambda point: point.intent.effective_timestamp, reverse=True)
    newest.sort(key=lambda point: point.kind != "winner" and point.intent.id != keep)
    chosen = {point.intent.id for point in newest[:DRAWN]}
    return [point for point in points if point.intent.id in chosen]


def draw(points: Iterable[Point], *, now: datetime, zone: tzinfo, title: str, marked: int | None = None) -> str:
    """An SVG element: time across, a lane for each certainty, each point with its reason; dates are those of ``zone``.

    :param marked: the primary key of the intent whose label is underlined.
    """
    points = list(points)
    places, cuts = _places([now, *(point.intent.effective_timestamp for point in points)])
    lanes, bottom = [], TOP
    for certainty in Certainty:
        lane = [point for point in points if point.intent.certainty is certainty]
        drawn, rows = _lane(lane, places, bottom, zone, marked)
        lanes.append(f'<path class="lane" d="M0 {bottom}H{WIDTH}"/>{_text("name", 8, bottom + ROW, certainty)}{drawn}')
        bottom += (rows + 1) * ROW
    winners = [point.intent.effective_timestamp for point in points if point.kind == "winner"]
    dates = _dates([*winners, now, *sorted(places)], places, bottom + 18, zone)
    here = f"{places[now]:.1f}"
    described = "; ".join(f"{point.intent.certainty} {point.intent.reason}: {point.verdict}" for point in points)
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 68}" role="img"',
            ' aria-labelledby="timeline-title timeline-desc">',
            f'<title id="timeline-title">{escape(title)}</title>',
            f'<desc id="timeline-desc">{escape(described or "no intents")}</desc>',
            f'<rect class="future" x="{here}" y="{TOP}" width="{WIDTH - places[now]:.1f}" height="{bottom - TOP}"/>',
            f'<path class="now" d="M{here} {TOP - 8}V{bottom}"/>{_text("now", here, TOP - 14, "now", "middle")}',
            *lanes,
            f'<path class="axis" d="M0 {bottom}H{WIDTH}"/>',
            *(f'<path class="cut" d="M{x - 6:.1f} {bottom + 6}l6 -12m0 12l6 -12"/>' for x in cuts),
            *dates,
            *_legend(bottom + 50, marked is not None),
            "</svg>",
        ]
    )


def _places(moments: Iterable[datetime]) -> tuple[dict[datetime, float], list[float]]:
    """Where each moment is drawn, in proportion to time; and where a silence that outweighs all else is cut short."""
    order = sorted(set(moments))
    gaps = [later - earlier for earlier, later in pairwise(order)]
    longest = max(gaps, default=timedelta())
    rest = sum(gaps, timedelta()) - longest
    is_cut = longest > 2 * rest > timedelta(days=2)
    lengths = [rest / 2 if is_cut and gap == longest else gap for gap in gaps]
    offsets = list(accumulate(lengths, initial=timedelta()))
    whole = offsets[-1] or timedelta(1)
    places = {moment: START + (END - START) * (offset / whole) for moment, offset in zip(order, offsets, strict=True)}
    return places, [
        (places[earlier] + places[later]) / 2
        for earlier, later in pairwise(order)
        if is_cut and later - earlier == longest
    ]


def _lane(
    points: list[Point], places: dict[datetime, float], top: float, zone: tzinfo, marked: int | None
) -> tuple[str, int]:
    """The points of one certainty, each with its label in the first row where it touches no other; and the rows."""
    spans = []
    for point in points:
        x = places[point.intent.effective_timestamp]
        width = min(len(point.intent.reason), LONGEST_LABEL) * CHARACTER + 18
        is_left = x + width > WIDTH
        spans.append((x - width if is_left else x - 14, x + 14 if is_left else x + width, is_left, x, point))
    drawn, ends = "", list[float]()
    for left, right, is_left, x, point in sorted(spans, key=lambda span: span[:2]):
        row = next((row for row, end in enumerate(ends) if end < left), len(ends))
        ends[row : row + 1] = [right]
        drawn += _point(x, top + (row + 1) * ROW - 4, point, is_left, zone, point.intent.id == marked)
    return drawn, len(ends) or 1


def _point(x: float, y: float, point: Point, is_left: bool, zone: tzinfo, is_marked: bool) -> str:
    intent = point.intent
    label = intent.reason if len(intent.reason) <= LONGEST_LABEL else intent.reason[: LONGEST_LABEL - 1] + "…"
    effective, created = intent.effective_timestamp.astimezone(zone), intent.created.astimezone(zone)
    told = f"{intent.certainty} {intent.reason}\neffective {effective}\ncreated {created}\n{point.verdict}"
    text = _text("label", f"{x - 14 if is_left else x + 14:.1f}", y + 4, label, "end" if is_left else "start")
    return f'<g class="{point.kind}{" marked" * is_marked}"><title>{escape(told)}</title>{_mark(x, y)}{text}</g>'


def _mark(x: float, y: float) -> str:
    """The style sheet shows the ring around the answer alone."""
    return f'<circle class="ring" cx="{x:.1f}" cy="{y}" r="9"/><circle class="dot" cx="{x:.1f}" cy="{y}" r="5"/>'


def _dates(order: Iterable[datetime], places: dict[datetime, float], y: float, zone: tzinfo) -> Iterator[str]:
    """A date below each moment, where there is room; those that come first have it first."""
    taken: list[float] = []
    for moment in order:
        x = places[moment]
        if all(abs(x - other) > 11 * CHARACTER for other in taken):
            taken.append(x)
            yield _text("date", f"{x:.1f}", y, f"{moment.astimezone(zone):%Y-%m-%d}", "middle")


def _legend(y: float, is_marked: bool) -> Iterator[str]:
    for number, (kind, words) in enumerate(KINDS.items()):
        x = START + 200 * number
        yield f'<g class="legend {kind}">{_mark(x, y - 4)}{_text("label", x + 14, y, words)}</g>'
    if is_marked:
        yield f'<g class="legend marked">{_text("label", START + 600, y, "the intent of this page")}</g>'


def _text(name: str, x: float | str, y: float, words: str, anchor: str = "start") -> str:
    return f'<text class="{name}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
