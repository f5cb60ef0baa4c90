"""
People of a live site, and what staff do to it: over the site's own database.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.live import LiveSite

_IMPORTS = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client
from runnables import deployments, trials, versions
from runnables.models import ApiToken, Deployment, Grant
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


def shell(site: LiveSite, code: str) -> Any:
    """
    Run Python in the site; what it printed after SAID, as JSON.
    """
    printed = site.manage("shell", "--no-imports", "-c", f"{_IMPORTS}\n{code}")
    said = [line for line in printed.splitlines() if line.startswith("SAID ")]
    return json.loads(said[-1][5:]) if said else None


def make_person(site: LiveSite, name: str, *groups: str) -> Person:
    return Person(name, **shell(site, _MAKE.format(name=name, groups=groups)))
