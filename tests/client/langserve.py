"""
LangServe itself, serving `tests.served` from an environment of its own.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from tests.live import ROOT, LiveSite, free_port, started
from tests.needs import give_up

ENVIRONMENT = ROOT / "build" / "langserve"
SITE = Path(__file__).parent / "langserve_site"
SHARED = ("langchain-core", "langchain-classic", "langgraph", "pydantic", "orjson", "uvicorn")
INSTALL_SECONDS = 300


@contextmanager
def langserve_site(folder: Path) -> Iterator[LiveSite]:
    install()
    port = free_port()
    log = folder / "langserve.log"
    (folder / "ledger").mkdir()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}",
        "LEDGER_DIR": str(folder / "ledger"),
        "LANGSMITH_TRACING": "false",
    }
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "uvicorn", "serve:application"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    with started([*command, *address], port, environment, log, folder=SITE) as site:
        yield site


def install() -> None:
    """
    Make the environment, unless it holds these very requirements already.
    """
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with ENVIRONMENT.with_suffix(".lock").open("w") as lock:
        # Two workers that install into one folder would undo each other's work.
        fcntl.flock(lock, fcntl.LOCK_EX)
        requirements = ["langserve[server]==0.3.3"]
        requirements += [f"{name}=={metadata.version(name)}" for name in SHARED]
        # An environment is of use only to the Python that made it.
        wanted = "\n".join([f"# Python {sys.version}", *requirements])
        note = ENVIRONMENT / "installed.txt"
        if note.exists() and note.read_text() == wanted:
            return
        run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
        python = str(ENVIRONMENT / "bin" / "python")
        run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements)
        note.write_text(wanted)


def run(*command: str) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=True)
    except subprocess.TimeoutExpired:
        give_up(f"LangServe could not be installed in {INSTALL_SECONDS} s")
    except subprocess.CalledProcessError as error:
        # venv says on stdout what is wrong with it.
        give_up(f"LangServe could not be installed: {(error.stdout + error.stderr)[-500:]}")
