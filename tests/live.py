"""
Our real server as a subprocess, on a database of its own.
"""

import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import django

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 5

# Settings of whoever runs the tests must not reach the server under test.
OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "DEBUG",
    "DEMO",
    "HTTPS",
    "DJANGO_SETTINGS_MODULE",
    "RUNNABLES_MODULES",
    "ADMINS",
    "EMAIL_URL",
)
FOREIGN = ("LANGSMITH_", "LANGCHAIN_", "OPENAI_", "ANTHROPIC_")

Server = Literal["uvicorn", "daphne"]


@dataclass(frozen=True)
class LiveSite:
    url: str
    env: dict[str, str] = field(repr=False)
    process: "subprocess.Popen[bytes] | None" = None

    def manage(self, *args: str) -> str:
        """
        What a management command printed.
        """
        return manage(self.env, *args)

    @property
    def ledger(self) -> Path:
        """
        Where the runnables of `tests.served` note what became of them.
        """
        return Path(self.env["LEDGER_DIR"])


@contextmanager
def live_site(
    tmp_path: Path,
    *,
    server: Server = "uvicorn",
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
) -> Iterator[LiveSite]:
    """
    Migrate, sync and serve until the block ends. `args` go to the server.
    """
    environment = site_env(tmp_path, env or {})
    migrate(environment)
    manage(environment, "langserve", "sync")
    with serving(environment, tmp_path / f"{server}.log", server=server, args=args) as site:
        yield site


def migrate(environment: dict[str, str]) -> None:
    """
    Have the site's tables made. On SQLite they are copied from a database that was migrated
    before: to migrate takes longer than most of what is tested.
    """
    scheme, _, path = environment["DATABASE_URL"].partition(":///")
    if scheme != "sqlite":
        manage(environment, "migrate", "--verbosity", "0")
        return
    template = ROOT / "build" / f"migrated-{_migrations(environment)}.sqlite3"
    if not template.exists():
        fresh = Path(path).with_name("template.sqlite3")
        own = {**environment, "DATABASE_URL": f"sqlite:///{fresh}"}
        manage(own, "migrate", "--verbosity", "0")
        template.parent.mkdir(exist_ok=True)
        # Whole at once, for other processes do the same.
        part = template.with_suffix(f".{os.getpid()}")
        shutil.copyfile(fresh, part)
        part.replace(template)
    shutil.copyfile(template, path)


def _migrations(environment: Mapping[str, str]) -> str:
    """
    What the tables are made by, as one short word.
    """
    known = hashlib.sha256(django.__version__.encode())
    for name in ("DJANGO_SETTINGS_MODULE", "DEMO"):
        known.update(environment.get(name, "").encode())
    for path in sorted(ROOT.glob("*/migrations/*.py")):
        known.update(path.read_bytes())
    return known.hexdigest()[:16]


@contextmanager
def serving(
    environment: dict[str, str], log: Path, *, server: Server = "uvicorn", args: Sequence[str] = ()
) -> Iterator[LiveSite]:
    """
    One more server process on a database that is ready.
    """
    port = free_port()
    command = [*server_command(server, port), *args]
    with started(command, port, environment, log) as site:
        yield site


@contextmanager
def started(
    command: Sequence[str],
    port: int,
    environment: dict[str, str],
    log: Path,
    *,
    folder: Path = ROOT,
) -> Iterator[LiveSite]:
    """
    Any server process, once it answers; ended with the block.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_port(port, process, log)
        yield LiveSite(f"http://127.0.0.1:{port}", environment, process)
    finally:
        stop_group(process)


def site_env(tmp_path: Path, extra: Mapping[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in OURS and not k.startswith(FOREIGN)}
    ledger = tmp_path / "ledger"
    ledger.mkdir(exist_ok=True)
    return {
        **inherited,
        "RUNNABLES_MODULES": "tests.served",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "SECRET_KEY": f"test-{secrets.token_hex(32)}",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "LEDGER_DIR": str(ledger),
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def manage(env: Mapping[str, str], *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"manage.py {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def server_command(server: Server, port: int) -> list[str]:
    python = [sys.executable, "-m"]
    if server == "daphne":
        return [
            *python,
            "daphne",
            "-b",
            "127.0.0.1",
            "-p",
            str(port),
            "project.asgi:application",
        ]
    bind = ["--host", "127.0.0.1", "--port", str(port)]
    return [*python, "uvicorn", "project.asgi:application", *bind, "--no-access-log"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    try:
        wait_until(lambda: process.poll() is not None or answers(port), START_SECONDS)
    except TimeoutError as slow:
        raise RuntimeError(
            f"the server did not answer in {START_SECONDS} s:\n{log.read_text()}"
        ) from slow
    if process.poll() is not None:
        raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()}")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop_group(process: "subprocess.Popen[bytes]") -> None:
    """
    End the server and whatever it started: politely, then not.
    """
    signal_group(process, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        process.wait()


def signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    # Its own leader by start_new_session, so its pid names the group.
    if process.poll() is None:
        os.killpg(process.pid, number)


def wait_until(predicate: Callable[[], object], timeout: float) -> None:
    """
    Poll until the predicate holds; TimeoutError after so many seconds.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {timeout} s")
        time.sleep(0.02)
