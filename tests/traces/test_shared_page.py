"""
The public page of a shared trace: what is on it, what never is, and that all that is not there
is one page.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from feedback import links
from feedback.models import Feedback, FeedbackKey, TraceLink, new_token
from runnables.permissions import EVERYTHING, OF_CALLERS
from tests.conftest import Site
from tests.traces.shared import keep_step, keep_trace, link_to, sharing
from traces import sharing as sharing_module
from traces.models import Trace, Tracing

ALL = ("payloads", "steps", "metadata", "feedback")
KEY = "sk-canary0123456789abcdef"


def look(link: TraceLink, client: Client | None = None) -> str:
    response = (client or Client()).get(links.path_of(link))
    assert response.status_code == 200
    return response.content.decode()


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_page_shows_the_chosen_parts_and_no_others(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(
        sharing(site),
        alice,
        input={"question": "a question"},
        output="an answer",
        metadata={"team": "blue team"},
        tags=["nightly"],
    )
    keep_step(trace, name="Prompting", input="step given", output="step said")
    FeedbackKey.objects.create(key="help", title="Was it of help?")
    for author, score in (("u1", 1), ("u2", 0)):
        Feedback.objects.create(
            run_id=trace.pk,
            trace_id=trace.pk,
            key="help",
            author=author,
            score=score,
            comment="a comment",
            user=alice,
        )
    of_part = {
        "payloads": ["a question", "an answer"],
        "steps": ["Prompting"],
        "metadata": ["blue team", "nightly"],
        "feedback": ["Was it of help?", "0.5"],
    }
    for part, texts in of_part.items():
        page = look(link_to(trace, alice, part))
        assert all(text in page for text in texts), part
        others = [text for other, found in of_part.items() if other != part for text in found]
        assert not any(text in page for text in others), part
        assert "step given" not in page
    whole = look(link_to(trace, alice, *ALL))
    assert "step given" in whole
    assert "a comment" not in whole


def test_page_says_whose_site_and_until_when_and_what_it_took(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "SITE_NAME": "Ask Us"}
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    keep_step(trace, kind="llm", model="gpt-5-mini")
    link = link_to(trace, alice)
    text = re.sub(r"<[^>]+>", "", look(link))
    assert f"Shared by Ask Us, read only, until {link.expires_at:%-d %b %Y}" in text
    for fact in ("gpt-5-mini", "312 in, 88 out", "0.0011", "4.8 s", "Done"):
        assert fact in text
    assert "mailto:" not in look(link)
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_LINK_REPORT_EMAIL": "abuse@example.org"}
    assert 'href="mailto:abuse@example.org?' in look(link)


def test_canaries_are_on_no_page_whatever_is_shared(site: Site) -> None:
    alice = site.user(
        "canary-name", email="canary@example.org", first_name="Canaryfirst", last_name="Canarylast"
    )
    deployment = sharing(site)
    secret = {"input": {"q": f"my key {KEY}", "password": "canary-password"}}
    trace = keep_trace(
        deployment,
        alice,
        **secret,
        output={"api_key": "canary-output", "text": "fine"},
        config={"configurable": {"thing": "canary-config"}},
        error=f'Traceback (most recent call last):\n  File "/srv/canary-path.py"\nOops: {KEY}',
        error_class="Oops",
        state="failed",
        thread="canary-thread",
        metadata={
            "token": "canary-metadata",
            "note": f"by canary-name, mail canary@example.org, run {'x'}",
            "user_id": "canary-id",
            "headers": {"x": "canary-header"},
            "__internal": "canary-internal",
            "nested": {"username": "canary-nested", "kept": "kept"},
        },
        tags=[KEY],
        kept=Trace.Kept.FULL,
    )
    step = keep_step(trace, name=KEY, input={"secret": "canary-step"}, error=f"Oops: {KEY}")
    page = look(link_to(trace, alice, *ALL))
    assert "canary" not in page.lower()
    assert "Oops: [redacted]" in page
    assert "kept" in page
    for private in (str(trace.pk), trace.pk.hex, str(step.pk), trace.principal + '"'):
        assert private not in page
    bare = look(link_to(trace, alice, "steps", "feedback"))
    assert "canary" not in bare.lower()
    assert "Oops" not in bare


def test_redacts_by_what_the_deployment_says_today(site: Site) -> None:
    alice = site.user("alice")
    deployment = sharing(site)
    trace = keep_trace(deployment, alice, input={"iban": "DE-1", "note": "case 4711"})
    link = link_to(trace, alice)
    assert "DE-1" in look(link)
    row = Tracing.objects.create(
        deployment=deployment, redact_keys=["iban"], redact_patterns=[r"case \d+"]
    )
    assert "DE-1" not in look(link)
    assert "4711" not in look(link)
    # What cannot be redacted as asked is not shown at all.
    row.redact_patterns = ["("]
    row.save()
    assert "DE-1" not in look(link)


def test_what_was_cut_when_it_was_kept_is_not_shown(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    Trace.objects.update(input='{"token": "canary-half', input_size=3_000_000)
    page = look(link_to(trace, alice))
    assert "canary" not in page
    assert "Too long to be shown (2.9 MB)" in page


def test_untrusted_text_is_never_markup(site: Site) -> None:
    alice = site.user("alice")
    evil = "<script>alert(1)</script>"
    trace = keep_trace(
        sharing(site), alice, name=evil, input=evil, output={evil: evil}, metadata={evil: evil}
    )
    keep_step(trace, name=evil, model=evil, input=evil)
    page = look(link_to(trace, alice, *ALL))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_large_tree_is_cut_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing_module, "SHOWN_STEPS", 3)
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    parent = None
    for number in range(5):
        parent = keep_step(trace, parent, name=f"step{number}", offset_ms=number * 10.0)
    page = look(link_to(trace, alice))
    assert "step2" in page
    assert "step3" not in page
    assert "2 further steps are not shown" in page
    assert "depth-2" in page


def test_headers_keep_it_out_of_caches_searches_and_referrers(site: Site) -> None:
    alice = site.user("alice")
    link = link_to(keep_trace(sharing(site), alice), alice)
    for response in (
        site.get(links.path_of(link)),
        site.request("HEAD", links.path_of(link)),
        site.get(f"/s/{new_token()}/"),
    ):
        assert response.headers["x-robots-tag"] == "noindex, nofollow"
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "set-cookie" not in response.headers
    assert site.request("HEAD", links.path_of(link)).status_code == 200
    link.refresh_from_db()
    assert link.views == 1


def test_nothing_on_the_page_is_of_who_looks_or_of_others_sites(site: Site) -> None:
    alice = site.user("alice")
    link = link_to(keep_trace(sharing(site), alice), alice)
    page = look(link)
    assert look(link, signed_in(site.user("zacharias"))) == page
    assert look(link, signed_in(alice)) == page
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "csrf" not in page


def test_all_that_is_not_there_is_one_page_to_the_byte(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = site.user("alice")
    deployment = sharing(site)
    trace, gone = keep_trace(deployment, alice), keep_trace(deployment, alice)
    revoked, expired, deleted = (
        link_to(trace, alice, name="revoked"),
        link_to(trace, alice, name="expired", lives=timedelta(seconds=60)),
        link_to(gone, alice, lives=None),
    )
    live = link_to(trace, alice, lives=None)
    assert look(live)
    links.revoke([revoked], by=alice)
    gone.delete()
    then = timezone.now() + timedelta(seconds=61)
    monkeypatch.setattr("django.utils.timezone.now", lambda: then)
    tokens = [revoked.token, expired.token, deleted.token, new_token(), "x", str(uuid4())]
    answers = [_answer(site, f"/s/{token}/") for token in tokens]

    site.change("it", endpoints=[])
    answers.append(_answer(site, links.path_of(live)))
    site.change("it", endpoints=["public_trace_link"], is_enabled=False)
    answers.append(_answer(site, links.path_of(live)))

    assert {answer[0] for answer in answers} == {404}
    assert len(set(answers)) == 1
    assert _answer(site, f"/s/{new_token()}/", site.session(alice)) == answers[0]


def _answer(site: Site, path: str, headers: dict[str, str] | None = None) -> tuple[Any, ...]:
    response = site.get(path, headers=headers or {})
    return response.status_code, response.content, tuple(sorted(response.headers.items()))


def test_hundreds_of_guesses_open_nothing_and_are_slowed_down(site: Site, settings: Any) -> None:
    alice = site.user("alice")
    link_to(keep_trace(sharing(site), alice), alice)
    client = Client()
    found = [client.get(f"/s/{new_token()}/").status_code for _ in range(200)]
    assert set(found) == {404, 429}
    assert found.count(404) in range(60, 130)
    refused = client.get(f"/s/{new_token()}/")
    assert 0 < int(refused["Retry-After"]) <= 120
    cache.clear()
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_LINK_VIEWS_PER_MINUTE": 0}
    assert {client.get(f"/s/{new_token()}/").status_code for _ in range(100)} == {404}


def test_who_may_not_share_a_run_has_no_page_for_it(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    deployment = sharing(site)
    trace = keep_trace(deployment, alice)
    path = f"/traces/{trace.pk}/share/"
    assert signed_in(alice).get(path).status_code == 200
    assert signed_in(bob).get(path).status_code == 404
    assert signed_in(alice).get(f"/traces/{uuid4()}/share/").status_code == 404
    assert Client().get(path).status_code == 302
    site.grant("it", "authenticated", may=OF_CALLERS)
    assert signed_in(alice).get(path).status_code == 404
    assert signed_in(alice).post(path, {"create": "1", "life": "7"}).status_code == 404


def test_run_is_shared_by_a_form_and_seen_before(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice, input={"question": f"with {KEY}"})
    client, path = signed_in(alice), f"/traces/{trace.pk}/share/"
    first = client.get(path).content.decode()
    assert "What strangers will see" in first
    assert "looks like a key" in first
    assert KEY not in first

    form = {"parts": ["steps"], "life": "custom", "days": "3", "name": "for Bob"}
    preview = client.post(path, {**form, "preview": "1"}).content.decode()
    assert "question" not in preview
    assert not TraceLink.objects.exists()

    made = client.post(path, {**form, "create": "1"}, follow=True)
    link = TraceLink.objects.get()
    assert link.parts == ["steps"]
    assert link.expires_at is not None
    assert timedelta(days=2.9) < link.expires_at - timezone.now() < timedelta(days=3)
    assert f"http://testserver/s/{link.token}/" in made.content.decode()
    client.post(path, {**form, "create": "1"})
    assert TraceLink.objects.count() == 1


WRONG_FORMS: tuple[dict[str, Any], ...] = (
    *({}, {"life": "custom"}, {"life": "custom", "days": "0"}, {"life": "31"}),
    *({"life": "custom", "days": "99999999999"}, {"life": "7", "parts": ["everything"]}),
    {"life": "7", "name": "x" * 101},
)


def test_wrong_form_makes_no_link(site: Site) -> None:
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    client = signed_in(alice)
    for form in WRONG_FORMS:
        response = client.post(f"/traces/{trace.pk}/share/", {**form, "create": "1"})
        assert response.status_code == 422, form
    assert not TraceLink.objects.exists()


def test_form_offers_no_more_days_than_staff_allow(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "TRACE_LINK_MAX_DAYS": 10}
    alice = site.user("alice")
    trace = keep_trace(sharing(site), alice)
    client, path = signed_in(alice), f"/traces/{trace.pk}/share/"
    text = client.get(path).content.decode()
    assert "7 days" in text
    assert "30 days" not in text
    assert "until revoked" not in text
    for form in ({"life": "30"}, {"life": "never"}, {"life": "custom", "days": "11"}):
        assert client.post(path, {**form, "create": "1"}).status_code == 422


def test_who_sees_no_payloads_shares_none(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    deployment = sharing(site)
    trace = keep_trace(deployment, alice, input="a question")
    site.grant("it", bob, may=["run", "share", "see_traces"])
    client, path = signed_in(bob), f"/traces/{trace.pk}/share/"
    assert "a question" not in client.get(path).content.decode()
    form = {"life": "7", "create": "1"}
    for parts in (["payloads"], ["payloads", "steps"]):
        response = client.post(path, {**form, "parts": parts})
        assert response.status_code == 422
        assert "a question" not in response.content.decode()
    assert client.post(path, {**form, "parts": ["steps"]}).status_code == 302


def test_where_sharing_is_off_the_page_says_so_and_makes_nothing(site: Site) -> None:
    alice = site.user("alice")
    deployment = sharing(site, enable_public_trace_link_endpoint=False)
    trace = keep_trace(deployment, alice)
    client, path = signed_in(alice), f"/traces/{trace.pk}/share/"
    assert "switched off" in client.get(path).content.decode()
    client.post(path, {"life": "7", "create": "1"})
    assert not TraceLink.objects.exists()


def test_own_links_are_listed_and_revoked_by_their_owner_alone(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    deployment = sharing(site, may=EVERYTHING)
    link = link_to(keep_trace(deployment, alice), alice, name="mine")
    look(link)
    page = signed_in(alice).get("/traces/links/").content.decode()
    assert link.token in page
    assert "mine" in page
    assert "mine" not in signed_in(bob).get("/traces/links/").content.decode()
    revoke = f"/traces/links/{link.pk}/revoke/"
    assert signed_in(bob).post(revoke).status_code == 404
    assert look(link)
    assert signed_in(alice).get(revoke).status_code == 405
    assert signed_in(alice).post(revoke).status_code == 302
    assert Client().get(links.path_of(link)).status_code == 404
    assert link.token not in signed_in(alice).get("/traces/links/").content.decode()


def test_menu_leads_to_own_links(site: Site) -> None:
    page = signed_in(site.user("alice")).get("/tokens/").content.decode()
    assert 'href="/traces/links/"' in page


def test_links_that_open_nothing_say_why_and_are_not_logged(site: Site, caplog: Any) -> None:
    alice = site.user("alice")
    deployment = sharing(site)
    trace, gone = keep_trace(deployment, alice), keep_trace(deployment, alice)
    off, deleted = link_to(trace, alice), link_to(gone, alice)
    gone.delete()
    site.change("it", is_enabled=False)
    page = signed_in(alice).get("/traces/links/").content.decode()
    assert "Switched off" in page
    assert "Run deleted" in page
    for link in (off, deleted):
        assert Client().get(links.path_of(link)).status_code == 404
        assert link.token not in caplog.text
    assert links.forget_user(alice) == {"shared links": 2}
