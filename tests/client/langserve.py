"""
LangServe itself, serving `tests.served` from an environment of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from tests.live import ROOT, LiveSite, free_port, stop_group, wait_for_port
from tests.needs import give_up

ENVIRONMENT = ROOT / "build" / "langserve"
SITE = Path(__file__).parent / "langserve_site"
SHARED = ("langchain-core", "langchain-classic", "langgraph", "pydantic", "orjson", "uvicorn")


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
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=SITE,
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


def install() -> None:
    """
    Make the environment, unless it holds these very requirements already.
    """
    wanted = ["langserve[server]==0.3.3"]
    wanted += [f"{name}=={metadata.version(name)}" for name in SHARED]
    note = ENVIRONMENT / "installed.txt"
    if note.exists() and note.read_text() == "\n".join(wanted):
        return
    python = str(ENVIRONMENT / "bin" / "python")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            give_up(f"LangServe could not be installed: {done.stderr[-500:]}")
    note.write_text("\n".join(wanted))
