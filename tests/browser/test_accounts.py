"""
Signing in, and a token's whole life, as somebody with a browser and a program sees them.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Browser
from tests.needs import needs

pytestmark = [pytest.mark.browser, needs("chromium")]

with_phone = pytest.mark.parametrize("browser_options", [{"viewport": PHONE}], ids=["phone"])
without_scripts = pytest.mark.parametrize(
    "browser_options", [{"java_script_enabled": False}], ids=["no scripts"]
)
PAGES = ["/accounts/login/", "/accounts/reset/", "/accounts/reset/sent/", "/accounts/reset/x/y-z/"]
PAGES_OF_USERS = ["/tokens/", "/accounts/data/", "/accounts/password/", "/accounts/logout/"]


def call(browser: Browser, token: str, path: str = "/private/invoke") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(browser.url + path, json={"input": "text"}, headers=headers)


def create_token(browser: Browser, name: str, *ticked: str) -> str:
    page = browser.page
    page.fill("#id_name", name)
    for value in ticked:
        page.check(f"input[value='{value}']")
    page.click("main >> text=Create token")
    token: str = page.locator("#new-token").input_value()
    return token


def revoke_token(browser: Browser, name: str) -> None:
    row = browser.page.locator("tr", has_text=name)
    row.locator("summary").click()
    row.locator(".button-danger").click()
    browser.page.wait_for_selector(".notice-success")


def test_user_signs_in_and_lets_a_program_in_and_out_again(browser: Browser) -> None:
    browser.sign_in()
    token = create_token(browser, "report", "invoke", "private")

    assert call(browser, token).json()["output"] == "text"
    assert call(browser, token, "/private/stream").json()["code"] == "token_scope"
    assert call(browser, token, "/joke/invoke").json()["code"] == "token_scope"

    browser.open("/tokens/")
    assert "Not yet" not in browser.page.locator("tr", has_text="report").inner_text()
    assert token not in browser.page.content()
    revoke_token(browser, "report")
    assert call(browser, token).status_code == 401
    assert browser.page.locator("tr", has_text="report").count() == 0


@without_scripts
def test_all_of_it_works_without_scripts(browser: Browser) -> None:
    browser.sign_in()
    token = create_token(browser, "plain")
    assert call(browser, token).status_code == 200
    assert not browser.page.locator("[data-copy]").is_visible()
    browser.open("/tokens/")
    revoke_token(browser, "plain")
    assert call(browser, token).status_code == 401
    browser.page.locator(".site-header .menu:not(.site-menu) > summary").click()
    browser.page.click("text=Sign out")
    browser.page.wait_for_url(f"{browser.url}/accounts/login/")


def test_new_token_is_copied_by_its_button(browser: Browser) -> None:
    browser.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    browser.sign_in()
    token = create_token(browser, "copied")
    browser.page.click("[data-copy]")
    browser.page.locator("[data-copy-status]", has_text="Copied").wait_for()

    assert browser.page.evaluate("navigator.clipboard.readText()") == token


def test_token_is_selected_where_there_is_no_clipboard(browser: Browser) -> None:
    browser.page.add_init_script("delete Navigator.prototype.clipboard")
    browser.sign_in()
    token = create_token(browser, "by-hand")
    browser.page.click("[data-copy]")
    browser.page.locator("[data-copy-status]", has_text="Selected").wait_for()

    assert browser.page.evaluate("getSelection().toString()") == token


def test_reloading_the_answer_neither_repeats_nor_shows_the_token(browser: Browser) -> None:
    browser.sign_in()
    token = create_token(browser, "reloaded")
    browser.page.reload()

    assert "This form has been sent before" in browser.page.locator(".messages").inner_text()
    assert token not in browser.page.content()
    assert browser.page.locator("tr", has_text="reloaded").count() == 1


def test_forms_and_menus_are_used_by_keyboard_alone(browser: Browser) -> None:
    keys = browser.page.keyboard
    browser.open("/accounts/login/")
    expect(browser.page.locator("#id_username")).to_be_focused()
    keys.type("alice")
    keys.press("Tab")
    expect(browser.page.locator("#id_password")).to_be_focused()
    keys.type("a password for tests")
    keys.press("Enter")
    browser.page.wait_for_url(f"{browser.url}/tokens/")
    keys.press("Tab")
    skip = browser.page.locator(".skip-link")
    assert skip.evaluate("link => link === document.activeElement")
    keys.press("Enter")
    assert browser.page.evaluate("document.activeElement.id") == "content"

    menu = browser.page.locator(".site-header .menu:not(.site-menu)")
    menu.locator("summary").focus()
    keys.press("Enter")
    assert menu.locator("text=Change password").is_visible()
    keys.press("Escape")
    assert not menu.locator("text=Change password").is_visible()
    assert menu.locator("summary").evaluate("summary => summary === document.activeElement")


@pytest.mark.parametrize("path", ["/accounts/login/", "/tokens/"])
def test_every_control_is_reached_by_tab_and_shows_it(browser: Browser, path: str) -> None:
    if path == "/tokens/":
        browser.sign_in()
    browser.open(path)
    wanted, went = browser.walk_by_tab()

    assert wanted <= {place.get("number") for place in went}
    assert [place for place in went if place.get("number") and place["ring"] < 3] == []
    assert [place for place in went if place.get("number") and not place["inView"]] == []


@with_phone
@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_a_phone(browser: Browser, path: str) -> None:
    browser.open(path)

    assert browser.sticking_out() == []
    assert browser.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@with_phone
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_nothing_of_a_users_pages_is_wider_than_a_phone(browser: Browser, direction: str) -> None:
    browser.sign_in()
    create_token(browser, f"W{direction}" * 20)
    for path in (None, *PAGES_OF_USERS):
        if path:
            browser.open(path)
        browser.page.evaluate("direction => document.dir = direction", direction)
        menus = browser.page.locator("details > summary >> visible=true")
        for number in range(min(menus.count(), 3)):
            menus.nth(number).click()
            assert browser.sticking_out() == [], path
            assert browser.page.evaluate("document.documentElement.scrollWidth") == 320, path


@with_phone
def test_navigation_and_theme_are_in_the_menu_of_a_phone(browser: Browser) -> None:
    browser.open("/accounts/login/")
    menu = browser.page.locator(".site-menu")
    menu.locator("summary").click()
    assert menu.locator("text=Deployments").is_visible()
    menu.locator("[data-set-theme=dark]").click()

    assert browser.page.evaluate("document.documentElement.dataset.theme") == "dark"


def lightness(browser: Browser) -> Any:
    """
    0 to 255, of the page's ground.
    """
    color = "getComputedStyle(document.documentElement).backgroundColor.match(/[0-9]+/g)"
    return sum(map(int, browser.page.evaluate(color))) / 3


@pytest.mark.parametrize("system", ["light", "dark"])
def test_page_follows_the_system_until_a_theme_is_chosen(browser: Browser, system: Any) -> None:
    other = "dark" if system == "light" else "light"
    browser.page.emulate_media(color_scheme=system)
    browser.open("/accounts/login/")
    assert (lightness(browser) > 128) == (system == "light")
    browser.page.click(f".site-header-end > .theme-switch [data-set-theme={other}]")
    assert (lightness(browser) > 128) == (other == "light")
    browser.page.reload()
    assert (lightness(browser) > 128) == (other == "light")
    chosen = browser.page.locator("[aria-pressed=true] >> visible=true")
    assert chosen.get_attribute("data-set-theme") == other
    browser.page.click(".site-header-end > .theme-switch [data-set-theme=auto]")
    assert (lightness(browser) > 128) == (system == "light")


def test_admin_has_the_same_theme(browser: Browser) -> None:
    browser.sign_in("root")
    browser.page.click(".site-header-end > .theme-switch [data-set-theme=dark]")
    browser.page.click(".site-nav >> text=Admin")
    browser.page.wait_for_url(f"{browser.url}/admin/")
    assert browser.page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize(
    "media", [{"forced_colors": "active"}, {"reduced_motion": "reduce"}], ids=str
)
def test_pages_hold_in_forced_colors_and_without_motion(browser: Browser, media: Any) -> None:
    browser.page.emulate_media(**media)
    browser.open("/accounts/login/")
    button = browser.page.locator("main button[type=submit]")

    assert button.evaluate("button => getComputedStyle(button).borderTopWidth") == "1px"
    if "reduced_motion" in media:
        assert button.evaluate("button => getComputedStyle(button).transitionDuration") == "0s"


def test_token_made_in_the_admin_is_shown_there_once(browser: Browser) -> None:
    page = browser.page
    browser.sign_in("root")
    browser.open("/admin/langserve/apitoken/add/")
    page.click(".field-user .select2-selection")
    page.fill(".select2-search__field", "alice")
    page.click(".select2-results__option--highlighted >> text=alice")
    page.fill("#id_name", "by-root")
    page.click("[name=_save]")
    token = page.locator("#new-token").input_value()
    assert page.locator("[data-copy]").is_visible()
    assert call(browser, token).status_code == 200

    page.click("text=All tokens")
    assert "by-root" in page.locator("#result_list").inner_text()
    assert token not in page.content()
