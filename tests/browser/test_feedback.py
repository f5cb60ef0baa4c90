"""
Rating an answer, as somebody with a browser sees it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import MAKE_USERS, PHONE, PREFIX, Browser
from tests.live import LiveSite, live_site
from tests.needs import needs, require

pytestmark = [pytest.mark.browser, needs("chromium")]

REASONS = ["Wrong", "Incomplete", '"><script>window.PWNED=1</script>']
MAKE_KEY = f"""
from feedback.models import FeedbackKey
FeedbackKey.objects.create(key="correctness", reasons={REASONS!r}, takes_correction=True)
"""
ROWS = (
    "SELECT score, comment, correction, reasons FROM langserve_feedback_feedback WHERE run_id = ?"
)
OFFLINE = "ERR_INTERNET_DISCONNECTED"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    require("chromium")
    env = {
        "RUNNABLES_MODULES": "tests.openapi.served",
        "FORCE_SCRIPT_NAME": PREFIX,
        "DJANGO_SETTINGS_MODULE": "tests.browser.feedback_site.settings",
    }
    with live_site(tmp_path_factory.mktemp("site"), env=env) as site:
        site.manage("shell", "-c", MAKE_USERS + MAKE_KEY)
        yield site


class Rating:
    """
    One run's page, open.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser, self.page = browser, browser.page
        self.run_id = uuid4()
        browser.sign_in(path=f"/run/{self.run_id}/")
        self.good = self.page.get_by_role("button", name="Good answer")
        self.bad = self.page.get_by_role("button", name="Bad answer")
        self.status = self.page.locator(".feedback-status")

    def reload(self) -> None:
        self.browser.open(f"/run/{self.run_id}/")

    def rows(self) -> list[Any]:
        path = self.browser.site.env["DATABASE_URL"].removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as database:
            found = database.execute(ROWS, [self.run_id.hex]).fetchall()
        return [
            [score, comment, correction and json.loads(correction), json.loads(reasons)]
            for score, comment, correction, reasons in found
        ]

    def pressed(self) -> tuple[str | None, str | None]:
        return self.good.get_attribute("aria-pressed"), self.bad.get_attribute("aria-pressed")


def text_of(rating: Rating, name: str) -> Locator:
    found: Locator = rating.page.get_by_label(name)
    return found


def test_answer_is_rated_explained_and_there_after_a_reload(browser: Browser) -> None:
    rating = Rating(browser)
    rating.good.click()
    expect(rating.status).to_have_text("Saved")
    expect(rating.page.get_by_text("What is wrong?")).to_be_hidden()
    rating.bad.click()
    expect(rating.status).to_have_text("Saved")
    text_of(rating, "Incomplete").check()
    text_of(rating, "Comment").fill("<b>No</b> source.")
    text_of(rating, "Better answer").fill("It is Paris.")
    rating.page.get_by_role("button", name="Save").click()
    expect(rating.page.locator("[data-box]")).to_be_hidden()
    expect(rating.bad).to_be_focused()

    assert rating.rows() == [[0.0, "<b>No</b> source.", "It is Paris.", ["Incomplete"]]]
    rating.reload()
    assert rating.pressed() == ("false", "true")
    expect(rating.page.locator("#others p")).to_have_text(["Rated bad", "<b>No</b> source."])


def test_second_click_takes_it_back(browser: Browser) -> None:
    rating = Rating(browser)
    rating.good.click()
    expect(rating.status).to_have_text("Saved")
    rating.good.click()
    expect(rating.status).to_have_text("Removed")

    assert rating.rows() == []
    rating.reload()
    assert rating.pressed() == ("false", "false")


def test_what_could_not_be_saved_is_kept_and_tried_again(browser: Browser) -> None:
    rating = Rating(browser)
    rating.page.context.set_offline(True)
    rating.good.click()
    expect(rating.status).to_have_text("Not saved.")
    assert rating.pressed() == ("true", "false")
    rating.page.context.set_offline(False)
    rating.page.get_by_role("button", name="Retry").click()
    expect(rating.status).to_have_text("Saved")
    expect(rating.page.get_by_role("button", name="Retry")).to_be_hidden()

    assert [row[0] for row in rating.rows()] == [1.0]
    assert all(OFFLINE in complaint for complaint in browser.complaints)
    browser.complaints.clear()


@pytest.mark.parametrize("browser_options", [{"java_script_enabled": False}], ids=["no scripts"])
def test_it_works_without_scripts(browser: Browser) -> None:
    rating = Rating(browser)
    rating.bad.click()
    expect(rating.page.get_by_text("Saved. Thank you.")).to_be_visible()
    text_of(rating, "Comment").fill("No source.")
    rating.page.get_by_role("button", name="Save").click()
    assert rating.rows() == [[0.0, "No source.", None, []]]
    rating.bad.click()
    expect(rating.page.get_by_text("Removed.")).to_be_visible()
    assert rating.rows() == []


@pytest.mark.parametrize(
    "browser_options",
    [
        {"viewport": PHONE, "has_touch": True, "is_mobile": True, "color_scheme": "dark"},
        {"color_scheme": "light"},
    ],
    ids=["phone", "screen"],
)
def test_box_fits_its_page_and_is_reached_by_keys(
    browser: Browser, browser_options: dict[str, Any]
) -> None:
    rating = Rating(browser)
    rating.bad.click()
    expect(rating.status).to_have_text("Saved")

    assert browser.sticking_out() == []
    wanted, went = browser.walk_by_tab()
    assert wanted <= {one["number"] for one in went}
    if browser_options.get("has_touch"):
        box = rating.bad.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
    assert browser.page.evaluate("window.PWNED") is None
