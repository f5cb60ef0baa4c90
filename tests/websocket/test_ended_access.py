"""
An open socket is closed when its caller's access ends, with all its runs.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from tests.live import LiveSite
from tests.websocket.conftest import CHECK_SECONDS, Person
from tests.websocket.sockets import ONE, SOON, Talk, noted, opens, refusal, talk, who

# The look of the check, the poll that shows it a changed deployment, and a busy host.
CHECKED = CHECK_SECONDS + SOON


async def with_a_run(caller: Talk, site: LiveSite, key: str) -> None:
    await caller.send("run", "stream", input={"key": key, "upto": 100_000})
    await noted(site, key, "started")


async def ends(caller: Talk, site: LiveSite, key: str) -> str:
    """
    Why the socket was closed; its run must be over as well.
    """
    code, reason = await caller.closed(CHECKED)
    assert code == 1008
    await noted(site, key, "finally")
    return reason


@pytest.mark.parametrize(("path", "name"), [("/private_count", "ivan"), ("/count", "judy")])
async def test_a_revoked_token_closes_the_socket(
    site: LiveSite, people: dict[str, Person], key: str, path: str, name: str
) -> None:
    async with talk(site, path, headers=people[name].bearer) as caller:
        await with_a_run(caller, site, key)
        site.manage("langserve", "token", "revoke", people[name].token)
        assert await ends(caller, site, key) == "access has ended: not_authenticated"


async def test_new_commands_after_a_revocation_are_refused_at_once(
    patient_site: LiveSite, people: dict[str, Person]
) -> None:
    # Where no quick check might close the socket before it is asked.
    headers = {**people["heidi"].bearer, "X-Forwarded-Proto": "https"}
    async with talk(patient_site, "/private_count", headers=headers) as caller:
        assert (await who(caller, "before"))["output"] == "x:0 "
        patient_site.manage("langserve", "token", "revoke", people["heidi"].token)
        for method in ("invoke", "stream", "batch", "stream_events", "stream_log"):
            refused = await caller.call(method, method, input=ONE, inputs=[ONE])
            assert refused.error["status_code"] == 401
        cancel = await caller.call("cancel", "cancel", run_id="0" * 32)
        assert cancel.error["status_code"] == 401


async def test_a_method_that_is_switched_off_is_refused(site: LiveSite) -> None:
    async with talk(site, "/switchable") as caller:
        site.manage("langserve", "disable", "/switchable", "--endpoint", "stream")
        await becomes_refused(caller, "stream", "unknown_endpoint")
        assert (await who(caller))["output"] == "x:0 "


async def becomes_refused(caller: Talk, method: str, code: str) -> None:
    """
    Soon every such run is refused so.
    """
    async with asyncio.timeout(SOON):
        for number in itertools.count():
            run = await caller.call(f"{method} {number}", method, input=ONE)
            if run.reply and run.reply["type"] == "error":
                assert run.error["code"] == code
                return
            await asyncio.sleep(0.02)


async def test_a_sign_out_closes_the_socket(
    site: LiveSite, people: dict[str, Person], key: str
) -> None:
    carol = people["carol"]
    headers = {**carol.cookie, "Origin": site.url}
    async with talk(site, "/private_count", headers=headers) as caller:
        await with_a_run(caller, site, key)
        sign_out(site, carol)
        assert await ends(caller, site, key) == "access has ended: not_authenticated"


async def test_a_sign_out_closes_a_socket_to_what_is_public(
    site: LiveSite, people: dict[str, Person], key: str
) -> None:
    dave = people["dave"]
    headers = {**dave.cookie, "Origin": site.url}
    async with talk(site, "/count", headers=headers) as caller:
        await with_a_run(caller, site, key)
        sign_out(site, dave)
        assert (await ends(caller, site, key)).startswith("access has ended")


async def test_a_user_who_is_switched_off_is_disconnected(
    site: LiveSite, people: dict[str, Person], key: str
) -> None:
    erin = people["erin"]
    async with talk(site, "/private_count", headers=erin.bearer) as caller:
        await with_a_run(caller, site, key)
        shell(site, "User.objects.filter(username='erin').update(is_active=False)")
        assert await ends(caller, site, key) == "access has ended: not_authenticated"


async def test_a_right_that_is_lost_closes_the_socket(
    site: LiveSite, people: dict[str, Person], key: str
) -> None:
    frank = people["frank"]
    shell(site, "User.objects.get(username='frank').groups.add(Group.objects.get(name='readers'))")
    async with talk(site, "/group_count", headers=frank.bearer) as caller:
        await with_a_run(caller, site, key)
        shell(site, "User.objects.get(username='frank').groups.clear()")
        assert await ends(caller, site, key) == "access has ended: not_permitted"


@pytest.mark.parametrize(
    ("switch", "code"),
    [((), "unknown_deployment"), (("--endpoint", "websocket"), "unknown_endpoint")],
)
async def test_what_is_switched_off_closes_its_sockets(
    site: LiveSite, key: str, switch: tuple[str, ...], code: str
) -> None:
    async with talk(site, "/closable") as caller:
        await with_a_run(caller, site, key)
        site.manage("langserve", "disable", "/closable", *switch)
        try:
            assert await ends(caller, site, key) == f"access has ended: {code}"
            assert await refusal(site, "/closable") == (404, code)
        finally:
            site.manage("langserve", "enable", "/closable", *switch)
        await becomes_open(site, "/closable")


async def becomes_open(site: LiveSite, path: str) -> None:
    async with asyncio.timeout(SOON):
        while not await opens(site, path):  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.02)


async def test_a_check_that_breaks_is_not_the_last(
    site: LiveSite, people: dict[str, Person], key: str, tmp_path: Path
) -> None:
    switch = tmp_path / "broken"
    grace = people["grace"]
    headers = {**grace.bearer, "X-Switch": str(switch)}
    async with talk(site, "/breakable", headers=headers) as caller:
        await with_a_run(caller, site, key)
        switch.touch()
        with pytest.raises(TimeoutError):
            await caller.closed(CHECK_SECONDS * 3)
        switch.unlink()
        site.manage("langserve", "token", "revoke", grace.token)
        assert (await ends(caller, site, key)).startswith("access has ended")


def shell(site: LiveSite, code: str) -> None:
    models = "from django.contrib.auth.models import Group, User"
    site.manage("shell", "-c", f"{models}; {code}")


def sign_out(site: LiveSite, person: Person) -> None:
    """
    As the admin's button does.
    """
    code = (
        "from importlib import import_module; from django.conf import settings;"
        f"import_module(settings.SESSION_ENGINE).SessionStore({person.session!r}).flush()"
    )
    site.manage("shell", "-c", code)
