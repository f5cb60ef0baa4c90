"""
Versions in a real browser: edited, rolled back, edited by two at once, in every light.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.configured import HOSTILE
from tests.live import LiveSite, live_site
from tests.needs import chromium, needs

pytestmark = [pytest.mark.browser, needs("chromium")]

PASSWORD = "a password for tests"
SECRET = "sk-swordfish-of-a-browser"
MAKE = f"""
from django.contrib.auth import get_user_model
from runnables import versions
from runnables.models import Deployment
users = get_user_model().objects
for name in ("root", "ada"):
    users.create_superuser(name, password="{PASSWORD}")
for row in Deployment.objects.select_related("version"):
    print(row.name + "=" + str(row.pk))
"""
# A trial, with some past: what every page has something to show of.
TRY = """
from runnables import trials, versions
from runnables.models import Deployment
row = Deployment.objects.select_related("version").get(name="two")
content = {**row.version.content, "defaults": {"configurable": {"api_key": "SECRET", "template": "x" * 300}}}
made = versions.save_version(row, content, by="a test", based_on=row.version.number, make_current=False)
trials.start(row, made, percent=20, by="a test")
trials.stop(row, by="a test")
trials.start(row, made, percent=20, by="a test", stop_error_percent=5)
""".replace("SECRET", SECRET)
PAGES = [
    "configuration/",
    "configuration/?mode=raw",
    "versions/",
    "versions/2/",
    "versions/2/roll-back/",
    "canary/",
    "canary/promote/",
    "canary/stop/",
]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    env = {"RUNNABLES_MODULES": "tests.browser.served"}
    with live_site(tmp_path_factory.mktemp("site"), env=env) as site:
        yield site


@pytest.fixture(scope="module")
def rows(live: LiveSite) -> dict[str, str]:
    """
    Name -> key of each deployment; root and ada are made with it.
    """
    pairs = (line.split("=") for line in live.manage("shell", "-c", MAKE).split() if "=" in line)
    found: dict[str, str] = dict(pairs)
    live.manage("shell", "-c", TRY)
    return found


class Staff:
    """
    Somebody at a browser of their own, and whatever it complains of.
    """

    def __init__(self, browser: Any, live: LiveSite, rows: dict[str, str], name: str) -> None:
        self.page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        self.live, self.rows = live, rows
        self.complaints: list[str] = []
        self.sources: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(f"{live.url}/admin/login/")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.press("#id_password", "Enter")
        self.page.wait_for_selector("#user-tools")

    def open(self, page: str, deployment: str = "it") -> None:
        root = f"{self.live.url}/admin/langserve/deployment/{self.rows[deployment]}"
        response = self.page.goto(f"{root}/{page}")
        assert response.status == 200
        self.sources.append(self.page.content())

    def enter(self, id_: str, text: str) -> None:
        label = self.page.locator("label").filter(has=self.page.locator(f"code:text-is('{id_}')"))
        self.page.locator(f"[id='{label.get_attribute('for')}']").fill(text)

    def press(self, name: str, role: Any = "button") -> None:
        with self.page.expect_navigation():
            self.page.get_by_role(role, name=name).click()
        self.sources.append(self.page.content())

    def text(self) -> str:
        found: str = self.page.locator("#content").inner_text()
        return found

    def save(self, note: str = "") -> None:
        """
        From the form to the saved version.
        """
        self.press("Show the difference")
        self.page.get_by_label("Why").fill(note)
        self.press("Save for everybody now")


@pytest.fixture
def browser() -> Iterator[Any]:
    # Here, as it need not be installed.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def root(browser: Any, live: LiveSite, rows: dict[str, str]) -> Iterator[Staff]:
    staff = Staff(browser, live, rows, "root")
    yield staff
    assert staff.complaints == []
    assert staff.page.evaluate("() => window.PWNED") is None


def answer(live: LiveSite, deployment: str = "it") -> Any:
    response = httpx.post(f"{live.url}/{deployment}/invoke", json={"input": 1}, timeout=30)
    return response.json()["output"]


def test_hostile_default_is_text_everywhere_answers_and_is_rolled_back(
    root: Staff, live: LiveSite
) -> None:
    root.open("configuration/")
    root.enter("template", HOSTILE)
    root.press("Show the difference")
    assert HOSTILE in root.text()
    root.page.get_by_label("Why").fill(HOSTILE)
    root.press("Save for everybody now")
    assert HOSTILE in root.text()
    assert answer(live)["template"] == HOSTILE

    for page in ("versions/2/", "versions/1/roll-back/", "configuration/", "canary/"):
        root.open(page)
        assert root.page.locator("#content script, #content img").count() == 0

    root.open("versions/")
    root.press("Roll back to version 1", "link")
    root.press("Roll back")
    assert "Version 3 answers everybody" in root.page.locator(".messagelist").inner_text()
    assert answer(live)["template"] == "Hello"


def test_two_who_edit_at_once_see_each_other(
    browser: Any, root: Staff, live: LiveSite, rows: dict[str, str]
) -> None:
    ada = Staff(browser, live, rows, "ada")
    root.open("configuration/")
    ada.open("configuration/")
    ada.enter("tries", "5")
    ada.save(note="five is enough")
    root.enter("tries", "9")
    root.enter("nickname", "Bo")
    root.press("Show the difference")
    shown = root.text()
    for said in ("Nothing was saved", "ada", "five is enough", "Theirs", "Yours"):
        assert said in shown
    root.press("Apply mine on top")
    root.press("Save for everybody now")
    assert (answer(live)["tries"], answer(live)["nickname"]) == (5, "Bo")
    assert ada.complaints == []


def test_secret_is_in_the_source_of_no_page(root: Staff, live: LiveSite) -> None:
    root.open("configuration/")
    root.enter("api_key", SECRET)
    root.save()
    assert answer(live)["api_key"] == SECRET
    root.open("configuration/")
    assert "set · enter another to change it" in root.text()
    root.enter("template", "After the secret")
    root.press("Show the difference")
    root.press("Back to the form", "link")
    root.press("Show the difference")
    root.press("Save for everybody now")
    for page in PAGES:
        root.open(page, "two" if "canary" in page else "it")
    assert len(root.sources) >= len(PAGES) + 6
    assert not any(SECRET in source for source in root.sources)
    assert answer(live)["api_key"] == SECRET


def test_configuration_goes_through_a_canary_to_everybody(root: Staff, live: LiveSite) -> None:
    root.open("configuration/", "tone")
    root.page.locator("select").first.select_option("stern")
    root.press("Show the difference")
    root.page.get_by_text("Or try it on a canary first").click()
    root.page.get_by_label("Share of callers").fill("100")
    root.press("Save and try it")
    assert answer(live, "tone") == "stern"
    root.press("Promote…", "link")
    root.press("Promote")
    assert "No version is on trial" in root.text()
    assert answer(live, "tone") == "stern"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_its_page(root: Staff, scheme: Any, width: int) -> None:
    root.page.emulate_media(color_scheme=scheme)
    root.page.set_viewport_size({"width": width, "height": 640})
    for page in PAGES:
        root.open(page, "two")
        assert root.page.evaluate("() => document.documentElement.scrollWidth") == width, page
        assert root.page.locator("h1").count() == 1
        wide = root.page.evaluate(
            "() => [...document.querySelectorAll('#content *')]"
            ".filter(one => one.getBoundingClientRect().right > innerWidth + 1)"
            ".map(one => one.outerHTML.slice(0, 80))"
        )
        assert wide == [], page


def test_pages_work_without_javascript(
    browser: Any, live: LiveSite, rows: dict[str, str], tmp_path: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(
        f"{live.url}/admin/login/?next=/admin/langserve/deployment/{rows['two']}/configuration/"
    )
    page.fill("#id_username", "root")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.get_by_role("spinbutton", name="Tries").fill("8")
    page.get_by_role("button", name="Show the difference").click()
    page.get_by_role("button", name="Save for everybody now").click()
    assert "was saved" in page.content()


def test_every_control_has_a_name_and_shows_its_focus(root: Staff) -> None:
    for name in ("configuration/", "configuration/?mode=raw", "canary/"):
        root.open(name, "two")
        nameless = root.page.evaluate(
            "() => [...document.querySelectorAll('#content :is(input, select, textarea, a, button)')]"
            ".filter(one => one.type !== 'hidden' && !one.labels?.length && !one.textContent.trim()"
            " && !one.ariaLabel && one.type !== 'submit').map(one => one.outerHTML)"
        )
        assert nameless == []
        root.page.locator("#content a").first.focus()
        root.page.keyboard.press("Tab")
        outline = root.page.evaluate("() => getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px"
