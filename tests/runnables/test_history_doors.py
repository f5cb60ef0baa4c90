"""
Chat history through the doors: whose conversation a session id opens, and whose not.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import (
    ConfigurableFieldSpec,
    Runnable,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory

from runnables import config_hash, snapshot
from runnables.history import DjangoChatMessageHistory, history_factory
from runnables.models import ChatMessage, ChatSession
from tests.conftest import Site, events
from tests.fakes import SECRET

HTTP_DOORS = ("invoke", "batch", "stream", "stream_log", "stream_events")
HASHED = tuple(f"c/HASH/{door}" for door in HTTP_DOORS)
DOORS = (*HTTP_DOORS, *HASHED, "ws")
FORGED = ("u{bob}-s", "anonymous-s", "-s", "u{bob}", "u{bob}-u{alice}-s")


class Hearing(RunnableLambda[Any, Any]):
    """
    Answers "a1", "a2", … and keeps the texts it was given, the question last.
    """

    heard: list[list[str]]

    def __init__(self) -> None:
        self.heard = []

        def answer(given: dict[str, Any]) -> AIMessage:
            asked = [*(str(message.text) for message in given["history"]), given["question"]]
            self.heard.append(asked)
            return AIMessage(f"a{len(self.heard)}")

        super().__init__(answer, name="hearing")


def with_history(runnable: Any, factory: Any = None, **options: Any) -> Runnable[Any, Any]:
    keys = {"input_messages_key": "question", "history_messages_key": "history", **options}
    return RunnableWithMessageHistory(runnable, factory or history_factory("support"), **keys)


@pytest.fixture
def chat(site: Site) -> Hearing:
    runnable = Hearing()
    site.serve("it", with_history(runnable))
    return runnable


def ask(
    site: Site, door: str, question: str, session_id: Any, headers: Any = None, **configurable: Any
) -> int:
    """
    The status; the conversation is in the database then.
    """
    config = {"configurable": {"session_id": session_id, **configurable}}
    if door == "ws":
        return over_websocket(site, question, config, headers)
    body: dict[str, Any] = {"input": {"question": question}}
    if door.endswith("batch"):
        body = {"inputs": [{"question": question}]}
    if door.startswith("c/"):
        door = door.replace("HASH", config_hash.encode(config))
    else:
        body["config"] = config
    response = site.post(f"/it/{door}", body, headers=headers)
    if response.headers["content-type"].startswith("text/event-stream"):
        assert events(response)[-1][0] == "end"
    return response.status_code


def over_websocket(site: Site, question: str, config: Any, headers: Any) -> int:
    async def talk() -> int:
        named = [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()]
        socket = WebsocketCommunicator(
            site.application, "/it/ws", headers=[(b"host", b"localhost"), *named]
        )
        connected, _ = await socket.connect()
        assert connected
        params = {"input": {"question": question}, "config": config}
        start = {"id": 1, "method": "invoke", "params": params}
        await socket.send_to(text_data=json.dumps(start))
        reply = json.loads(await socket.receive_from())
        await socket.disconnect()
        return 200 if reply["type"] == "success" else int(reply["error"]["status_code"])

    return asyncio.run(talk())


def kept(owner: str, session_id: str, deployment: str = "support") -> list[str]:
    found = DjangoChatMessageHistory(owner, deployment, session_id).messages
    return [str(message.text) for message in found]


@pytest.mark.parametrize("door", DOORS)
def test_second_question_comes_with_the_first_and_its_answer(
    site: Site, chat: Hearing, door: str
) -> None:
    for question in ("q1", "q2"):
        assert ask(site, door, question, "s") == 200
    assert chat.heard == [["q1"], ["q1", "a1", "q2"]]
    assert kept("anonymous", "s") == ["q1", "a1", "q2", "a2"]


@pytest.mark.parametrize("door", DOORS)
def test_same_session_id_of_two_callers_is_two_conversations(
    site: Site, chat: Hearing, door: str
) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    for user in (alice, bob):
        assert ask(site, door, f"of {user}", "s", site.token(user)) == 200
    assert ask(site, door, "of nobody", "s") == 200
    assert chat.heard == [["of alice"], ["of bob"], ["of nobody"]]
    assert kept(f"u{alice.pk}", "s") == ["of alice", "a1"]
    assert kept(f"u{bob.pk}", "s") == ["of bob", "a2"]
    assert kept("anonymous", "s") == ["of nobody", "a3"]
    assert {row.user for row in ChatSession.objects.all()} == {alice, bob, None}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("door", DOORS)
def test_session_id_that_names_another_owner_opens_nothing_of_theirs(
    site: Site, chat: Hearing, door: str, forged: str
) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    session_id = forged.format(alice=alice.pk, bob=bob.pk)
    ask(site, "invoke", "of bob", "s", site.token(bob))
    ask(site, "invoke", "of nobody", "s")
    assert ask(site, door, "of alice", session_id, site.token(alice)) == 200
    assert ask(site, door, "of some", session_id) == 200
    assert chat.heard[2:] == [["of alice"], ["of some"]]
    assert kept(f"u{bob.pk}", "s") == ["of bob", "a1"]
    assert kept(f"u{alice.pk}", session_id) == ["of alice", "a3"]


def test_same_config_of_a_batch_with_several_sessions(site: Site, chat: Hearing) -> None:
    body = {
        "inputs": [{"question": "q1"}, {"question": "q2"}],
        "config": [{"configurable": {"session_id": name}} for name in "ab"],
    }
    assert site.post("/it/batch", body).status_code == 200
    assert [kept("anonymous", name)[0] for name in "ab"] == ["q1", "q2"]


@pytest.mark.parametrize("custom", ["u{bob}-s", "s"])
def test_id_of_another_name_belongs_to_the_caller_all_the_same(site: Site, custom: str) -> None:
    runnable = Hearing()
    spec = ConfigurableFieldSpec(id="conversation_id", annotation=str, default="")
    site.serve("it", with_history(runnable, history_factory_config=[spec]))
    alice, bob = site.user("alice"), site.user("bob")
    conversation_id = custom.format(bob=bob.pk)
    for user, given in ((bob, "s"), (alice, conversation_id)):
        config = {"configurable": {"conversation_id": given}}
        body = {"input": {"question": f"of {user}"}, "config": config}
        assert site.post("/it/invoke", body, headers=site.token(user)).status_code == 200
    assert runnable.heard == [["of bob"], ["of alice"]]
    assert kept(f"u{alice.pk}", conversation_id) == ["of alice", "a2"]


def test_id_that_a_modifier_sets_belongs_to_the_caller(site: Site) -> None:
    def from_header(config: Any, request: Any) -> Any:
        chosen = request.headers["X-Conversation"]
        return {**config, "configurable": {**config.get("configurable", {}), "session_id": chosen}}

    site.serve("it", with_history(Hearing()), per_req_config_modifier=from_header)
    alice = site.user("alice")
    headers = {**site.token(alice), "X-Conversation": "u999-s"}
    site.invoke("/it", {"question": "q1"}, headers=headers)
    assert kept(f"u{alice.pk}", "u999-s") == ["q1", "a1"]


def test_conversations_of_two_deployments_are_two(site: Site) -> None:
    for name in ("one", "two"):
        site.serve(name, with_history(Hearing(), history_factory(name)))
        body = {"input": {"question": name}, "config": {"configurable": {"session_id": "s"}}}
        assert site.post(f"/{name}/invoke", body).status_code == 200
    assert kept("anonymous", "s", "one")[0] == "one"
    assert kept("anonymous", "s", "two")[0] == "two"


def test_history_goes_with_its_user(site: Site, chat: Hearing) -> None:
    alice, bob = site.user("alice"), site.user("bob")
    for user in (alice, bob):
        ask(site, "invoke", "q", "s", site.token(user))
    key = alice.pk
    alice.delete()
    assert kept(f"u{key}", "s") == []
    assert ChatMessage.objects.count() == 2
    assert ChatSession.objects.get().user == bob


def test_question_asked_meanwhile_in_the_same_conversation_costs_nobody_theirs(site: Site) -> None:
    """
    LangChain alone takes what was added meanwhile for its own, and forgets the question.
    """

    def answer(messages: list[Any]) -> AIMessage:
        if messages[-1].text == "outer":
            history = DjangoChatMessageHistory("anonymous", "support", "s")
            history.add_messages([HumanMessage("inner"), AIMessage("to inner")])
        return AIMessage(f"to {messages[-1].text}")

    chain = RunnableWithMessageHistory(RunnableLambda(answer), history_factory("support"))
    site.serve("it", chain)
    config = {"configurable": {"session_id": "s"}}
    for question in ("first", "outer"):
        body = {"input": [{"type": "human", "content": question}], "config": config}
        assert site.post("/it/invoke", body).status_code == 200
    assert kept("anonymous", "s") == [
        "first", "to first", "inner", "to inner", "outer", "to outer",
    ]  # fmt: skip


def test_synchronous_history_runs_in_a_thread(site: Site) -> None:
    inner = with_history(Hearing())

    def call(question: str, config: Any) -> Any:
        return inner.invoke({"question": question}, config).content

    runnable = RunnableLambda(call)
    site.serve("it", runnable, extra_configurable=["session_id"])
    body = {"input": "q1", "config": {"configurable": {"session_id": "s"}}}
    assert site.post("/it/invoke", body).json()["output"] == "a1"
    assert kept("anonymous", "s") == ["q1", "a1"]


# A session id that is missing, or no good


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("configurable", [{}, {"session_id": None}, {"other": "x"}])
def test_call_without_a_session_id_is_told_so_and_does_not_run(
    site: Site, chat: Hearing, door: str, configurable: dict[str, Any]
) -> None:
    if door == "ws":
        assert over_websocket(site, "q", {"configurable": configurable}, None) == 422
        return
    body: dict[str, Any] = {"config": {"configurable": configurable}}
    body |= {"inputs": [{"question": "q"}]} if "batch" in door else {"input": {"question": "q"}}
    hashed = config_hash.encode({"configurable": configurable})
    response = site.post(f"/it/{door.replace('HASH', hashed)}", body)
    assert response.status_code == 422
    assert response.json()["code"] == "validation_error"
    assert response.json()["detail"][0]["loc"] == ["configurable", "session_id"]
    assert "session_id" in response.json()["message"]
    assert chat.heard == []


def test_history_deep_in_a_chain_is_missed_too(site: Site) -> None:
    chain = RunnablePassthrough.assign(answer=with_history(Hearing())) | RunnableLambda(str)
    site.serve("it", {"x": chain} | RunnableLambda(str))
    assert site.post("/it/invoke", {"input": {"question": "q"}}).status_code == 422


def test_history_of_an_id_that_the_code_gives_is_not_missed(site: Site) -> None:
    chain = with_history(Hearing()).with_config(configurable={"session_id": "fixed"})
    site.serve("it", chain)
    site.invoke("/it", {"question": "q1"})
    assert kept("anonymous", "fixed") == ["q1", "a1"]


@pytest.mark.parametrize("door", HTTP_DOORS)
def test_session_id_that_is_too_long_is_refused(site: Site, chat: Hearing, door: str) -> None:
    assert ask(site, door, "q", "x" * 255) == 200
    body = {"config": {"configurable": {"session_id": "x" * 256}}}
    body |= {"inputs": [{"question": "q"}]} if door == "batch" else {"input": {"question": "q"}}  # type: ignore[dict-item]
    response = site.post(f"/it/{door}", body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["configurable", "session_id"]


def test_question_of_a_call_that_fails_is_not_kept(site: Site) -> None:
    def fail(_: Any) -> AIMessage:
        raise RuntimeError(SECRET)

    site.serve("it", with_history(RunnableLambda(fail)))
    assert ask(site, "invoke", "q", "s") == 500
    assert not ChatMessage.objects.exists()


def test_new_conversation_compiles_no_schema_anew(site: Site, chat: Hearing) -> None:
    for number in range(3):
        ask(site, "invoke", "q", f"s{number}")
    served = snapshot.find("it").served
    assert served is not None
    assert len([key for key in served.schemas._kept if key[0] == "validator"]) == 1
