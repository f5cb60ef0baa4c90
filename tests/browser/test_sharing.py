"""
A run's link from its making to its end, as its owner and a stranger see it.
"""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Browser
from tests.live import LiveSite
from tests.needs import needs

pytestmark = [pytest.mark.browser, needs("chromium")]

with_phone = pytest.mark.parametrize("browser_options", [{"viewport": PHONE}], ids=["phone"])
without_scripts = pytest.mark.parametrize(
    "browser_options", [{"java_script_enabled": False}], ids=["no scripts"]
)
RUN = uuid4()
MAKE_RUN = f"""
from uuid import UUID
from django.contrib.auth import get_user_model
from runnables import deployments
from runnables.models import Deployment, Grant
from tests.traces.shared import keep_step, keep_trace
alice = get_user_model().objects.get(username="alice")
row = Deployment.objects.get(name="joke")
row.endpoints = [*row.endpoints, "public_trace_link"]
row.save()
Grant.objects.create(deployment=row, audience="user", user=alice, share=True)
deployments.announce_change()
trace = keep_trace(
    row, alice, id=UUID("{RUN}"), name="answering with a very_long_name_" + "x" * 60,
    input={{"question": "why?", "api_key": "sk-canary0123456789"}}, output="long " * 400 + "x" * 300,
)
parent = None
for number in range(6):
    parent = keep_step(trace, parent, name=f"step{{number}}" + "y" * 30, offset_ms=number * 500.0)
keep_step(trace, parent, name="model", kind="llm", model="gpt-5-mini", input_tokens=312, output_tokens=88)
"""


@pytest.fixture(scope="module")
def run(live: LiveSite) -> str:
    live.manage("shell", "-c", MAKE_RUN)
    return f"/traces/{RUN}/share/"


def make_link(browser: Browser, name: str) -> str:
    browser.page.fill("#id_name", name)
    browser.page.click("text=Create link")
    url: str = browser.page.locator("#new-link").input_value()
    assert re.fullmatch(re.escape(browser.url) + r"/s/[\w-]{43}/", url)
    return url


def status(browser: Browser, url: str) -> int:
    """
    What somebody else's browser gets there.
    """
    other = browser.page.context.browser.new_context()
    try:
        return int(other.request.get(url).status)
    finally:
        other.close()


@without_scripts
def test_run_is_shared_and_taken_back_without_scripts(browser: Browser, run: str) -> None:
    browser.sign_in(path=run)
    page = browser.page
    assert page.locator(".preview .shared-payload").count() == 2
    page.uncheck("input[value=payloads]")
    page.click("text=Update the preview")
    assert page.locator(".preview .shared-payload").count() == 0
    page.check("input[value=payloads]")
    url = make_link(browser, "plain")
    page.reload()
    assert page.locator("#new-link").input_value() == url
    assert page.locator(".share-links tbody tr").count() == 1

    assert status(browser, url) == 200
    browser.open("/traces/links/")
    row = page.locator("tr", has_text="plain")
    assert row.locator("[data-label=Views]").inner_text().startswith("1")
    row.locator("summary").click()
    row.locator(".button-danger").click()
    page.wait_for_selector(".notice-success")
    assert status(browser, url) == 404


def test_stranger_reads_what_was_shared_and_reloads(browser: Browser, run: str) -> None:
    browser.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    browser.sign_in(path=run)
    expect(browser.page.get_by_text("looks like a key")).to_be_visible()
    url = make_link(browser, "for a stranger")
    browser.page.click(".created [data-copy]")
    expect(browser.page.locator(".created [data-copy-status]")).to_have_text("Copied")
    assert browser.page.evaluate("navigator.clipboard.readText()") == url

    browser.page.context.clear_cookies()
    for _ in range(2):
        browser.page.goto(url)
        expect(browser.page.get_by_text("read only, until")).to_be_visible()
    content = browser.page.content()
    assert "canary" not in content
    assert "alice" not in content
    assert str(RUN) not in content
    browser.page.locator(".shared-more summary").first.click()
    expect(browser.page.locator(".shared-more pre").first).to_be_visible()
    assert browser.page.context.cookies() == []


@with_phone
def test_nothing_sticks_out_on_a_phone(browser: Browser, run: str) -> None:
    browser.sign_in(path=run)
    url = make_link(browser, "phone")
    assert browser.sticking_out() == []
    browser.open("/traces/links/")
    assert browser.sticking_out() == []
    for address in (url, f"{browser.url}/s/{'x' * 43}/"):
        browser.page.goto(address)
        assert browser.sticking_out() == []
    # The last one is 404, of which the console speaks.
    browser.complaints = [one for one in browser.complaints if "404" not in one]


def test_all_of_it_is_reached_by_keyboard(browser: Browser, run: str) -> None:
    browser.sign_in(path=run)
    url = make_link(browser, "keyboard")
    for address in (browser.page.url, url):
        browser.page.goto(address)
        wanted, went = browser.walk_by_tab()
        assert wanted <= {stop["number"] for stop in went}
        assert all(stop["ring"] >= 2 for stop in went if stop["number"])
