"""
People of a live site, and what staff do to it: over the site's own database.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.live import ROOT, LiveSite

_IMPORTS = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client
from runnables import deployments, trials, versions
from runnables.models import ApiToken, Deployment, Grant
"""
_LOOP = f"""
import json, sys, traceback
import django
django.setup()
{_IMPORTS}
for line in sys.stdin:
    try:
        exec(json.loads(line), dict(globals()))
    except Exception:
        print("FAILED", json.dumps(traceback.format_exc()), flush=True)
    else:
        print("DONE ", flush=True)
"""
_MAKE = """
user = User.objects.create_user({name!r}, password="a password for tests")
user.groups.add(*[Group.objects.get_or_create(name=name)[0] for name in {groups!r}])
client = Client()
client.force_login(user)
session = client.cookies[settings.SESSION_COOKIE_NAME].value
print("SAID", json.dumps({{"token": ApiToken.objects.create(user)[1], "session": session}}))
"""
CSRF = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Person:
    """
    Somebody with an account, a token and a session.
    """

    name: str
    token: str
    session: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> dict[str, str]:
        return {
            "Cookie": f"sessionid={self.session}; csrftoken={CSRF}",
            "X-CSRFToken": CSRF,
        }


class _Shell:
    """
    One more process on a site's database, which runs what it is told: Django's start-up
    costs more than most tests.
    """

    def __init__(self, site: LiveSite) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            cwd=ROOT,
            env=site.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._end)

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, code: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(code)}\n")
        self._process.stdin.flush()
        said = None
        for line in self._process.stdout:
            word, _, rest = line.partition(" ")
            if word == "SAID":
                said = json.loads(rest)
            elif word == "FAILED":
                raise RuntimeError(json.loads(rest))
            elif word == "DONE":
                return said
        raise RuntimeError("the shell has ended")


_shells: dict[str, _Shell] = {}


def shell(site: LiveSite, code: str) -> Any:
    """
    Run Python in the site; what it printed after SAID, as JSON.
    """
    database = site.env["DATABASE_URL"]
    if database not in _shells:
        _shells[database] = _Shell(site)
    return _shells[database].run(code)


def make_person(site: LiveSite, name: str, *groups: str) -> Person:
    return Person(name, **shell(site, _MAKE.format(name=name, groups=groups)))
