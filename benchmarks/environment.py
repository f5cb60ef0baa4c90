"""
Where the two servers come from: the peer from the package index, in an environment of its own with the
versions of ours where both need the same package; ours from this checkout, on a fresh SQLite file.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from benchmarks.servers import ROOT, Recipe, ServerFailed

PEER = Path(__file__).resolve().parent / ".peer"
PEER_PYTHON = PEER / "bin" / "python"
PEER_VERSION = "0.3.3"
SHARED = (
    "langchain-core",
    "langsmith",
    "pydantic",
    "orjson",
    "uvicorn",
    "uvloop",
    "httptools",
)
# Nothing else of the caller's shell reaches a server: no tracing keys, no debug switches.
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
USERNAME = "bench"


def bare_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}


def shared_versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in SHARED}


def peer_requirements() -> list[str]:
    pins = [f"{name}=={version}" for name, version in shared_versions().items()]
    return [f"langserve[server]=={PEER_VERSION}", "uvicorn[standard]", *pins]


def install_peer() -> None:
    """
    Make the peer's environment, unless it holds these very requirements already.
    """
    note = PEER / "installed.txt"
    wanted = "\n".join(peer_requirements())
    if note.exists() and note.read_text() == wanted:
        return
    sys.stderr.write(f"installing LangServe {PEER_VERSION} in {PEER.relative_to(ROOT)} ...\n")
    run([sys.executable, "-m", "venv", "--clear", str(PEER)])
    run([str(PEER_PYTHON), "-m", "pip", "install", "--quiet", *peer_requirements()])
    note.write_text(wanted)


def peer_recipe(name: str = "LangServe") -> Recipe:
    return Recipe(name, PEER_PYTHON, "benchmarks.peer_app:application", bare_environment())


def our_environment(directory: Path) -> dict[str, str]:
    return {
        **bare_environment(),
        "RUNNABLES_MODULES": "benchmarks.served",
        "DATABASE_URL": f"sqlite:///{directory / 'bench.sqlite3'}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "127.0.0.1",
    }


def our_recipe(environment: Mapping[str, str], name: str = "ours") -> Recipe:
    return Recipe(name, Path(sys.executable), "project.asgi:application", environment)


def prepare_database(environment: Mapping[str, str]) -> None:
    manage(environment, "migrate", "--verbosity", "0")
    manage(environment, "langserve", "sync")


def token_headers(environment: Mapping[str, str]) -> dict[str, str]:
    answer = manage(
        environment, "langserve", "token", "create", USERNAME, "--create-user", "--json"
    )
    return {"Authorization": f"Bearer {last_json_line(answer)['token']}"}


def session_headers(environment: Mapping[str, str]) -> dict[str, str]:
    code = (
        f"from benchmarks.sign_in import print_session_headers; print_session_headers({USERNAME!r})"
    )
    return last_json_line(manage(environment, "shell", "-c", code))


def last_json_line(text: str) -> dict[str, str]:
    line = text.strip().splitlines()[-1]
    return {str(name): str(value) for name, value in json.loads(line).items()}


def manage(environment: Mapping[str, str], *arguments: str) -> str:
    return run([sys.executable, "manage.py", *arguments], environment)


def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServerFailed(f"{' '.join(command)}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout
