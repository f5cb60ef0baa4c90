"""
The list of traces: who sees which, how it is filtered and paged, and what is done with many.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from feedback.models import Feedback, FeedbackKey
from runnables.models import Deployment, Grant
from tests.conftest import Site
from tests.fakes import echo
from tests.traces.made import (
    SECRET_ANSWER,
    SECRET_QUESTION,
    SECRETS,
    Scene,
    browser_of,
    deployment,
    grant,
    step,
    trace,
    trace_fields,
    user,
)
from traces.models import DroppedTraces, Trace

URL = "/traces/"


@pytest.fixture
def scene(db: None) -> Scene:
    return Scene()


def shown(client: Client, query: str = "") -> list[UUID]:
    response = client.get(f"{URL}{query}", follow=True)
    assert response.status_code == 200, response.text
    return [UUID(key) for key in re.findall(r'data-run="(.+?)"', response.text)]


# Who sees what


def test_only_who_has_signed_in_sees_the_page(db: None) -> None:
    response = Client().get(f"{URL}?state=failed")
    assert response.status_code == 302
    assert urlsplit(response["Location"]).path == "/accounts/login/"
    assert parse_qs(urlsplit(response["Location"]).query)["next"] == [f"{URL}?state=failed"]


def test_everybody_sees_their_own_and_those_they_have_the_right_to(scene: Scene) -> None:
    other = deployment("other")
    mine, hidden, anonymous = scene.mine(), trace(other, user("carol")), trace(other)

    assert shown(scene.as_alice) == [mine.pk]
    assert shown(scene.as_bob) == [mine.pk]
    root = browser_of(user("root", is_superuser=True))
    assert {*shown(root)} == {mine.pk, hidden.pk, anonymous.pk}


def test_payloads_are_shapes_for_who_may_not_see_them(scene: Scene) -> None:
    scene.mine(state="failed", error_class="ValueError", error="hidden-error-text")
    theirs, own = scene.as_bob.get(URL).text, scene.as_alice.get(URL).text

    assert SECRET_QUESTION in own
    assert SECRET_ANSWER in own
    assert [word for word in SECRETS if word in theirs] == []
    assert "question: text, 25 characters" in theirs
    assert "ValueError" in theirs


def test_search_is_no_oracle_for_hidden_payloads(scene: Scene) -> None:
    found = scene.mine(error="hidden-error-text", name="Planner")

    for text in ("canary", "Tweety", "hidden-error-text"):
        assert shown(scene.as_alice, f"?q={text}") == [found.pk], text
        assert shown(scene.as_bob, f"?q={text}") == [], text
    assert shown(scene.as_bob, "?q=planner") == [found.pk]
    grant(scene.qa, scene.bob, "see_payloads")
    assert shown(scene.as_bob, "?q=Tweety") == [found.pk]


def test_untrusted_text_stays_text(scene: Scene) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    scene.mine(
        name=evil,
        input_preview=evil,
        output_preview=evil,
        error_class=evil,
        tags=json.dumps([evil]),
    )
    text = scene.as_alice.get(f"{URL}?q={evil[:8]}&tag={evil}").text

    assert "<script>alert" not in text
    assert "<img" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 5


# Filters


@pytest.fixture
def rows(scene: Scene) -> dict[str, UUID]:
    """
    Traces that differ in one thing each.
    """
    other = deployment("other")
    fields: dict[str, dict[str, Any]] = {
        "plain": {},
        "failed": {"state": "failed", "error_class": "ValueError"},
        "running": {"state": "running", "duration_ms": None, "ended_at": None},
        "lost": {"state": "lost", "duration_ms": None},
        "canary": {"arm": "canary", "version": 2},
        "old": {"ago": 26 * 3600},
        "slow": {"duration_ms": 12_000.0},
        "stream": {"endpoint": "stream"},
        "threaded": {"thread": "chat 7/8"},
        "tagged": {"tags": '["nightly","weiß"]'},
        "named": {"name": 'Say "hi"', "input": '{"say":"\\"grüße\\""}'},
    }
    made = {name: trace(scene.qa, scene.alice, **more).pk for name, more in fields.items()}
    made["other"] = trace(other, scene.alice).pk
    return made


FILTERED = [
    ("deployment=other", ["other"]),
    ("state=failed", ["failed"]),
    ("state=problems", ["failed", "lost"]),
    ("state=running", ["running"]),
    ("arm=canary", ["canary"]),
    ("version=2", ["canary"]),
    ("slower=10", ["slow"]),
    ("door=stream", ["stream"]),
    ("thread=chat+7%2F8", ["threaded"]),
    ("tag=nightly", ["tagged"]),
    ("tag=wei%C3%9F", ["tagged"]),
    ("tag=night", []),
    ("error=ValueError", ["failed"]),
    ("q=say+%22hi", ["named"]),
    ("q=%22gr%C3%BC%C3%9Fe%22", ["named"]),
    ("user=bob", []),
    ("user=alice&state=failed&range=1h", ["failed"]),
    ("range=1h&state=lost&version=2", []),
]


def test_filters_leave_what_fits(scene: Scene, rows: dict[str, UUID]) -> None:
    for query, names in FILTERED:
        found = {*shown(scene.as_alice, f"?{query}")}
        assert found == {rows[name] for name in names}, query


def test_times_filter(scene: Scene, rows: dict[str, UUID]) -> None:
    yesterday = (timezone.now() - timedelta(hours=25)).strftime("%Y-%m-%dT%H:%M")
    everything = {*rows.values()}

    assert {*shown(scene.as_alice, "?range=24h")} == everything - {rows["old"]}
    assert {*shown(scene.as_alice, "?range=7d")} == everything
    assert shown(scene.as_alice, f"?until={yesterday}") == [rows["old"]]
    assert {*shown(scene.as_alice, f"?since={yesterday}")} == everything - {rows["old"]}


def say(row: Trace, key: str, score: float | None, author: str = "token") -> None:
    Feedback.objects.create(
        run_id=row.pk,
        trace_id=row.pk,
        deployment=row.deployment,
        key=key,
        score=score,
        author=author,
    )


def test_feedback_filters_by_the_middle_of_its_scale(scene: Scene) -> None:
    FeedbackKey.objects.create(key="thumbs", kind="thumbs")
    FeedbackKey.objects.create(key="stars", kind="scale", lowest=1, highest=5)
    up, down, two, four, none = (scene.mine(ago=n) for n in range(5))
    for row, key, score in (
        (up, "thumbs", 1),
        (down, "thumbs", 0),
        (two, "stars", 2),
        (four, "stars", 4),
    ):
        say(row, key, score)

    assert {*shown(scene.as_bob, "?feedback=negative")} == {down.pk, two.pk}
    assert {*shown(scene.as_bob, "?feedback=positive")} == {up.pk, four.pk}
    assert none.pk not in shown(scene.as_bob, "?feedback=any")
    assert "stars 4" in scene.as_bob.get(URL).text


def test_feedback_of_others_is_for_who_has_a_right_at_the_deployment(scene: Scene) -> None:
    row = scene.mine()
    say(row, "helpful", 0)

    assert "helpful" not in scene.as_alice.get(URL).text
    assert shown(scene.as_alice, "?feedback=any") == []
    say(row, "thumbs", 0, author=f"u{scene.alice.pk}")
    assert shown(scene.as_alice, "?feedback=negative") == [row.pk]


NOT_UNDERSTOOD = [
    "state=nonsense",
    "range=1y",
    "version=x",
    "version=99999999999999999999",
    "slower=nan",
    "slower=-1",
    "since=yesterday",
    "since=0001-01-01T00:00%2B23:00",
    "until=9999-12-31T23:59-23:00",
    "q=%00",
    "arm=x",
    f"q={'x' * 300}",
    "feedback=bad",
    "door=window",
]


def test_what_is_not_understood_is_said_and_left_out(scene: Scene) -> None:
    row = scene.mine()
    for query in NOT_UNDERSTOOD:
        response = scene.as_alice.get(f"{URL}?{query}&deployment=qa")
        assert response.status_code == 200, query
        assert "Left out, as not understood" in response.text, query
        assert str(row.pk) in response.text, query


def test_active_filters_are_chips_whose_links_remove_them(scene: Scene) -> None:
    scene.mine(state="failed", tags='["a&b"]')
    text = scene.as_alice.get(f"{URL}?state=failed&tag=a%26b&sort=slowest").text

    links = dict(re.findall(r'chip-filter" href="\?(.*?)"><span>(\w+):', text))
    assert links == {"tag=a%26b&amp;sort=slowest": "State", "state=failed&amp;sort=slowest": "Tag"}


def test_empty_fields_of_the_form_are_no_part_of_the_address(scene: Scene) -> None:
    response = scene.as_alice.get(f"{URL}?q=&state=failed&version=&tag=")

    assert response.status_code == 302
    assert response["Location"] == f"{URL}?state=failed"


def test_empty_list_teaches(scene: Scene) -> None:
    Grant.objects.create(deployment=scene.qa, audience="authenticated", run=True)

    assert "/qa/invoke" in scene.as_alice.get(URL).text
    assert "No trace fits" in scene.as_alice.get(f"{URL}?state=failed").text


def test_runs_that_left_no_trace_are_counted_on_the_page(scene: Scene) -> None:
    scene.mine()
    DroppedTraces.objects.create(hour=timezone.now() - timedelta(hours=3), count=3)

    assert "3 runs left no trace" in scene.as_alice.get(URL).text
    assert "left no trace" not in scene.as_alice.get(f"{URL}?range=1h").text


def test_charts_tell_of_what_fits(scene: Scene) -> None:
    for number in range(19):
        scene.mine(ago=number * 60, duration_ms=100.0)
    scene.mine(state="failed", duration_ms=4000.0)
    text = scene.as_alice.get(f"{URL}?range=1h").text

    assert "From all 20 runs that fit" in text
    assert "Median duration 100 ms" in text
    assert "1 run failed, timed out or was lost" in text
    assert text.count('role="img"') == 3


# Pages


def many(scene: Scene, number: int, **fields: Any) -> None:
    Trace.objects.bulk_create(
        Trace(**trace_fields(scene.qa, scene.alice, ago=60 + n // 2 * 2, id=uuid4(), **fields))
        for n in range(number)
    )


def links(client: Client, query: str) -> dict[str, str]:
    text = client.get(f"{URL}{query}").text
    found = re.findall(r'rel="(prev|next)" href="(.+?)"', text)
    return {name: link.replace("&amp;", "&") for name, link in found}


@pytest.mark.parametrize(
    ("sort", "field"),
    [
        ("newest", "started_at"),
        ("slowest", "duration_ms"),
        ("tokens", "output_tokens"),
        ("cost", "cost"),
    ],
)
def test_pages_have_every_row_once_forwards_and_back(scene: Scene, sort: str, field: str) -> None:
    many(scene, 120)
    for n, row in enumerate(Trace.objects.order_by("id")):
        # Pairs are alike, so that the id decides too.
        row.duration_ms, row.output_tokens = n // 2 / 3, n // 2
        row.cost = round(Decimal(n // 2) / 7, 9)
        row.save()
    expected = list(Trace.objects.order_by(f"-{field}", "-id").values_list("pk", flat=True))
    first = f"?sort={sort}"
    second = links(scene.as_alice, first)["next"]
    third = links(scene.as_alice, second)["next"]

    assert "50+ traces" in scene.as_alice.get(f"{URL}{first}").text
    pages = [shown(scene.as_alice, query) for query in (first, second, third)]
    assert [*pages[0], *pages[1], *pages[2]] == expected
    assert links(scene.as_alice, first).keys() == {"next"}
    assert links(scene.as_alice, third).keys() == {"prev"}
    back = links(scene.as_alice, third)["prev"]
    assert shown(scene.as_alice, back) == pages[1]
    assert shown(scene.as_alice, links(scene.as_alice, back)["prev"]) == pages[0]


def test_what_is_not_known_is_not_sorted_by(scene: Scene) -> None:
    scene.mine(state="running", duration_ms=None)
    dear = scene.mine(cost=Decimal("0.01"))

    assert shown(scene.as_alice, "?sort=cost") == [dear.pk]
    assert shown(scene.as_alice, "?sort=slowest") == [dear.pk]


FORGED = [
    "x",
    "~",
    "1~x",
    f"nan~{uuid4()}",
    f"inf~{uuid4()}",
    f"1e999999~{uuid4()}",
    f"-1~{uuid4()}x",
]


@pytest.mark.parametrize("sort", ["newest", "slowest", "tokens", "cost"])
def test_forged_cursors_show_the_first_page(scene: Scene, sort: str) -> None:
    row = scene.mine(output_tokens=1, cost=Decimal(1))
    for name, cursor in product(("after", "before"), FORGED):
        response = scene.as_alice.get(URL, {"sort": sort, name: cursor})
        assert response.status_code == 200, cursor
        assert "names a page that is not there" in response.text, cursor
        assert str(row.pk) in response.text, cursor


def test_number_of_queries_does_not_grow_with_the_rows(scene: Scene) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert scene.as_bob.get(f"{URL}?feedback=any&q=Seq").status_code == 200
        assert not any("COUNT(*)" in query["sql"] for query in captured)
        return len(captured)

    many(scene, 10)
    Feedback.objects.bulk_create(_thumbs())
    few = queries()
    Feedback.objects.all().delete()
    many(scene, 490)
    Feedback.objects.bulk_create(_thumbs())

    assert queries() == few <= 15


def _thumbs() -> Iterator[Feedback]:
    for row in Trace.objects.all():
        yield Feedback(
            run_id=row.pk,
            trace_id=row.pk,
            deployment_id=row.deployment_id,
            key="thumbs",
            author="token",
            score=1,
        )


def test_fragment_has_the_rows_alone(scene: Scene) -> None:
    row = scene.mine()
    text = scene.as_alice.get(f"{URL}?fragment=rows").text

    assert f'data-run="{row.pk}"' in text
    assert "<html" not in text


# Many at once


def exported(response: Any) -> list[dict[str, Any]]:
    content = b"".join(response.streaming_content)
    return [json.loads(line) for line in content.splitlines()]


def test_export_has_traces_with_their_steps(scene: Scene) -> None:
    row = scene.mine(error="hidden-error-text")
    step(row, 1, name="ChatModel", input='{"a":1}', output='{"cut')
    scene.mine()
    response = scene.as_alice.post(f"{URL}export/", {"run": [str(row.pk)]})
    [found] = exported(response)

    assert response["Content-Disposition"].startswith("attachment; ")
    assert found["id"] == str(row.pk)
    assert found["input"] == {"question": SECRET_QUESTION}
    assert found["error"] == "hidden-error-text"
    assert found["steps"][0]["name"] == "ChatModel"
    assert found["steps"][0]["input"] == {"a": 1}
    assert found["steps"][0]["output"] == '{"cut'


def test_export_has_payloads_only_for_who_may_see_them(scene: Scene) -> None:
    row = scene.mine(error="hidden-error-text")
    step(row, 1, input='"what is the canary called"')
    hidden = trace(deployment("other"))
    form = {"run": [str(row.pk), str(hidden.pk), "x"]}
    response: Any = scene.as_bob.post(f"{URL}export/", form)
    content = b"".join(response.streaming_content).decode()

    assert [json.loads(line)["id"] for line in content.splitlines()] == [str(row.pk)]
    assert [word for word in SECRETS if word in content] == []


def test_export_streams_through_the_server_of_the_site(site: Site) -> None:
    alice = site.user("alice")
    row = trace(site.serve("qa", echo()), alice)
    headers = site.session(alice)
    response = site.post(f"{URL}export/", headers=headers, data={"run": str(row.pk)})

    assert response.status_code == 200, response.text
    assert json.loads(response.text)["id"] == str(row.pk)


def test_deleting_asks_first(scene: Scene) -> None:
    row, stays = scene.mine(), scene.mine()
    asked = scene.as_alice.post(f"{URL}delete/", {"run": [str(row.pk)]})
    assert "Delete 1 trace" in asked.text
    assert Trace.objects.count() == 2

    scene.as_alice.post(f"{URL}delete/", {"run": [str(row.pk)], "confirmed": "yes"})
    assert list(Trace.objects.all()) == [stays]


def test_others_traces_are_deleted_with_a_permission_alone(scene: Scene) -> None:
    row = scene.mine()
    form = {"run": [str(row.pk)], "confirmed": "yes"}
    asked = scene.as_bob.post(f"{URL}delete/", {"run": [str(row.pk)]})
    assert "1 of the ticked ones is not yours to delete" in asked.text
    scene.as_bob.post(f"{URL}delete/", form)
    assert Trace.objects.count() == 1

    scene.bob.user_permissions.add(Permission.objects.get(codename="delete_trace"))
    scene.as_bob.post(f"{URL}delete/", form)
    assert Trace.objects.count() == 0


def test_the_permission_deletes_nothing_that_is_not_seen(scene: Scene) -> None:
    row = trace(deployment("other"))
    scene.bob.user_permissions.add(Permission.objects.get(codename="delete_trace"))
    form = {"run": [str(row.pk)], "confirmed": "yes"}

    assert "Tick some traces first" in scene.as_bob.post(f"{URL}delete/", form, follow=True).text
    assert Trace.objects.count() == 1


@pytest.mark.parametrize("what", ["export", "delete"])
def test_forms_need_a_post_a_token_and_something_ticked(scene: Scene, what: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(scene.alice)

    assert scene.as_alice.get(f"{URL}{what}/").status_code == 405
    assert strict.post(f"{URL}{what}/", {"run": str(uuid4())}).status_code == 403
    assert "Tick some traces first" in scene.as_alice.post(f"{URL}{what}/", follow=True).text


def test_page_has_the_policy_and_is_kept_by_no_cache(scene: Scene) -> None:
    response = scene.as_alice.get(URL)

    assert response["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response["Content-Security-Policy"]


def test_traces_are_in_the_navigation_of_who_has_signed_in(scene: Scene) -> None:
    assert f'<a href="{URL}"' in scene.as_alice.get("/accounts/password/").text
    assert f'<a href="{URL}"' not in Client().get("/accounts/login/").text


def test_traces_of_a_deployment_that_is_gone_stay_with_who_made_them(scene: Scene) -> None:
    row = scene.mine()
    Deployment.objects.all().delete()

    assert shown(scene.as_alice) == [row.pk]
    assert shown(scene.as_bob) == []
