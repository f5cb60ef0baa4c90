"""
The JavaScript client in a real browser: on a page of the site, by session, under a strict
Content-Security-Policy, and without what some browsers lack.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright

from tests.live import LiveSite, wait_until
from tests.needs import chromium, require

pytestmark = pytest.mark.browser

CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
TOLD = "You said: Tell me about cats"

# What Safari and older browsers have not.
FORGET = """
delete ReadableStream.prototype[Symbol.asyncIterator];
delete ReadableStream.prototype.values;
delete AbortSignal.any;
delete AbortSignal.timeout;
"""

OBEY = """
async (policy) => {
  const meta = document.createElement("meta");
  meta.httpEquiv = "Content-Security-Policy";
  meta.content = policy;
  document.head.append(meta);
  return fetch("data:,x").then(() => false, () => true);
}
"""

CALLS = """
async (transport) => {
  const { RemoteRunnable } = await import("/static/runnables/remote-runnable.js");
  const remote = new RemoteRunnable({ url: "/private", transport });
  const seen = { chunks: [], events: 0 };
  seen.text = await remote.invoke({ topic: "cats" });
  const stream = await remote.stream({ topic: "cats" }, { timeout: 60000 });
  for await (const chunk of stream) seen.chunks.push(chunk);
  for await (const event of remote.streamEvents({ topic: "cats" })) seen.events += 1;
  seen.runIds = [stream.runId !== undefined, remote.lastRunId !== stream.runId];
  seen.refused = await remote.invoke({}).catch(({ name, status, code }) => [name, status, code]);
  remote.close();
  return seen;
}
"""

LEAVE = """
async ([transport, key]) => {
  const { RemoteRunnable } = await import("/static/runnables/remote-runnable.js");
  const remote = new RemoteRunnable({ url: "/slow", transport });
  for await (const chunk of await remote.stream(key)) if (chunk === "2") return remote.lastRunId;
}
"""

OTHER_ORIGIN = """
async (url) => {
  const { RemoteRunnable } = await import("/static/runnables/remote-runnable.js");
  let sent;
  const fetch = async (_, init) => {
    sent = { csrf: init.headers.get("x-csrftoken"), credentials: init.credentials };
    return Response.json({ output: 1 });
  };
  await new RemoteRunnable({ url, fetch }).invoke(1);
  return sent;
}
"""


@pytest.fixture
async def page(site: LiveSite, cookies: str) -> AsyncIterator[Page]:
    """
    A page of the site in the browser of somebody who has signed in.
    """
    require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        context = await browser.new_context()
        named = (cookie.split("=", 1) for cookie in cookies.split("; "))
        await context.add_cookies(
            [{"name": name, "value": value, "url": site.url} for name, value in named]
        )
        page = await context.new_page()
        await page.add_init_script(FORGET)
        await page.goto(f"{site.url}/deployments/")
        assert await page.evaluate(OBEY, CSP), "the policy is not obeyed"
        yield page
        await browser.close()


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_a_session_calls_what_is_private(page: Page, transport: str) -> None:
    seen = await page.evaluate(CALLS, transport)

    assert seen["text"] == "".join(seen["chunks"]) == TOLD
    assert len(seen["chunks"]) > 3
    assert seen["events"] > 3
    assert seen["runIds"] == [True, True]
    assert seen["refused"] == ["RemoteError", 422, "validation_error"]


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_leaving_the_loop_ends_the_run(page: Page, site: LiveSite, transport: str) -> None:
    key = f"browser-{transport}"
    assert await page.evaluate(LEAVE, [transport, key])

    ledger = site.ledger / key
    await asyncio.to_thread(wait_until, lambda: "finally" in ledger.read_text(), 3)


async def test_another_origin_learns_no_csrf_token(page: Page, site: LiveSite) -> None:
    ours = await page.evaluate(OTHER_ORIGIN, "/private")
    others = await page.evaluate(OTHER_ORIGIN, "http://other.example/private")

    assert ours["csrf"]
    assert others == {"csrf": None, "credentials": "same-origin"}
