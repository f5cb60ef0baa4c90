"""
Fifty runs for one socket, some to be cancelled, and what must have become of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.websocket.sockets import Run

METHODS = ("stream", "invoke", "batch", "stream_events", "stream_log")
RUNS = 50
SHORT = 20
LONG = 100_000


@dataclass(frozen=True)
class Order:
    """
    One of the runs of `/count`, or its like.
    """

    id: str | int
    method: str
    key: str
    run_id: str
    is_cancelled: bool

    @property
    def params(self) -> dict[str, Any]:
        value = {"key": self.key, "upto": LONG if self.is_cancelled else SHORT}
        given = {"inputs": [value]} if self.method == "batch" else {"input": value}
        return {**given, "run_id": self.run_id}

    @property
    def cancel_params(self) -> dict[str, Any]:
        """
        By id for half of them, by run id for the others.
        """
        if isinstance(self.id, int):
            return {"id": self.id}
        return {"run_id": self.run_id}


def crowd() -> list[Order]:
    """
    Ids are texts and integers in turn, every third run is one to cancel.
    """
    return [
        Order(
            id=number if number % 2 else f"run {number}",
            method=METHODS[number % len(METHODS)],
            key=uuid4().hex,
            run_id=str(uuid4()),
            is_cancelled=number % 3 == 0,
        )
        for number in range(RUNS)
    ]


def check(order: Order, run: Run) -> None:
    """
    That it ended as ordered, with nothing of another's. `Run.add` has looked at the order of frames.
    """
    if order.is_cancelled:
        error = run.error
        assert (error["status_code"], error["code"]) == (499, "cancelled")
        assert error["run_id"] == order.run_id
    elif order.method == "invoke":
        assert run.result["output"] == counted(order)
    elif order.method == "batch":
        assert run.result["output"] == [counted(order)]
    else:
        assert run.names[-1] == "end"
        assert chunks(order.method, run) == words(order)
    if order.method == "stream":
        got = run.data
        assert got == words(order)[: len(got)] or order.is_cancelled
    keys = {key for key in key_of(run.data) if key}
    assert keys <= {order.key}


def words(order: Order) -> list[str]:
    return [f"{order.key}:{number} " for number in range(SHORT)]


def counted(order: Order) -> str:
    return "".join(words(order))


def chunks(method: str, run: Run) -> list[Any]:
    """
    The output's chunks, however the method wraps them.
    """
    if method == "stream":
        return run.data
    if method == "stream_events":
        return [e["data"]["chunk"] for e in run.data if e["event"] == "on_chain_stream"]
    operations = [operation for patch in run.data for operation in patch["ops"]]
    return [one["value"] for one in operations if one["path"] == "/streamed_output/-"]


def key_of(data: list[Any]) -> list[str]:
    return [text.partition(":")[0] for text in data if isinstance(text, str)]


def check_all(orders: list[Order], runs: Mapping[str | int, Run]) -> None:
    for order in orders:
        check(order, runs[order.id])
