"""
What is recorded of a deployment, tried and saved by staff in a browser below a prefix; and
what is kept of a user, deleted by them.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Browser
from tests.needs import needs

pytestmark = [pytest.mark.browser, needs("chromium")]

with_phone = pytest.mark.parametrize("browser_options", [{"viewport": PHONE}], ids=["phone"])
KEY = "sk-canary1234567890abcdef"
HOSTILE = f"<img src=x onerror=alert(1)> {KEY}"


@with_phone
def test_staff_try_what_is_kept_while_they_type_and_save_it(browser: Browser) -> None:
    page = browser.page
    browser.sign_in("root")
    browser.open("/admin/langserve/deployment/")
    page.locator("#result_list tbody a").first.click()
    page.get_by_role("link", name="Change what is recorded and redacted").click()

    kept = page.get_by_role("region", name="What is kept")
    page.fill("#sample", HOSTILE)
    expect(kept).to_have_text("<img src=x onerror=alert(1)> [redacted]")
    page.fill("#id_redact_patterns", "(")
    expect(page.locator("[data-problem]")).to_contain_text("no regular expression")
    page.fill("#id_redact_patterns", r"onerror=\w+")
    expect(kept).to_have_text("<img src=x [redacted](1)> [redacted]")
    assert browser.sticking_out() == []

    page.get_by_label("Shape only").check()
    expect(kept).to_have_text(f"text, {len(HOSTILE)} characters")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messagelist .success")).to_contain_text("Saved.")
    assert page.get_by_label("Shape only").is_checked()
    page.get_by_role("button", name="Follow the site's settings").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    assert page.get_by_label("Redacted").is_checked()


def test_user_deletes_what_is_kept_of_them(browser: Browser) -> None:
    make = (
        "from django.contrib.auth import get_user_model\n"
        "from tests.traces import rows\n"
        'rows.trace(user=get_user_model().objects.get(username="alice"))\n'
    )
    browser.site.manage("shell", "-c", make)
    page = browser.page
    browser.sign_in(path="/accounts/data/")
    row = page.locator(".kept div", has_text=re.compile("Traces"))
    expect(row.locator("dd")).to_have_text("1")
    page.get_by_role("button", name="Delete my data").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was deleted.")
    page.get_by_label("I am sure").check()
    page.get_by_role("button", name="Delete my data").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted: traces (1).")
    expect(row.locator("dd")).to_have_text("0")
