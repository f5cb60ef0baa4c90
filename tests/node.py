"""
Node's part of the tests: npm packages of a folder, and its `*.test.mjs` run once.
"""

import fcntl
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.needs import give_up, require

RUN_SECONDS = 180
INSTALL_SECONDS = 300
REPORTED = re.compile(r"^\s*(not ok|ok) \d+ - (.+?)(?: # .*)?$")


def install_packages(folder: Path) -> None:
    """
    The npm packages of the folder's lock file, unless they are there already.
    """
    require("node")
    with (folder / "package.json").open() as lock:
        # Two workers that install into one folder would undo each other's work.
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = folder / "node_modules" / ".package-lock.json"
        locked = folder / "package-lock.json"
        if installed.exists() and installed.stat().st_mtime >= locked.stat().st_mtime:
            return
        done = subprocess.run(
            ["npm", "ci"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode:
            give_up(f"npm could not install the packages of {folder.name}:\n{done.stderr}")


def reports_of(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """
    What Node said of each test in the folder: nothing if it passed, why if it failed.
    """
    files = (file.name for file in sorted(folder.glob("*.test.mjs")))
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", *files],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return parse_tap(done.stdout + done.stderr)


def parse_tap(output: str) -> dict[str, str]:
    reports: dict[str, str] = {}
    name = ""
    for line in output.splitlines():
        if found := REPORTED.match(line):
            name = found[2].replace("\\#", "#")
            reports[name] = "" if found[1] == "ok" else "failed\n"
        elif reports.get(name):
            reports[name] += f"{line}\n"
    return reports
