"""
The admin in a real browser, on a real server: what is switched there is felt by callers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.live import LiveSite, live_site
from tests.needs import chromium, needs

PASSWORD = "a password for tests"
HOSTILE = "<img src=x onerror=window.PWNED=1><script>window.PWNED=1</script>"
SEED = f"""
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from runnables.models import Deployment
users = get_user_model().objects
users.create_superuser("root", password="{PASSWORD}")
users.create_user("bob").groups.add(Group.objects.create(name="editors"))
Deployment.objects.filter(name="halves").update(description={HOSTILE!r})
"""
# What is wider than its parent, and neither scrolls nor lies in what scrolls.
TOO_WIDE = """
() => [...document.querySelectorAll("#content *")].filter((element) => {
  if (element.closest(".results, .ls-scroll, .ls-tabs, svg, .visually-hidden, option")) return false;
  const parent = element.parentElement.getBoundingClientRect();
  const own = element.getBoundingClientRect();
  return own.width && parent.width > 1 && own.width > parent.width + 1;
}).map((element) => element.outerHTML.slice(0, 120))
"""

pytestmark = [pytest.mark.browser, needs("chromium")]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with live_site(tmp_path_factory.mktemp("site")) as site:
        site.manage("shell", "-c", SEED)
        yield site


class Admin:
    """
    A browser in which root is signed in, and whatever it complains of.
    """

    def __init__(self, page: Any, site: LiveSite) -> None:
        self.page = page
        self.site = site
        self.complaints: list[str] = []
        page.goto(f"{site.url}/admin/login/")
        page.fill("#id_username", "root")
        page.fill("#id_password", PASSWORD)
        page.press("#id_password", "Enter")
        page.wait_for_selector("#user-tools")
        # From here on: Django's own front page has no icon, which is not ours to mend.
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", self._note_response)

    def open_list(self, query: str = "") -> None:
        self.page.goto(f"{self.site.url}/admin/langserve/deployment/{query}")

    def open(self, name: str) -> None:
        self.open_list(f"?q={name}")
        self.page.get_by_role("link", name=name).first.click()
        self.page.wait_for_selector(".ls-tabs")

    def save(self) -> None:
        self.page.click("input[name=_save]")
        self.page.wait_for_selector(".messagelist .success")

    def status(self, path: str, body: Any = None) -> int:
        """
        What a caller gets who is no browser.
        """
        return httpx.post(f"{self.site.url}{path}", json=body or {"input": 1}).status_code

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _note_response(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Here, as it need not be installed.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def admin(browser: Any, live: LiveSite) -> Iterator[Admin]:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    opened = Admin(page, live)
    yield opened
    assert page.evaluate("window.PWNED") is None
    page.context.close()
    assert opened.complaints == []


def test_endpoint_switched_off_answers_404_and_others_go_on(admin: Admin) -> None:
    batch = {"inputs": [1]}
    assert admin.status("/add_one/batch", batch) == 200
    admin.open("add_one")
    admin.page.get_by_label("batch", exact=True).uncheck()
    admin.save()

    assert admin.status("/add_one/batch", batch) == 404
    assert admin.status("/add_one/invoke") == 200
    admin.open("add_one")
    assert "Switched off batch." in admin.page.locator("#history").inner_text()


def test_bulk_disable_asks_and_then_callers_get_404_at_once(admin: Admin) -> None:
    admin.open_list("?q=shout")
    for box in admin.page.locator("input.action-select").all():
        box.check()
    admin.page.select_option("select[name=action]", "disable")
    admin.page.locator("button[name='index']").click()
    page = admin.page.locator(".ls-confirm")
    page.wait_for()
    assert "/shout_later" in page.inner_text()
    assert admin.status("/shout/invoke", {"input": "a"}) == 200

    admin.page.get_by_label("Why").fill("too loud")
    admin.page.get_by_role("button", name="Disable: 2 deployments").click()
    admin.page.wait_for_selector(".messagelist .success")

    assert admin.status("/shout/invoke", {"input": "a"}) == 404
    row = admin.page.locator("#result_list tbody tr").first.inner_text()
    assert "Off" in row
    assert "too loud" in row


def test_button_of_a_row_switches_it_off_and_on(admin: Admin) -> None:
    admin.open_list("?q=rooted")
    admin.page.get_by_role("button", name="Disable rooted").click()
    admin.page.get_by_role("button", name="Enable rooted").wait_for()
    assert admin.status("/rooted/invoke") == 404

    admin.page.get_by_role("button", name="Enable rooted").click()
    admin.page.get_by_role("button", name="Disable rooted").wait_for()
    assert admin.status("/rooted/invoke") == 200


def test_rights_given_to_a_group_are_explained_by_the_check(admin: Admin) -> None:
    admin.open("private")
    admin.page.select_option("#ls-new-group", label="editors")
    admin.page.get_by_label("the group to add: run").check()
    admin.save()
    admin.open("private")
    admin.page.get_by_label("Check a user").fill("bob")
    admin.page.get_by_role("button", name="Check", exact=True).click()

    row = admin.page.get_by_role("row", name="run call it")
    row.wait_for()
    assert "Yes" in row.inner_text()
    assert "members of editors may" in row.inner_text()
    assert "/check-user/?username=bob" in admin.page.url


def test_check_that_is_run_by_hand_shows_its_result(admin: Admin) -> None:
    admin.open("joke")
    admin.page.get_by_role("button", name="Run check now").click()
    admin.page.wait_for_selector(".messagelist .success")

    assert "It builds; it has no health check." in admin.page.locator("#overview").inner_text()


def test_hostile_text_is_shown_as_text(admin: Admin) -> None:
    admin.open("halves")
    assert admin.page.get_by_label("Description").input_value() == HOSTILE
    admin.page.get_by_label("Enabled").uncheck()
    admin.page.get_by_label("Why it is off").fill(HOSTILE)
    admin.save()

    admin.open_list("?status=off")
    assert HOSTILE in admin.page.locator("#result_list").inner_text()
    admin.open("halves")
    assert HOSTILE in admin.page.locator("#history").inner_text()


def test_second_of_two_savers_sees_both_and_decides(admin: Admin) -> None:
    admin.open("pair")
    other = admin.page.context.new_page()
    other.goto(admin.page.url)
    other.get_by_label("Description").fill("theirs")
    other.click("input[name=_save]")
    other.wait_for_selector(".messagelist .success")
    admin.page.get_by_label("Description").fill("mine")
    admin.page.click("input[name=_save]")
    conflict = admin.page.get_by_role("alert")
    conflict.wait_for()

    cells = conflict.get_by_role("row").last.inner_text().split()
    assert cells == ["Description", "theirs", "mine"]
    admin.save()
    admin.open("pair")
    assert admin.page.get_by_label("Description").input_value() == "mine"


def test_pages_work_without_javascript(browser: Any, live: LiveSite) -> None:
    context = browser.new_context(java_script_enabled=False)
    admin = Admin(context.new_page(), live)
    admin.open("animal")
    admin.page.get_by_role("link", name="Access").click()
    assert admin.page.url.endswith("#access")
    admin.page.get_by_label("Add users").fill("bob")
    admin.page.get_by_label("the users to add: review").check()
    admin.save()
    admin.open("animal")

    assert admin.page.get_by_label("User bob: review").is_checked()
    context.close()
    assert admin.complaints == []


PAGES = {
    "list": "",
    "filtered list": "?status=unknown",
    "change page": "{pk}/change/",
    "check": "{pk}/check-user/?username=bob",
    "history": "{pk}/history/",
    "entries": "../auditentry/",
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_but_what_scrolls(
    admin: Admin, page: str, scheme: Any
) -> None:
    admin.open("joke")
    pk = admin.page.url.split("/")[-3]
    admin.page.emulate_media(color_scheme=scheme)
    admin.page.set_viewport_size({"width": 320, "height": 640})
    admin.open_list(PAGES[page].format(pk=pk))

    assert admin.page.evaluate("document.documentElement.scrollWidth") == 320
    assert admin.page.evaluate(TOO_WIDE) == []


@pytest.mark.parametrize("action", ["disable", "begin_maintenance", "disable_endpoints"])
def test_confirm_pages_fit_a_phone(admin: Admin, action: str) -> None:
    admin.page.set_viewport_size({"width": 320, "height": 640})
    admin.open_list("?q=joke")
    admin.page.locator("input.action-select").first.check()
    admin.page.select_option("select[name=action]", action)
    admin.page.locator("button[name='index']").click()
    admin.page.wait_for_selector(".ls-confirm")

    assert admin.page.evaluate("document.documentElement.scrollWidth") == 320
    assert admin.page.evaluate(TOO_WIDE) == []
