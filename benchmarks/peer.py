"""
Measure ourselves against LangServe, side by side in one run: `python -m benchmarks.peer`.

Absolute numbers belong to the host and the hour; what counts are the ratios.
"""

import argparse
import asyncio
import json
import os
import platform
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import environment, measures, report
from benchmarks.answers import DifferentAnswers, check_answers
from benchmarks.load import BadAnswer, new_event_loop
from benchmarks.measures import Contestant, Measure, Samples, Target
from benchmarks.servers import Recipe, Server, ServerFailed, running

GROUPS = ("invoke", "batch", "stream", "stream_events", "stream_log", "access", "start")
STREAMS = {"stream", "stream_events", "stream_log"}
PEER, OURS, STOCK = "LangServe", "ours", "ours, stock parsers"
SAME = Target(at_least=0.95, at_most=1.05)
START_ROUNDS = 3


@dataclass(frozen=True)
class Options:
    groups: tuple[str, ...]
    rounds: int
    seconds: float
    is_self_test: bool
    is_markdown: bool
    json_file: Path | None

    def wants(self, *groups: str) -> bool:
        return any(group in self.groups for group in groups)


@dataclass
class Bench:
    """
    One run: its servers while they are up, and what it found.
    """

    options: Options
    runner: asyncio.Runner
    server_core: int
    recipes: dict[str, Recipe]
    servers: dict[str, Server] = field(default_factory=dict)
    rows: list[report.Row] = field(default_factory=list)
    added: list[report.Added] = field(default_factory=list)
    samples: dict[str, Samples] = field(default_factory=dict)

    def target(self, target: Target | None) -> Target | None:
        return SAME if self.options.is_self_test else target

    def take_turns(self, measure: Measure, contestants: dict[str, Contestant]) -> Samples:
        say(f"{measure.label} ...")
        options = self.options
        samples = measures.take_turns(
            self.runner,
            measure,
            contestants,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        self.samples[measure.label] = samples
        return samples


def main() -> int:
    options = parse_options()
    # Killed is stopped: unwinding ends the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.perf_counter()
    try:
        bench = run_bench(options)
    except (BadAnswer, DifferentAnswers, ServerFailed) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(rendered(bench, time.perf_counter() - started))
    if options.json_file:
        options.json_file.write_text(as_json(bench))
    return 0


def run_bench(options: Options) -> Bench:
    environment.install_both()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        say("one core only: server and client share it, so trust the CPU column alone")
    os.sched_setaffinity(0, {cores[-1]})
    with (
        tempfile.TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        ours = environment.our_environment(Path(directory))
        bench = Bench(options, runner, cores[0], recipes(options, ours))
        if not options.is_self_test:
            say("migrate and sync ...")
            environment.prepare_database(ours)
        measure_speeds(bench, ours)
        if options.wants("start"):
            measure_starts(bench)
    return bench


def recipes(options: Options, ours: dict[str, str]) -> dict[str, Recipe]:
    if options.is_self_test:
        chosen = [environment.peer_recipe(PEER), environment.peer_recipe(OURS)]
    else:
        chosen = [environment.peer_recipe(PEER), environment.our_recipe(ours, OURS)]
        if options.wants(*STREAMS):
            stock = {**ours, "INLINE_PARSERS": "0"}
            chosen.append(environment.our_recipe(stock, STOCK))
    return {recipe.name: recipe for recipe in chosen}


def measure_speeds(bench: Bench, ours: dict[str, str]) -> None:
    if not bench.options.wants(*GROUPS[:-1]):
        return
    with ExitStack() as stack:
        for name, recipe in bench.recipes.items():
            say(f"starting {name} ...")
            bench.servers[name] = stack.enter_context(running(recipe, bench.server_core))
        peer, *others = bench.servers.values()
        check_answers(bench.runner, peer, others)
        for measure in measures.MEASURES:
            if bench.options.wants(measure.group):
                compare(bench, measure)
        if bench.options.wants("access") and not bench.options.is_self_test:
            measure_access(bench, ours)


def compare(bench: Bench, measure: Measure) -> None:
    contestants = {
        name: Contestant(server, measure.path)
        for name, server in bench.servers.items()
        if name != STOCK or measure.group in STREAMS
    }
    samples = bench.take_turns(measure, contestants)
    variants = [(OURS, "", measure.target)]
    if STOCK in samples:
        variants.append((STOCK, " stock", measure.stock_target))
    for name, note, target in variants:
        row = report.rate_row(measure, samples, PEER, name, bench.target(target), note)
        bench.rows.append(row)
    if measure.path == "/chain/stream" and measure.connections == 1:
        later = bench.target(measures.NO_LATER)
        bench.rows.append(report.first_event_row(measure, samples, PEER, OURS, later))


def measure_access(bench: Bench, ours: dict[str, str]) -> None:
    server, private = bench.servers[OURS], "/trivial_private/invoke"
    contestants = {
        "anonymous": Contestant(server, measures.ACCESS.path),
        "token": Contestant(server, private, environment.token_headers(ours)),
        "session": Contestant(server, private, environment.session_headers(ours)),
    }
    samples = bench.take_turns(measures.ACCESS, contestants)
    for name in ("token", "session"):
        bench.added.append(report.added(name, samples["anonymous"], samples[name]))


def measure_starts(bench: Bench) -> None:
    say("start-up ...")
    contestants = [bench.recipes[PEER], bench.recipes[OURS]]
    rounds = min(START_ROUNDS, bench.options.rounds)
    starts = measures.measure_starts(contestants, bench.server_core, rounds)
    time_target, memory_target = Target(at_most=1.0), Target(at_most=1.1)
    if bench.options.is_self_test:
        time_target = memory_target = SAME
    bench.rows += report.start_rows(starts, PEER, OURS, time_target, memory_target)


def rendered(bench: Bench, seconds: float) -> str:
    is_markdown = bench.options.is_markdown
    ours = "again" if bench.options.is_self_test else "ours"
    table = (report.markdown_table if is_markdown else report.plain_table)(bench.rows, ours)
    bullet = "* " if is_markdown else ""
    lines = [bullet + line for line in [*(one.sentence() for one in bench.added), client(bench)]]
    took = f"{seconds:.0f} s in all, medians of {bench.options.rounds} rounds"
    return "\n".join(["", *context(), bullet + took, "", table, *lines, ""])


def context() -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in shown_versions().items())
    command = shlex.join(["python", "-m", "benchmarks.peer", *sys.argv[1:]])
    return [f"{datetime.now(UTC):%Y-%m-%d}, `{command}`", "", versions, ""]


def shown_versions() -> dict[str, str]:
    python = {
        "Python": platform.python_version(),
        "langserve": environment.PEER_VERSION,
    }
    return {**python, **environment.shared_versions()}


def client(bench: Bench) -> str:
    busy = [
        one.client_busy for turns in bench.samples.values() for s in turns.values() for one in s
    ]
    return f"the client's core was busy for {max(busy, default=0):.0%} of the time at most"


def as_json(bench: Bench) -> str:
    rows = [{**asdict(row), "ratio": row.ratio, "verdict": row.verdict} for row in bench.rows]
    samples = {
        label: {name: [asdict(one) for one in turns] for name, turns in found.items()}
        for label, found in bench.samples.items()
    }
    found = {
        "rows": rows,
        "added": [asdict(one) for one in bench.added],
        "samples": samples,
    }
    about = {"date": datetime.now(UTC).isoformat(), "versions": shown_versions()}
    # An open bound is infinite, which is no JSON.
    text = json.dumps({**about, "options": sys.argv[1:], **found}, indent=1)
    return text.replace("Infinity", "null") + "\n"


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=__doc__)
    parser.add_argument("--only", default=",".join(GROUPS), help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.7, help="length of one slice")
    parser.add_argument("--markdown", action="store_true", help="print a table for the README")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there too")
    parser.add_argument(
        "--peer-against-peer",
        action="store_true",
        help="prove the method: must print about 1",
    )
    found = parser.parse_args(arguments)
    groups = tuple(found.only.split(","))
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    if found.rounds < 1 or found.seconds < 0:
        parser.error("at least one round, and no negative time")
    return Options(
        groups,
        found.rounds,
        found.seconds,
        found.peer_against_peer,
        found.markdown,
        found.json,
    )


if __name__ == "__main__":
    sys.exit(main())
