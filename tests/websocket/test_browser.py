"""
A real browser on a page of the site: its session, its Origin, its WebSocket.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Page

from tests.live import LiveSite
from tests.websocket import crowd
from tests.websocket.conftest import PASSWORD, Person
from tests.websocket.sockets import Run, noted

pytestmark = pytest.mark.browser

# Starts every run, cancels the marked ones once they have begun, and returns all frames.
FIFTY_RUNS = """
async ({ path, commands, cancels }) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + path + "/ws");
  const frames = [];
  const running = new Set(commands.map((command) => command.id));
  const streams = new Set(commands.filter((c) => c.method.startsWith("stream")).map((c) => c.id));
  const cancel = (id) => {
    if (cancels[id]) socket.send(JSON.stringify(cancels[id]));
    delete cancels[id];
  };
  await new Promise((resolve, reject) => {
    socket.onopen = () => commands.forEach((command) => socket.send(JSON.stringify(command)));
    socket.onclose = ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`));
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      frames.push(frame);
      const ends = ["end", "error"].includes(frame.event) || frame.type === "error";
      if (ends || (frame.type === "success" && !streams.has(frame.id))) running.delete(frame.id);
      if (frame.event === "data") cancel(frame.id);
      // What does not stream says nothing of its beginning: cancelled when a short run ends.
      if (frame.event === "end") Object.keys(cancels).forEach(
        (id) => cancels[id].late && cancel(id));
      if (!running.size) resolve();
    };
  });
  socket.close();
  return frames;
}
"""

OPEN = """
(url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => { resolve("open"); socket.close(); };
  socket.onclose = ({ code }) => resolve(code);
})
"""


async def sign_in(page: Page, site: LiveSite, person: Person) -> None:
    await page.goto(f"{site.url}/admin/login/")
    await page.fill("input[name=username]", person.name)
    await page.fill("input[name=password]", PASSWORD)
    await page.click("[type=submit]")
    await page.wait_for_url("**/admin/**")


def socket_url(site: LiveSite, path: str) -> str:
    return f"ws{site.url.removeprefix('http')}{path}/ws"


async def test_fifty_runs_share_a_socket_in_a_browser(
    page: Page, site: LiveSite, alice: Person
) -> None:
    orders = crowd.crowd()
    await sign_in(page, site, alice)
    asked: dict[str, Any] = {
        "path": "/private_count",
        "commands": [{"id": o.id, "method": o.method, "params": o.params} for o in orders],
        "cancels": {
            str(o.id): {
                "id": f"cancel {o.id}",
                "method": "cancel",
                "params": o.cancel_params,
                "late": o.method in ("invoke", "batch"),
            }
            for o in orders
            if o.is_cancelled
        },
    }
    runs: dict[str | int, Run] = {}
    for frame in await page.evaluate(FIFTY_RUNS, asked):
        runs.setdefault(frame["id"], Run()).add(frame)
    crowd.check_all(orders, runs)
    for one in orders:
        await noted(site, one.key, "finally")


async def test_a_session_counts_on_the_sites_own_pages_alone(
    page: Page, site: LiveSite, patient_site: LiveSite, alice: Person
) -> None:
    await sign_in(page, site, alice)
    assert await page.evaluate(OPEN, socket_url(site, "/private_count")) == "open"
    # Cookies know no ports: the other server gets the session, from a page that is not its own.
    assert await page.evaluate(OPEN, socket_url(patient_site, "/count")) == 1006


async def test_a_page_of_nowhere_is_refused(page: Page, site: LiveSite) -> None:
    # Its Origin is the text "null".
    await page.set_content("<h1>A page of nowhere</h1>")
    assert await page.evaluate(OPEN, socket_url(site, "/count")) == 1006


async def test_a_token_by_subprotocol_lets_a_page_in(
    page: Page, site: LiveSite, alice: Person
) -> None:
    await page.goto(f"{site.url}/admin/login/")
    script = f"""
    (url) => new Promise((resolve) => {{
      const socket = new WebSocket(url, ["langserve", {json.dumps(f"bearer.{alice.token}")}]);
      socket.onopen = () => socket.send('{{"id": 1, "method": "invoke", "params": {{"input": {{"key": "x", "upto": 1}}}}}}');
      socket.onmessage = ({{ data }}) => resolve(JSON.parse(data).result.output);
      socket.onclose = ({{ code }}) => resolve(code);
    }})
    """
    assert await page.evaluate(script, socket_url(site, "/private_count")) == "x:0 "
