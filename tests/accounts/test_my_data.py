"""
What the site keeps of a user, on the page and at the command line, and how it goes.
"""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from langchain_core.messages import HumanMessage

from feedback.models import Feedback, TraceLink
from runnables.history import DjangoChatMessageHistory
from runnables.models import AuditEntry, ChatMessage, ChatSession
from tests.conftest import Site
from tests.fakes import echo
from tests.traces import rows
from traces.models import Step, Trace

PAGE = "/accounts/data/"
NOTHING = {"chat sessions": 0, "feedback": 0, "shared links": 0, "traces": 0}
ALL = {"chat sessions": 1, "feedback": 2, "shared links": 1, "traces": 2}


def leave(site: Site, user: Any) -> None:
    """
    All that a user may leave.
    """
    it = site.row("it")
    owner = f"u{user.pk}" if user else "anonymous"
    DjangoChatMessageHistory(owner, "it", "talk").add_messages([HumanMessage("hello")])
    first, second = (rows.trace(it, user=user) for _ in range(2))
    rows.step(first)
    for trace, key in ((first, "a"), (second, "b")):
        Feedback.objects.create(
            run_id=trace.pk, trace_id=trace.pk, key=key, author=owner, user=user, score=1
        )
    TraceLink.objects.create(run_id=first.pk, deployment=it, created_by=user)


@pytest.fixture
def alice(site: Site) -> Any:
    """
    She, bob and somebody anonymous did the same.
    """
    site.serve("it", echo())
    made = site.user("alice")
    for user in (made, site.user("bob"), None):
        leave(site, user)
    return made


def counts() -> list[int]:
    models = (ChatSession, ChatMessage, Trace, Step, Feedback, TraceLink)
    return [model._default_manager.count() for model in models]


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def kept(page: Any) -> dict[str, int]:
    return dict(page.context["kept"])


def test_page_says_what_is_kept(site: Site, alice: Any) -> None:
    page = client_of(alice).get(PAGE)
    assert kept(page) == ALL
    assert page["Cache-Control"] == "no-store"
    assert "Delete my data" in page.text


def test_all_of_ones_own_goes_and_nothing_else(site: Site, alice: Any) -> None:
    client = client_of(alice)
    page = client.post(PAGE, {"sure": "1"}, follow=True)
    assert "Deleted: chat sessions (1), feedback (2), shared links (1), traces (2)." in page.text
    assert kept(page) == NOTHING
    assert "There is nothing to delete." in page.text
    assert counts() == [2, 2, 4, 2, 4, 2]
    assert kept(client_of(site.user("carol")).get(PAGE)) == NOTHING


def test_what_has_just_ended_goes_too(site: Site, alice: Any) -> None:
    site.post("/it/invoke", {"input": 1}, headers=site.token(alice))
    client_of(alice).post(PAGE, {"sure": "1"})
    assert [trace for trace in site.traces() if trace.user == alice] == []
    site.post("/it/invoke", {"input": 1}, headers=site.token(alice))
    assert len([trace for trace in site.traces() if trace.user == alice]) == 1


def test_that_it_was_done_is_kept(site: Site, alice: Any) -> None:
    client_of(alice).post(PAGE, {"sure": "1"})
    [entry] = AuditEntry.objects.filter(user=alice)
    assert entry.text == (
        "Deleted what was kept of alice: chat sessions (1), feedback (2), shared links (1), traces (2)."
    )


def test_who_is_not_sure_loses_nothing(site: Site, alice: Any) -> None:
    page = client_of(alice).post(PAGE)
    assert "Nothing was deleted." in page.text
    assert kept(page) == ALL


def test_forged_form_deletes_nothing(site: Site, alice: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(PAGE, {"sure": "1"}).status_code == 403
    assert kept(client.get(PAGE)) == ALL


def test_page_is_for_who_has_signed_in(site: Site) -> None:
    assert Client().get(PAGE)["Location"] == f"/accounts/login/?next={PAGE}"
    assert "/accounts/data/" in client_of(site.user("alice")).get("/tokens/").text


def run(*arguments: str, err: Any = None) -> str:
    out = StringIO()
    call_command("langserve", "forget-user", *arguments, stdout=out, stderr=err or StringIO())
    return out.getvalue()


def test_command_deletes_the_same(site: Site, alice: Any) -> None:
    assert json.loads(run("alice", "--dry-run", "--json")) == {"would_delete": ALL}
    assert run("alice", "--no-input") == (
        "deleted chat sessions (1), feedback (2), shared links (1), traces (2)\n"
    )
    assert json.loads(run("alice", "--json")) == {"deleted": NOTHING}
    assert counts() == [2, 2, 4, 2, 4, 2]
    assert AuditEntry.objects.filter(by="command line", text__contains="alice").count() == 2


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_command_asks_first(
    site: Site, alice: Any, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(answer))
    err = StringIO()
    with pytest.raises(CommandError):
        run("alice", err=err)
    assert "of alice? [y/N]" in err.getvalue()
    assert counts() == [3, 3, 6, 3, 6, 3]


def test_nobody_is_an_error(site: Site) -> None:
    with pytest.raises(CommandError, match="no user 'nobody'"):
        run("nobody", "--no-input")
