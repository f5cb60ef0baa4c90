"""
manage.py langserve history: what it deletes, exports and prints, and its exit codes.
"""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from langchain_core.messages import AIMessage, HumanMessage

from runnables import history
from runnables.history import DjangoChatMessageHistory
from runnables.management import history as commands
from runnables.models import ChatMessage, ChatSession
from tests.conftest import Site
from tests.runnables.test_commands import run, run_json


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def talk(session_id: str, *, user: Any = None, deployment: str = "support", days: int = 0) -> None:
    owner = f"u{user.pk}" if user else "anonymous"
    messages = [HumanMessage("hello"), AIMessage("good day")]
    DjangoChatMessageHistory(owner, deployment, session_id).add_messages(messages)
    ChatSession.objects.filter(session_id=session_id).update(
        updated_at=timezone.now() - timedelta(days=days)
    )


def left() -> list[str]:
    return sorted(ChatSession.objects.values_list("session_id", flat=True))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["prune", "--older-than", "30"],
        ["prune", "--older-than", "-1d"],
        ["prune", "--older-than", "9999999d"],
        ["delete"],
        ["cats"],
    ],
)
def test_wrong_usage_is_refused(site: Site, arguments: list[str]) -> None:
    talk("s", days=99)
    with pytest.raises(CommandError):
        run("history", *arguments)
    assert left() == ["s"]


@pytest.mark.parametrize(
    ("older_than", "stay"), [("30d", ["new"]), ("5w", ["new", "old"]), ("12h", [])]
)
def test_prune_deletes_what_is_older(site: Site, older_than: str, stay: list[str]) -> None:
    talk("old", days=31)
    talk("new", days=1)
    printed = run("history", "prune", "--older-than", older_than, "--no-input")
    gone = 2 - len(stay)
    assert printed == f"deleted {gone} session{'' if gone == 1 else 's'}\n"
    assert left() == stay
    assert ChatMessage.objects.count() == 2 * len(stay)


def test_prune_goes_by_the_setting(site: Site, settings: Any) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "CHAT_HISTORY_DAYS": 30}
    talk("old", days=31)
    talk("new", days=29)
    assert run_json("history", "prune", "--no-input") == [{"deleted": 1}]
    assert left() == ["new"]


def test_prune_without_an_age_is_refused(site: Site) -> None:
    with pytest.raises(CommandError, match="CHAT_HISTORY_DAYS"):
        run("history", "prune", "--no-input")


def test_dry_run_deletes_nothing(site: Site) -> None:
    alice = site.user("alice")
    talk("old", days=31, user=alice)
    assert run("history", "prune", "--older-than", "30d", "--dry-run") == "would delete 1 session\n"
    asked = run_json("history", "delete", "--user", "alice", "--dry-run")
    assert asked == [{"would_delete": 1}]
    assert left() == ["old"]


@pytest.mark.parametrize(
    ("answer", "stay"), [("y", []), ("yes", []), ("", ["old"]), ("n", ["old"]), (None, ["old"])]
)
def test_without_no_input_it_asks(
    site: Site, monkeypatch: pytest.MonkeyPatch, answer: str | None, stay: list[str]
) -> None:
    talk("old", days=31)
    monkeypatch.setattr("sys.stdin", StringIO("" if answer is None else f"{answer}\n"))
    err = StringIO()
    try:
        call_command(
            "langserve", "history", "prune", "--older-than=30d", stdout=StringIO(), stderr=err
        )
    except CommandError:
        assert stay
    assert "Delete 1 session" in err.getvalue()
    assert left() == stay


def test_delete_takes_all_of_one_user(site: Site) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    for name, user in (("a1", alice), ("a2", alice), ("b", bob), ("nobody", None)):
        talk(name, user=user)
    assert run("history", "delete", "--user", "alice", "--no-input") == "deleted 2 sessions\n"
    assert left() == ["b", "nobody"]


@pytest.mark.parametrize("action", ["delete", "export"])
def test_unknown_user_is_an_error(site: Site, action: str) -> None:
    talk("s")
    with pytest.raises(CommandError, match="no user 'alice'"):
        run("history", action, "--user", "alice")
    assert left() == ["s"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["a", "b", "c"]),
        (["--user", "alice"], ["a", "b"]),
        (["--user", "alice", "--deployment", "sales"], ["b"]),
        (["--session", "c"], ["c"]),
        (["--session", "nothing"], []),
    ],
)
def test_export_is_a_line_of_json_for_each_session(
    site: Site, arguments: list[str], names: list[str]
) -> None:
    alice = site.user("alice")
    talk("a", user=alice)
    talk("b", user=alice, deployment="sales")
    talk("c")
    lines = [json.loads(line) for line in run("history", "export", *arguments).splitlines()]
    assert [line["session_id"] for line in lines] == names


def test_exported_line_has_all_that_is_known(site: Site) -> None:
    alice = site.user("alice")
    talk("a", user=alice)
    [line] = run_json("history", "export")
    assert {key: line[key] for key in ("deployment", "session_id", "owner", "user")} == {
        "deployment": "support",
        "session_id": "a",
        "owner": f"u{alice.pk}",
        "user": "alice",
    }
    said = [(item["message"]["type"], item["message"]["content"]) for item in line["messages"]]
    assert said == [("human", "hello"), ("ai", "good day")]


def test_progress_is_shown_on_a_terminal_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "DELETED_AT_ONCE", 2)
    for err, expected in ((Terminal(), True), (StringIO(), False)):
        for number in range(3):
            talk(f"s{number}", days=31)
        options = {"stdout": StringIO(), "stderr": err}
        call_command("langserve", "history", "prune", "--older-than=30d", "--no-input", **options)
        assert ("2/3 sessions" in err.getvalue()) is expected
        assert ("3/3 sessions" in err.getvalue()) is expected
        assert left() == []


def test_interrupted_it_keeps_what_is_done_and_exits_with_130(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "DELETED_AT_ONCE", 1)
    for name in "abc":
        talk(name, days=31)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_show_progress", interrupt)
    err = StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("langserve", "history", "prune", "--older-than=30d", "--no-input", stderr=err)
    assert caught.value.code == 130
    assert "run it again" in err.getvalue()
    assert left() == ["b", "c"]
