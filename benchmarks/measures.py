"""
What is measured, and how: the contestants take turns in short slices, in an order that alternates, so that
a drift of the host hits all of them alike.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.answers import NUMBERS, TOPIC
from benchmarks.load import Tally, request_bytes, run_load
from benchmarks.servers import Recipe, Server, running

WARM_UP = 0.3


@dataclass(frozen=True)
class Target:
    """
    Bounds of a ratio, ours to the peer's, met as printed: to two decimals.
    """

    at_least: float = 0.0
    at_most: float = float("inf")

    def is_met(self, ratio: float) -> bool:
        return self.at_least <= round(ratio, 2) <= self.at_most

    def __str__(self) -> str:
        if self.at_least and self.at_most < float("inf"):
            return f"{self.at_least:.2f}-{self.at_most:.2f}"
        return f">={self.at_least:.2f}" if self.at_least else f"<={self.at_most:.2f}"


NO_LATER = Target(at_most=1.0)


@dataclass(frozen=True)
class Measure:
    group: str
    label: str
    path: str
    payload: object
    connections: int = 1
    counts_events: bool = False
    # Every connection asks once, and the slice lasts as long as that takes.
    is_one_pass: bool = False
    target: Target | None = None
    stock_target: Target | None = None


@dataclass(frozen=True)
class Contestant:
    server: Server
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """
    One slice: operations (requests or events) a second, and what one of them cost the server.
    """

    rate: float
    cpu_per_operation: float
    first_event: float | None
    client_busy: float


INVOKE = {"input": 1}
ASK = {"input": TOPIC}
BY_A_FIFTH = Target(at_least=1.2)

MEASURES = (
    Measure("invoke", "invoke, c=1", "/trivial/invoke", INVOKE, target=BY_A_FIFTH),
    Measure("invoke", "invoke, c=16", "/trivial/invoke", INVOKE, 16, target=BY_A_FIFTH),
    Measure("invoke", "invoke, c=64", "/trivial/invoke", INVOKE, 64, target=BY_A_FIFTH),
    Measure("invoke", "invoke sync, c=16", "/trivial_sync/invoke", INVOKE, 16),
    Measure(
        "batch",
        "batch of 16",
        "/trivial/batch",
        {"inputs": NUMBERS},
        target=Target(1.3),
    ),
    Measure(
        "stream",
        "stream, c=1",
        "/chain/stream",
        ASK,
        counts_events=True,
        target=Target(2.0),
        stock_target=Target(1.15),
    ),
    Measure(
        "stream",
        "stream, c=50",
        "/chain/stream",
        ASK,
        connections=50,
        counts_events=True,
        is_one_pass=True,
        target=Target(2.0),
        stock_target=Target(1.15),
    ),
    Measure(
        "stream_events",
        "stream_events",
        "/chain/stream_events",
        ASK,
        counts_events=True,
        target=BY_A_FIFTH,
    ),
    Measure(
        "stream_log",
        "stream_log",
        "/chain/stream_log",
        ASK,
        counts_events=True,
        target=BY_A_FIFTH,
    ),
)
ACCESS = Measure("access", "access, c=16", "/trivial/invoke", INVOKE, 16)
# One pass of fifty streams takes one second or five: on a slow host fewer rounds have to do.
ONE_PASS_SECONDS = 40.0
ONE_PASS_ROUNDS = 3

Samples = dict[str, list[Sample]]


def take_turns(
    runner: asyncio.Runner,
    measure: Measure,
    contestants: Mapping[str, Contestant],
    *,
    rounds: int,
    seconds: float,
) -> Samples:
    if measure.is_one_pass:
        seconds = 0.0
    else:
        for contestant in contestants.values():
            one_slice(runner, measure, contestant, min(seconds, WARM_UP))
    samples: Samples = {name: [] for name in contestants}
    started = time.perf_counter()
    for turn in range(rounds):
        for name in list(contestants)[:: -1 if turn % 2 else 1]:
            samples[name].append(one_slice(runner, measure, contestants[name], seconds))
        is_late = time.perf_counter() - started > ONE_PASS_SECONDS
        if measure.is_one_pass and is_late and turn + 1 >= ONE_PASS_ROUNDS:
            break
    return samples


def one_slice(
    runner: asyncio.Runner, measure: Measure, contestant: Contestant, seconds: float
) -> Sample:
    server = contestant.server
    request = request_bytes(server.port, contestant.path, measure.payload, contestant.headers)
    before = server.cpu_seconds()
    tally = runner.run(
        run_load(server.port, request, connections=measure.connections, seconds=seconds)
    )
    return sample_from(measure, tally, server.cpu_seconds() - before)


def sample_from(measure: Measure, tally: Tally, cpu: float) -> Sample:
    operations = tally.events if measure.counts_events else tally.requests
    return Sample(
        rate=operations / tally.seconds,
        cpu_per_operation=cpu / operations,
        first_event=statistics.median(tally.first_events) if tally.first_events else None,
        client_busy=tally.client_cpu / tally.seconds,
    )


@dataclass
class Starts:
    """
    Seconds from spawning a server to its first answer, and its resident memory then.
    """

    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)


def measure_starts(recipes: Sequence[Recipe], core: int, rounds: int) -> dict[str, Starts]:
    starts = {recipe.name: Starts() for recipe in recipes}
    for turn in range(rounds):
        for recipe in recipes if turn % 2 == 0 else reversed(recipes):
            with running(recipe, core) as server:
                starts[recipe.name].seconds.append(server.seconds_to_answer)
                starts[recipe.name].mebibytes.append(server.resident_mib())
    return starts
