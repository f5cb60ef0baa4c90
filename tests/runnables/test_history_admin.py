"""
Chat sessions in the admin: found, read, exported and deleted, never written.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import escape
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from runnables.admin import history as pages
from runnables.history import DjangoChatMessageHistory
from runnables.models import ChatMessage, ChatSession
from tests.conftest import Site

LIST = "/admin/langserve/chatsession/"
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def root(site: Site) -> Client:
    client = Client()
    client.force_login(site.user("root", is_staff=True, is_superuser=True))
    return client


def staff(site: Site, *permissions: str) -> Client:
    user = site.user("bob", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def talk(
    session_id: str, *messages: BaseMessage, owner: str = "anonymous", deployment: str = "support"
) -> ChatSession:
    history = DjangoChatMessageHistory(owner, deployment, session_id)
    history.add_messages(messages or [HumanMessage("hello"), AIMessage("good day")])
    return ChatSession.objects.get(owner=owner, deployment=deployment, session_id=session_id)


def page_of(session: ChatSession) -> str:
    return reverse("admin:langserve_chatsession_change", args=[session.pk])


def act(client: Client, action: str, *sessions: ChatSession, **data: Any) -> Any:
    chosen = [session.pk for session in sessions]
    return client.post(LIST, {"action": action, "_selected_action": chosen, **data}, follow=True)


def test_list_shows_whose_they_are_and_how_long(site: Site, root: Client) -> None:
    talk("of-alice", *[HumanMessage("x")] * 7, owner=f"u{site.user('alice').pk}")
    talk("of-nobody")
    talk("of-code", owner="")
    text = root.get(LIST).content.decode()
    assert 'field-whose">alice<' in text
    assert 'field-whose">anonymous<' in text
    assert 'field-whose">the site&#x27;s code<' in text
    assert 'field-message_count">7<' in text
    assert 'field-message_count">2<' in text


@pytest.mark.parametrize("query", ["?q=one", "?q=alice", "?deployment=support"])
def test_list_is_searched_and_filtered(site: Site, root: Client, query: str) -> None:
    talk("one", owner=f"u{site.user('alice').pk}")
    talk("two", deployment="sales")
    text = root.get(LIST + query).content.decode()
    assert ">one<" in text
    assert ">two<" not in text


def test_page_shows_the_conversation_in_order(site: Site, root: Client) -> None:
    call = {"name": "add", "args": {"x": 1}, "id": "c", "type": "tool_call"}
    session = talk("s", HumanMessage("first"), AIMessage("second", tool_calls=[call]))
    text = root.get(page_of(session)).content.decode()
    assert text.index("human") < text.index("first") < text.index("ai<") < text.index("second")
    assert escape('add({\n "x": 1\n})') in text


def test_long_conversation_is_cut_and_says_so(
    site: Site, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_SHOWN", 2)
    text = root.get(
        page_of(talk("s", *map(HumanMessage, ("one", "two", "three"))))
    ).content.decode()
    assert "Only the last 2 messages are shown" in text
    assert "<pre>one</pre>" not in text
    assert text.index("<pre>two</pre>") < text.index("<pre>three</pre>")


def test_markup_is_shown_as_text(site: Site, root: Client) -> None:
    session = talk(
        MARKUP,
        HumanMessage(MARKUP, name=MARKUP),
        HumanMessage([{"type": "text", "text": MARKUP}]),
        AIMessage("", tool_calls=[{"name": MARKUP, "args": {MARKUP: MARKUP}, "id": "c"}]),
        deployment=MARKUP,
    )
    delete = reverse("admin:langserve_chatsession_delete", args=[session.pk])
    for url in (LIST, page_of(session), delete, f"{LIST}?q={MARKUP}"):
        assert MARKUP not in root.get(url).content.decode()
    assert MARKUP not in act(root, "delete_selected", session).content.decode()
    assert f"<pre>{escape(MARKUP)}</pre>" in root.get(page_of(session)).content.decode()


def test_nothing_can_be_written(site: Site, root: Client) -> None:
    session = talk("s")
    assert root.get(f"{LIST}add/").status_code == 403
    assert root.post(page_of(session), {"session_id": "x"}).status_code == 403
    assert '<input type="text" name="session_id"' not in root.get(page_of(session)).content.decode()


def test_chosen_sessions_are_exported_as_lines_of_json(site: Site, root: Client) -> None:
    one, _, three = (talk(name, HumanMessage(f"é {name}")) for name in ("one", "two", "three"))
    response = act(root, "export", one, three)
    lines = [json.loads(line) for line in response.content.decode().splitlines()]
    assert "attachment" in response["Content-Disposition"]
    assert [line["session_id"] for line in lines] == ["one", "three"]
    assert lines[0]["messages"][0]["message"]["content"] == "é one"
    entries = LogEntry.objects.all()
    assert {str(entry) for entry in entries} == {
        "Changed “support: one” — Exported the conversation.",
        "Changed “support: three” — Exported the conversation.",
    }


def test_too_many_are_not_exported_and_the_command_is_named(
    site: Site, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_EXPORTED", 1)
    response = act(root, "export", talk("one"), talk("two"))
    assert "langserve history export" in response.content.decode()
    assert not LogEntry.objects.exists()


def test_deleting_says_what_goes_and_is_logged(site: Site, root: Client) -> None:
    one, two = talk("one"), talk("two")
    asked = act(root, "delete_selected", one).content.decode()
    assert "support: one (2 messages)" in asked
    assert "Chat messages: 2" in asked
    act(root, "delete_selected", one, post="yes")
    root.post(reverse("admin:langserve_chatsession_delete", args=[two.pk]), {"post": "yes"})
    assert not ChatMessage.objects.exists()
    assert {str(entry) for entry in LogEntry.objects.all()} == {
        "Deleted “support: one.”",
        "Deleted “support: two.”",
    }


def test_those_who_may_look_may_export_and_no_more(site: Site) -> None:
    session = talk("s")
    client = staff(site, "view_chatsession")
    assert client.get(page_of(session)).status_code == 200
    assert act(client, "export", session)["Content-Type"].startswith("application/jsonl")
    act(client, "delete_selected", session, post="yes")
    url = reverse("admin:langserve_chatsession_delete", args=[session.pk])
    assert client.post(url, {"post": "yes"}).status_code == 403
    assert ChatSession.objects.exists()


def test_those_who_may_not_look_see_nothing(site: Site) -> None:
    session = talk("s")
    client = staff(site, "view_deployment")
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(session)).status_code == 403
    assert act(client, "export", session).status_code == 403


def test_pages_cost_the_same_however_much_there_is(site: Site, root: Client) -> None:
    def queries(url: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert root.get(url).status_code == 200
        return len(captured)

    session = talk("s0", owner=f"u{site.user('alice').pk}")
    urls = (LIST, page_of(session), LIST, page_of(session))  # content types are looked up once
    few = [queries(url) for url in urls][2:]
    for number in range(1, 12):
        talk(f"s{number}", owner=f"u{site.user(f'user{number}').pk}")
    talk("s0", *[HumanMessage("x")] * 50, owner=session.owner)
    assert [queries(url) for url in urls][2:] == few


def test_list_counts_no_further_than_it_pages(
    site: Site, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_LISTED", 3)
    for number in range(5):
        talk(f"s{number}")
    assert "3 chat sessions" in root.get(LIST).content.decode()
