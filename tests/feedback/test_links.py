"""
The door that shares a run by link, as LangServe's clients call it, and the life of a link.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from feedback import link_views, links
from feedback.models import TraceLink, new_token
from runnables import hooks
from runnables.models import AuditEntry
from runnables.permissions import EVERYTHING, OF_CALLERS
from tests.conftest import Site
from tests.traces.shared import also_may, keep_step, keep_trace, link_to, sharing
from traces.runs import known_run

DOOR = "/it/public_trace_link"
URL = re.compile(r"http://localhost/s/[A-Za-z0-9_-]{43}/")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_views, "WAIT_SECONDS", 0)


def put(site: Site, headers: dict[str, str], body: Any, path: str = DOOR) -> Any:
    return site.request("PUT", path, json=body, headers=headers)


def end() -> datetime:
    """
    Of the only link.
    """
    found = TraceLink.objects.get().expires_at
    assert found is not None
    return found


def moved(monkeypatch: pytest.MonkeyPatch, span: timedelta) -> None:
    then = timezone.now() + span
    monkeypatch.setattr("django.utils.timezone.now", lambda: then)


def test_run_is_shared_by_its_id_alone_and_twice_the_address_is_the_same(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    headers = site.token(alice)
    first = put(site, headers, {"run_id": str(trace.pk)})
    second = put(site, headers, {"run_id": str(trace.pk)})

    assert first.status_code == second.status_code == 200
    assert list(first.json()) == ["public_url"]
    assert URL.fullmatch(first.json()["public_url"])
    assert first.json() == second.json()
    assert site.get(first.json()["public_url"]).status_code == 200
    assert site.request("HEAD", DOOR, headers=headers).status_code == 200


def test_a_step_is_shared_as_the_run_it_is_of(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    step = keep_step(trace)
    url = put(site, site.token(alice), {"run_id": str(step.pk)}).json()["public_url"]
    assert TraceLink.objects.get().run_id == trace.pk
    assert url == put(site, site.token(alice), {"run_id": str(trace.pk)}).json()["public_url"]


def test_other_parts_another_name_or_another_user_is_another_link(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site, may=EVERYTHING), alice)
    run, mine = str(trace.pk), site.token(alice)
    urls = {
        put(site, headers, {"run_id": run, **more}).json()["public_url"]
        for headers, more in (
            (mine, {}),
            (mine, {"parts": ["steps"]}),
            (mine, {"name": "for the team"}),
            (site.token(site.user("bob")), {}),
        )
    }
    assert len(urls) == 4


def test_a_revoked_or_expired_link_is_followed_by_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    first = link_to(trace, alice)
    assert links.revoke([first], by=alice) == 1
    assert links.revoke([first], by=alice) == 0
    second = link_to(trace, alice)
    moved(monkeypatch, timedelta(days=7, seconds=1))
    third = link_to(trace, alice)
    assert len({first.token, second.token, third.token}) == 3


def test_token_has_256_bits_that_know_nothing_of_the_run(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    tokens = [link_to(trace, alice, name=str(number)).token for number in range(20)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)
    assert len(set(tokens)) == 20
    assert len({token[:4] for token in tokens}) > 15
    assert not any(trace.pk.hex in token or str(trace.pk) in token for token in tokens)


def test_random_tokens_open_nothing(site: Site) -> None:
    alice = site.user("alice")
    link = link_to(keep_trace(sharing(site), alice), alice)
    assert links.find(link.token) == link
    guesses = [new_token() for _ in range(10_000)]
    assert not any(links.find(guess) for guess in guesses[:300])
    # The others by the same look-up, many at a time: it takes seconds one by one.
    for start in range(0, len(guesses), 500):
        assert not TraceLink.objects.live().filter(token__in=guesses[start : start + 500]).exists()
    for token in ("", "x", "é" * 43, "\0" * 43, link.token + "x", link.token[:-1], "a" * 5000):
        assert links.find(token) is None


def test_link_ends_when_it_was_said_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    usual = link_to(trace, alice)
    for_ever = link_to(trace, alice, name="ever", lives=None)
    hour = link_to(trace, alice, name="hour", lives=timedelta(hours=1))
    moved(monkeypatch, timedelta(hours=1, seconds=1))
    assert [bool(links.find(link.token)) for link in (usual, for_ever, hour)] == [True, True, False]
    moved(monkeypatch, timedelta(days=400))
    assert [bool(links.find(link.token)) for link in (usual, for_ever)] == [False, True]


def test_asked_again_with_a_term_the_same_link_moves_its_end(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    body = {"run_id": str(trace.pk)}
    headers = site.token(alice)
    url = put(site, headers, body).json()
    assert put(site, headers, {**body, "expires_in": 3600}).json() == url
    assert end() < timezone.now() + timedelta(seconds=3601)
    assert put(site, headers, {**body, "expires_in": None}).json() == url
    assert put(site, headers, body).json() == url
    assert TraceLink.objects.get().expires_at is None


def test_staff_may_cap_how_long_links_live(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_LINK_MAX_DAYS": 2, "TRACE_LINK_DAYS": None}
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    body, headers = {"run_id": str(trace.pk)}, site.token(alice)
    for seconds in (2 * 86_400 + 1, None):
        response = put(site, headers, {**body, "expires_in": seconds})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", "expires_in"]
        assert "2 days" in response.json()["message"]
    assert put(site, headers, body).status_code == 200
    assert end() < timezone.now() + timedelta(days=2, seconds=1)


BAD_BODIES: tuple[Any, ...] = (
    *({}, [], 7, {"run_id": "x"}, {"run_id": None}, {"run_id": 7}),
    *({"parts": ["everything"]}, {"parts": "steps"}, {"parts": ["steps"] * 17}),
    *({"expires_in": 0}, {"expires_in": -1}, {"expires_in": 10**12}, {"expires_in": "1"}),
    *({"expires_in": 1.5}, {"name": "x" * 101}, {"name": 7}),
)


def test_bad_body_is_422_with_a_place_in_the_body(site: Site) -> None:
    alice = site.user("alice")
    trace, headers = keep_trace(sharing(site), alice), site.token(alice)
    for body in BAD_BODIES:
        if isinstance(body, dict) and body and "run_id" not in body:
            body = {"run_id": str(trace.pk), **body}
        response = put(site, headers, body)
        assert response.status_code == 422, body
        assert {entry["loc"][0] for entry in response.json()["detail"]} == {"body"}, body
    assert put(site, headers, None).status_code == 422
    assert not TraceLink.objects.exists()


def test_where_it_is_switched_off_it_is_400_with_a_text(site: Site) -> None:
    alice = site.user("alice")
    deployment = sharing(site, enable_public_trace_link_endpoint=False)
    trace = keep_trace(deployment, alice)
    headers = site.token(alice)
    for response in (
        put(site, headers, {"run_id": str(trace.pk)}),
        put(site, headers, "nonsense"),
        site.request("HEAD", DOOR, headers=headers),
    ):
        assert response.status_code == 400
    assert isinstance(put(site, headers, {}).json()["detail"], str)
    assert put(site, headers, {}).json()["code"] == "sharing_off"


def test_only_who_has_the_right_may_share(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site, may=OF_CALLERS), alice)
    body = {"run_id": str(trace.pk)}
    response = put(site, site.token(alice), body)
    assert (response.status_code, response.json()["code"]) == (403, "not_permitted")
    assert "share" in response.json()["message"]
    assert put(site, {}, body).status_code == 401
    assert not TraceLink.objects.exists()


def test_nobody_shares_without_signing_in_even_where_everybody_may(site: Site) -> None:
    sharing(site)
    site.grant("it", "public", may=EVERYTHING)
    trace = keep_trace(site.row("it"))
    response = put(site, {}, {"run_id": str(trace.pk)})
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_others_runs_and_runs_elsewhere_are_unknown(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    here, elsewhere = sharing(site), sharing(site, "other")
    asked = (keep_trace(here, alice).pk, keep_trace(elsewhere, bob).pk, uuid4())
    responses = [put(site, site.token(bob), {"run_id": str(run)}) for run in asked]
    assert {response.status_code for response in responses} == {404}
    assert len({response.content for response in responses}) == 1
    assert responses[0].json()["code"] == "unknown_run"


def test_who_may_see_a_run_of_others_may_share_as_much_as_they_see(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    deployment = sharing(site)
    trace = keep_trace(deployment, alice)
    also_may(deployment, bob, "run", "share", "see_traces")
    body, headers = {"run_id": str(trace.pk)}, site.token(bob)
    assert put(site, headers, body).status_code == 404
    assert put(site, headers, {**body, "parts": ["steps"]}).status_code == 200
    site.grant("it", bob, may=["run", "share", "see_traces", "see_payloads"])
    assert put(site, headers, body).status_code == 200


def test_a_trace_that_is_written_a_moment_later_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    known = links_known_after(2)
    monkeypatch.setattr(hooks, "known_run", known)
    monkeypatch.setattr(link_views, "WAIT_SECONDS", 5)
    monkeypatch.setattr(link_views, "LOOK_AGAIN_SECONDS", 0)
    assert put(site, site.token(alice), {"run_id": str(trace.pk)}).status_code == 200


def links_known_after(misses: int) -> Callable[[Any], Any]:
    left = [misses]

    def find(run_id: Any) -> Any:
        left[0] -= 1
        return known_run(run_id) if left[0] < 0 else None

    return find


def test_token_needs_the_scope_of_feedback(site: Site) -> None:
    alice = site.user("alice")
    body = {"run_id": str(keep_trace(sharing(site), alice).pk)}
    refused = put(site, site.token(alice, scopes=["invoke"]), body)
    assert (refused.status_code, refused.json()["code"]) == (403, "token_scope")
    assert put(site, site.token(alice, scopes=["feedback"]), body).status_code == 200


def test_session_needs_its_csrf_token(site: Site) -> None:
    alice = site.user("alice")
    body = {"run_id": str(keep_trace(sharing(site), alice).pk)}
    assert put(site, site.session(alice, csrf=False), body).json()["code"] == "csrf_failed"
    assert put(site, site.session(alice), body).status_code == 200


def test_wrong_method_is_405(site: Site) -> None:
    sharing(site)
    headers = site.token(site.user("alice"))
    response = site.get(DOOR, headers=headers)
    assert response.status_code == 405
    assert "PUT" in response.headers["Allow"]


def test_sharing_and_revoking_are_in_the_audit_log(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    link = link_to(trace, alice, name="team")
    link_to(trace, alice, name="team")
    links.revoke([link], by=alice)
    texts = [entry.text for entry in AuditEntry.objects.filter(by="alice").order_by("pk")]
    assert [text.split()[0] for text in texts] == ["Shared", "Revoked"]
    assert all("“team”" in text and str(trace.pk) in text for text in texts)
    assert not any(link.token in text for text in texts)


def test_those_who_ask_at_once_get_one_link(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)

    def share(_: int) -> str:
        try:
            return link_to(trace, alice).token
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(share, range(16)))) == 1


def test_views_that_come_at_once_are_all_counted(site: Site) -> None:
    alice = site.user("alice")
    link = link_to(keep_trace(sharing(site), alice), alice)

    def look(_: int) -> int:
        try:
            return Client().get(links.path_of(link)).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(look, range(24))) == {200}
    link.refresh_from_db()
    assert link.views == 24
    assert link.last_viewed_at is not None


def test_staff_see_links_and_revoke_many_after_a_page_that_asks(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    made = [link_to(trace, alice, name=name) for name in ("one", "two")]
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    url = reverse("admin:langserve_feedback_tracelink_changelist")

    listed = client.get(url).content.decode()
    assert "alice" in listed
    assert "one" in listed
    assert not any(link.token in listed for link in made)

    chosen = {"action": "revoke_links", "_selected_action": [link.pk for link in made]}
    asked = client.post(url, chosen).content.decode()
    assert "Yes, revoke" in asked
    assert TraceLink.objects.live().count() == 2
    client.post(url, {**chosen, "confirmed": "1"})
    assert TraceLink.objects.live().count() == 0
    assert Client().get(links.path_of(made[0])).status_code == 404
    assert AuditEntry.objects.filter(by="root", text__startswith="Revoked").count() == 2


def test_the_admin_page_of_a_link_only_shows_and_revokes(site: Site) -> None:
    alice = site.user("alice")
    link = link_to(keep_trace(sharing(site), alice), alice)
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    page = client.get(reverse("admin:langserve_feedback_tracelink_change", args=[link.pk]))
    text = page.content.decode()
    assert "Revoke…" in text
    assert "_save" not in text
    assert link.token not in text
