"""
Canaries: who is in one, what both sides did, and how it ends.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from runnables import canaries, figures, trials, versions, watcher
from runnables.figures import Finished
from runnables.models import AuditEntry, Canary, Deployment, DeploymentVersion, Figures
from runnables.trials import NoCanary
from tests.configured import settings as configured
from tests.conftest import Site, events

USERS = 2_000


@pytest.fixture
def row(site: Site) -> Deployment:
    return site.serve("it", configured())


def tried(row: Deployment, *, percent: float = 100, **options: Any) -> Canary:
    """
    A trial of a version that answers "new".
    """
    return trials.start(row, version_of(row, template="new"), percent=percent, by="a", **options)


def version_of(row: Deployment, **configurable: Any) -> DeploymentVersion:
    current = Deployment.objects.get(pk=row.pk).version
    assert current is not None
    content = {**current.content, "defaults": {"configurable": configurable}}
    return versions.save_version(row, content, by="a", based_on=current.number, make_current=False)


def answer(site: Site, **options: Any) -> tuple[str, str]:
    response = site.post("/it/invoke", {"input": 1}, **options)
    assert response.status_code == 200, response.text
    return response.json()["output"]["template"], response.headers["X-Deployment-Version"]


# Who is in it


@pytest.mark.parametrize("percent", [1, 10, 50, 90])
def test_share_of_two_thousand_users_is_within_three_sigma(percent: float) -> None:
    share = percent / 100
    inside = sum(canaries.place(7, f"user {number}") < share for number in range(USERS))
    assert abs(inside - USERS * share) <= 3 * math.sqrt(USERS * share * (1 - share))


def test_each_user_is_always_on_one_side_and_stays_in_as_it_widens() -> None:
    def those_in(percent: float, canary: int = 7) -> set[str]:
        users = [f"user {number}" for number in range(USERS)]
        return {user for user in users if canaries.place(canary, user) < percent / 100}

    assert those_in(10) == those_in(10)
    assert those_in(10) < those_in(20) < those_in(80) < those_in(100)
    assert len(those_in(100)) == USERS
    assert those_in(0) == set()
    # Another trial has others in it.
    assert those_in(10) != those_in(10, canary=8)


def caller(principal: str = "", token: int = 0, address: str = "192.0.2.1") -> Any:
    auth = SimpleNamespace(pk=token) if token else None
    return SimpleNamespace(principal=principal, auth=auth, address=address)


def served(sticky_by: str, percent: float = 50) -> Any:
    canary = SimpleNamespace(pk=7, percent=percent, sticky_by=sticky_by, version="new")
    return SimpleNamespace(canary=canary, version="old")


def sides(sticky_by: str, callers: list[Any]) -> set[str]:
    deployment = served(sticky_by)
    return {canaries.pick(deployment, one)[1] for one in callers}


@pytest.mark.parametrize(
    ("sticky_by", "same", "others"),
    [
        (
            "user",
            [caller("ada", token=n, address=f"192.0.2.{n}") for n in range(50)],
            [caller(f"user {n}", token=1) for n in range(50)],
        ),
        (
            "user",
            [caller(address="192.0.2.1") for _ in range(50)],
            [caller(address=f"192.0.2.{n}") for n in range(50)],
        ),
        (
            "token",
            [caller("ada", token=3, address=f"192.0.2.{n}") for n in range(50)],
            [caller("ada", token=n) for n in range(1, 50)],
        ),
        (
            "token",
            [caller("ada", address=f"192.0.2.{n}") for n in range(50)],
            [caller(f"user {n}") for n in range(50)],
        ),
        (
            "address",
            [caller(f"user {n}", token=n) for n in range(50)],
            [caller("ada", token=1, address=f"192.0.2.{n}") for n in range(50)],
        ),
    ],
)
def test_caller_stays_by_what_the_trial_is_sticky_by(
    sticky_by: str, same: list[Any], others: list[Any]
) -> None:
    assert len(sides(sticky_by, same)) == 1
    assert sides(sticky_by, others) == {"stable", "canary"}


def test_callers_of_the_site_are_split_and_stay(site: Site, row: Deployment) -> None:
    tried(row, percent=50)
    tokens = [site.token(site.user(f"user{number}")) for number in range(12)]
    first = [answer(site, headers=headers) for headers in tokens]
    assert set(first) == {("Hello", "1"), ("new", "2")}
    assert [answer(site, headers=headers) for headers in tokens] == first


def test_header_says_which_version_answered_a_stream(site: Site, row: Deployment) -> None:
    tried(row)
    response = site.post("/it/stream", {"input": 1})
    assert response.headers["X-Deployment-Version"] == "2"
    assert dict(events(response))["data"]["template"] == "new"


def test_share_is_felt_at_once(site: Site, row: Deployment) -> None:
    canary = tried(row, percent=0)
    assert answer(site) == ("Hello", "1")
    trials.change_share(canary, percent=100, by="a")
    assert answer(site) == ("new", "2")
    trials.stop(row, by="a")
    assert answer(site) == ("Hello", "1")


def test_promoted_version_answers_everybody(site: Site, row: Deployment) -> None:
    tried(row, percent=0)
    assert trials.promote(row, by="a").number == 2
    assert answer(site) == ("new", "2")
    assert Canary.objects.get().outcome == "promoted"


# Starting and ending


def test_new_trial_ends_the_one_before_and_says_so(row: Deployment) -> None:
    first = tried(row)
    second = tried(row)
    first.refresh_from_db()
    assert (first.outcome, second.outcome) == ("stopped", "running")
    text = "The trial of version 2 was stopped: version 3 is tried instead."
    assert AuditEntry.objects.filter(text=text).exists()


def test_current_version_and_those_of_others_are_not_tried(site: Site, row: Deployment) -> None:
    other = site.serve("other", configured())
    current, foreign = row.version, other.version
    assert current is not None
    assert foreign is not None
    for version in (current, foreign):
        with pytest.raises(ValidationError):
            trials.start(row, version, percent=5, by="a")
    assert not Canary.objects.exists()


@pytest.mark.parametrize(
    "options",
    [{"percent": 101}, {"percent": -1}, {"sticky_by": "cookie"}, {"stop_min_requests": 0}],
)
def test_trial_that_makes_no_sense_is_not_started(row: Deployment, options: Any) -> None:
    running = tried(row)
    with pytest.raises(ValidationError):
        tried(row, **options)
    assert Canary.objects.get(outcome="running") == running


def test_ended_trial_is_neither_widened_nor_ended_again(row: Deployment) -> None:
    canary = tried(row, percent=5)
    trials.stop(row, by="a")
    for act in (
        lambda: trials.change_share(canary, percent=50, by="a"),
        lambda: trials.stop(row, by="a"),
        lambda: trials.promote(row, by="a"),
    ):
        with pytest.raises(NoCanary):
            act()
    canary.refresh_from_db()
    assert (canary.percent, canary.outcome) == (5, "stopped")


def test_trial_is_not_ended_in_the_name_of_another(row: Deployment) -> None:
    first = tried(row)
    second = tried(row)
    for act in (trials.stop, trials.promote):
        with pytest.raises(NoCanary):
            act(row, by="a", canary=first)
    second.refresh_from_db()
    assert second.outcome == "running"


def test_version_counts_as_only_tried_until_it_answered_everybody(row: Deployment) -> None:
    first = row.version
    assert first is not None
    DeploymentVersion.objects.filter(pk=first.pk).update(
        created_at=timezone.now() - timedelta(days=1)
    )
    canary = tried(row)
    assert trials.only_tried(row) == {canary.version_id}
    trials.promote(row, by="a")
    assert trials.only_tried(row) == set()
    # The first one has answered everybody, however often it is tried now.
    trials.start(row, first, percent=5, by="a")
    trials.stop(row, by="a")
    assert trials.only_tried(row) == set()


# Stopping by itself


def failing(row: Deployment, **options: Any) -> Canary:
    """
    A trial whose calls fail.
    """
    version = version_of(row, fails=True)
    rule = {"stop_error_percent": 5, "stop_min_requests": 4, **options}
    return trials.start(row, version, percent=100, by="a", **rule)


def test_trial_that_fails_too_often_is_stopped_logged_and_mailed(
    site: Site, row: Deployment, settings: Any
) -> None:
    settings.ADMINS = [("Ops", "ops@example.org")]
    canary = failing(row)
    for _ in range(4):
        assert site.post("/it/invoke", {"input": 1}).status_code == 500
    watcher.write_figures()
    canary.refresh_from_db()
    assert canary.outcome == "failed"
    assert canary.ended_at is not None
    assert answer(site) == ("Hello", "1")
    entry = AuditEntry.objects.latest("pk")
    assert entry.by == "the site itself"
    assert "4 of 4 calls failed (100.0 %), more than 5 %" in entry.text
    [letter] = mail.outbox
    assert letter.to == ["ops@example.org"]
    assert "Canary of it stopped" in letter.subject
    assert "4 of 4 calls failed" in letter.body


@pytest.mark.parametrize(
    ("calls", "rule"),
    [(3, {}), (4, {"stop_error_percent": 100}), (4, {"stop_error_percent": None})],
)
def test_trial_within_its_rule_goes_on(
    site: Site, row: Deployment, calls: int, rule: dict[str, Any]
) -> None:
    canary = failing(row, **rule)
    for _ in range(calls):
        site.post("/it/invoke", {"input": 1})
    watcher.write_figures()
    canary.refresh_from_db()
    assert canary.outcome == "running"


def test_errors_of_the_stable_side_stop_no_trial(site: Site, row: Deployment) -> None:
    site.change("it", defaults={"configurable": {"fails": True}})
    canary = failing(row)
    trials.change_share(canary, percent=0, by="a")
    for _ in range(5):
        site.post("/it/invoke", {"input": 1})
    watcher.write_figures()
    assert trials.compare(canary).stable.errors == 5
    canary.refresh_from_db()
    assert canary.outcome == "running"


def test_two_judges_at_once_stop_it_once(row: Deployment, settings: Any) -> None:
    settings.ADMINS = [("Ops", "ops@example.org")]
    canary = failing(row)
    for _ in range(10):
        figures.count(*finished(row, canary, outcome="failed"))
    figures.flush()
    in_threads(lambda: trials.judge([row.pk]), 2)
    assert AuditEntry.objects.filter(text__contains="was stopped").count() == 1
    assert len(mail.outbox) == 1


def test_judge_who_is_late_does_not_stop_the_trial_that_came_after(row: Deployment) -> None:
    old = failing(row)
    for _ in range(10):
        figures.count(*finished(row, old, outcome="failed"))
    figures.flush()
    new = tried(row)
    trials._stop_failing(old, trials.compare(old).canary)
    new.refresh_from_db()
    assert new.outcome == "running"


# What both sides did


def finished(
    row: Deployment,
    canary: Canary,
    *,
    arm: str = "canary",
    outcome: str = "done",
    seconds: float = 0.1,
    first_chunk: float | None = None,
) -> tuple[figures.Kind, Finished]:
    """
    What `figures.count` takes.
    """
    kind = (row.pk, canary.version_id, canary.pk, arm, "invoke")
    return kind, Finished(uuid4(), outcome, seconds, first_chunk)


def in_threads(act: Any, number: int) -> None:
    ready = threading.Barrier(number)
    failures: list[BaseException] = []

    def run() -> None:
        ready.wait()
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_both_sides_are_counted_apart(site: Site, row: Deployment) -> None:
    canary = tried(row, percent=0)
    for _ in range(3):
        answer(site)
    trials.change_share(canary, percent=100, by="a")
    for _ in range(2):
        answer(site)
    watcher.write_figures()
    found = trials.compare(canary)
    assert (found.stable.requests, found.canary.requests) == (3, 2)
    assert not found.is_telling


def test_pinned_calls_count_on_neither_side(site: Site, row: Deployment) -> None:
    canary = tried(row)
    alice = site.user("alice")
    site.grant("it", alice, may=["run", "pin_version"])
    assert site.post("/it/invoke?version=1", {"input": 1}, headers=site.token(alice)).is_success
    watcher.write_figures()
    found = trials.compare(canary)
    assert (found.stable.requests, found.canary.requests) == (0, 0)
    assert Figures.objects.get().arm == "pinned"


def test_fifty_calls_on_each_side_tell(row: Deployment) -> None:
    canary = tried(row)
    for arm, number in (("stable", 50), ("canary", 49)):
        for _ in range(number):
            figures.count(*finished(row, canary, arm=arm))
    figures.flush()
    assert not trials.compare(canary).is_telling
    figures.count(*finished(row, canary))
    figures.flush()
    assert trials.compare(canary).is_telling


def test_figures_are_exact_across_concurrent_flushes(row: Deployment) -> None:
    canary = tried(row)

    def count_and_flush() -> None:
        for number in range(40):
            outcome = "failed" if number % 4 == 0 else "done"
            figures.count(*finished(row, canary, outcome=outcome, first_chunk=0.01))
            if number % 5 == 0:
                figures.flush()
        figures.flush()

    in_threads(count_and_flush, 6)
    figures.flush()
    found = trials.compare(canary).canary
    assert (found.requests, found.errors) == (240, 60)
    assert sum(found.durations) == sum(found.first_chunks) == 240


def test_figures_that_cannot_be_written_are_kept_for_the_next_time(
    row: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tried(row)
    figures.count(*finished(row, canary))

    def fail(*_: Any) -> None:
        raise RuntimeError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(figures, "_add", fail)
        with pytest.raises(RuntimeError):
            figures.flush()
    figures.count(*finished(row, canary))
    figures.flush()
    assert trials.compare(canary).canary.requests == 2


def test_comparison_begins_with_the_trial(row: Deployment) -> None:
    first = tried(row)
    figures.count(*finished(row, first))
    figures.flush()
    second = tried(row)
    assert trials.compare(second).canary.requests == 0
    assert trials.compare(first).canary.requests == 1


def test_percentiles_of_a_comparison_are_close(row: Deployment) -> None:
    canary = tried(row)
    for milliseconds in range(1, 1001):
        figures.count(*finished(row, canary, seconds=milliseconds / 1000))
    figures.flush()
    side = trials.compare(canary).canary
    for share in (0.5, 0.95):
        assert side.duration(share) == pytest.approx(1000 * share, rel=0.08)


def test_sides_hold_as_many_users_as_their_share(row: Deployment) -> None:
    deployment = served("user", percent=20)
    found = Counter(
        canaries.pick(deployment, caller(f"user {number}"))[1] for number in range(USERS)
    )
    assert abs(found["canary"] - 400) <= 3 * math.sqrt(USERS * 0.2 * 0.8)


def test_trial_knows_when_it_began_and_ended(row: Deployment) -> None:
    canary = tried(row)
    ended = trials.stop(row, by="a")
    assert ended.pk == canary.pk
    assert ended.ended_at is not None
    assert timedelta(0) <= ended.ended_at - canary.started_at < timedelta(minutes=1)
    assert ended.ended_at <= timezone.now()
