"""The admin shows intents of tables of any size, and changes nothing."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.contrib.admin import TabularInline, site
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from program_intent.admin import ProgramIntentAdmin, pages, timeline
from program_intent.admin import learner as learner_page
from program_intent.data import Certainty
from program_intent.models import ErasedLearner, ProgramIntent
from tests.builders import MOMENT, PROGRAM, make_intent, make_user, store_history
from tests.urls import own, support
from tests.work import analyze, execute, grew, work_of

pytestmark = pytest.mark.django_db

LIST = "/admin/program_intent/programintent/"
OTHER_PROGRAM = UUID("0a1b2c3d-0000-4000-8000-00000000abcd")
FIELDS = ("id", "learner", "program_uuid", "reason", "certainty", "effective_time", "created_time", "run")


def listed(client: Client, **parameters: Any) -> list[int]:
    """The primary keys on the page, in its order."""
    response = client.get(LIST, parameters)
    assert response.status_code == 200
    return [intent.pk for intent in response.context["cl"].result_list]


def messages(client: Client, **parameters: Any) -> list[str]:
    return [str(message) for message in get_messages(client.get(LIST, parameters).wsgi_request)]


def make_staff(*permissions: str) -> Any:
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


# The list


def test_the_newest_intents_come_first(admin_client: Client) -> None:
    keys = [make_intent(effective_timestamp=MOMENT - timedelta(days=day)).pk for day in range(3)]
    assert listed(admin_client) == keys[::-1]


def test_the_list_shows_learner_program_certainty_reason_and_both_times(admin_client: Client) -> None:
    intent = make_intent(learner=make_user(username="ann"), reason="BUNDLE_PURCHASE")
    page = admin_client.get(LIST).content.decode()
    for shown in (f">{intent.pk}</a>", ">ann</td>", str(PROGRAM), "CERTAIN_YES", "BUNDLE_PURCHASE"):
        assert shown in page
    assert times_of(page) == shown_times(intent)


def shown_time(moment: datetime) -> str:
    """To the microsecond, with the offset: less does not tell two intents apart."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S.%f %z}"


def shown_times(intent: ProgramIntent) -> list[str]:
    return [shown_time(intent.effective_timestamp), shown_time(intent.created)]


def times_of(page: str) -> list[str]:
    return [re.sub("<[^>]+>", "", each) for each in re.findall(r"<time.*?</time>", page)]


def test_an_intent_whose_learner_is_gone_is_still_listed_and_shown(admin_client: Client) -> None:
    store_history(
        [
            ProgramIntent(
                learner_id=987654, program_uuid=PROGRAM, reason="R", certainty="MAYBE", effective_timestamp=MOMENT
            )
        ]
    )
    (key,) = listed(admin_client)
    assert admin_client.get(f"{LIST}{key}/change/").status_code == 200


def test_a_list_of_many_learners_takes_as_many_queries_as_a_list_of_one(
    admin_client: Client, django_assert_num_queries: Any
) -> None:
    for _ in range(10):
        make_intent()
        # session, signed-in user, the last intent to look at, the keys of the page, its intents, their learners
        with django_assert_num_queries(6):
            admin_client.get(LIST)


# Filters


def test_the_certainty_filter_keeps_one_certainty(admin_client: Client) -> None:
    keys = {certainty: make_intent(certainty=certainty).pk for certainty in Certainty}
    assert listed(admin_client, certainty__exact="MAYBE") == [keys[Certainty.MAYBE]]
    assert 'href="?certainty__exact=CERTAIN_NO">CERTAIN_NO</a>' in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize("typed", ["BUNDLE_PURCHASE", " bundle_purchase "])
def test_the_reason_filter_keeps_exactly_that_reason(admin_client: Client, typed: str) -> None:
    key = make_intent(reason="BUNDLE_PURCHASE").pk
    make_intent(reason="BUNDLE")
    assert listed(admin_client, reason=typed) == [key]


def test_the_date_filter_keeps_both_days_in_the_time_zone_of_the_list(admin_client: Client) -> None:
    # New York is four hours behind UTC in April.
    first, last = datetime(2022, 4, 12, 4, tzinfo=UTC), datetime(2022, 4, 14, 3, 59, 59, 999999, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    before, begin, end, after = (
        make_intent(effective_timestamp=moment).pk for moment in (first - tick, first, last, last + tick)
    )
    assert listed(admin_client, effective_from="2022-04-12", effective_to="2022-04-13") == [end, begin]
    assert listed(admin_client, effective_from="2022-04-12") == [after, end, begin]
    assert listed(admin_client, effective_to="2022-04-13") == [end, begin, before]


def test_filters_and_search_apply_together(admin_client: Client) -> None:
    sought = {"certainty": Certainty.MAYBE, "reason": "RARE", "learner": make_user(username="ann")}
    key = make_intent(**sought).pk
    make_intent(**{**sought, "certainty": Certainty.CERTAIN_NO})
    make_intent(**{**sought, "reason": "COMMON"})
    make_intent(**{**sought, "learner": make_user()})
    make_intent(**{**sought, "effective_timestamp": MOMENT + timedelta(days=2)})
    parameters = {"certainty__exact": "MAYBE", "reason": "RARE", "effective_to": "2022-04-13"}
    assert listed(admin_client, q=str(sought["learner"].pk), **parameters) == [key]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"reason": "B%"},
            "reason: Expected a reason of up to 64 letters, digits and underscores that starts with a letter, "
            "such as BUNDLE_PURCHASE, not 'B%'.",
        ),
        (
            {"effective_from": "12.04.2022"},
            "effective date: Expected a date such as 2022-04-12, not '12.04.2022'.",
        ),
        ({"effective_to": "2022-02-30"}, "effective date: Expected a date such as 2022-04-12, not '2022-02-30'."),
        ({"q": "nobody"}, "No learner and no program is named by 'nobody'."),
        ({"q": "nobody " + str(PROGRAM)}, f"No learner and no program is named by 'nobody {PROGRAM}'."),
    ],
)
def test_what_makes_no_sense_lists_nothing_and_says_why(
    admin_client: Client, parameters: dict[str, str], message: str
) -> None:
    make_intent(certainty="MAYBE")
    assert listed(admin_client, **parameters) == []
    assert messages(admin_client, **parameters) == [message]


@pytest.mark.parametrize("day", ["0001-01-01", "1899-12-30", "9999-12-31"])
def test_a_date_that_no_intent_can_have_lists_nothing_and_says_why(admin_client: Client, day: str) -> None:
    make_intent()
    assert listed(admin_client, effective_to=day) == []
    (message,) = messages(admin_client, effective_to=day)
    assert message.startswith("effective date: Expected a time from 1900-01-01 to 9999-12-30, not ")


AWKWARD = [
    "\0",
    "'",
    "%",
    "\ud800",
    "\u017f",
    "1" * 5000,
    "-1",
    str(2**63),
    "1e5",
    "\u0661",
    "\u2028",
    "<b>",
    "[]",
    " ",
]


@pytest.mark.parametrize("name", ["q", "certainty__exact", "reason", "effective_from", "effective_to", "p", "o", "all"])
@pytest.mark.parametrize("value", AWKWARD, ids=ascii)
def test_nothing_typed_breaks_the_list(admin_client: Client, name: str, value: str) -> None:
    make_intent()
    response = admin_client.get(f"{LIST}?{name}={value.encode('utf-8', 'replace').decode()}")
    assert response.status_code in {200, 302, 400}


@pytest.mark.parametrize("lookup", ["reason__contains", "learner__username__startswith", "program_uuid", "nonsense"])
def test_no_other_lookup_is_taken_from_the_address(admin_client: Client, lookup: str) -> None:
    assert admin_client.get(LIST, {lookup: "x"}).status_code == 400


def test_no_column_sorts_not_even_through_the_address(admin_client: Client) -> None:
    keys = [make_intent(reason=reason).pk for reason in "CAB"]
    assert listed(admin_client, o="5") == keys[::-1]
    assert "sortable" not in admin_client.get(LIST).content.decode()


def test_a_filter_has_the_name_that_other_themes_of_the_admin_ask_for() -> None:
    filters: list[Any] = [each for each in ProgramIntentAdmin.list_filter if isinstance(each, type)]
    assert len(filters) == 3
    for each in filters:
        assert [given.name for given in each.inputs if not given.name.startswith(each.parameter_name)] == []


def test_the_form_of_a_filter_keeps_the_search_and_the_other_filters(admin_client: Client) -> None:
    make_intent()
    page = admin_client.get(
        LIST, {"q": str(PROGRAM), "certainty__exact": "CERTAIN_YES", "effective_to": "2022-04-13", "reason": "A<B"}
    ).content.decode()
    assert '<form method="get" id="program-intent-reason"></form>' in page
    for kept in (f'name="q" value="{PROGRAM}"', 'name="certainty__exact" value="CERTAIN_YES"'):
        for form in ("reason", "effective"):
            assert f'<input type="hidden" {kept} form="program-intent-{form}">' in page
    for type_, name, value, form in (
        ("hidden", "effective_to", "2022-04-13", "reason"),
        ("text", "reason", "A&lt;B", "reason"),
        ("hidden", "reason", "A&lt;B", "effective"),
        ("date", "effective_from", "", "effective"),
        ("date", "effective_to", "2022-04-13", "effective"),
    ):
        assert re.search(
            rf'<input type="{type_}" name="{name}" value="{value}"[^>]* form="program-intent-{form}">', page
        )


# Search


def test_a_learner_is_found_by_primary_key(admin_client: Client) -> None:
    intent = make_intent()
    make_intent()
    assert listed(admin_client, q=f" {intent.learner_id} ") == [intent.pk]


def test_a_learner_is_found_by_the_learner_lookup_field_or_the_primary_key(admin_client: Client) -> None:
    intent = make_intent(learner=make_user(username="ann"))
    namesake = make_intent(learner=make_user(username=str(intent.learner_id)))
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username"}):
        assert listed(admin_client, q="ann") == [intent.pk]
        assert listed(admin_client, q=str(namesake.learner_id)) == [namesake.pk]
        assert set(listed(admin_client, q=str(intent.learner_id))) == {intent.pk, namesake.pk}


def test_a_learner_is_found_by_the_name_that_the_list_shows(admin_client: Client) -> None:
    intent = make_intent(learner=make_user(username="ann lee"))
    make_intent()
    assert listed(admin_client, q=str(intent.learner)) == [intent.pk]
    assert listed(admin_client, q=f"ann lee {PROGRAM}") == [intent.pk]


@pytest.mark.parametrize("name", ["Ann", "an", "ann%", "änn"])
def test_a_learner_is_found_by_the_exact_name_only(admin_client: Client, name: str) -> None:
    make_intent(learner=make_user(username="ann"))
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username"}):
        assert listed(admin_client, q=name) == []


@pytest.mark.parametrize("text", [str(PROGRAM), PROGRAM.hex, str(PROGRAM).upper(), f" {PROGRAM} "])
def test_a_program_is_found_by_its_uuid_with_or_without_hyphens(admin_client: Client, text: str) -> None:
    key = make_intent().pk
    make_intent(program_uuid=OTHER_PROGRAM)
    assert listed(admin_client, q=text) == [key]


def test_a_learner_and_a_program_are_found_together(admin_client: Client) -> None:
    intent = make_intent(learner=make_user(username="ann lee"))
    make_intent()
    make_intent(learner=intent.learner, program_uuid=OTHER_PROGRAM)
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "username"}):
        assert listed(admin_client, q=f"ann lee {PROGRAM.hex}") == [intent.pk]


def test_a_search_shows_the_latest_intents_first(admin_client: Client) -> None:
    ann = make_user()
    early, late, middle = (
        make_intent(learner=ann, effective_timestamp=MOMENT + timedelta(days=day)).pk for day in (0, 2, 1)
    )
    assert listed(admin_client, q=str(ann.pk)) == [late, middle, early]
    assert listed(admin_client, q=str(PROGRAM)) == [late, middle, early]


def test_the_search_box_says_what_it_takes(admin_client: Client) -> None:
    assert "A learner (pk or username), a program&#x27;s UUID, or both" in admin_client.get(LIST).content.decode()
    with override_settings(PROGRAM_INTENT={"LEARNER_LOOKUP_FIELD": "email"}):
        assert "A learner (email or username or pk), " in admin_client.get(LIST).content.decode()


# Pages


@pytest.fixture
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgramIntentAdmin, "list_per_page", 2)


def linked_pages(client: Client, **parameters: Any) -> set[str]:
    page = client.get(LIST, parameters).content.decode()
    hrefs = (part.split('"')[0] for part in page.split('href="')[1:])
    return {number for href in hrefs for number in parse_qs(urlsplit(href).query).get("p", [])}


@pytest.mark.usefixtures("pages_of_two")
def test_each_page_leads_to_the_next_until_the_last(admin_client: Client) -> None:
    keys = [make_intent().pk for _ in range(5)][::-1]
    assert [listed(admin_client, p=page) for page in (1, 2, 3)] == [keys[:2], keys[2:4], keys[4:]]
    assert [linked_pages(admin_client, p=page) for page in (1, 2, 3)] == [{"2"}, {"1", "3"}, {"1", "2"}]


@pytest.mark.usefixtures("pages_of_two")
def test_a_full_last_page_leads_no_further(admin_client: Client) -> None:
    for _ in range(2):
        make_intent()
    assert linked_pages(admin_client) == set()
    assert "2 program intents" in admin_client.get(LIST).content.decode()


@pytest.mark.usefixtures("pages_of_two")
@pytest.mark.parametrize("page", ["2", "0", "-1", "999999999", "9" * 40])
def test_a_page_that_does_not_exist_leads_back_to_the_list(admin_client: Client, page: str) -> None:
    make_intent()
    response = admin_client.get(LIST, {"p": page})
    assert (response.status_code, response.headers["Location"]) == (302, f"{LIST}?e=1")


@pytest.mark.usefixtures("pages_of_two")
def test_no_total_is_claimed_where_there_are_more_pages(admin_client: Client) -> None:
    for _ in range(3):
        make_intent()
    page = admin_client.get(LIST, {"q": str(PROGRAM), "all": ""}).content.decode()
    assert "result" not in page.split('id="changelist-search"')[1].split("</form>")[0]
    assert "program intents" not in page.split('class="paginator"')[1].split("</p>")[0]


def test_an_empty_list_says_so(admin_client: Client) -> None:
    assert "0 program intents" in admin_client.get(LIST).content.decode()


# The cost

RARE = {"reason": "RARE"}
SEARCHES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "next page": {"p": 2},
    "certainty": {"certainty__exact": "CERTAIN_NO"},
    "rare reason": RARE,
    "rare dates": {"effective_from": "1999-01-01", "effective_to": "1999-12-31"},
    "learner": {"q": "1000001"},
    "learner and rare reason": {"q": "1000001", **RARE},
    "program": {"q": str(PROGRAM)},
    "program and rare reason": {"q": str(PROGRAM), **RARE},
    "learner and program": {"q": f"1000001 {PROGRAM}"},
}


def fill(start: int, stop: int) -> None:
    """A tenth for one program, the first twenty of learner 1,000,001, and one of these for the rare reason."""
    intents = (
        ProgramIntent(
            learner_id=1_000_001 if number < 20 else 2_000_000 + number * 7919 % 1000,
            program_uuid=PROGRAM if number % 10 == 1 else UUID(int=OTHER_PROGRAM.int + number % 100),
            reason="RARE" if number == 1 else "COMMON",
            certainty=("CERTAIN_YES", "MAYBE")[number % 2],
            effective_timestamp=MOMENT + timedelta(minutes=number),
        )
        for number in range(start, stop)
    )
    store_history(intents)


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch, pages_of_two: None) -> None:
    monkeypatch.setattr(pages, "MAX_EXAMINED", 20)


@pytest.mark.usefixtures("plans_as_for_a_large_table", "small_bounds")
def test_no_search_costs_more_in_a_larger_table(admin_client: Client) -> None:
    def work() -> dict[str, int]:
        analyze()
        return {name: work_of(partial(listed, admin_client, **search)) for name, search in SEARCHES.items()}

    make_user(pk=1_000_001)
    fill(0, 2000)
    small = work()
    fill(2000, 6000)
    large = work()
    assert {name: (small[name], large[name]) for name in SEARCHES if grew(small[name], large[name])} == {}


@pytest.mark.usefixtures("plans_as_for_a_large_table")
def test_a_walk_over_the_whole_table_would_show() -> None:
    def walk() -> int:
        analyze()
        return work_of(lambda: ProgramIntent.objects.filter(reason="RARER").order_by("-pk").first())

    fill(0, 2000)
    small = walk()
    fill(2000, 6000)
    assert grew(small, walk())


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_nothing_is_counted(admin_client: Client, search: dict[str, Any]) -> None:
    make_user(pk=1_000_001)
    fill(0, 300)  # 30 for the program, more than are looked at
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST, search)
    assert len(queries) > 2
    assert [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()] == []


@pytest.mark.usefixtures("plans_as_for_a_large_table", "small_bounds")
@pytest.mark.parametrize(
    ("search", "query", "index"),
    [
        ("rare reason", "RARE", "program_intent_programintent_pkey|PRIMARY"),
        ("learner and rare reason", "RARE", "program_intent_once|sqlite_autoindex_program_intent_programintent_1"),
        ("program and rare reason", "OFFSET 20", "program_intent_program"),
    ],
)
def test_each_search_is_served_by_an_index(admin_client: Client, search: str, query: str, index: str) -> None:
    make_user(pk=1_000_001)
    fill(0, 4000)
    analyze()
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST, SEARCHES[search])
    sql = next(each["sql"] for each in queries if query in each["sql"])
    plan = execute(f"{connection.ops.explain_query_prefix()} {sql}")
    assert re.search(rf"\b({index})\b", str(plan))


@pytest.mark.usefixtures("small_bounds")
def test_without_a_search_the_filters_reach_back_over_the_newest_intents_only(admin_client: Client) -> None:
    make_user(pk=1_000_001)
    fill(0, 20)
    assert len(listed(admin_client, **RARE)) == 1
    fill(20, 23)
    assert listed(admin_client, **RARE) == []
    assert len(listed(admin_client, q="1000001", **RARE)) == 1
    assert len(listed(admin_client, q=str(PROGRAM), **RARE)) == 1


@pytest.mark.usefixtures("small_bounds")
def test_of_a_program_with_too_many_intents_those_first_in_its_index_are_looked_at(admin_client: Client) -> None:
    make_user(pk=1_000_001)
    fill(0, 1200)
    last, left_out = ProgramIntent.objects.filter(program_uuid=PROGRAM).order_by("learner_id")[19:21]
    make_user(pk=left_out.learner_id)
    every_page = [key for page in range(1, 11) for key in listed(admin_client, q=str(PROGRAM), p=page)]
    assert len(every_page) == 20
    assert left_out.pk not in every_page
    assert listed(admin_client, q=f"{left_out.learner_id} {PROGRAM}") == [left_out.pk]
    assert messages(admin_client, q=str(PROGRAM)) == [
        f"This program has more than 20 intents: the list ends with learner {last.learner_id}. "
        "Search a learner and the program to see others."
    ]


# The counts of a program


def counts(client: Client, **parameters: Any) -> Any:
    response = client.get(LIST, parameters)
    page = response.content.decode()
    shown = re.findall(r"<td>(\d+)</td>", page.partition("program-intent-counts")[2].partition("</table>")[0])
    found = response.context["cl"].counts
    assert shown == [str(count) for count in (found or {}).values()]
    return found


def test_a_search_for_a_program_shows_its_learners_per_certainty(admin_client: Client) -> None:
    ann = make_user()
    make_intent(learner=ann, certainty="MAYBE", effective_timestamp=MOMENT + timedelta(days=1))
    for learner in (ann, make_user(), make_user()):
        make_intent(learner=learner, certainty="CERTAIN_NO")
    make_intent(certainty="MAYBE")
    make_intent(certainty="CERTAIN_YES", program_uuid=OTHER_PROGRAM)
    expected = {Certainty.CERTAIN_YES: 0, Certainty.CERTAIN_NO: 3, Certainty.MAYBE: 1}
    assert counts(admin_client, q=f" {PROGRAM.hex} ") == expected
    assert counts(admin_client, q=str(PROGRAM), certainty__exact="MAYBE", reason="RARE") == expected
    assert counts(admin_client, q=f"{ann.pk} {PROGRAM}") == expected


@pytest.mark.parametrize("search", ["", "1", "nobody", f"nobody {PROGRAM}", "\0"], ids=ascii)
def test_without_a_program_nothing_is_counted(admin_client: Client, search: str) -> None:
    make_intent()
    assert counts(admin_client, q=search) is None
    assert "Count the learners" not in admin_client.get(LIST, {"q": search, "count": "1"}).content.decode()


@pytest.mark.usefixtures("small_bounds")
def test_the_learners_of_a_program_with_many_intents_are_counted_only_when_asked_for(admin_client: Client) -> None:
    fill(20, 240)
    assert counts(admin_client, q=str(PROGRAM)) is None
    page = admin_client.get(LIST, {"q": str(PROGRAM)}).content.decode()
    (link,) = re.findall(r'<a href="\?([^"]+)">Count the learners', page)
    asked = {name: values[0] for name, values in parse_qs(link.replace("&amp;", "&")).items()}
    assert asked == {"q": str(PROGRAM), "count": "1"}
    assert counts(admin_client, **asked) == {Certainty.CERTAIN_YES: 0, Certainty.CERTAIN_NO: 0, Certainty.MAYBE: 22}
    assert "count" not in "".join(
        re.findall(r'(?:href="|name=")([^"]*)"', admin_client.get(LIST, asked).content.decode())
    )


def test_the_counts_take_two_queries_more_however_many_learners(
    admin_client: Client, django_assert_num_queries: Any
) -> None:
    for _ in range(10):
        make_intent()
        # as without a search; twice whether a user has that name; whether the program has many intents, and the counts
        with django_assert_num_queries(6 + 2 + 2):
            admin_client.get(LIST, {"q": str(PROGRAM)})


# The timeline


def timeline_of(client: Client, intent: ProgramIntent) -> str:
    """The section of the detail page."""
    page = client.get(f"{LIST}{intent.pk}/change/").content.decode()
    return page.partition('aria-labelledby="timeline-heading"')[2].partition("</section>")[0]


def rows_of(section: str) -> list[list[str]]:
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in section.split("<tr")[2:]]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in rows]


def test_the_detail_page_draws_the_timeline_and_explains_the_answer_below(admin_client: Client) -> None:
    yes = make_intent(learner=make_user(), certainty="CERTAIN_YES", reason="BUNDLE_PURCHASE")
    maybe = make_intent(
        learner=yes.learner, certainty="MAYBE", reason="VISITED", effective_timestamp=MOMENT + timedelta(days=1)
    )
    later = make_intent(
        learner=yes.learner,
        certainty="CERTAIN_NO",
        reason="ENDS",
        effective_timestamp=timezone.now() + timedelta(days=9),
    )
    make_intent(learner=yes.learner, reason="OF_ANOTHER_PROGRAM", program_uuid=OTHER_PROGRAM)
    make_intent(reason="OF_ANOTHER_LEARNER")
    section = timeline_of(admin_client, maybe)
    assert rows_of(section) == [
        [
            "CERTAIN_YES",
            "BUNDLE_PURCHASE",
            "2022-04-12 04:30:00.123456 -0400",
            shown_time(yes.created),
            "the answer",
            "an application",
        ],
        [
            "MAYBE",
            "VISITED (this page)",
            "2022-04-13 04:30:00.123456 -0400",
            shown_time(maybe.created),
            "a certain intent beats MAYBE",
            "an application",
        ],
        [
            "CERTAIN_NO",
            "ENDS",
            *shown_times(later),
            "not counted: not yet true",
            "an application",
        ],
    ]
    assert ">CERTAIN_YES, BUNDLE_PURCHASE, since 12 April 2022<" in section.partition("<svg")[0]
    assert "Times are in America/New_York." in section
    assert re.findall(r'href="([^"]+)"', section) == [f"{LIST}{each.pk}/change/" for each in (yes, later)]
    assert re.findall(r'<g class="(\S+?) ?(marked)?"><title>\S+ (\S+)', section) == [
        ("winner", "", "BUNDLE_PURCHASE"), ("not-counted", "", "ENDS"), ("lost", "marked", "VISITED")
    ]  # fmt: skip


def test_a_long_history_is_bounded_and_leads_to_the_list(admin_client: Client) -> None:
    ann = make_user(username="ann")
    store_history(
        ProgramIntent(
            learner=ann,
            program_uuid=PROGRAM,
            reason="VISITED",
            certainty="MAYBE",
            effective_timestamp=MOMENT - timedelta(days=day),
        )
        for day in range(timeline.DRAWN + 12)
    )
    oldest = ann.program_intents.order_by("effective_timestamp").first()
    section = timeline_of(admin_client, oldest)
    assert len(rows_of(section)) == section.count("<title>") == timeline.DRAWN
    assert "(this page)" in rows_of(section)[-1][1]
    assert "12 older intents are left out" in section
    link = section.partition('left out: <a href="')[2].partition('"')[0]
    assert len(admin_client.get(link).context["cl"].result_list) == timeline.DRAWN + 12


def test_the_timeline_takes_one_query_however_long_the_history(
    admin_client: Client, django_assert_num_queries: Any
) -> None:
    ann = make_user()
    admin_client.get(f"{LIST}{make_intent(learner=ann).pk}/change/")  # Django keeps the content type from then on
    for day in range(1, 10):
        intent = make_intent(learner=ann, effective_timestamp=MOMENT + timedelta(days=day))
        # session, signed-in user, the intent, its learner, the history
        with django_assert_num_queries(5):
            admin_client.get(f"{LIST}{intent.pk}/change/")


def test_an_answer_to_come_is_drawn_though_none_counts_yet(admin_client: Client) -> None:
    intent = make_intent(effective_timestamp=timezone.now() + timedelta(days=1))
    ((_, reason, _, _, verdict, _),) = rows_of(timeline_of(admin_client, intent))
    assert (reason, verdict) == ("BUNDLE_PURCHASE (this page)", "not counted: not yet true")
    assert "No answer yet: no intent counts" in timeline_of(admin_client, intent)


def test_who_may_not_look_is_told_nothing_and_nothing_is_asked(client: Client) -> None:
    intent = make_intent()
    client.force_login(make_staff("add_programintent"))
    for path in (f"{LIST}{intent.pk}/change/", f"{LIST}?q={PROGRAM}"):
        with CaptureQueriesContext(connection) as queries:
            response = client.get(path)
        assert response.status_code == 403
        assert "BUNDLE_PURCHASE" not in response.content.decode()
        assert [query["sql"] for query in queries if "CERTAIN" in query["sql"] or "COUNT(" in query["sql"]] == []


# Read-only


def test_the_detail_page_shows_every_field_and_offers_no_change(admin_client: Client) -> None:
    intent = make_intent()
    response = admin_client.get(f"{LIST}{intent.pk}/change/")
    renamed = {"effective_timestamp": "effective_time", "created": "created_time"}
    assert {renamed.get(field.name, field.name) for field in ProgramIntent._meta.fields} == set(FIELDS)
    (fieldset,) = response.context["adminform"]
    assert tuple(field.field["field"] for line in fieldset for field in line if field.is_readonly) == FIELDS
    page = response.content.decode()
    assert str(PROGRAM) in page
    assert times_of(page)[:2] == shown_times(intent)
    for absent in ('name="_save"', 'class="deletelink"', "/delete/", "historylink"):
        assert absent not in page


def test_no_door_of_this_admin_adds_changes_or_deletes(admin_client: Client) -> None:
    intent = make_intent()
    for path in ("add/", f"{intent.pk}/delete/"):
        assert admin_client.get(LIST + path).status_code == 403
        assert admin_client.post(LIST + path, {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{LIST}{intent.pk}/change/", {"reason": "OTHER"}).status_code == 403
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": [intent.pk], "post": "yes"})
    assert ProgramIntent.objects.get().reason == "BUNDLE_PURCHASE"


def test_no_action_is_offered_nor_one_that_a_host_adds_for_all_models(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(site._actions, "export", lambda *args: None)
    make_intent()
    assert 'name="action"' not in admin_client.get(LIST).content.decode()


def test_looking_takes_the_view_permission(client: Client) -> None:
    intent = make_intent()
    for permissions, status in (((), 403), (("add_programintent",), 403), (("view_programintent",), 200)):
        client.force_login(make_staff(*permissions))
        assert client.get(LIST).status_code == status
        assert client.get(f"{LIST}{intent.pk}/change/").status_code == status


@pytest.mark.parametrize("permission", ["add_programintent", "view_programintent"])
def test_the_front_page_of_the_admin_offers_at_most_to_view(client: Client, permission: str) -> None:
    client.force_login(make_staff(permission))
    for app in client.get("/admin/").context["app_list"]:
        for model in app["models"]:
            assert model["perms"] == {"add": False, "change": False, "delete": False, "view": True}


# Deleting a user


@pytest.fixture
def client_who_deletes_users(client: Client) -> Client:
    client.force_login(make_staff("delete_user", "view_user"))
    return client


def test_an_admin_who_may_delete_users_deletes_a_learner_with_the_intents(client_who_deletes_users: Client) -> None:
    ann, kept = make_intent().learner, make_intent()
    path = reverse("admin:auth_user_delete", args=[ann.pk])
    assert "requires deleting" not in client_who_deletes_users.get(path).content.decode()
    assert client_who_deletes_users.post(path, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=ann.pk).exists()
    assert [intent.pk for intent in ProgramIntent.objects.all()] == [kept.pk]


def test_the_action_on_users_deletes_learners_with_their_intents(client_who_deletes_users: Client) -> None:
    learners = [make_intent().learner.pk, make_intent().learner.pk]
    data = {"action": "delete_selected", "_selected_action": learners, "post": "yes"}
    assert client_who_deletes_users.post(reverse("admin:auth_user_changelist"), data).status_code == 302
    assert not User.objects.filter(pk__in=learners).exists()
    assert not ProgramIntent.objects.exists()


def test_whoever_may_not_view_intents_learns_nothing_of_them_by_deleting_a_user(
    client_who_deletes_users: Client,
) -> None:
    intent = make_intent(learner=make_user(), reason="SECRET")
    page = client_who_deletes_users.get(reverse("admin:auth_user_delete", args=[intent.learner_id])).content.decode()
    assert "Program intents: 1" in page
    for secret in ("SECRET", "CERTAIN_YES", str(PROGRAM)):
        assert secret not in page


@pytest.mark.parametrize("by_action", [False, True], ids=["page", "action"])
def test_with_the_mixin_the_page_before_a_deletion_names_the_number_of_intents_alone(
    client_who_deletes_users: Client, by_action: bool
) -> None:
    ann, bob = make_user(username="ann"), make_user(username="bob")
    for day in range(3):
        make_intent(learner=ann, effective_timestamp=MOMENT + timedelta(days=day))
    if by_action:
        data = {"action": "delete_selected", "_selected_action": [ann.pk, bob.pk]}
        response = client_who_deletes_users.post("/support/auth/user/", data)
    else:
        response = client_who_deletes_users.get(f"{SUPPORT_USERS}{ann.pk}/delete/")
    page = response.content.decode()
    assert "Program intents: 3" in page
    assert re.findall(r"<li>(Program intent:|User: <a[^>]*>\w+)", page) == [
        f'User: <a href="{SUPPORT_USERS}{user.pk}/change/">{user.username}' for user in (ann, bob)[: 1 + by_action]
    ]


# The page of a learner, and what leads to it

SUPPORT_USERS = "/support/auth/user/"
LEARNER = "/support/program_intent/programintent/learner/"


def test_the_page_of_a_learner_has_all_programs_with_their_answers_then_the_history(admin_client: Client) -> None:
    ann = make_user(username="ann")
    yes = make_intent(learner=ann, certainty="CERTAIN_YES", reason="BOUGHT")
    maybe = make_intent(
        learner=ann, certainty="MAYBE", reason="VISITED", effective_timestamp=MOMENT + timedelta(days=1)
    )
    later = make_intent(learner=ann, program_uuid=OTHER_PROGRAM, effective_timestamp=timezone.now() + timedelta(days=9))
    make_intent(reason="OF_ANOTHER")
    response = admin_client.get(f"{LEARNER}{ann.pk}/")
    _, answers, history = response.content.decode().split("<section")
    assert rows_of(answers) == [
        [str(OTHER_PROGRAM), "no answer yet: no intent counts"],
        [str(PROGRAM), "CERTAIN_YES", "BOUGHT", shown_time(yes.effective_timestamp)],
    ]
    assert rows_of(history) == [
        [
            str(each.program_uuid),
            each.certainty,
            each.reason,
            *shown_times(each),
        ]
        for each in (later, maybe, yes)
    ]
    links = re.findall(r'href="([^"]+)"', history)
    assert links == [f"/support{LIST.removeprefix('/admin')}{each.pk}/change/" for each in (later, maybe, yes)]
    assert "Intents of ann" in response.content.decode()


def test_a_long_history_of_a_learner_comes_by_pages_and_each_intent_once(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_page, "PER_PAGE", 2)
    ann = make_user()
    newest_first = [make_intent(learner=ann, effective_timestamp=MOMENT - timedelta(days=day)).pk for day in range(5)]
    seen, pages_seen, query = [], 0, ""
    while pages_seen < 5:
        page = admin_client.get(f"{LEARNER}{ann.pk}/{query}")
        seen += [intent.id for intent in page.context["history"].intents]
        pages_seen += 1
        older = re.search(r'<a href="([^"]+)">Older', page.content.decode())
        if older is None:
            break
        query = older[1]
    assert (seen, pages_seen) == (newest_first, 3)
    newer = re.search(r'<a href="([^"]+)">Newer', page.content.decode())
    assert newer
    back = admin_client.get(f"{LEARNER}{ann.pk}/{newer[1]}")
    assert [intent.id for intent in back.context["history"].intents] == newest_first[2:4]


def test_the_programs_of_a_learner_are_bounded_and_the_page_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_page, "MAX_PROGRAMS", 2)
    ann = make_user()
    for number in range(2):
        make_intent(learner=ann, program_uuid=UUID(int=number))
    words = "There are more programs than the 2 that are shown."
    assert words not in admin_client.get(f"{LEARNER}{ann.pk}/").content.decode()
    make_intent(learner=ann, program_uuid=UUID(int=2))
    assert words in admin_client.get(f"{LEARNER}{ann.pk}/").content.decode()


def test_the_page_of_a_learner_takes_as_many_queries_however_much_is_recorded(
    admin_client: Client, django_assert_num_queries: Any
) -> None:
    ann = make_user()
    for number in range(5):
        make_intent(learner=ann, program_uuid=UUID(int=number))
        # session, signed-in user, the learner, the programs, their answers, the page of the history
        with django_assert_num_queries(6):
            admin_client.get(f"{LEARNER}{ann.pk}/")


def test_a_learner_who_is_gone_or_has_no_intents_has_a_page(admin_client: Client) -> None:
    assert "No intents are recorded of this learner." in admin_client.get(f"{LEARNER}987654/").content.decode()
    store_history(
        [
            ProgramIntent(
                learner_id=987654, program_uuid=PROGRAM, reason="R", certainty="MAYBE", effective_timestamp=MOMENT
            )
        ]
    )
    assert "Intents of 987654" in admin_client.get(f"{LEARNER}987654/").content.decode()


@pytest.mark.parametrize("key", ["ann", "1" * 50, "1.0", "%00", "_", "a/b"])
def test_what_is_no_key_of_a_learner_has_no_page(admin_client: Client, key: str) -> None:
    assert admin_client.get(f"{LEARNER}{key}/").status_code == 404


@pytest.mark.parametrize("cursor", AWKWARD, ids=ascii)
def test_a_cursor_that_nobody_gave_shows_the_first_page_and_says_why(admin_client: Client, cursor: str) -> None:
    intent = make_intent()
    response = admin_client.get(f"{LEARNER}{intent.learner_id}/", {"cursor": cursor.encode("utf-8", "replace")})
    assert [each.id for each in response.context["history"].intents] == [intent.pk]
    (message,) = get_messages(response.wsgi_request)
    assert str(message).startswith("Expected a cursor that an earlier call gave, not ")


def test_the_page_of_a_learner_takes_the_view_permission(client: Client) -> None:
    intent = make_intent(reason="SECRET")
    for permissions, status in ((("view_user",), 403), (("view_programintent",), 200)):
        client.force_login(make_staff(*permissions))
        response = client.get(f"{LEARNER}{intent.learner_id}/")
        assert response.status_code == status
        assert ("SECRET" in response.content.decode()) == (status == 200)


def test_the_page_of_an_intent_leads_to_that_of_its_learner(admin_client: Client) -> None:
    intent = make_intent()
    page = admin_client.get(f"/support{LIST.removeprefix('/admin')}{intent.pk}/change/").content.decode()
    assert f'<a href="{LEARNER}{intent.learner_id}/">All intents of this learner</a>' in page


def test_with_the_mixin_the_page_of_a_user_leads_to_the_intents(client: Client) -> None:
    ann = make_user()
    link = f'<a href="{LEARNER}{ann.pk}/">Answers and history</a>'
    for permissions, is_linked in ((("view_user",), False), (("view_user", "view_programintent"), True)):
        client.force_login(make_staff(*permissions))
        page = client.get(f"{SUPPORT_USERS}{ann.pk}/change/").content.decode()
        assert page.count(link) == is_linked
    client.force_login(make_staff("view_user", "add_user", "change_user", "view_programintent"))
    assert client.get(f"{SUPPORT_USERS}add/").status_code == 200


def test_an_admin_of_users_without_fieldsets_has_the_link_once(admin_client: Client, monkeypatch: Any) -> None:
    ann = make_user()
    user_admin = support.get_model_admin(User)
    for name, value in (("fieldsets", None), ("fields", None), ("filter_horizontal", ())):
        monkeypatch.setattr(user_admin, name, value)
    assert admin_client.get(f"{SUPPORT_USERS}{ann.pk}/change/").content.decode().count("Answers and history") == 1


# A host's own admin of intents

OWN_LIST, OWN_USERS = "/own/program_intent/programintent/", "/own/auth/user/"


def test_an_own_admin_of_intents_has_the_pages_of_django_and_changes_nothing(admin_client: Client) -> None:
    intent = make_intent()
    make_intent()
    assert "2 program intents" in admin_client.get(OWN_LIST).content.decode()
    page = admin_client.get(f"{OWN_LIST}{intent.pk}/change/").content.decode()
    assert "BUNDLE_PURCHASE" in page
    for absent in ("timeline", 'name="_save"', 'class="deletelink"'):
        assert absent not in page
    for path in ("add/", f"{intent.pk}/delete/"):
        assert admin_client.get(OWN_LIST + path).status_code == 403
        assert admin_client.post(OWN_LIST + path, {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{OWN_LIST}{intent.pk}/change/", {"reason": "OTHER"}).status_code == 403
    admin_client.post(OWN_LIST, {"action": "delete_selected", "_selected_action": [intent.pk], "post": "yes"})
    assert [each.reason for each in ProgramIntent.objects.all()] == ["BUNDLE_PURCHASE"] * 2


def test_an_own_admin_of_another_table_has_the_page_of_django(admin_client: Client) -> None:
    ErasedLearner.objects.create(pk=make_user().pk, erased=MOMENT)
    page = admin_client.get(f"/own/program_intent/erasedlearner/{ErasedLearner.objects.get().pk}/change/")
    assert "historylink" in page.content.decode()


@pytest.mark.parametrize("by_action", [False, True], ids=["page", "action"])
def test_an_own_admin_of_intents_does_not_stop_who_may_from_deleting_a_user(
    client_who_deletes_users: Client, by_action: bool
) -> None:
    ann, kept = make_intent().learner, make_intent()
    path = OWN_USERS if by_action else f"{OWN_USERS}{ann.pk}/delete/"
    data = {"action": "delete_selected", "_selected_action": [ann.pk]} if by_action else {}
    assert client_who_deletes_users.post(path, {**data, "post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=ann.pk).exists()
    assert [intent.pk for intent in ProgramIntent.objects.all()] == [kept.pk]


def test_the_page_of_a_user_has_no_link_where_no_page_of_learners_is(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_user = f"{OWN_USERS}{make_user().pk}/change/"
    page = admin_client.get(of_user)
    assert page.status_code == 200
    assert "Answers and history" not in page.content.decode()
    # As where a host names the link among its own fields.
    user_admin = own.get_model_admin(User)
    monkeypatch.setattr(user_admin, "readonly_fields", ["program_intents_link"])
    monkeypatch.setattr(user_admin, "list_display", ["username", "program_intents_link"])
    for path in (of_user, OWN_USERS):
        page = admin_client.get(path)
        assert page.status_code == 200
        assert "Answers and history" not in page.content.decode()


# A host's inline

USER_FORM = {"username": "anna", "date_joined_0": "2020-01-01", "date_joined_1": "00:00:00"}


def test_an_inline_of_intents_shows_them_and_changes_nothing(admin_client: Client) -> None:
    intent = make_intent(learner=make_user(username="ann"))
    path = f"{SUPPORT_USERS}{intent.learner_id}/change/"
    page = admin_client.get(path).content.decode()
    assert "BUNDLE_PURCHASE" in page
    data = {
        **USER_FORM,
        "program_intents-TOTAL_FORMS": "2",
        "program_intents-INITIAL_FORMS": "1",
        "program_intents-0-id": intent.pk,
        "program_intents-0-learner": intent.learner_id,
        "program_intents-0-reason": "OTHER",
        "program_intents-0-DELETE": "on",
        "program_intents-1-learner": intent.learner_id,
        "program_intents-1-program_uuid": OTHER_PROGRAM,
        "program_intents-1-reason": "ADDED",
        "program_intents-1-certainty": "MAYBE",
    }
    assert admin_client.post(path, data).status_code == 302
    assert User.objects.get(pk=intent.learner_id).username == "anna"
    assert [each.reason for each in ProgramIntent.objects.all()] == ["BUNDLE_PURCHASE"]


class WritableInline(TabularInline):  # type: ignore[type-arg]  # generic for the type checker only
    """What a system check refuses."""

    model = ProgramIntent


@pytest.mark.parametrize("change", [{"reason": "OTHER"}, {"DELETE": "on"}], ids=["change", "delete"])
def test_an_inline_that_would_change_or_delete_an_intent_is_forbidden_to(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    monkeypatch.setattr(support.get_model_admin(User), "inlines", [WritableInline])
    intent = make_intent()
    path = f"{SUPPORT_USERS}{intent.learner_id}/change/"
    (inline,) = admin_client.get(path).context["inline_admin_formsets"]
    sent = dict(sent_by_a_browser(inline.formset))
    assert admin_client.post(path, {**USER_FORM, **sent}).status_code == 302
    changed = {f"program_intents-0-{name}": value for name, value in change.items()}
    assert admin_client.post(path, {**USER_FORM, **sent, **changed}).status_code == 403
    assert [each.reason for each in ProgramIntent.objects.all()] == ["BUNDLE_PURCHASE"]


def sent_by_a_browser(formset: Any) -> Iterator[tuple[str, Any]]:
    """Of an inline that nobody has touched, without its empty forms."""
    for form in (formset.management_form, *formset.initial_forms):
        for bound in form:
            shown = bound.field.widget.get_context(bound.html_name, bound.value(), {})["widget"]
            for widget in shown.get("subwidgets", [shown]):
                if widget["value"] is not None:
                    yield widget["name"], widget["value"][0] if isinstance(widget["value"], list) else widget["value"]
