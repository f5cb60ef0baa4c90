"""
The dashboard's numbers against plain counting, and what the page says of them.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from feedback.models import Feedback, FeedbackKey
from runnables import figures
from runnables.models import Canary, Deployment, Figures, Grant, ServerProcess
from tests.traces.seeded import count, deployed, many, record, run
from traces import budget, dashboard, dashboard_views, formats
from traces.charts import COUNT, MILLISECONDS, PERCENT, Chart, Column, draw, scale
from traces.dashboard_cards import Words, delta_of
from traces.dashboard_forms import Filters
from traces.models import DroppedTraces, ModelPrice, Trace
from traces.periods import HOUR, Bucket, between_days, last_days, last_hours

pytestmark = pytest.mark.django_db

Rows = list[dict[str, str]]
STATES = ("done", "failed", "timed_out", "cancelled", "client_gone")


def this_hour() -> datetime:
    return timezone.now().replace(minute=0, second=0, microsecond=0)


def hours_ago(hours: float) -> datetime:
    return this_hour() - timedelta(hours=hours)


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


def page(client: Client, **query: Any) -> str:
    response = client.get("/dashboard/", query)
    assert response.status_code == 200
    return response.content.decode()


def numbers(client: Client, name: str, **query: Any) -> Rows:
    response = client.get("/dashboard/", {**query, "csv": name})
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(response.content.decode())))


class Tables(HTMLParser):
    """
    The texts of cells, row by row, of the tables of a page by the id around them.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self._id, self._in_cell = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("figure", "section"):
            self._id = dict(attrs).get("id") or ""
        elif tag == "tr":
            self.found.setdefault(self._id, []).append([])
        elif tag in ("th", "td"):
            self.found[self._id][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.found[self._id][-1][-1] += data.strip()


def nearest(values: Iterable[float | None], share: float) -> float | None:
    ordered = sorted(value for value in values if value is not None)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def within_hour(runs: Sequence[Trace], row: dict[str, str]) -> list[Trace]:
    start, end = datetime.fromisoformat(row["from"]), datetime.fromisoformat(row["to"])
    return [one for one in runs if one.ended_at and start <= one.ended_at < end]


def number(text: str) -> float | None:
    return float(text) if text else None


def same(found: float | None, wanted: float | None) -> bool:
    return found == wanted or (
        found is not None and wanted is not None and math.isclose(found, wanted, rel_tol=1e-4)
    )


def seeded(number_of_runs: int = 300) -> list[Trace]:
    """
    Runs of two deployments with two versions each, in the last 8 hours.
    """
    versions = [v for name in ("joke", "poem") for v in deployed(name, 2).versions.all()]
    users = [None, *(get_user_model().objects.create_user(name) for name in ("alice", "bob"))]
    runs = many(versions, number_of_runs, hours_ago(8), hours_ago(0), users)
    record(runs)
    count(runs)
    return runs


# Every number is a plain count


def test_every_number_by_the_hour_is_a_plain_count(root: Client) -> None:
    runs = seeded()
    rows = {
        name: numbers(root, name, range="24h")
        for name in ("requests", "latency", "first_chunk", "errors", "tokens", "cost")
    }
    assert all(len(of_chart) == 24 for of_chart in rows.values())
    for at in range(24):
        inside = within_hour(runs, rows["requests"][at])
        for state in STATES:
            wanted = sum(one.request_state == state for one in inside)
            assert int(rows["requests"][at][state]) == wanted
        assert int(rows["requests"][at]["all"]) == len(inside)
        for share in (50, 95):
            durations = nearest((one.request_ms for one in inside), share / 100)
            assert same(number(rows["latency"][at][f"p{share} ms"]), durations)
            first = nearest((one.request_first_chunk_ms for one in inside), share / 100)
            assert same(number(rows["first_chunk"][at][f"p{share} ms"]), first)
        errors = sum(one.request_state in figures.ERRORS for one in inside)
        rate = 100 * errors / len(inside) if inside else None
        assert same(number(rows["errors"][at]["errors %"]), rate)
        assert int(rows["errors"][at]["errors"]) == errors
        assert int(rows["tokens"][at]["tokens in"]) == sum(one.input_tokens or 0 for one in inside)
        assert int(rows["tokens"][at]["tokens out"]) == sum(
            one.output_tokens or 0 for one in inside
        )
        assert Decimal(rows["cost"][at]["cost"]) == sum(one.cost or 0 for one in inside)


@pytest.mark.parametrize(
    ("group_by", "name_of"),
    [
        ("deployment", lambda one: one.deployment_name),
        ("version", lambda one: f"{one.deployment_name} v{one.version}"),
        ("arm", lambda one: one.arm),
    ],
)
def test_every_number_of_a_group_is_a_plain_count(
    root: Client, group_by: str, name_of: Callable[[Trace], str]
) -> None:
    runs = seeded()
    query = {"range": "24h", "group_by": group_by}
    names = {name_of(one) for one in runs}
    by_name = {row[group_by]: row for row in numbers(root, "groups", **query)}
    assert by_name.keys() == names
    for name, row in by_name.items():
        of_group = [one for one in runs if name_of(one) == name]
        assert int(row["requests"]) == len(of_group)
        assert int(row["errors"]) == sum(one.request_state in figures.ERRORS for one in of_group)
        assert same(float(row["p50 ms"]), nearest((one.request_ms for one in of_group), 0.5))
        assert same(float(row["p95 ms"]), nearest((one.request_ms for one in of_group), 0.95))
        assert Decimal(row["cost"]) == sum(one.cost or 0 for one in of_group)
    for row in numbers(root, "requests", **query):
        inside = within_hour(runs, row)
        for name in names:
            assert int(row[name]) == sum(name_of(one) == name for one in inside)
    for row in numbers(root, "latency", **query):
        inside = within_hour(runs, row)
        for name in names:
            wanted = nearest((one.request_ms for one in inside if name_of(one) == name), 0.95)
            assert same(number(row[name]), wanted)


def test_filters_choose_what_is_counted(root: Client) -> None:
    runs = seeded()
    joke = Deployment.objects.get(name="joke")
    chosen: list[tuple[dict[str, Any], Callable[[Trace], bool]]] = [
        ({"deployment": joke.pk}, lambda one: one.deployment_name == "joke"),
        (
            {"deployment": joke.pk, "version": 2},
            lambda one: one.deployment_name == "joke" and one.version == 2,
        ),
        ({"arm": "canary"}, lambda one: one.arm == "canary"),
    ]
    for query, fits in chosen:
        found = numbers(root, "requests", range="24h", **query)
        assert sum(int(row["all"]) for row in found) == sum(map(fits, runs))
        people = numbers(root, "users", range="24h", **query)
        assert sum(int(row["requests"]) for row in people) == sum(map(fits, runs))


def test_classes_of_errors_and_users_are_plain_counts(root: Client) -> None:
    runs = seeded()
    classes = {row["class"]: int(row["errors"]) for row in numbers(root, "error_classes")}
    wanted = [one.error_class for one in runs if one.error_class]
    assert classes == {name: wanted.count(name) for name in set(wanted)}
    people = numbers(root, "users")
    for row in people:
        name = None if row["user"] == "anonymous callers" else row["user"]
        of_user = [one for one in runs if (one.user.username if one.user else None) == name]
        assert int(row["requests"]) == len(of_user)
        assert int(row["errors"]) == sum(one.request_state in figures.ERRORS for one in of_user)
        assert int(row["tokens in"]) == sum(one.input_tokens or 0 for one in of_user)
    assert len(people) == 3
    assert [int(row["requests"]) for row in people] == sorted(
        (int(row["requests"]) for row in people), reverse=True
    )


def test_the_table_has_the_numbers_of_the_csv(root: Client) -> None:
    seeded()
    tables = Tables(page(root, range="24h")).found
    units = {"requests": formats.count, "errors": formats.count, "latency": formats.duration}
    for name, text in units.items():
        rows = numbers(root, name, range="24h")
        columns = [column for column in rows[0] if column not in ("from", "to")]
        table = tables[name]
        assert len(table) == 24 + 2
        for row, cells in zip(rows, table[1:-1], strict=True):
            for column, cell in zip(columns, cells[1:], strict=True):
                value = number(row[column])
                write = formats.percent if "%" in column else text
                write = formats.count if column == "requests" else write
                assert cell == (formats.NOTHING if value is None else write(value))
    groups = numbers(root, "groups", range="24h")
    assert [row[:2] for row in tables["groups"][1:]] == [
        [row["deployment"], row["requests"]] for row in groups
    ]


def test_the_cards_have_the_whole_period(root: Client) -> None:
    runs = seeded()
    html = page(root, range="24h")
    errors = sum(one.request_state in figures.ERRORS for one in runs)
    assert f'<dd class="figure-value">{len(runs)}</dd>' in html
    assert f"{errors} of {len(runs)}" in html
    p95 = nearest((one.request_ms for one in runs), 0.95)
    assert p95 is not None
    assert f'<dd class="figure-value">{formats.duration(p95)}</dd>' in html


def test_days_are_those_of_the_site(root: Client, settings: Any) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    zone = ZoneInfo("Pacific/Auckland")
    (version,) = deployed("it").versions.all()
    now = timezone.now()
    runs = many([version], 60, now - timedelta(days=6), now - timedelta(hours=1))
    record(runs)
    count(runs)
    rows = numbers(root, "requests", range="7d")
    assert len(rows) == 7
    for row in rows:
        day = datetime.fromisoformat(row["from"]).astimezone(zone).date()
        of_day = [
            one for one in runs if one.ended_at and one.ended_at.astimezone(zone).date() == day
        ]
        assert int(row["all"]) == len(of_day)
    assert "Pacific/Auckland" in page(root, range="7d")


# Percentiles


def test_percentiles_are_exact_while_runs_are_few_and_recorded(root: Client) -> None:
    seeded(100)
    assert "Percentiles are exact, of all 100 recorded runs." in page(root, range="24h")


def test_percentiles_are_read_from_histograms_where_a_run_is_missing(root: Client) -> None:
    runs = seeded(100)
    Trace.objects.filter(pk=runs[0].pk).delete()
    assert "within about 5 %" in page(root, range="24h")
    groups = numbers(root, "groups", range="24h", group_by="deployment")
    for row in groups:
        of_group = [one.request_ms for one in runs if one.deployment_name == row["deployment"]]
        assert float(row["p50 ms"]) == pytest.approx(nearest(of_group, 0.5), rel=0.15)


def test_percentiles_of_many_runs_are_within_five_percent(root: Client) -> None:
    (version,) = deployed("it").versions.all()
    runs = many([version], 3000, hours_ago(5), hours_ago(1))
    count(runs)
    assert "within about 5 %" in page(root, range="24h")
    (row,) = numbers(root, "groups", range="24h")
    for share in (50, 95):
        wanted = nearest((one.request_ms for one in runs), share / 100)
        assert float(row[f"p{share} ms"]) == pytest.approx(wanted, rel=0.05)


# Compared with the period before


def test_deltas_are_in_words(root: Client) -> None:
    (version,) = deployed("it").versions.all()
    before = [run(version, hours_ago(30), ms=100.0) for _ in range(4)]
    now = [run(version, hours_ago(3), ms=200.0) for _ in range(5)]
    count([*before, *now])
    record([*before, *now])
    html = page(root, range="24h")
    assert "25 % more" in html
    assert "100 % slower" in html
    assert "p95 rose from 100 ms to 200 ms." in html
    assert "5 requests; 4 in the period before." in html
    alone = page(root, range="24h", compare="nothing")
    assert "slower" not in alone
    assert "5 requests." in alone


def test_the_period_before_ends_as_far_in_as_this_one_has_come() -> None:
    day = last_hours(24)
    assert day.before().end - day.before().start == timedelta(hours=24)
    assert day.before().end == day.start
    week = last_days(7)
    assert week.before().end == week.reached - timedelta(days=7)
    assert week.before().start == week.start - timedelta(days=7)


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (110, 100, "10 % more"),
        (90, 100, "10 % fewer"),
        (100.2, 100, "as before"),
        (5, 0, "nothing before to compare with"),
        (5, None, "nothing before to compare with"),
    ],
)
def test_how_a_number_moved(now: float, before: float | None, text: str) -> None:
    delta = delta_of(now, before, COUNT, Words("more", "fewer"))
    assert delta
    assert delta.text == text


def test_a_rate_moves_in_points() -> None:
    delta = delta_of(2.5, 1.0, PERCENT, Words("higher", "lower", "bad"))
    assert delta
    assert (delta.text, delta.arrow, delta.tone) == ("1.5 points higher", "up", "bad")
    assert delta_of(None, 1.0, PERCENT, Words("higher", "lower")) is None


# Feedback


def rated(one: Trace, key: str, score: float | None, author: str = "u1") -> Feedback:
    assert one.ended_at
    return Feedback(
        run_id=one.pk,
        trace_id=one.pk,
        deployment=one.deployment,
        key=key,
        score=score,
        author=author,
        created_at=one.ended_at,
    )


def test_feedback_is_counted_by_key(root: Client) -> None:
    runs = seeded(100)
    FeedbackKey.objects.create(key="stars", kind="scale", lowest=1, highest=5)
    FeedbackKey.objects.create(key="topic", kind="category")
    said = [rated(one, "thumb", at % 3 % 2) for at, one in enumerate(runs[:30])]
    said += [rated(one, "stars", 1 + at % 5) for at, one in enumerate(runs[20:40])]
    said += [rated(one, "topic", None) for one in runs[:3]]
    said += [rated(runs[0], "thumb", 1, author="u2")]
    Feedback.objects.bulk_create(said)
    rows = numbers(root, "feedback", range="24h")
    good = {"thumb": lambda score: score > 0, "stars": lambda score: score > 3}
    for row in rows:
        start, end = datetime.fromisoformat(row["from"]), datetime.fromisoformat(row["to"])
        inside = [one for one in said if start <= one.created_at < end]
        for key, is_good in good.items():
            of_key = [one for one in inside if one.key == key]
            assert int(row[f"n of {key}"]) == len(of_key)
            share = (
                100 * sum(is_good(one.score) for one in of_key) / len(of_key) if of_key else None
            )
            assert same(number(row[key]), share)
        assert int(row["n of topic"]) == sum(one.key == "topic" for one in inside)
    html = page(root, range="24h")
    assert "40 runs were rated, 40 % of all requests." in html
    positive = sum(good[one.key](one.score) for one in said if one.key in good)
    assert f"{formats.percent(100 * positive / 51)} positive (n = 51)." in html


def test_feedback_is_of_the_version_that_was_rated(root: Client) -> None:
    runs = seeded(60)
    Feedback.objects.bulk_create([rated(one, "thumb", 1) for one in runs])
    joke = Deployment.objects.get(name="joke")
    query = {"range": "24h", "deployment": joke.pk, "version": 2}
    rows = numbers(root, "feedback", **query)
    wanted = sum(one.deployment_name == "joke" and one.version == 2 for one in runs)
    assert sum(int(row["n of thumb"]) for row in rows) == wanted


# Who sees what


def test_who_has_not_signed_in_is_sent_to(client: Client) -> None:
    response = client.get("/dashboard/")
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/")


def test_who_may_see_no_traces_is_told_so(client: Client) -> None:
    seeded(5)
    client.force_login(get_user_model().objects.create_user("carol"))
    response = client.get("/dashboard/", HTTP_ACCEPT="text/html")
    assert response.status_code == 403
    assert "joke" not in response.content.decode()


def test_only_deployments_whose_traces_one_may_see_are_in_it(client: Client) -> None:
    runs = seeded(100)
    carol = get_user_model().objects.create_user("carol")
    joke = Deployment.objects.get(name="joke")
    Grant.objects.create(deployment=joke, audience="user", user=carol, see_traces=True)
    client.force_login(carol)
    rows = numbers(client, "requests", range="24h")
    wanted = sum(one.deployment_name == "joke" for one in runs)
    assert sum(int(row["all"]) for row in rows) == wanted
    assert "poem" not in page(client, range="24h")
    # Like one that does not exist.
    poem = Deployment.objects.get(name="poem")
    for pk in (poem.pk, 10**6):
        refused = client.get("/dashboard/", {"deployment": pk})
        assert refused.status_code == 400
        assert "poem" not in refused.content.decode()


def test_the_page_is_linked_for_staff_alone(client: Client) -> None:
    users = get_user_model().objects
    for user, is_linked in (
        (users.create_user("dora"), False),
        (users.create_user("stan", is_staff=True), True),
    ):
        client.force_login(user)
        assert (
            'href="/dashboard/"' in client.get("/accounts/password/").content.decode()
        ) is is_linked


# What is asked for


@pytest.mark.parametrize(
    "query",
    [
        {"range": "1y"},
        {"range": "custom"},
        {"range": "custom", "since": "2026-02-30", "until": "2026-03-01"},
        {"range": "custom", "since": "2026-03-02", "until": "2026-03-01"},
        {"range": "custom", "since": "2020-01-01", "until": "2026-03-01"},
        {"range": "custom", "since": "9998-01-01", "until": "9998-01-02"},
        {"range": "custom", "since": "0001-01-01", "until": "0001-01-02"},
        {"range": "custom", "since": "9999-12-31", "until": "9999-12-31"},
        {"version": "1"},
        {"deployment": "joke"},
        {"deployment": "²"},
        {"group_by": "user"},
        {"arm": "x"},
        {"compare": "x"},
    ],
)
def test_wrong_filters_are_a_clear_400(root: Client, query: dict[str, str]) -> None:
    response = root.get("/dashboard/", query)
    assert response.status_code == 400
    assert "errorlist" in response.content.decode()


def test_an_unknown_csv_is_404(root: Client) -> None:
    assert root.get("/dashboard/", {"csv": "passwords"}).status_code == 404


def test_versions_chosen_of_another_deployment_do_not_count(root: Client) -> None:
    one, other = deployed("one", 1), deployed("other", 3)
    html = page(root, deployment=one.pk, version=3, versions_of=other.pk)
    assert '<option value="1"' in html
    assert root.get("/dashboard/", {"deployment": one.pk, "version": 3}).status_code == 400


def test_names_that_a_spreadsheet_would_run_are_quoted(root: Client) -> None:
    (version,) = deployed("it").versions.all()
    evil = get_user_model().objects.create_user("=cmd|' /C calc'!A0")
    record([run(version, hours_ago(1), user=evil)])
    assert numbers(root, "users")[0]["user"] == "'=cmd|' /C calc'!A0"


def test_names_are_text(root: Client) -> None:
    name = "<script>alert(1)</script>"
    (version,) = deployed("it").versions.all()
    user = get_user_model().objects.create_user(name)
    runs = [run(version, hours_ago(1), user=user, request_state="failed", error_class=name)]
    record(runs)
    count(runs)
    Feedback.objects.bulk_create([rated(runs[0], name, 1)])
    assert "<script>alert" not in page(root)


# What is drawn


def chart(values: Sequence[float | None], *, stacked: bool = False, going_on: bool = True) -> Chart:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    buckets = [
        Bucket(start + at * HOUR, start + (at + 1) * HOUR, going_on and at == len(values) - 1)
        for at in range(len(values))
    ]
    series = [Column("x", values, None, COUNT if stacked else MILLISECONDS)]
    return Chart("c", "C", "", buckets, series, stacked=stacked)


def test_a_missing_percentile_is_a_gap() -> None:
    drawn = draw(chart([1.0, 2.0, None, 3.0, 4.0], going_on=False))
    assert drawn.lines[0].path.count("M") == 2
    assert len(drawn.marks) == 4


def test_a_missing_count_is_zero(root: Client) -> None:
    (version,) = deployed("it").versions.all()
    count([run(version, hours_ago(3))])
    counts = [int(row["all"]) for row in numbers(root, "requests", range="24h")]
    assert sorted(counts) == [0] * 23 + [1]
    times = [row["p95 ms"] for row in numbers(root, "latency", range="24h")]
    assert sorted(map(bool, times)) == [False] * 23 + [True]


def test_lone_points_are_marked_where_others_are_not() -> None:
    drawn = draw(chart([*[1.0] * 40, None, 2.0, None, *[1.0] * 5], going_on=False))
    assert len(drawn.marks) == 1


def test_the_bucket_that_goes_on_is_drawn_apart() -> None:
    lines = draw(chart([1.0, 2.0, 3.0]))
    assert lines.lines[0].so_far
    assert lines.lines[0].path.count("L") == 1
    bars = draw(chart([1, 2, 3], stacked=True)).bars
    assert [bar.is_so_far for bar in bars] == [False, False, True]


@pytest.mark.parametrize(
    ("highest", "unit", "step", "steps"),
    [
        (0, COUNT, 1, 1),
        (1, COUNT, 1, 1),
        (3, COUNT, 1, 3),
        (7, COUNT, 2, 4),
        (950, COUNT, 250, 4),
        (0, PERCENT, 25, 4),
        (3, PERCENT, 1, 3),
        (93, PERCENT, 25, 4),
        (100, PERCENT, 25, 4),
        (1700, MILLISECONDS, 500, 4),
    ],
)
def test_an_axis_has_round_steps_from_zero(
    highest: float, unit: Any, step: float, steps: int
) -> None:
    assert scale(highest, unit) == (step, steps)


@pytest.mark.parametrize("highest", [0.003, 0.7, 12, 4321, 8.9e9])
def test_an_axis_reaches_the_highest(highest: float) -> None:
    step, steps = scale(highest, COUNT)
    assert step * steps >= highest
    assert 1 <= steps <= 5


def test_more_than_eight_groups_are_others(root: Client) -> None:
    for name in "abcdefghij":
        count([run(deployed(name).versions.get(), hours_ago(2))])
    names = [row["deployment"] for row in numbers(root, "groups", group_by="deployment")]
    assert len(names) == 9
    assert names[-1] == "other (2)"
    rows = numbers(root, "requests", range="24h", group_by="deployment")
    assert sum(int(row["other (2)"]) for row in rows) == 2


def test_changes_of_what_is_served_are_marked(root: Client) -> None:
    row = deployed("it", 2)
    count([run(row.versions.get(number=2), hours_ago(1))])
    canary = Canary.objects.create(deployment=row, version=row.versions.get(number=2), percent=5)
    html = page(root, range="24h")
    assert "version 2" in html
    assert "canary: version 2 for 5 %" in html
    assert 'class="flag"' in html
    Canary.objects.filter(pk=canary.pk).update(outcome="stopped", ended_at=timezone.now())
    assert "canary of version 2: stopped" in page(root, range="24h")


def test_points_errors_and_users_lead_to_their_traces(root: Client) -> None:
    runs = seeded(60)
    joke = Deployment.objects.get(name="joke")
    html = page(root, range="24h", deployment=joke.pk, version=2)
    links = {unescape(link) for link in re.findall(r'href="(/traces/\?[^"]+)"', html)}
    assert len(links) > 24
    found: set[Any] = set()
    for link in links:
        query = parse_qs(urlsplit(link).query)
        assert (query["deployment"], query["version"]) == (["joke"], ["2"])
        if "error" not in query and "user" not in query:
            listed = root.get(link).content.decode()
            found |= {one.pk for one in runs if str(one.pk) in listed}
    fitting = [one for one in runs if one.deployment_name == "joke" and one.version == 2]
    assert found == {one.pk for one in fitting}


# What is not there, and what takes too long


def test_no_runs_is_a_page_that_says_what_to_do(root: Client) -> None:
    deployed("it")
    html = page(root, range="24h")
    assert "Nobody called anything in this period." in html
    assert "curl http://testserver/it/invoke" in html


def test_a_site_without_deployments_has_a_page(root: Client) -> None:
    assert "Nobody called anything in this period." in page(root)


def test_what_takes_too_long_says_so_while_others_show(root: Client, monkeypatch: Any) -> None:
    seeded(50)

    def too_slow(query: Callable[[], Any]) -> Any:
        raise budget.TooSlow

    for module in (dashboard, dashboard_views):
        monkeypatch.setattr(module, "within", too_slow)
    html = page(root, range="24h")
    assert html.count("This took the database too long.") == 2
    assert "within about 5 %" in html
    assert "50 requests" in html
    for name in ("users", "feedback"):
        response = root.get("/dashboard/", {"csv": name})
        assert response.status_code == 503


SLOW = {
    "postgresql": "SELECT pg_sleep(20)",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 90000000) "
    "SELECT max(i) FROM n",
}


def test_a_query_that_takes_too_long_is_stopped() -> None:
    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute(SLOW[connection.vendor])

    with pytest.raises(budget.TooSlow):
        budget.within(ask, 0.05)
    deployed("it")
    assert budget.within(Deployment.objects.count) == 1


def test_a_query_that_is_wrong_is_not_called_slow() -> None:
    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM nothing_of_this_name")

    with pytest.raises(DatabaseError), transaction.atomic():
        budget.within(ask)


def test_figures_that_are_late_are_told(root: Client) -> None:
    seeded(5)
    process = {"boot_id": uuid4(), "host": "a", "pid": 1}
    told = ServerProcess.objects.create(seen_at=timezone.now(), **process)
    assert "figures until" not in page(root, range="24h")
    ServerProcess.objects.filter(pk=told.pk).update(seen_at=hours_ago(3))
    assert "figures until" in page(root, range="24h")


def test_what_is_no_longer_kept_is_grey(root: Client) -> None:
    (version,) = deployed("it").versions.all()
    old = timezone.now() - timedelta(days=figures.KEPT_DAYS - 5)
    count([run(version, old)])
    first = timezone.localdate() - timedelta(days=figures.KEPT_DAYS + 5)
    query = {"range": "custom", "since": first, "until": first + timedelta(days=20)}
    html = page(root, **query)
    assert 'class="lost"' in html
    assert "not kept" in html
    assert 'class="lost"' not in page(root, range="30d")


def test_old_users_are_said_not_to_be_kept(root: Client) -> None:
    seeded(5)
    assert "older ones are not kept" not in page(root, range="24h")
    first = timezone.localdate() - timedelta(days=60)
    query = {"range": "custom", "since": first, "until": timezone.localdate()}
    assert "older ones are not kept" in page(root, **query)


def test_what_is_past_is_on_no_page(root: Client) -> None:
    (version,) = deployed("it").versions.all()
    Figures.objects.create(
        deployment=version.deployment,
        version=version,
        endpoint="invoke",
        hour=figures.PAST,
        requests=9,
    )
    query = {"range": "custom", "since": "1969-12-01", "until": "1970-02-01"}
    assert "Nobody called anything" in page(root, **query)


def test_dropped_traces_are_told(root: Client) -> None:
    seeded(5)
    DroppedTraces.objects.create(hour=hours_ago(1), count=12)
    assert "12 runs of this period" in page(root, range="24h")


def test_without_prices_the_page_says_how_to_have_costs(root: Client) -> None:
    (version,) = deployed("it").versions.all()
    count([run(version, hours_ago(1))])
    assert "No model has a price yet." in page(root)
    ModelPrice.objects.create(pattern="*", input_price=1, output_price=1)
    assert "No model has a price yet." not in page(root)


def test_the_page_asks_the_database_as_often_for_many_as_for_few(
    root: Client, django_assert_max_num_queries: Any
) -> None:
    seeded(200)
    with django_assert_max_num_queries(40):
        page(root, range="24h", group_by="version")


# Periods


def test_a_day_that_the_clock_makes_longer_is_one_bucket(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    period = between_days(date(2026, 10, 24), date(2026, 10, 26))
    assert [bucket.end - bucket.start for bucket in period.buckets()] == [
        timedelta(hours=hours) for hours in (24, 25, 24)
    ]
    bucket_of = period.bucket_of()
    hours = [period.start + number * HOUR for number in range(73)]
    assert [bucket_of(hour) for hour in hours] == [0] * 24 + [1] * 25 + [2] * 24


def test_two_days_are_cut_into_hours() -> None:
    yesterday = timezone.localdate() - timedelta(days=1)
    assert not between_days(yesterday, timezone.localdate()).is_daily
    assert between_days(yesterday - timedelta(days=1), timezone.localdate()).is_daily


def test_filters_without_anything_are_the_last_week() -> None:
    filters = Filters({}, {})
    assert filters.is_valid()
    assert len(filters.selection().period.buckets()) == 7


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7, "7"), (0.25, "0.25"), (950_970, "951 k"), (1500, "1.5 k"), (2_500_000, "2.5 M")],
)
def test_numbers_of_an_axis_are_short(value: float, text: str) -> None:
    assert formats.short_count(value) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0.4, "0.4 ms"),
        (9, "9 ms"),
        (850, "850 ms"),
        (999.7, "1 s"),
        (1432, "1.4 s"),
        (59_970, "1 m 00 s"),
        (125_000, "2 m 05 s"),
    ],
)
def test_durations_are_short(milliseconds: float, text: str) -> None:
    assert formats.duration(milliseconds) == text
