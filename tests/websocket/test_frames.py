"""
What a frame may be, and how the socket ends for one that may not.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.live import LiveSite
from tests.websocket.sockets import Talk, ask, becomes, ledger, log_of, noted, talk

MIB = 1024 * 1024


def ping(command_id: Any = 1, **fields: Any) -> str:
    return json.dumps({"id": command_id, "method": "ping", **fields})


async def is_closed_after(
    site: LiveSite, frame: str | bytes | list[str], key: str, path: str = "/count"
) -> tuple[int, str]:
    """
    Code and reason of a socket that had a run going, which must end with it.
    """
    async with talk(site, path) as caller:
        await caller.send("run", "invoke", input={"key": key, "upto": 100_000})
        await noted(site, key, "started")
        await caller.connection.send(frame)
        code = await caller.closed()
    await noted(site, key, "finally")
    return code


async def test_binary_closes_with_1003(site: LiveSite, key: str) -> None:
    code, reason = await is_closed_after(site, ping().encode(), key)
    assert (code, reason) == (1003, "frames are JSON text")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ping",
        "{",
        '{"id": 1, "method": "ping"',
        '{"id": 1, "method": "ping", "params": {"x": NaN}}',
        '{"id": 1, "method": "ping", "params": {"x": -Infinity}}',
        '{"id": 1, "method": "ping", "params": {"x": 1e999}}',
        '{"id": 1, "id": 2, "method": "ping"}',
        '{"id": 1, "method": "ping", "params": {"x": "\\ud800"}}',
        '{"id": 1, "method": "ping", "params": {"x": "\\u0000"}}',
        '{"id": 1, "method": "ping", "params": ' + '{"a":' * 70 + "1" + "}" * 71,
        '{"id": ' + "1" * 400 + ', "method": "ping"}',
    ],
)
async def test_what_is_not_our_json_closes_with_1007(site: LiveSite, key: str, text: str) -> None:
    code, reason = await is_closed_after(site, text, key)
    assert code == 1007
    assert reason


async def test_bad_utf8_closes_with_1007(site: LiveSite, key: str) -> None:
    async with talk(site, "/count") as caller:
        await caller.send("run", "invoke", input={"key": key, "upto": 100_000})
        await noted(site, key, "started")
        protocol = caller.connection.protocol
        protocol.send_text(b'{"id": "\xff\xfe"}')
        caller.connection.transport.write(b"".join(protocol.data_to_send()))
        code, _ = await caller.closed()
    assert code == 1007
    await noted(site, key, "finally")


async def test_a_frame_over_the_limit_closes_with_1009(site: LiveSite, key: str) -> None:
    code, reason = await is_closed_after(site, ping(params={"x": "x" * MIB}), key)
    assert code == 1009
    assert "1,048,576 bytes" in reason


async def test_a_frame_of_the_limit_is_taken(site: LiveSite) -> None:
    frame = ping(params={"x": ""})
    async with talk(site, "/count") as caller:
        await caller.send_text(ping(params={"x": "x" * (MIB - len(frame))}))
        await caller.until(lambda: 1 in caller.runs)
    assert caller.runs[1].result == {}


async def test_a_frame_in_fragments_is_one_frame(site: LiveSite) -> None:
    async with talk(site, "/spell") as caller:
        frame = json.dumps({"id": 1, "method": "invoke", "params": {"input": "äöü"}})
        await caller.connection.send([frame[:10], frame[10:30], frame[30:]])
        run = await caller.over(1)
    assert run.result["output"] == "äöü"


async def test_the_limit_is_the_deployments_own_from_the_first_frame(site: LiveSite) -> None:
    run = await ask(site, "/roomy", "invoke", input="x" * (2 * MIB))
    assert run.result["output"] == 2 * MIB


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "null",
        "[]",
        "{}",
        '{"method": "ping"}',
        '{"id": null, "method": "ping"}',
        '{"id": true, "method": "ping"}',
        '{"id": 1.5, "method": "ping"}',
        '{"id": [1], "method": "ping"}',
        '{"id": 1}',
        '{"id": 1, "method": 5}',
        '{"id": 1, "method": null}',
        '{"id": 1, "method": "ping", "params": []}',
        '{"id": 1, "method": "ping", "params": "x"}',
    ],
)
async def test_what_is_no_command_closes_with_1008(site: LiveSite, key: str, text: str) -> None:
    code, reason = await is_closed_after(site, text, key)
    assert code == 1008
    assert reason.startswith("a frame ")


@pytest.mark.parametrize("method", ["ping", "invoke", "nonsense"])
async def test_an_id_over_64_bits_closes_with_1008(site: LiveSite, method: str) -> None:
    before = len(log_of(site))
    async with talk(site, "/spell") as caller:
        await caller.send(1 << 64, method, input="a")
        code, _ = await caller.closed()
    assert code == 1008
    assert "Traceback" not in log_of(site)[before:]


@pytest.mark.parametrize("value", [[], {}, [[1]], {"a": 1}])
async def test_an_id_to_cancel_of_a_wrong_type_is_an_error(site: LiveSite, value: Any) -> None:
    before = len(log_of(site))
    cancel = await ask(site, "/spell", "cancel", id=value)
    assert cancel.error["status_code"] in (404, 422)
    assert "Traceback" not in log_of(site)[before:]


@pytest.mark.parametrize("params", [{}, {"run_id": None}, {"run_id": 5}, {"run_id": "one"}])
async def test_a_cancel_without_an_id_is_an_error(site: LiveSite, params: dict[str, Any]) -> None:
    cancel = await ask(site, "/spell", "cancel", **params)
    assert cancel.error["status_code"] in (404, 422)


async def test_an_unknown_method_is_an_error_and_the_socket_goes_on(site: LiveSite) -> None:
    async with talk(site, "/spell") as caller:
        unknown = await caller.call(1, "subscribe")
        assert unknown.error["code"] == "validation_error"
        assert unknown.error["detail"][0]["loc"] == ["method"]
        assert (await caller.call(2, "ping")).result == {}


async def test_an_unknown_method_is_not_echoed(site: LiveSite) -> None:
    unknown = await ask(site, "/spell", "password-" * 1000)
    assert "password-" not in json.dumps(unknown.error)


async def test_an_id_in_use_is_an_error_and_its_run_goes_on(site: LiveSite, key: str) -> None:
    async with talk(site, "/count") as caller:
        await caller.send(1, "invoke", input={"key": key, "upto": 100_000})
        await noted(site, key, "started")
        second = await caller.call(1, "invoke", input={"key": key, "upto": 1})
        assert second.error["detail"][0]["loc"] == ["id"]
        assert "finally" not in ledger(site, key)
        # Texts and integers are different ids.
        other = await caller.call("1", "invoke", input={"key": "x", "upto": 1})
        assert other.result["output"] == "x:0 "
    await noted(site, key, "finally")


async def test_a_flood_closes_with_1008(site: LiveSite, key: str) -> None:
    async with talk(site, "/count") as caller:
        await caller.send("run", "invoke", input={"key": key, "upto": 100_000})
        await noted(site, key, "started")
        try:
            for number in range(1000):
                await caller.send_text(ping(number))
        except ConnectionClosed:
            pass  # it was quicker than we
        code, reason = await caller.closed()
    assert (code, reason) == (1008, "too many frames a second")
    assert 190 <= len(caller.runs) <= 200
    await noted(site, key, "finally")


@pytest.mark.parametrize("path", ["/fails", "/fails_midway"])
@pytest.mark.parametrize("method", ["invoke", "batch", "stream", "stream_log", "stream_events"])
async def test_what_a_runnable_raised_is_in_no_frame(
    site: LiveSite, path: str, method: str
) -> None:
    params = {"inputs": ["a"]} if method == "batch" else {"input": "a"}
    # `Talk.take` looks for the exception's text and for a traceback in every frame.
    run = await ask(site, path, method, **params)
    failed: Any = run.error
    assert failed["code"] == "run_failed"
    assert failed["run_id"] in log_of(site)


@pytest.mark.parametrize("path", ["/nothing/of/the/kind", "/admin", "/invoke_only", "/deployments"])
async def test_a_door_that_is_not_there_refuses_the_handshake(site: LiveSite, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with talk(site, path):
            pass
    response = refused.value.response
    assert response.status_code in (403, 404)
    if response.body:
        assert json.loads(response.body)["code"] in ("unknown_deployment", "unknown_endpoint")


async def test_pings_of_the_protocol_are_answered(site: LiveSite) -> None:
    async with talk(site, "/spell") as caller:
        await (await caller.connection.ping())


async def test_a_polite_goodbye_is_answered(site: LiveSite) -> None:
    async with talk(site, "/spell") as caller:
        await caller.connection.close(1000, "bye")
    assert caller.connection.close_code == 1000


def open_sockets(talkers: list[Talk]) -> int:
    return sum(talker.connection.close_code is None for talker in talkers)


async def test_one_sockets_end_is_not_anothers(site: LiveSite, key: str) -> None:
    async with talk(site, "/count") as good, talk(site, "/count") as bad:
        await good.send(1, "stream", input={"key": key, "upto": 100})
        await bad.send_text("nonsense")
        assert (await bad.closed())[0] == 1007
        assert (await good.over(1)).names[-1] == "end"
        await becomes(lambda: open_sockets([good, bad]) == 1)
