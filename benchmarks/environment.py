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

HERE = Path(__file__).resolve().parent
PEER = HERE / ".peer"
OURS = HERE / ".ours"
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


def install_both() -> None:
    """
    Each server as its users install it, in an environment of its own.
    """
    pins = [f"{name}=={version}" for name, version in shared_versions().items()]
    install(PEER, [f"langserve[server]=={PEER_VERSION}", "uvicorn[standard]", *pins])
    # The development environment holds packages that Django and DRF import when they find
    # them: they cost 10 MiB that no user pays.
    install(OURS, ["-e", str(ROOT), *pins])


def install(directory: Path, requirements: list[str]) -> None:
    """
    Make the environment, unless it holds these very requirements already.
    """
    note = directory / "installed.txt"
    wanted = "\n".join(requirements)
    if note.exists() and note.read_text() == wanted:
        return
    sys.stderr.write(f"installing {directory.relative_to(ROOT)} ...\n")
    run([sys.executable, "-m", "venv", "--clear", str(directory)])
    run([str(python_of(directory)), "-m", "pip", "install", "--quiet", *requirements])
    note.write_text(wanted)


def python_of(directory: Path) -> Path:
    return directory / "bin" / "python"


def peer_recipe(name: str = "LangServe") -> Recipe:
    return Recipe(name, python_of(PEER), "benchmarks.peer_app:application", bare_environment())


def our_environment(directory: Path) -> dict[str, str]:
    return {
        **bare_environment(),
        "RUNNABLES_MODULES": "benchmarks.served",
        "DATABASE_URL": f"sqlite:///{directory / 'bench.sqlite3'}",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "127.0.0.1",
    }


def our_recipe(environment: Mapping[str, str], name: str = "ours") -> Recipe:
    return Recipe(name, python_of(OURS), "project.asgi:application", environment)


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
    return run([str(python_of(OURS)), "manage.py", *arguments], environment)


def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServerFailed(f"{' '.join(command)}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout
