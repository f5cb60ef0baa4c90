"""
Who may open a socket, who may go on using it, and from which pages.
"""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.live import LiveSite
from tests.websocket.conftest import SIGN_IN_SECONDS, TRUSTED, Person
from tests.websocket.sockets import ONE, SOON, ask, opens, refusal, talk, who

# --- By token ---------------------------------------------------------------------------------


async def test_anybody_may_use_a_public_deployment(site: LiveSite) -> None:
    assert (await ask(site, "/count", "invoke", input=ONE)).result["output"] == "x:0 "


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_a_token_in_a_header_lets_in(site: LiveSite, alice: Person, header: str) -> None:
    value = f"Bearer {alice.token}" if header == "Authorization" else alice.token
    run = await ask(site, "/private_count", "invoke", headers={header: value}, input=ONE)
    assert run.result["output"] == "x:0 "


async def test_a_token_in_a_subprotocol_lets_in(site: LiveSite, alice: Person) -> None:
    offered = ["langserve", f"bearer.{alice.token}"]
    async with talk(site, "/private_count", subprotocols=offered) as caller:
        assert caller.connection.subprotocol == "langserve"
        assert (await who(caller))["output"] == "x:0 "


async def test_without_the_subprotocol_none_is_chosen(site: LiveSite) -> None:
    async with talk(site, "/count", subprotocols=["chat"]) as caller:
        assert caller.connection.subprotocol is None
        assert (await who(caller))["output"] == "x:0 "


async def test_a_token_in_the_first_frame_lets_in(site: LiveSite, alice: Person) -> None:
    async with talk(site, "/private_count") as caller:
        signed_in = await caller.call("hello", "authenticate", token=alice.token)
        assert signed_in.result == {"status": "authenticated"}
        assert (await who(caller))["output"] == "x:0 "


@pytest.mark.parametrize("path", ["/private_count", "/count"])
async def test_a_wrong_token_is_refused_wherever_it_is(site: LiveSite, path: str) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    offered = ["langserve", "bearer.wrong"]
    assert await refusal(site, path, wrong) == (401, "not_authenticated")
    assert await refusal(site, path, {"X-API-Key": "wrong"}) == (401, "not_authenticated")
    assert await refusal(site, path, subprotocols=offered) == (401, "not_authenticated")


@pytest.mark.parametrize("params", [{"token": "wrong"}, {"token": None}, {}, {"token": [1]}])
async def test_a_wrong_token_in_the_first_frame_closes(
    site: LiveSite, params: dict[str, Any]
) -> None:
    async with talk(site, "/private_count") as caller:
        refused = await caller.call(1, "authenticate", **params)
        assert refused.error["status_code"] == 401
        assert await caller.closed() == (1008, "not let in: not_authenticated")


async def test_a_token_in_the_url_is_none(site: LiveSite, alice: Person) -> None:
    async with talk(site, "/private_count", query=f"?token={alice.token}") as caller:
        await caller.send(1, "invoke", input=ONE)
        assert await caller.closed() == (1008, "the first frame must be authenticate")


@pytest.mark.parametrize("method", ["invoke", "stream", "cancel", "nonsense"])
async def test_who_has_not_signed_in_may_only_sign_in(site: LiveSite, method: str) -> None:
    async with talk(site, "/private_count") as caller:
        assert (await caller.call("early", "ping")).result == {}
        await caller.send(1, method, input=ONE)
        assert await caller.closed() == (1008, "the first frame must be authenticate")


async def test_who_does_not_sign_in_is_disconnected(site: LiveSite) -> None:
    async with talk(site, "/private_count") as caller:
        assert await caller.closed(SIGN_IN_SECONDS + SOON) == (1008, "nobody signed in")


async def test_who_may_not_is_told_so(site: LiveSite, alice: Person) -> None:
    assert await refusal(site, "/group_count", alice.bearer) == (403, "not_permitted")
    async with talk(site, "/group_count") as caller:
        await caller.send(1, "authenticate", token=alice.token)
        assert await caller.closed() == (1008, "not let in: not_permitted")


async def test_what_is_not_there_is_404(site: LiveSite, alice: Person) -> None:
    assert await refusal(site, "/not/there") == (404, "unknown_deployment")
    assert await refusal(site, "/not/there", alice.bearer) == (404, "unknown_deployment")
    assert await refusal(site, "/invoke_only") == (404, "unknown_endpoint")


async def test_an_unlisted_deployment_is_not_betrayed(site: LiveSite, alice: Person) -> None:
    assert await opens(site, "/hidden", alice.bearer)
    assert await refusal(site, "/hidden") == (404, "unknown_deployment")


# --- By session, and from which page ----------------------------------------------------------


def origins(site: LiveSite) -> dict[str, str]:
    port = int(site.url.rpartition(":")[2])
    return {
        "foreign": "http://evil.example.org",
        "null": "null",
        "empty": "",
        "port": f"http://127.0.0.1:{port + 1}",
        "no port": "http://127.0.0.1",
        "scheme": f"https://127.0.0.1:{port}",
        "websocket's scheme": f"ws://127.0.0.1:{port}",
        "host": f"http://localhost:{port}",
        "suffix": f"{site.url}.evil.example.org",
        "user": f"http://127.0.0.1:{port}@evil.example.org",
        "path": f"{site.url}/",
        "case": site.url.upper(),
        "twice": f"{site.url},{site.url}",
        "of the trusted": f"{TRUSTED}.evil.org",
        "subdomain of the trusted": TRUSTED.replace("://", "://evil."),
    }


WRONG = [
    "foreign",
    "null",
    "empty",
    "port",
    "no port",
    "scheme",
    "websocket's scheme",
    "host",
    "suffix",
    "user",
    "path",
    "case",
    "twice",
    "of the trusted",
    "subdomain of the trusted",
]


async def test_a_session_counts_on_pages_of_the_site(site: LiveSite, alice: Person) -> None:
    headers = {**alice.cookie, "Origin": site.url}
    run = await ask(site, "/private_count", "invoke", headers=headers, input=ONE)
    assert run.result["output"] == "x:0 "


async def test_a_session_counts_on_pages_that_are_listed(site: LiveSite, alice: Person) -> None:
    headers = {**alice.cookie, "Origin": TRUSTED}
    run = await ask(site, "/private_count", "invoke", headers=headers, input=ONE)
    assert run.result["output"] == "x:0 "


@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize("path", ["/private_count", "/count"])
async def test_a_session_on_another_page_is_refused(
    site: LiveSite, alice: Person, which: str, path: str
) -> None:
    headers = {**alice.cookie, "Origin": origins(site)[which]}
    assert await refusal(site, path, headers) == (403, "origin_not_allowed")


@pytest.mark.parametrize("path", ["/private_count", "/count"])
async def test_a_session_without_an_origin_is_refused(
    site: LiveSite, alice: Person, path: str
) -> None:
    assert await refusal(site, path, alice.cookie) == (403, "origin_not_allowed")


async def test_a_session_that_is_none_is_nobody(site: LiveSite) -> None:
    headers = {"Cookie": "sessionid=0123456789abcdefghijklmnopqrstuv", "Origin": site.url}
    assert (await ask(site, "/count", "invoke", headers=headers, input=ONE)).result
    async with talk(site, "/private_count", headers=headers) as caller:
        await caller.send(1, "invoke", input=ONE)
        assert await caller.closed() == (1008, "the first frame must be authenticate")


@pytest.mark.parametrize("which", WRONG)
async def test_a_token_from_a_foreign_page_is_refused(
    site: LiveSite, alice: Person, which: str
) -> None:
    headers = {**alice.bearer, "Origin": origins(site)[which]}
    assert await refusal(site, "/private_count", headers) == (403, "origin_not_allowed")


@pytest.mark.parametrize("which", ["foreign", "null", "port", "scheme"])
async def test_a_foreign_page_may_not_even_call_what_is_public(site: LiveSite, which: str) -> None:
    headers = {"Origin": origins(site)[which]}
    assert await refusal(site, "/count", headers) == (403, "origin_not_allowed")


@pytest.mark.parametrize("second", ["http://evil.example.org", "the same"])
async def test_two_origins_are_refused(site: LiveSite, alice: Person, second: str) -> None:
    both = [("Origin", site.url), ("Origin", site.url if second == "the same" else second)]
    for first, last in (both, both[::-1]):
        headers: Any = [*alice.cookie.items(), first, last]
        with pytest.raises(InvalidStatus) as refused:
            async with talk(site, "/private_count", headers=headers):
                pass
        assert refused.value.response.status_code in (400, 403)


async def test_a_foreign_host_is_refused(site: LiveSite) -> None:
    headers = {"Origin": "http://evil.example.org"}
    port = site.url.rpartition(":")[2]
    rebound = LiveSite(f"http://evil.example.org:{port}", site.env)
    found = await refusal(rebound, "/count", headers, host="127.0.0.1", port=int(port))
    assert found == (400, "disallowed_host")


async def test_a_site_on_https_takes_no_plain_sockets(patient_site: LiveSite) -> None:
    origin = patient_site.url.replace("http", "https")
    assert await opens(patient_site, "/count", {"X-Forwarded-Proto": "https", "Origin": origin})
    assert await refusal(patient_site, "/count") == (403, "https_required")
