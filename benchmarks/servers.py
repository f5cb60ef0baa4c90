"""
Starting and stopping a server as a process of its own, and reading what the kernel says it used.
"""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 60.0
# Fields 14 and 15 of /proc/<pid>/stat, counted after the command's closing bracket.
UTIME, STIME = 11, 12


class ServerFailed(Exception):
    """
    A server, or what has to run before it, did not come up.
    """


@dataclass(frozen=True)
class Recipe:
    """
    How to start one server. Both kinds differ in these three values only.
    """

    name: str
    python: Path
    application: str
    environment: Mapping[str, str]

    def command(self, port: int) -> list[str]:
        server = [
            str(self.python),
            "-m",
            "uvicorn",
            self.application,
            "--host",
            "127.0.0.1",
        ]
        choices = ["--loop", "uvloop", "--http", "httptools"]
        quiet = ["--no-access-log", "--log-level", "warning"]
        return [*server, "--port", str(port), *choices, *quiet]


@dataclass(frozen=True)
class Server:
    name: str
    pid: int
    port: int
    seconds_to_answer: float

    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[UTIME]) + int(fields[STIME])) / TICKS

    def resident_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ServerFailed(f"{self.name} is gone")


@contextmanager
def running(recipe: Recipe, core: int) -> Iterator[Server]:
    """
    The server, once it has answered a first call; stopped on the way out.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            recipe.command(port),
            cwd=ROOT,
            env=dict(recipe.environment),
            stdout=log,
            stderr=log,
        )
        try:
            # Its threads are all born later than this and inherit it.
            os.sched_setaffinity(process.pid, {core})
            wait_for_answer(recipe, process, port)
            yield Server(recipe.name, process.pid, port, time.perf_counter() - started)
        except Exception:
            sys.stderr.write(f"{recipe.name} said:\n{tail(log)}\n")
            raise
        finally:
            stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_answer(recipe: Recipe, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.perf_counter() + PATIENCE
    status: int | None = None
    while status != http.HTTPStatus.OK:
        if process.poll() is not None or time.perf_counter() > deadline:
            raise ServerFailed(f"{recipe.name} gave no answer ({status})")
        time.sleep(0.005)
        status = first_status(port)


def first_status(port: int) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(
            "POST",
            "/trivial/invoke",
            b'{"input": 1}',
            {"Content-Type": "application/json"},
        )
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read()[-3000:].decode(errors="replace")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
