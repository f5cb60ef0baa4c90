"""
Chat history in the database: nothing is lost, nothing is mixed up, nobody reads another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    ToolMessageChunk,
)
from langchain_core.messages.tool import tool_call_chunk

from runnables import database, history, watcher
from runnables.history import DjangoChatMessageHistory, history_factory
from runnables.models import ChatMessage as Row
from runnables.models import ChatSession

KINDS: list[BaseMessage] = [
    HumanMessage("hello", id="h1", name="alice", additional_kwargs={"a": {"b": [1, None]}}),
    HumanMessage(
        [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    ),
    AIMessage(
        "",
        id="a1",
        tool_calls=[{"name": "add", "args": {"x": 1}, "id": "c1", "type": "tool_call"}],
        invalid_tool_calls=[
            {"name": "add", "args": "{", "id": "c2", "error": "bad", "type": "invalid_tool_call"}
        ],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "m", "finish_reason": "stop", "logprob": -0.5},
    ),
    AIMessage(
        [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "yes", "index": 0}],
        response_metadata={"output_version": "v1"},
    ),
    SystemMessage("be kind"),
    ToolMessage("3", tool_call_id="c1", status="error", artifact={"raw": [1, 2]}),
    FunctionMessage(content="3", name="add"),
    ChatMessage(content="aye", role="pirate"),
    HumanMessage("मनुष्य 👩‍🚀 \u202e", extra_field={"kept": True}),
]


@pytest.fixture
def stored(transactional_db: None) -> Any:
    yield None
    database.close()


def conversation(
    session_id: str = "s", owner: str = "", deployment: str = "support", **options: Any
) -> DjangoChatMessageHistory:
    return DjangoChatMessageHistory(owner, deployment, session_id, **options)


def texts(history: DjangoChatMessageHistory) -> list[str]:
    return [str(message.text) for message in history.messages]


def said(count: int, start: int = 0) -> list[BaseMessage]:
    return [HumanMessage(str(number)) for number in range(start, start + count)]


# What is kept


@pytest.mark.parametrize("message", KINDS, ids=lambda m: m.type)
def test_message_comes_back_as_it_was(stored: None, message: BaseMessage) -> None:
    conversation().add_messages([message])
    [read] = conversation().messages
    assert read == message
    assert type(read) is type(message)
    assert read.model_dump() == message.model_dump()


async def test_message_comes_back_as_it_was_by_the_async_methods(stored: None) -> None:
    await conversation().aadd_messages(KINDS)
    assert await conversation().aget_messages() == KINDS


@pytest.mark.parametrize(
    ("chunk", "whole"),
    [
        (HumanMessageChunk(content="hello", id="h"), HumanMessage("hello", id="h")),
        (ChatMessageChunk(content="aye", role="pirate"), ChatMessage(content="aye", role="pirate")),
        (ToolMessageChunk(content="3", tool_call_id="c"), ToolMessage("3", tool_call_id="c")),
        (
            AIMessageChunk(
                content="so",
                id="a",
                tool_call_chunks=[tool_call_chunk(name="add", args='{"x": 1}', id="c", index=0)],
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
                chunk_position="last",
            ),
            AIMessage(
                "so",
                id="a",
                tool_calls=[{"name": "add", "args": {"x": 1}, "id": "c", "type": "tool_call"}],
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            ),
        ),
    ],
    ids=lambda m: m.type,
)
def test_chunk_comes_back_as_a_whole_message(
    stored: None, chunk: BaseMessage, whole: BaseMessage
) -> None:
    conversation().add_messages([chunk])
    assert conversation().messages == [whole]


def test_nul_and_half_surrogates_are_replaced_and_the_rest_is_kept(stored: None) -> None:
    odd = AIMessage("a\0b\ud800c", additional_kwargs={"k\0": ["\0", "\\u0000"]})
    conversation().add_messages([odd])
    [read] = conversation().messages
    assert read.content == "a\ufffdb?c"
    assert read.additional_kwargs == {"k\ufffd": ["\ufffd", "\\u0000"]}


def test_what_json_cannot_carry_does_not_cost_the_message(stored: None) -> None:
    conversation().add_messages([ToolMessage("3", tool_call_id="c", artifact=object())])
    [read] = conversation().messages
    assert isinstance(read, ToolMessage)
    assert (read.content, read.artifact["type"]) == ("3", "not_serializable")


@pytest.mark.parametrize(
    "message", [RemoveMessage(id="1"), BaseMessage(content="x", type="unheard_of")]
)
def test_what_could_not_be_read_back_is_refused_and_nothing_is_kept(
    stored: None, message: BaseMessage
) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        conversation().add_messages([HumanMessage("first"), message])
    assert conversation().messages == []


@pytest.mark.parametrize(
    "row",
    [
        {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "AIMessage"]},
        {"lc": 1, "type": "secret", "id": ["PATH"]},
        {"type": "os.system", "content": "true"},
    ],
)
def test_row_of_another_kind_is_no_message(stored: None, row: dict[str, Any]) -> None:
    conversation().add_messages([HumanMessage("x")])
    Row.objects.update(message=row)
    with pytest.raises(ValueError, match="unknown message type"):
        _ = conversation().messages


# Order, and several writers


def test_order_is_that_of_adding(stored: None) -> None:
    for start in (0, 3, 6):
        conversation().add_messages(said(3, start))
    assert texts(conversation()) == [str(number) for number in range(9)]


def test_threads_lose_and_double_nothing_and_pairs_stay_together(stored: None) -> None:
    def add(number: int) -> None:
        conversation().add_messages([HumanMessage(f"q{number}"), AIMessage(f"a{number}")])

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(add, range(20)))
    found = texts(conversation())
    assert sorted(found[::2]) == sorted(f"q{number}" for number in range(20))
    assert [answer.replace("a", "q") for answer in found[1::2]] == found[::2]
    assert ChatSession.objects.count() == 1


async def test_tasks_lose_and_double_nothing_and_pairs_stay_together(stored: None) -> None:
    async def add(number: int) -> None:
        await conversation().aadd_messages([HumanMessage(f"q{number}"), AIMessage(f"a{number}")])

    await asyncio.gather(*map(add, range(20)))
    found = [str(message.text) for message in await conversation().aget_messages()]
    assert sorted(found[::2]) == sorted(f"q{number}" for number in range(20))
    assert [answer.replace("a", "q") for answer in found[1::2]] == found[::2]


def test_thread_that_ends_leaves_no_connection_open(stored: None) -> None:
    def talk() -> list[bool]:
        conversation().add_messages(said(1))
        opened = [texts(conversation()) == ["0"], connection.connection is None]
        conversation().clear()
        return [*opened, connection.connection is None]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(talk).result() == [True, True, True]


def test_connection_that_is_open_stays_open_and_its_transaction_counts(stored: None) -> None:
    connection.ensure_connection()
    with transaction.atomic():
        conversation().add_messages(said(1))
        assert texts(conversation()) == ["0"]
        transaction.set_rollback(True)
    assert connection.connection is not None
    assert texts(conversation()) == []


async def test_event_loop_is_free_while_the_database_works(
    stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, free = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(self: DjangoChatMessageHistory) -> list[BaseMessage]:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(free.wait(), loop).result(10)
        return []

    monkeypatch.setattr(DjangoChatMessageHistory, "_read", slow)
    reading = asyncio.create_task(conversation().aget_messages())
    await began.wait()
    free.set()
    assert await reading == []


def test_conversations_are_kept_apart_by_every_part_of_their_key(stored: None) -> None:
    keys = [("a", "", "d"), ("b", "", "d"), ("a", "anonymous", "d"), ("a", "", "e")]
    for number, key in enumerate(keys):
        conversation(*key).add_messages([HumanMessage(str(number))])
    assert [texts(conversation(*key)) for key in keys] == [["0"], ["1"], ["2"], ["3"]]


def test_clearing_is_of_one_conversation(stored: None) -> None:
    for session_id in ("a", "b"):
        conversation(session_id).add_messages(said(2))
    conversation("a").clear()
    assert (texts(conversation("a")), texts(conversation("b"))) == ([], ["0", "1"])


async def test_clearing_is_of_one_conversation_by_the_async_method(stored: None) -> None:
    await conversation("a").aadd_messages(said(2))
    await conversation("a").aclear()
    assert await conversation("a").aget_messages() == []
    assert not await database.query(Row.objects.exists)


# max_messages


def test_only_the_last_messages_are_given_and_all_are_kept(stored: None) -> None:
    conversation().add_messages(said(5))
    assert texts(conversation(max_messages=2)) == ["3", "4"]
    assert texts(conversation(max_messages=9)) == ["0", "1", "2", "3", "4"]


def test_result_of_a_tool_is_not_given_without_its_call(stored: None) -> None:
    conversation().add_messages([KINDS[2], KINDS[5], KINDS[5], AIMessage("done")])
    assert texts(conversation(max_messages=3)) == ["done"]
    assert len(conversation(max_messages=4).messages) == 4
    assert conversation(max_messages=2).messages == [AIMessage("done")]


@pytest.mark.parametrize(
    ("deployment", "options"), [("", {}), ("d" * 201, {}), ("d", {"max_messages": 0})]
)
def test_factory_refuses_what_it_cannot_do(deployment: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"deployment|max_messages"):
        history_factory(deployment, **options)


# Whose conversation: outside a call


@pytest.mark.parametrize(
    ("text", "owner", "session_id"),
    [
        ("abc", "", "abc"),
        ("u7-abc", "u7", "abc"),
        ("u7-u8-abc", "u7", "u8-abc"),
        ("anonymous-u8-abc", "anonymous", "u8-abc"),
        ("ux616263-a\nb", "ux616263", "a\nb"),
        (f"u{'0f' * 16}-", f"u{'0f' * 16}", ""),
        ("user-abc", "", "user-abc"),
        ("u-7", "", "u-7"),
        ("-u7-abc", "", "-u7-abc"),
    ],
)
def test_session_id_is_split_at_its_owner(text: str, owner: str, session_id: str) -> None:
    found = history_factory("d")(text)
    assert (found.owner, found.session_id) == (owner, session_id)


def test_history_of_a_user_who_is_not_there_is_not_begun(stored: None) -> None:
    with pytest.raises(LookupError):
        conversation(owner="u7").add_messages(said(1))
    assert not ChatSession.objects.exists()


def test_history_of_one_call_does_not_see_what_others_add_meanwhile(stored: None) -> None:
    make: Callable[[str], DjangoChatMessageHistory] = history_factory("support")
    one = make("s")
    assert texts(one) == []
    conversation().add_messages(said(1))
    assert texts(one) == []
    one.add_messages(said(1, 1))
    assert texts(one) == ["0", "1"]


# Retention


def age(session_id: str, **ago: float) -> None:
    ChatSession.objects.filter(session_id=session_id).update(
        updated_at=timezone.now() - timedelta(**ago)
    )


def test_pruning_takes_what_has_been_silent_for_long(
    stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "DELETED_AT_ONCE", 2)
    for session_id in "abcdef":
        conversation(session_id).add_messages(said(1))
    for session_id in "abcde":
        age(session_id, days=31)
    conversation("a").add_messages(said(1, 1))
    assert history.prune(timedelta(days=30)) == 4
    assert sorted(row.session_id for row in ChatSession.objects.all()) == ["a", "f"]
    assert Row.objects.count() == 3
    assert history.prune(timedelta(days=30)) == 0


@pytest.mark.parametrize(("days", "left"), [(30, 0), (40, 1), (None, 1)])
def test_hourly_tidying_keeps_to_the_setting(
    stored: None, settings: Any, days: int | None, left: int
) -> None:
    settings.LANGSERVE = {**settings.LANGSERVE, "CHAT_HISTORY_DAYS": days}
    conversation().add_messages(said(1))
    age("s", days=31)
    watcher.tidy()
    assert ChatSession.objects.count() == left
