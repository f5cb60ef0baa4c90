"""
The review queue: who gets which run, who sees what, and what comes out of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from random import Random
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from feedback.answers import Answer
from feedback.models import Feedback, FeedbackKey
from runnables.models import AuditEntry, Deployment, Grant
from tests.admin.forms import fields_of
from tests.conftest import Site
from tests.fakes import echo
from traces.models import Step, Trace
from traces.review import filters, services
from traces.review.agreement import agreement, alpha, squared, unequal
from traces.review.models import Review, ReviewItem, ReviewQueue
from traces.review.services import ReservationLost, finish, skip, take_next
from traces.review.shown import shown
from traces.viewers import Viewer

SECRET = "what nobody else may read"
CHAT = [{"type": "human", "content": "Hello?"}, {"type": "ai", "content": "Hi, <b>you</b>."}]


@pytest.fixture
def qa(site: Site) -> Deployment:
    return site.serve("qa", echo(), access="authenticated")


@pytest.fixture
def good(site: Site) -> FeedbackKey:
    return FeedbackKey.objects.create(key="good", title="Good?", takes_correction=True)


def run(deployment: Deployment, **fields: Any) -> Trace:
    values = {
        "deployment_name": deployment.name,
        "endpoint": "invoke",
        "state": "done",
        "started_at": timezone.now(),
        "duration_ms": 12.0,
        "input": '{"question": "What is it?"}',
        "output": '"An answer."',
        **fields,
    }
    return Trace.objects.create(deployment=deployment, **values)


def queue_with(deployment: Deployment, number: int = 1, **fields: Any) -> ReviewQueue:
    queue = ReviewQueue.objects.create(name="Quality", slug="quality", **fields)
    queue.keys.set(FeedbackKey.objects.all())
    for position in range(number):
        moment = timezone.now() - timedelta(minutes=number - position)
        trace = run(deployment, started_at=moment)
        ReviewItem.objects.create(queue=queue, trace=trace, position=position)
    return queue


def reviewer(site: Site, queue: ReviewQueue, name: str, *, right: bool = True) -> Any:
    user = site.user(name)
    queue.reviewers.add(user)
    if right:
        for row in Deployment.objects.all():
            Grant.objects.create(deployment=row, audience="user", user=user, review=True)
    return user


def browser(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def say(score: float | None = 1.0, **more: Any) -> dict[str, Answer]:
    return {"good": Answer(score=score, **more)}


def form_of(client: Client, path: str = "/review/quality/") -> Any:
    return fields_of(client.get(path).content.decode(), "answers")


def done(client: Client, answer: str, **more: str) -> Any:
    """
    Open the next run, choose an answer and be done.
    """
    page = client.get("/review/quality/")
    key = FeedbackKey.objects.get(key="good").pk
    data = {f"key-{key}-{name}": value for name, value in more.items()}
    return client.post(
        "/review/quality/",
        {"item": page.context["item"].pk, "do": "done", f"key-{key}-answer": answer, **data},
    )


# Reservation


def in_threads(work: Callable[[Any], Any], people: list[Any]) -> list[Any]:
    """
    The work of each, begun at the same moment, each on its own connection.
    """
    together = Barrier(len(people))

    def one(user: Any) -> Any:
        together.wait(10)
        try:
            return work(user)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(one, people))


def test_two_reviewers_never_get_the_same_run(site: Site, qa: Deployment, good: Any) -> None:
    queue = queue_with(qa, 5)
    people = [reviewer(site, queue, f"r{number}") for number in range(8)]

    taken = in_threads(lambda user: take_next(queue, Viewer(user)), people)

    got = [item.pk for item in taken if item]
    assert len(got) == len(set(got)) == 5


def test_each_run_is_reviewed_as_often_as_asked(site: Site, qa: Deployment, good: Any) -> None:
    queue = queue_with(qa, 6, reviews_per_item=2)
    people = [reviewer(site, queue, f"r{number}") for number in range(5)]

    def work(user: Any) -> int:
        viewer, count = Viewer(user), 0
        while item := take_next(queue, viewer):
            finish(item, viewer, say())
            count += 1
        return count

    assert sum(in_threads(work, people)) == 12
    for item in queue.items.all():
        assert item.reviews.filter(state="done").count() == 2
    assert Feedback.objects.count() == 12


def test_a_reservation_that_has_expired_goes_back(site: Site, qa: Deployment, good: Any) -> None:
    queue = queue_with(qa)
    alice, bob = (Viewer(reviewer(site, queue, name)) for name in ("alice", "bob"))
    item = take_next(queue, alice)
    assert item
    assert take_next(queue, alice) == item
    assert take_next(queue, bob) is None

    Review.objects.update(reserved_until=timezone.now() - timedelta(seconds=1))

    assert take_next(queue, bob) == item
    with pytest.raises(ReservationLost):
        finish(item, alice, say())
    assert not Feedback.objects.exists()
    finish(item, bob, say())
    assert take_next(queue, alice) is None


def test_who_is_late_may_still_finish_what_nobody_took(
    site: Site, qa: Deployment, good: Any
) -> None:
    queue = queue_with(qa)
    alice = Viewer(reviewer(site, queue, "alice"))
    item = take_next(queue, alice)
    assert item
    Review.objects.update(reserved_until=timezone.now() - timedelta(seconds=1))
    finish(item, alice, say())
    assert Review.objects.get().state == "done"


def test_a_skipped_run_goes_to_others_and_does_not_come_back(
    site: Site, qa: Deployment, good: Any
) -> None:
    queue = queue_with(qa, 2)
    alice, bob = (Viewer(reviewer(site, queue, name)) for name in ("alice", "bob"))
    first = take_next(queue, alice)
    assert first
    skip(first, alice)
    second = take_next(queue, alice)
    assert second
    assert second != first
    assert take_next(queue, bob) == first
    finish(second, alice, say())
    assert take_next(queue, alice) is None


# Who may


@pytest.mark.parametrize(
    ("is_reviewer", "has_right", "status"),
    [(True, True, 200), (True, False, 404), (False, True, 404), (False, False, 404)],
)
def test_review_takes_the_right_and_being_asked(
    site: Site, qa: Deployment, good: Any, is_reviewer: bool, has_right: bool, status: int
) -> None:
    queue = queue_with(qa)
    user = reviewer(site, queue, "alice", right=has_right)
    if not is_reviewer:
        queue.reviewers.clear()
    client = browser(user)
    for path in ("", "results/", "results/export/?as=evaluation"):
        assert client.get(f"/review/quality/{path}").status_code == status
    assert ("Quality" in client.get("/review/").content.decode()) == (status == 200)


def test_group_of_reviewers_reviews(site: Site, qa: Deployment, good: Any) -> None:
    queue = queue_with(qa)
    group = Group.objects.create(name="reviewers")
    queue.groups.add(group)
    Grant.objects.create(deployment=qa, audience="group", group=group, review=True)
    user = site.user("alice")
    assert browser(user).get("/review/quality/").status_code == 404
    user.groups.add(group)
    assert browser(user).get("/review/quality/").status_code == 200


def test_only_runs_of_deployments_with_the_right_are_given(
    site: Site, qa: Deployment, good: Any
) -> None:
    other = site.serve("other", echo(), access="authenticated")
    queue = queue_with(qa, 0)
    hidden = run(other, input=f'"{SECRET}"')
    ReviewItem.objects.create(queue=queue, trace=hidden, position=0)
    user = reviewer(site, queue, "alice")
    Grant.objects.filter(deployment=other, user=user).delete()
    client = browser(user)

    page = client.get("/review/quality/")
    assert "No runs are in this queue yet" in page.content.decode()
    item = ReviewItem.objects.get()
    assert client.get(f"/review/quality/?item={item.pk}").status_code == 404
    assert client.post("/review/quality/", {"item": item.pk, "do": "done"}).status_code == 404


@pytest.mark.parametrize("item", ["0", "-1", "x", "9" * 30, "²", ""])
def test_items_that_are_not_ones_own_are_not_there(
    site: Site, qa: Deployment, good: Any, item: str
) -> None:
    client = browser(reviewer(site, queue_with(qa), "alice"))
    assert client.get("/review/quality/", {"item": item}).status_code == 404
    assert client.post("/review/quality/", {"item": item, "do": "skip"}).status_code == 404


def test_page_asks_as_few_queries_of_many_runs_as_of_few(
    site: Site, qa: Deployment, good: Any
) -> None:
    queue = queue_with(qa, 2)
    client = browser(reviewer(site, queue, "alice"))
    numbers = []
    for path in ("", "results/"):
        with CaptureQueriesContext(connection) as few:
            client.get(f"/review/quality/{path}")
        numbers.append(len(few))
    for position in range(2, 40):
        ReviewItem.objects.create(queue=queue, trace=run(qa), position=position)
    for path, number in zip(("", "results/"), numbers, strict=True):
        with CaptureQueriesContext(connection) as many:
            client.get(f"/review/quality/{path}")
        assert len(many) <= number


# The page


def test_review_is_kept_as_feedback_and_shown_again(site: Site, qa: Deployment, good: Any) -> None:
    user = reviewer(site, queue_with(qa, 2), "alice")
    client = browser(user)
    first = client.get("/review/quality/").context["item"]
    answer = done(client, "0", comment=" Too short. ", correction='{"answer": 42}')

    assert answer.status_code == 302
    row = Feedback.objects.get()
    assert (row.run_id, row.trace_id, row.key) == (first.trace_id, first.trace_id, "good")
    assert (row.author, row.user, row.deployment) == (f"u{user.pk}", user, qa)
    assert (row.score, row.comment, row.correction) == (0.0, "Too short.", {"answer": 42})

    page = client.get("/review/quality/")
    assert page.context["item"] != first
    assert page.context["progress"].settled == 1
    back = client.get(f"/review/quality/?item={page.context['previous'].item_id}")
    assert back.context["item"] == first
    assert "Too short." in back.content.decode()
    assert 'value="0" checked' in back.content.decode()

    key = FeedbackKey.objects.get().pk
    client.post("/review/quality/", {"item": first.pk, "do": "done", f"key-{key}-answer": "1"})
    row.refresh_from_db()
    assert (row.score, row.comment, row.correction) == (1.0, "", None)


@pytest.mark.parametrize("answer", ["", "2", "NaN", "x\0"])
def test_wrong_answers_are_refused_and_nothing_is_kept(
    site: Site, qa: Deployment, good: Any, answer: str
) -> None:
    client = browser(reviewer(site, queue_with(qa), "alice"))
    response = done(client, answer)
    assert response.status_code == 422
    assert "Nothing was saved" in response.content.decode()
    assert not Feedback.objects.exists()
    assert Review.objects.get().state == "reserved"


@pytest.mark.parametrize(
    ("kind", "fields", "given", "kept"),
    [
        ("scale", {}, "4", (4.0, None)),
        ("scale", {"lowest": 0, "highest": 1000}, "12.5", (12.5, None)),
        ("category", {"categories": ["wrong", "unsafe"]}, "unsafe", (None, "unsafe")),
        ("text", {}, "Reads well", (None, "Reads well")),
    ],
)
def test_each_kind_of_key_has_its_answer(
    site: Site, qa: Deployment, kind: str, fields: Any, given: str, kept: Any
) -> None:
    FeedbackKey.objects.create(key="good", kind=kind, **fields)
    client = browser(reviewer(site, queue_with(qa), "alice"))
    assert done(client, given).status_code == 302
    row = Feedback.objects.get()
    assert (row.score, row.value) == kept
    item = ReviewItem.objects.get().pk
    assert given in client.get(f"/review/quality/?item={item}").content.decode()


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"kind": "scale"}, "6"),
        ({"kind": "scale", "highest": 1000}, "inf"),
        ({"kind": "category", "categories": ["a"]}, "b"),
    ],
)
def test_answers_beyond_what_is_offered_are_refused(
    site: Site, qa: Deployment, fields: Any, answer: str
) -> None:
    FeedbackKey.objects.create(key="good", **fields)
    client = browser(reviewer(site, queue_with(qa), "alice"))
    assert done(client, answer).status_code == 422


def test_others_scores_are_hidden_until_ones_own_is_done(
    site: Site, qa: Deployment, good: Any
) -> None:
    queue = queue_with(qa, 1, reviews_per_item=3)
    alice, bob = (reviewer(site, queue, name) for name in ("alice", "bob"))
    done(browser(alice), "0", comment=SECRET)
    client = browser(bob)

    for path in ("", "results/", "results/export/?as=csv", "results/export/?as=jsonl"):
        assert SECRET not in client.get(f"/review/quality/{path}").content.decode()
    assert client.get("/review/quality/results/").context["results"].runs == 0
    done(client, "1")
    item = ReviewItem.objects.get().pk
    assert SECRET in client.get(f"/review/quality/?item={item}").content.decode()
    assert SECRET in client.get("/review/quality/results/export/?as=csv").content.decode()


def test_messages_and_steps_are_shown_as_text_and_never_as_markup(
    site: Site, qa: Deployment, good: Any
) -> None:
    queue = queue_with(qa, 0, rubric="Be <i>strict</i>.\nAnd kind.")
    trace = run(qa, input=json.dumps({"messages": CHAT}), output="<script>alert(1)</script>")
    step = {"name": "Ask", "state": "done", "kind": "llm", "input": '"<img src=x>"'}
    Step.objects.create(id=run(qa).pk, trace=trace, parent=trace.pk, position=0, **step)
    ReviewItem.objects.create(queue=queue, trace=trace, position=0)
    page = browser(reviewer(site, queue, "alice")).get("/review/quality/")
    text = page.content.decode()

    assert "Hi, &lt;b&gt;you&lt;/b&gt;." in text
    assert [message.role for message in page.context["given"].messages] == ["Human", "Assistant"]
    for markup in ("<script>alert", "<img src=x>", "<i>strict"):
        assert markup not in text
    assert page["Content-Security-Policy"]
    assert page["Cache-Control"] == "no-store"


def test_reviewer_reads_payloads_of_the_queue_and_exports_only_what_they_may(
    site: Site, qa: Deployment, good: Any
) -> None:
    queue = queue_with(qa, 0)
    trace = run(qa, input=f'"{SECRET}"')
    ReviewItem.objects.create(queue=queue, trace=trace, position=0)
    user = reviewer(site, queue, "alice")
    client = browser(user)
    assert SECRET in client.get("/review/quality/").content.decode()
    done(client, "1", correction="Better.")

    export = "/review/quality/results/export/?as=evaluation"
    assert client.get(export).content == b""
    Grant.objects.filter(user=user).update(see_payloads=True)
    example = json.loads(client.get(export).content)
    assert (example["input"], example["output"]) == (SECRET, "An answer.")
    assert (example["correction"], example["scores"]) == ("Better.", {"good": 1.0})


def test_closed_queue_takes_no_reviews_and_keeps_its_results(
    site: Site, qa: Deployment, good: Any
) -> None:
    queue = queue_with(qa)
    client = browser(reviewer(site, queue, "alice"))
    item = client.get("/review/quality/").context["item"]
    ReviewQueue.objects.update(is_open=False)
    key = FeedbackKey.objects.get().pk
    answer = {"item": item.pk, "do": "done", f"key-{key}-answer": "1"}
    assert "This queue is closed" in client.post("/review/quality/", answer).content.decode()
    assert not Feedback.objects.exists()
    assert client.get("/review/quality/results/").status_code == 200


def test_all_done_leads_to_the_results(site: Site, qa: Deployment, good: Any) -> None:
    client = browser(reviewer(site, queue_with(qa), "alice"))
    done(client, "1")
    page = client.get("/review/quality/").content.decode()
    assert "All done" in page
    assert "/review/quality/results/" in page
    assert "100 %" in client.get("/review/quality/results/").content.decode()


# What is in a queue


def test_queue_is_filled_by_its_filter_once(site: Site, qa: Deployment, good: Any) -> None:
    queue = queue_with(qa, 0, filter={"state": "failed", "tag": "beta"})
    wanted = [run(qa, state="failed", tags='["beta"]') for _ in range(3)]
    run(qa, tags='["beta"]')
    run(qa, state="failed", tags='["beta-2"]')
    root = site.user("root", is_superuser=True)

    assert services.fill(queue, by=root) == 3
    assert services.fill(queue, by=root) == 0
    assert [item.trace for item in queue.items.all()] == wanted
    assert "Added 3 runs to the review queue “Quality”." in [
        entry.text for entry in AuditEntry.objects.filter(deployment=qa)
    ]


def test_who_fills_adds_only_what_they_see(site: Site, qa: Deployment, good: Any) -> None:
    other = site.serve("other", echo(), access="authenticated")
    queue = queue_with(qa, 0)
    mine, theirs = run(qa), run(other)
    user = reviewer(site, queue, "alice")
    Grant.objects.filter(user=user, deployment=qa).update(see_traces=True)
    client = browser(user)

    data = {"queue": "quality", "trace": [str(mine.pk), str(theirs.pk)]}
    answer = client.post("/review/add/", data, follow=True)
    assert "1 run was added" in answer.content.decode()
    assert [item.trace for item in queue.items.all()] == [mine]
    assert services.fill(queue, by=user) == 0
    assert client.post("/review/add/", {**data, "trace": "x"}).status_code == 404
    stranger = browser(site.user("bob"))
    assert stranger.post("/review/add/", data).status_code == 404


def test_queue_of_one_deployment_takes_no_runs_of_another(
    site: Site, qa: Deployment, good: Any
) -> None:
    other = site.serve("other", echo(), access="authenticated")
    queue = queue_with(qa, 0)
    queue.deployments.add(qa)
    run(other)
    run(qa, state="running")
    mine = run(qa)
    assert services.fill(queue, by=site.user("root", is_superuser=True)) == 1
    assert queue.items.get().trace == mine


FILTERS = [
    ("deployment=qa", 4),
    ("deployment=nothing", 0),
    ("version=2", 1),
    ("arm=canary", 1),
    ("state=problems", 1),
    ("min_ms=1000", 1),
    ("slower=1", 1),
    ("range=1h", 3),
    ("until=2020-01-02T00:00", 1),
    ("since=2020-01-02T00:00", 3),
    ("error=valueerror", 1),
    ("user=alice", 1),
    ("thread=t1", 1),
    ("door=batch", 1),
    ("q=needle", 1),
    ("feedback=negative", 1),
    ("feedback=positive", 1),
    ("feedback=any", 2),
    ("feedback=none", 2),
]


def test_filters_mean_what_they_say(site: Site, qa: Deployment) -> None:
    FeedbackKey.objects.create(key="stars", kind="scale")
    alice = site.user("alice")
    traces = [
        run(qa, version=2, arm="canary", output='"a needle"', user=alice),
        run(qa, state="failed", duration_ms=1500, error_class="ValueError", thread="t1"),
        run(qa, endpoint="batch"),
        run(qa, started_at=timezone.now().replace(year=2020, month=1, day=1)),
    ]
    for trace, key, score in ((traces[0], "stars", 2), (traces[1], "thumb", 1)):
        Feedback.objects.create(
            run_id=trace.pk, trace_id=trace.pk, key=key, score=score, author="anonymous"
        )
    root = Viewer(site.user("root", is_superuser=True))

    for query, number in FILTERS:
        assert filters.matching(filters.parsed(query), root).count() == number, query


def test_text_is_not_searched_in_payloads_one_may_not_read(site: Site, qa: Deployment) -> None:
    run(qa, input=f'"{SECRET}"')
    user = site.user("alice")
    grant = Grant.objects.create(deployment=qa, audience="user", user=user, see_traces=True)
    assert filters.matching({"q": "nobody"}, Viewer(user)).count() == 0
    grant.see_payloads = True
    grant.save()
    assert filters.matching({"q": "nobody"}, Viewer(user)).count() == 1


@pytest.mark.parametrize(
    "query", ["colour=red", "state=purple", "version=x", "range=1y", "nonsense", "since=soon"]
)
def test_what_is_no_filter_is_refused(query: str) -> None:
    with pytest.raises(ValidationError):
        filters.parsed(query)


def test_filter_is_read_from_a_whole_address() -> None:
    address = "https://example.org/pre/traces/?state=failed&sort=cost&q=a%20b"
    assert filters.parsed(address) == {"state": "failed", "q": "a b"}
    assert filters.parsed("") == {}


# The admin


def test_queue_is_made_and_filled_in_the_admin(site: Site, qa: Deployment, good: Any) -> None:
    run(qa)
    run(qa, state="failed")
    root = site.user("root", is_staff=True, is_superuser=True)
    client = browser(root)
    data = {
        "name": "Quality",
        "slug": "quality",
        "is_open": "on",
        "deployments": [qa.pk],
        "filter": "/traces/?state=failed",
        "keys": [good.pk],
        "reviewers": [root.pk],
        "reviews_per_item": "1",
        "reservation_minutes": "15",
        "_fill": "1",
    }
    add = "/admin/langserve_traces/reviewqueue/add/"
    for wrong in ({"filter": "colour=red"}, {"slug": "add"}, {"reviews_per_item": "6"}):
        assert client.post(add, {**data, **wrong}).status_code == 200
    assert client.post(add, {**data, "reviewers": []}).status_code == 200
    assert not ReviewQueue.objects.exists()

    assert client.post(add, data).status_code == 302
    queue = ReviewQueue.objects.get()
    assert queue.filter == {"state": "failed"}
    assert queue.items.get().trace.state == "failed"
    texts = [entry.text for entry in AuditEntry.objects.filter(deployment=qa)]
    assert "Made the review queue “Quality”." in texts

    page = f"/admin/langserve_traces/reviewqueue/{queue.pk}/change/"
    assert 'value="state=failed"' in client.get(page).content.decode()
    client.post(page, {**data, "filter": ""})
    assert queue.items.count() == 2
    act = {"action": "fill", "_selected_action": [queue.pk]}
    text = client.post("/admin/langserve_traces/reviewqueue/", act, follow=True).content.decode()
    assert "0 runs were added" in text


# Results


def test_results_equal_a_plain_count(site: Site, qa: Deployment) -> None:
    FeedbackKey.objects.create(key="good", kind="scale", takes_correction=True)
    FeedbackKey.objects.create(key="kind", kind="category", categories=["x", "y"])
    queue = queue_with(qa, 12, reviews_per_item=2)
    people = [reviewer(site, queue, name) for name in ("alice", "bob")]
    random = Random(5)
    given: list[tuple[int, int]] = []
    for item in queue.items.all():
        scores = (random.randint(1, 5), random.randint(1, 5))
        given.append(scores)
        for user, score in zip(people, scores, strict=True):
            Review.objects.create(item=item, reviewer=user, state="done")
            services.record_answers(item.trace, user, say(float(score)))
    page = browser(people[0]).get("/review/quality/results/")
    found = page.context["results"]
    stars, kind = found.by_key

    everything = [score for pair in given for score in pair]
    assert (stars.number, kind.number) == (24, 0)
    assert stars.average == pytest.approx(sum(everything) / 24)
    assert {share.label: share.count for share in stars.shares} == {
        str(step): everything.count(step) for step in range(1, 6)
    }
    assert stars.agreement.percent == pytest.approx(100 * sum(a == b for a, b in given) / 12)
    assert stars.agreement.alpha == pytest.approx(alpha(given, squared))
    assert [(one.name, one.done) for one in found.by_reviewer] == [("alice", 12), ("bob", 12)]
    assert len(found.disagreements) == sum(a != b for a, b in given)
    csv = browser(people[1]).get("/review/quality/results/export/?as=csv").content.decode()
    assert csv.count("\r\n") == 25


def test_no_cell_of_the_csv_is_a_formula(site: Site, qa: Deployment, good: Any) -> None:
    client = browser(reviewer(site, queue_with(qa), "alice"))
    done(client, "1", comment="=1+1")
    assert ",'=1+1," in client.get("/review/quality/results/export/?as=csv").content.decode()
    assert client.get("/review/quality/results/export/?as=exe").status_code == 404


def test_under_ten_runs_are_too_few_to_tell(site: Site, qa: Deployment, good: Any) -> None:
    queue = queue_with(qa, 1, reviews_per_item=2)
    clients = [browser(reviewer(site, queue, name)) for name in ("alice", "bob")]
    for client in clients:
        done(client, "1")
    page = clients[0].get("/review/quality/results/").content.decode()
    assert "Too few to tell" in page
    assert "alpha" not in page


# Krippendorff's own example (2011): four observers, twelve units; he gives 0.743 for nominal
# and 0.849 for interval data.
KRIPPENDORFF = [
    (1, 1, 1),
    (2, 2, 3, 2),
    (3, 3, 3, 3),
    (3, 3, 3, 3),
    (2, 2, 2, 2),
    (1, 2, 3, 4),
    (4, 4, 4, 4),
    (1, 1, 2, 1),
    (2, 2, 2, 2),
    (5, 5, 5),
    (1, 1),
]


def test_alpha_is_krippendorffs() -> None:
    assert alpha(KRIPPENDORFF, unequal) == pytest.approx(0.743, abs=0.0005)
    assert alpha(KRIPPENDORFF, squared) == pytest.approx(0.849, abs=0.0005)


def test_agreement_of_two_is_that_of_a_table_worked_out_by_hand() -> None:
    # 50 proposals: both yes 20, both no 15, only the first 5, only the second 10.
    # Observed 35/50 = 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa (0.7 - 0.5) / 0.5.
    pairs = [(1, 1)] * 20 + [(0, 0)] * 15 + [(1, 0)] * 5 + [(0, 1)] * 10
    found = agreement([{"a": a, "b": b} for a, b in pairs], is_number=False)
    assert found.percent == pytest.approx(70)
    assert found.kappa == pytest.approx(0.4)
    # 55 ones and 45 naughts: expected 2 * 55 * 45 / (100 * 99) = 0.5; alpha 1 - 0.3 / 0.5.
    assert found.alpha == pytest.approx(0.4)


@pytest.mark.parametrize("difference", [unequal, squared])
def test_alpha_equals_brute_force_over_all_pairs(difference: Any) -> None:
    random = Random(7)
    units = [[random.randint(1, 5) for _ in range(random.randint(2, 4))] for _ in range(40)]
    values = [value for unit in units for value in unit]
    observed = sum(
        sum(difference(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)
    expected = sum(difference(a, b) for a, b in permutations(values, 2)) / (
        len(values) * (len(values) - 1)
    )
    assert alpha(units, difference) == pytest.approx(1 - observed / expected)


def test_agreement_of_what_never_varies_is_not_a_number_of_its_own() -> None:
    found = agreement([{"a": 1, "b": 1}] * 12, is_number=False)
    assert (found.percent, found.alpha, found.kappa) == (100, None, None)
    assert agreement([{"a": 1}], is_number=False).items == 0


# What payloads look like


@pytest.mark.parametrize(
    ("text", "plain", "roles"),
    [
        ('"hello"', "hello", []),
        ('{"question": "hello"}', "hello", []),
        (json.dumps(CHAT), "", ["Human", "Assistant"]),
        (json.dumps(CHAT[1]), "", ["Assistant"]),
        ('[["human", "hi"]]', "", ["Human"]),
        ('{"a": 1}', '{\n  "a": 1\n}', []),
        ('{"begun": "and cut', '{"begun": "and cut', []),
        ("", "", []),
    ],
)
def test_payloads_are_shown_as_people_read_them(text: str, plain: str, roles: list[str]) -> None:
    found = shown(text)
    assert (found.text, [message.role for message in found.messages]) == (plain, roles)


def test_long_payloads_are_cut_and_say_so() -> None:
    found = shown(json.dumps("x" * 100), most=10)
    assert (found.text, found.is_cut) == ("x" * 10, True)
    assert shown('"x"', size=1000).is_cut
