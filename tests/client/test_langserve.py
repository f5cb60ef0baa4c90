"""
Our client against LangServe itself, serving `tests.served`; LANGSERVE_URL names one that runs already.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import HumanMessage

from runnables.client import RemoteError
from tests.client.conftest import Remote, connecting
from tests.client.langserve import langserve_site
from tests.client.test_callbacks import Listener
from tests.client.test_calls import KINDS, Kind, plain, state_of
from tests.live import LiveSite

URL = os.environ.get("LANGSERVE_URL", "")
CATS = {"topic": "cats"}
TOLD = "You said: Tell me about cats"
# What that server cannot do with them, whatever the client.
UNFIT = {"shout", "prompt"}

pytestmark = pytest.mark.contract

kinds = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.path not in UNFIT], ids=lambda kind: kind.path
)


@pytest.fixture(scope="module")
def langserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    if URL:
        yield LiveSite(URL.rstrip("/"), {})
        return
    with langserve_site(tmp_path_factory.mktemp("langserve")) as live:
        yield live


@pytest.fixture
def remote(langserve: LiveSite) -> Iterator[Remote]:
    yield from connecting(langserve)


@kinds
async def test_every_call_of_every_kind(remote: Remote, kind: Kind) -> None:
    client = remote(kind.path)
    assert (
        plain(client.invoke(kind.input)) == plain(await client.ainvoke(kind.input)) == kind.output
    )
    assert plain(client.batch([kind.input])) == [kind.output]
    assert plain(await client.abatch([kind.input])) == [kind.output]
    assert plain(list(client.stream(kind.input))) == kind.stream
    assert plain([chunk async for chunk in client.astream(kind.input)]) == kind.stream
    patches = [patch async for patch in client.astream_log(kind.input)]
    assert plain(state_of(patches)["streamed_output"]) == kind.stream
    events = [event async for event in client.astream_events(kind.input)]
    assert "output" in events[-1]["data"]


def test_the_run_is_named(remote: Remote) -> None:
    client = remote("open_config")
    seen = client.invoke(1)
    assert str(client.last_run_id) == seen["run_id"]
    seen = client.batch([1, 2])
    assert [str(run_id) for run_id in client.last_run_ids] == [one["run_id"] for one in seen]
    (chunk,) = client.stream(1)
    assert str(client.last_run_id) == chunk["run_id"]


def test_a_run_id_is_chosen_where_the_config_is_open(remote: Remote) -> None:
    run_id = uuid4()
    assert remote("open_config").invoke(1, {"run_id": run_id})["run_id"] == str(run_id)
    assert [chunk["run_id"] for chunk in remote("open_config").stream(1, {"run_id": run_id})] == [
        str(run_id)
    ]


def test_a_closed_configurable_does_not_matter_where_nothing_is_sent(remote: Remote) -> None:
    assert remote("tags_only").invoke({"name": "Ann"}).text == "Hello Ann"


@pytest.mark.parametrize(
    ("path", "sent", "status", "message"),
    [
        ("nobody", 1, 404, "Not Found"),
        ("fails", "x", 500, "Internal Server Error"),
        ("add_one", "not a number", 422, "valid integer"),
    ],
)
def test_errors_have_a_status_and_what_there_is_of_a_message(
    remote: Remote, path: str, sent: Any, status: int, message: str
) -> None:
    with pytest.raises(RemoteError, match=message) as caught:
        remote(path).invoke(sent)
    assert (caught.value.status_code, caught.value.code) == (status, None)
    with pytest.raises(RemoteError, match=message) as caught:
        list(remote(path).stream(sent))
    assert caught.value.status_code == status


def test_a_stream_fails_after_what_came_before(remote: Remote) -> None:
    chunks = []
    with pytest.raises(RemoteError):  # noqa: PT012 - the point is what came before
        for chunk in remote("fails_midway").stream("word"):
            chunks.append(chunk)
    assert chunks == ["word"]


def test_a_failing_batch_fails_for_each(remote: Remote) -> None:
    errors = remote("fails_on_zero").batch([5, 0], return_exceptions=True)
    assert [type(error) for error in errors] == [RemoteError, RemoteError]


def test_callback_events_are_replayed(remote: Remote) -> None:
    listener = Listener()
    assert remote("observed_add_one").invoke(1, {"callbacks": [listener]}) == 2
    assert listener.heard == ["chain start", "chain start", "chain end", "chain end"]


def test_there_is_nothing_to_cancel_runs_with(remote: Remote) -> None:
    with pytest.raises(RemoteError, match="Not Found"):
        remote("add_one").cancel(uuid4())


async def test_schemas_are_there(remote: Remote) -> None:
    config: Any = {"configurable": {"template": "{verb} {name}"}}
    schema = await remote("greeting").aget_input_jsonschema(config)
    assert set(schema["properties"]) == {"verb", "name"}


def test_messages_come_and_go(remote: Remote) -> None:
    output = remote("graph").invoke({"messages": [HumanMessage("hi")]})
    assert output["messages"][-1].content == "You said: hi"


async def test_a_preset_does_not_matter_to_it(remote: Remote) -> None:
    joke = remote("joke")
    every = [event["event"] async for event in joke.astream_events(CATS)]
    events = [event async for event in joke.astream_events(CATS, preset="final_answer")]
    assert [event["event"] for event in events] == every
    assert {"on_prompt_start", "on_chat_model_stream"} < set(every)
    assert events[-1]["data"]["output"] == TOLD
