"""What Chromium makes of the admin's timeline and counts: BROWSERS=chromium demands it, where it is missing."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

import test_settings
from program_intent.admin.timeline import DRAWN
from program_intent.models import ErasedLearner, ProgramIntent
from tests.builders import PROGRAM, make_user, store_history

PROGRAMS = ("chromium", "chromedriver")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
DEMANDED = bool(os.environ.get("BROWSERS"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        test_settings.ENGINE != "sqlite", reason="pages look the same on every engine: tested once, with ENGINE=sqlite"
    ),
    pytest.mark.skipif(bool(MISSING) and not DEMANDED, reason=f"not installed: {', '.join(MISSING)}"),
]

LIST = "/admin/program_intent/programintent/"
WIDE, NARROW, PHONE = 1280, 480, 375
# Days from now, certainty and reason of each intent.
History = Sequence[tuple[float, str, str]]
USUAL: History = [
    (-200, "MAYBE", "VISITED"),
    (-160, "MAYBE", "SAVED_PROGRAM"),
    (-150, "CERTAIN_YES", "BUNDLE_PURCHASE"),
    (-90, "CERTAIN_NO", "REFUND"),
    (-60, "MAYBE", "VISITED"),
    (-30, "CERTAIN_YES", "ENROLLED_ALL_COURSES"),
    (-4, "MAYBE", "SURVEY_INTERESTED"),
    (40, "CERTAIN_NO", "CONTRACT_ENDS"),
]
HISTORIES: dict[str, History] = {
    "usual": USUAL,
    "a single intent": [(-1, "MAYBE", "VISITED")],
    "all at one moment": [(-3, certainty, f"REASON_{n}") for n in range(6) for certainty in ("CERTAIN_NO", "MAYBE")],
    "dense, with the longest reasons": [(-200 + n * n % 197, "MAYBE", f"{n % 7}".join("W" * 32)) for n in range(30)],
    "longer than is drawn": [(-n, "MAYBE", f"VISITED_{n}") for n in range(DRAWN + 20)],
    "old": [(-4000, "MAYBE", "REGISTERED"), (-3900, "CERTAIN_NO", "LEFT"), (-3600, "CERTAIN_YES", "COMPLETED")],
}


def make_history(history: History) -> Any:
    """Stored for one learner; the primary key of the first."""
    learner = make_user()
    store_history(
        ProgramIntent(
            learner=learner,
            program_uuid=PROGRAM,
            reason=reason,
            certainty=certainty,
            effective_timestamp=timezone.now() + timedelta(days=days),
        )
        for days, certainty, reason in history
    )
    return learner.program_intents.earliest("pk").pk


@dataclass(frozen=True)
class Browser:
    """Chromium, signed in to the admin of the live server."""

    driver: Chrome
    server: LiveServer

    def open(self, path: str, *, width: int = WIDE, theme: str = "light", scripts: bool = True) -> None:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        self.driver.get(f"{self.server.url}{path}")

    def open_timeline(self, history: History, **look: Any) -> None:
        self.open(f"{LIST}{make_history(history)}/change/", **look)

    def click(self, selector: str) -> None:
        """On what a person can click, until the page that it leads to is there."""
        page = self.driver.find_element("css selector", "html")
        self.driver.find_element("css selector", selector).click()
        WebDriverWait(self.driver, 20).until(staleness_of(page))

    def measure(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def boxes(self, selector: str) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of each that fits."""
        script = """return [...document.querySelectorAll(arguments[0])].map(element => element.getBoundingClientRect())
            .map(box => [box.left, box.top, box.right, box.bottom])"""
        return [tuple(box) for box in self.measure(script, selector)]

    def styles(self, selector: str, name: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(each => getComputedStyle(each)[arguments[1]])"
        return list(self.measure(script, selector, name))

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.measure("return document.documentElement.scrollWidth - window.innerWidth"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chrome]:
    if MISSING:
        pytest.fail(f"BROWSERS demands a browser; not installed: {', '.join(MISSING)}")
    chromium, chromedriver = (shutil.which(name) for name in PROGRAMS)
    options = ChromeOptions()
    options.binary_location = chromium or ""
    # As root, and where /dev/shm is small, as in a container, Chromium runs only so; it sees nothing but these pages.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = Chrome(options, ChromeService(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Chrome, live_server: LiveServer, admin_client: Client) -> Browser:
    session = {"name": "sessionid", "value": admin_client.cookies["sessionid"].value, "url": live_server.url}
    chromium.execute_cdp_cmd("Network.setCookie", session)
    return Browser(chromium, live_server)


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


# The timeline


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_each_point_and_label_is_seen_and_touches_no_other(browser: Browser, history: History) -> None:
    browser.open_timeline(history)
    (picture,) = browser.boxes("svg[role=img]")
    shown = min(len(history), DRAWN)
    assert len(browser.boxes("svg g:not(.legend) > .dot")) == shown
    points = browser.boxes("svg g:not(.legend) > :is(.dot, .label)")
    texts = browser.boxes("svg text")
    assert len(points) == 2 * shown
    for box in points + texts:
        assert box[0] < box[2]
        assert box[1] < box[3]
        assert overlap(box, picture)
        assert picture[0] <= box[0] < box[2] <= picture[2]
    assert [pair for pair in combinations(points, 2) if overlap(*pair)] == []
    assert [pair for pair in combinations(texts, 2) if overlap(*pair)] == []


def test_the_winner_alone_has_a_ring_a_colour_and_a_bold_label(browser: Browser) -> None:
    browser.open_timeline(USUAL)
    (winner,) = browser.measure(
        "return [...document.querySelectorAll('svg g.winner:not(.legend) text')].map(t => t.textContent)"
    )
    assert winner == "ENROLLED_ALL_COURSES"
    for points, is_marked in ((".winner", True), (":is(.lost, .not-counted)", False)):
        point = f"svg g{points}:not(.legend)"
        assert {stroke != "none" for stroke in browser.styles(f"{point} .ring", "stroke")} == {is_marked}
        assert {weight == "700" for weight in browser.styles(f"{point} text", "fontWeight")} == {is_marked}
    dots = [set(browser.styles(f"svg g.{kind} .dot", "fill")) for kind in ("winner", "lost", "not-counted")]
    assert len(set.union(*dots)) == sum(map(len, dots)) == 3


def test_what_is_to_come_stands_behind_the_line_of_now(browser: Browser) -> None:
    browser.open_timeline(USUAL)
    ((left, top, right, bottom),) = browser.boxes("svg path.now")
    assert bottom - top > 50
    assert right - left < 3
    assert [box for box in browser.boxes("svg g:is(.winner, .lost):not(.legend) .dot") if box[2] > right + 5] == []
    assert [box for box in browser.boxes("svg g.not-counted:not(.legend) .dot") if box[0] < left] == []


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_is_never_wider_than_the_window(browser: Browser, history: History, width: int) -> None:
    browser.open_timeline(history, width=width)
    assert browser.overflow() <= 0


def test_in_a_narrow_window_the_picture_scrolls_and_stays_readable(browser: Browser) -> None:
    browser.open_timeline(USUAL, width=NARROW)
    hidden = browser.measure(
        "const e = document.querySelector('.program-intent-timeline'); return e.scrollWidth - e.clientWidth"
    )
    assert hidden > 300
    assert min(bottom - top for _, top, _, bottom in browser.boxes("svg text")) > 10


def test_the_page_needs_no_scripts(browser: Browser) -> None:
    for scripts, kind in ((True, "object"), (False, "undefined")):
        browser.open_timeline(USUAL, scripts=scripts)
        assert browser.measure("return typeof django") == kind  # which the admin's own scripts define
    assert len(browser.boxes("svg g:not(.legend) > .dot")) == len(USUAL)
    (section,) = browser.boxes(".program-intent-timeline")
    rows = browser.boxes(".program-intent-timeline tbody tr")
    assert len(rows) == len(USUAL)
    assert [row for row in rows if not overlap(row, section)] == []


def test_on_a_phone_the_verdict_on_each_intent_is_on_the_screen(browser: Browser) -> None:
    browser.open_timeline(USUAL, width=PHONE)
    verdicts = browser.boxes(".program-intent-timeline tbody td:last-child")
    assert len(verdicts) == len(USUAL)
    assert [box for box in verdicts if box[0] < 0 or box[2] > PHONE] == []
    script = "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e, '::before').content)"
    labels = browser.measure(script, ".program-intent-timeline tbody td:has(time)")
    assert labels == ['"Effective "', '"Created "'] * len(USUAL)


@pytest.mark.parametrize("page", ["timeline", "learner"])
def test_a_link_is_told_from_the_text_around_it_by_more_than_its_colour(browser: Browser, page: str) -> None:
    first = make_history(HISTORIES["longer than is drawn"])
    learner = ProgramIntent.objects.get(pk=first).learner_id
    browser.open(f"{LIST}{first}/change/" if page == "timeline" else f"{LIST}learner/{learner}/")
    lines = browser.styles(f".program-intent-{page} a", "textDecorationLine")
    assert len(lines) > 10
    assert set(lines) == {"underline"}


def luminance(colour: str) -> float:
    """As WCAG defines it, of a colour such as ``rgb(51, 51, 51)``."""
    channels = [int(channel) / 255 for channel in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_have_contrast(browser: Browser, theme: str) -> None:
    browser.open_timeline(USUAL, theme=theme)
    backgrounds = browser.styles("body", "backgroundColor") + browser.styles("svg .future", "fill")
    assert (luminance(backgrounds[0]) < 0.5) == (theme == "dark")
    texts = set(browser.styles("svg text", "fill"))
    shapes = {*browser.styles("svg path.now, svg .not-counted .dot, svg .winner .ring", "stroke")}
    shapes |= {*browser.styles("svg :is(.winner, .lost) .dot", "fill")}
    for background in backgrounds:
        assert [text for text in texts if contrast(text, background) < 4.5] == []
        assert [shape for shape in shapes if contrast(shape, background) < 3] == []


# The list and the page of a learner


def test_the_list_fits_beside_the_sidebar_and_takes_two_lines_for_a_uuid_and_a_time(browser: Browser) -> None:
    make_history([(-1, "CERTAIN_YES", "W" * 64), *USUAL])
    make_user(username="a.quite.long.name@university.example").program_intents.create(
        pk=12_345_678, program_uuid=PROGRAM, reason="VISITED", certainty="MAYBE", effective_timestamp=timezone.now()
    )
    browser.open(LIST, width=WIDE)
    script = "const e = document.querySelector('#changelist .results'); return e.scrollWidth - e.clientWidth"
    assert browser.measure(script) <= 0
    script = """return [...document.querySelectorAll(arguments[0])].map(cell => {
        const range = document.createRange(); range.selectNodeContents(cell);
        return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size})"""
    rows = len(USUAL) + 2
    for cells, number, most in ((".field-program_uuid", rows, 2), ("time span", 4 * rows, 1)):
        lines = browser.measure(script, f"#result_list {cells}")
        assert (len(lines), max(lines)) == (number, most)
    (search,), (filters,) = browser.boxes("#toolbar"), browser.boxes("#changelist-filter")
    assert filters[3] <= search[1]


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_page_of_a_learner_is_never_wider_than_the_window(browser: Browser, width: int) -> None:
    first = make_history(HISTORIES["dense, with the longest reasons"])
    browser.open(f"{LIST}learner/{ProgramIntent.objects.get(pk=first).learner_id}/", width=width)
    assert browser.overflow() <= 0
    cells = browser.boxes(".program-intent-rows tbody :is(td, th)")
    assert len(cells) == 4 + 5 * 30
    assert [box for box in cells if box[2] > width] == []


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_question_before_a_learner_is_forgotten_fits_and_so_does_the_way_there(
    browser: Browser, width: int
) -> None:
    learner = make_user(username="W" * 150)
    browser.open(f"{LIST}learner/{learner.pk}/", width=width)
    browser.click("a[href$='/forget/']")
    assert browser.overflow() <= 0
    buttons = browser.boxes("form :is(input[type=submit], .cancel-link)")
    assert len(buttons) == 2
    assert [box for box in buttons if box[0] < 0 or box[2] > width] == []
    browser.click("form input[type=submit]")
    (message,) = browser.boxes(".messagelist .success")
    assert 0 <= message[0] < message[2] <= width
    assert ErasedLearner.objects.get().pk == learner.pk


# The counts


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_counts_of_a_program_stand_above_its_intents(browser: Browser, width: int, scripts: bool) -> None:
    make_history(USUAL)
    browser.open(f"{LIST}?q={PROGRAM}", width=width, scripts=scripts)
    (counts,) = browser.boxes(".program-intent-counts")
    (intents,) = browser.boxes("#result_list")
    assert counts[3] <= intents[1]
    assert len([box for box in browser.boxes(".program-intent-counts :is(th, td)") if box[0] < box[2]]) == 6
    assert browser.overflow() <= 0
