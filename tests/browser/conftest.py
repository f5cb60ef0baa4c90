"""
A real browser at a real server below a prefix. It is strict: a word on its console, a
violation of the policy or a request to another host fails the test that caused it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.live import LiveSite, live_site
from tests.needs import chromium, require

PREFIX = "/pre/fix"
PASSWORD = "a password for tests"
MAKE_USERS = f"""
from django.contrib.auth import get_user_model
users = get_user_model().objects
users.create_user("alice", "alice@example.org", "{PASSWORD}")
users.create_superuser("root", "root@example.org", "{PASSWORD}")
"""

# Elements that stick out of their parents. What is taken out of the flow may, and so may
# what its parent scrolls or hides.
STICKING_OUT = """() => [...document.body.querySelectorAll("*")].filter((element) => {
  const parent = element.parentElement;
  const style = getComputedStyle(element);
  const around = getComputedStyle(parent);
  if (element.closest("svg, option, thead") || ["absolute", "fixed"].includes(style.position)) return false;
  if (around.display === "inline" || around.display === "contents") return false;
  if (around.overflowX !== "visible" || !element.checkVisibility()) return false;
  return element.getBoundingClientRect().width > parent.getBoundingClientRect().width + 1;
}).map((element) => element.outerHTML.slice(0, 120))"""

FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
# Of those, the ones on the screen that Tab should reach, each with a number to know it by.
NUMBERED = f"""() => [...document.querySelectorAll("{FOCUSABLE}")]
  .filter((element) => element.checkVisibility() && !element.disabled)
  .map((element, number) => element.dataset.number = String(number))"""
FOCUSED = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    number: element.dataset.number,
    ring: style.outlineStyle === "solid" ? parseFloat(style.outlineWidth) : 0,
    inView: box.bottom > 0 && box.top < innerHeight,
    html: element.outerHTML.slice(0, 120),
  };
}"""


class Browser:
    """
    One page of a fresh browser, and whatever it complains of.
    """

    def __init__(self, started: Any, site: LiveSite, **options: Any) -> None:
        self.page = started.new_context(**{"viewport": SCREEN, **options}).new_page()
        self.site = site
        self.url = site.url + PREFIX
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def open(self, path: str) -> None:
        response = self.page.goto(self.url + path)
        assert response.status == 200, path

    def sign_in(self, name: str = "alice", path: str = "/tokens/") -> None:
        self.open(path)
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.press("#id_password", "Enter")
        self.page.wait_for_url(self.url + path)

    def sticking_out(self) -> list[str]:
        found: list[str] = self.page.evaluate(STICKING_OUT)
        return found

    def walk_by_tab(self) -> tuple[set[str], list[dict[str, Any]]]:
        """
        What Tab should reach, and where it went.
        """
        wanted = set(self.page.evaluate(NUMBERED))
        self.page.evaluate("document.activeElement.blur()")
        went = []
        for _ in range(len(wanted) + 1):
            self.page.keyboard.press("Tab")
            went.append(self.page.evaluate(FOCUSED))
        return wanted, went

    def assert_content(self) -> None:
        assert self.complaints == []
        assert self.hosts <= {self.site.url.removeprefix("http://")}

    def _note(self, message: Any) -> None:
        # Chromium's hints to developers are "verbose"; Django's admin has no icon of its own.
        is_icon = message.location.get("url", "").endswith("/favicon.ico")
        if message.type in ("error", "warning") and not is_icon:
            self.complaints.append(message.text)


SCREEN = {"width": 1280, "height": 800}
PHONE = {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    require("chromium")
    env = {"RUNNABLES_MODULES": "tests.openapi.served", "FORCE_SCRIPT_NAME": PREFIX}
    with live_site(tmp_path_factory.mktemp("site"), env=env) as site:
        site.manage("shell", "-c", MAKE_USERS)
        yield site


@pytest.fixture(scope="module")
def chrome(live: LiveSite) -> Iterator[Any]:
    # Here, as it need not be installed.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def browser_options() -> dict[str, Any]:
    """
    What the context of a test's browser is made with; parametrize it.
    """
    return {}


@pytest.fixture
def browser(chrome: Any, live: LiveSite, browser_options: dict[str, Any]) -> Iterator[Browser]:
    opened = Browser(chrome, live, **browser_options)
    yield opened
    opened.page.context.close()
    opened.assert_content()
