"""
Swagger UI at `/docs`, under a policy that lets nothing run but files of the site.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Site
from tests.live import LiveSite, live_site
from tests.needs import chromium, needs

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PREFIX = "/pre/fix"
PASSWORD = "a password for tests"
MAKE_USER = f"""
from django.contrib.auth import get_user_model
from runnables.models import ApiToken
user = get_user_model().objects.create_user("alice", password="{PASSWORD}", is_staff=True)
print("token:" + ApiToken.objects.create(user)[1])
"""


@pytest.mark.parametrize("path", ["/docs/", "/docs"])
def test_page_is_served_with_the_policy_and_no_code_of_its_own(site: Site, path: str) -> None:
    response = site.get(path)

    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == POLICY
    assert "csrftoken" in response.cookies
    assert " style=" not in response.text
    assert " on" not in response.text.split("<body>")[0]
    scripts = [part.split(">")[0] for part in response.text.split("<script")[1:]]
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)


def test_page_names_its_urls_below_the_prefix(site: Site, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = PREFIX

    page = site.get(f"{PREFIX}/docs/").text

    assert f'"url": "{PREFIX}/openapi.json"' in page


# In a browser


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    env = {"RUNNABLES_MODULES": "tests.openapi.served", "FORCE_SCRIPT_NAME": PREFIX}
    with live_site(tmp_path_factory.mktemp("site"), env=env) as site:
        yield site


@pytest.fixture(scope="module")
def token(live: LiveSite) -> str:
    """
    A token of alice, who is made with it.
    """
    return live.manage("shell", "-c", MAKE_USER).split("token:")[1].split()[0]


class Browser:
    """
    A page of a fresh browser, and whatever it complains of.
    """

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.url = url
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def sign_in(self, name: str) -> None:
        self.page.goto(f"{self.url}/admin/login/")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.press("#id_password", "Enter")
        self.page.wait_for_selector("#user-tools")
        # The admin is not what is tested: it has no icon, for one.
        self.complaints.clear()

    def open_docs(self) -> None:
        response = self.page.goto(f"{self.url}/docs/")
        assert response.status == 200
        self.page.wait_for_selector(".opblock-tag")

    def tags(self) -> list[str]:
        found: list[str] = self.page.locator(".opblock-tag").evaluate_all(
            "all => all.map(tag => tag.dataset.tag)"
        )
        return found

    def try_out(self, deployment: str) -> str:
        """
        What Swagger UI shows for the call that its example makes.
        """
        self.page.locator(f".opblock-tag[data-tag='{deployment}']").click()
        operation = self.page.locator(f"#operations-{deployment}-{deployment}_invoke")
        operation.locator("button.opblock-summary-control").click()
        operation.locator(".execute").click()
        answer = operation.locator(".live-responses-table .response")
        answer.wait_for()
        text: str = answer.inner_text()
        return text

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture
def browser(live: LiveSite) -> Iterator[Browser]:
    # Here, as it need not be installed.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        opened = Browser(started, live.url + PREFIX)
        yield opened
        started.close()
    assert opened.complaints == []
    assert opened.hosts == {live.url.removeprefix("http://")}


@pytest.mark.browser
@needs("chromium")
def test_anonymous_caller_tries_a_public_deployment(browser: Browser, tmp_path: Path) -> None:
    browser.open_docs()

    assert {"joke", "broken"} <= set(browser.tags())
    assert "private" not in browser.tags()
    assert '"About text"' in browser.try_out("joke")


@pytest.mark.browser
@needs("chromium")
def test_user_tries_a_private_deployment_by_session(browser: Browser, token: str) -> None:
    browser.sign_in("alice")
    browser.open_docs()

    assert '"output": "text"' in browser.try_out("private")


@pytest.mark.browser
@needs("chromium")
def test_entered_token_opens_more_and_calls_it(browser: Browser, token: str) -> None:
    browser.open_docs()
    page = browser.page
    page.locator("button.authorize").click()
    form = page.locator(".auth-container", has_text="bearer")
    form.locator("input").fill(token)
    form.locator("button[type=submit]").click()
    page.locator(".btn-done").first.click()
    page.wait_for_selector(".opblock-tag[data-tag='private']")

    assert '"output": "text"' in browser.try_out("private")


@pytest.mark.browser
@needs("chromium")
def test_nothing_is_wider_than_a_phone(browser: Browser) -> None:
    browser.page.set_viewport_size({"width": 320, "height": 640})
    browser.open_docs()
    browser.page.locator(".opblock-tag").nth(1).click()
    browser.page.locator(".opblock-summary-control").first.click()
    browser.page.locator(".responses-table").first.wait_for()
    assert browser.page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.browser
@needs("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_systems_colors(browser: Browser, scheme: Any) -> None:
    browser.page.emulate_media(color_scheme=scheme)
    browser.open_docs()
    page_color = browser.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    is_dark = browser.page.evaluate("document.documentElement.classList.contains('dark-mode')")
    assert is_dark == (scheme == "dark")
    assert (page_color == "rgba(0, 0, 0, 0)") == (scheme == "light")
