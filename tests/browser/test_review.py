"""
Reviewing by keyboard, by mouse and without scripts, as a reviewer does.
"""

from __future__ import annotations

from typing import Any

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

# Each test has a queue of its own with three runs, named like it.
MAKE_QUEUES = """
import json
from uuid import uuid4
from django.contrib.auth import get_user_model
from django.utils import timezone
from feedback.models import FeedbackKey
from runnables.models import Deployment, Grant
from traces.models import Step, Trace
from traces.review.models import ReviewItem, ReviewQueue
alice = get_user_model().objects.get(username="alice")
it = Deployment.objects.get(name="joke")
Grant.objects.create(deployment=it, audience="user", user=alice, review=True)
keys = [
    FeedbackKey.objects.create(key="good", title="Good?", takes_correction=True),
    FeedbackKey.objects.create(key="stars", title="Stars", kind="scale"),
    FeedbackKey.objects.create(key="wrong", title="Wrong?", kind="category",
                               categories=["facts", "W" * 60]),
]
chat = [{"type": "human", "content": "Where is it? " + "x" * 200}]
for slug in ("keys", "draft", "plain", "phone", "off", "tab"):
    queue = ReviewQueue.objects.create(name=f"Queue {slug}", slug=slug, rubric="Be strict. " + "y" * 80)
    queue.keys.set(keys)
    queue.reviewers.add(alice)
    for number in range(3):
        trace = Trace.objects.create(
            deployment=it, deployment_name="joke", endpoint="invoke", state="done",
            started_at=timezone.now(), duration_ms=12, steps_count=1,
            input=json.dumps({"messages": chat}), output=json.dumps(f"Answer {number}"))
        Step.objects.create(id=uuid4(), trace=trace, parent=trace.pk, position=0, state="done",
                            name="S" * 90, kind="llm", input=json.dumps({"z": "z" * 90}))
        ReviewItem.objects.create(queue=queue, trace=trace, position=number)
"""
SAID = """
from feedback.models import Feedback
from traces.review.models import ReviewItem
runs = ReviewItem.objects.filter(queue__slug="{slug}").values("trace")
for row in Feedback.objects.filter(run_id__in=runs).order_by("key"):
    print(row.key, row.score, row.value, row.comment)
"""


@pytest.fixture(scope="module", autouse=True)
def queues(live: LiveSite) -> None:
    live.manage("shell", "-c", MAKE_QUEUES)


def said(browser: Browser, slug: str) -> list[str]:
    printed = browser.site.manage("shell", "-v", "0", "-c", SAID.format(slug=slug))
    return printed.strip().splitlines()


def shows(browser: Browser, text: str) -> None:
    expect(browser.page.get_by_label("Output", exact=True)).to_contain_text(text)


def checked(browser: Browser) -> Any:
    return browser.page.evaluate(
        "[...document.querySelectorAll('.rate :checked')].map((radio) => radio.value)"
    )


def test_runs_are_reviewed_by_keyboard_alone(browser: Browser) -> None:
    browser.sign_in(path="/review/keys/")
    keys, page = browser.page.keyboard, browser.page
    shows(browser, "Answer 0")
    keys.press("2")
    keys.press("4")
    keys.press("1")
    assert checked(browser) == ["0", "4", "facts"]
    keys.press("1")
    assert checked(browser) == ["0", "4"]
    keys.press("c")
    # What is marked takes it; no key does anything while one types.
    keys.type("not 1 n s")
    keys.press("Escape")
    shows(browser, "Answer 0")
    keys.press("n")
    shows(browser, "Answer 1")
    expect(page.locator(".progress-text")).to_contain_text("1 of 3")
    assert said(browser, "keys") == [
        "good 0.0 None ",
        "stars 4.0 None ",
        "wrong None None not 1 n s",
    ]

    keys.press("s")
    shows(browser, "Answer 2")
    keys.press("p")
    shows(browser, "Answer 1")
    keys.press("p")
    shows(browser, "Answer 0")
    assert checked(browser) == ["0", "4"]
    keys.press("?")
    expect(page.locator("#keys")).to_be_visible()
    keys.press("n")
    keys.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    shows(browser, "Answer 0")


def test_reload_keeps_what_is_not_sent_yet(browser: Browser) -> None:
    browser.sign_in(path="/review/draft/")
    browser.page.keyboard.press("1")
    browser.page.locator("textarea").first.fill("half a thought")
    browser.page.reload()

    shows(browser, "Answer 0")
    assert checked(browser) == ["1"]
    expect(browser.page.locator("textarea").first).to_have_value("half a thought")
    browser.page.locator(".rate", has_text="Good").click()
    assert checked(browser) == []


@without_scripts
def test_all_of_it_works_without_scripts(browser: Browser) -> None:
    browser.sign_in(path="/review/")
    page = browser.page
    page.locator(".queue", has_text="Queue plain").get_by_text("Start reviewing").click()
    page.locator("summary", has_text="S" * 90).click()
    expect(page.get_by_text("z" * 90)).to_be_visible()
    page.locator("[data-done]").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved")
    # The browser notes that as a 422.
    browser.complaints.clear()
    page.get_by_label("Bad").check()
    page.locator("[data-done]").click()
    shows(browser, "Answer 1")
    for _ in range(2):
        page.locator("[data-skip]").click()
    expect(page.locator("main")).to_contain_text("All done")
    page.get_by_text("See the results").click()
    expect(page.locator("main")).to_contain_text("0 %")
    assert said(browser, "plain") == ["good 0.0 None"]


def test_keys_can_be_turned_off_for_good(browser: Browser) -> None:
    browser.sign_in(path="/review/off/")
    page = browser.page
    page.locator("[data-help]").click()
    page.get_by_label("Use these keys").uncheck()
    page.locator("#keys").get_by_text("Close").click()
    for _ in range(2):
        page.keyboard.press("1")
        page.keyboard.press("n")
        assert checked(browser) == []
        shows(browser, "Answer 0")
        page.reload()


@with_phone
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_nothing_of_a_review_is_wider_than_a_phone(browser: Browser, direction: str) -> None:
    browser.sign_in(path="/review/")
    for path in ("/review/", "/review/phone/", "/review/plain/results/", "/review/plain/"):
        browser.open(path)
        browser.page.evaluate("direction => document.dir = direction", direction)
        browser.page.evaluate(
            "document.querySelectorAll('.step details').forEach((one) => one.open = true)"
        )
        assert browser.sticking_out() == [], path
        assert browser.page.evaluate("document.documentElement.scrollWidth") == 320, path


def test_every_control_is_reached_by_tab_and_shows_it(browser: Browser) -> None:
    browser.sign_in(path="/review/tab/")
    wanted, went = browser.walk_by_tab()
    # Of a group of radio buttons Tab reaches one.
    radios = browser.page.evaluate(
        "[...document.querySelectorAll('[type=radio]')].map((radio) => radio.dataset.number)"
    )
    assert wanted - set(radios) <= {place.get("number") for place in went}
    assert [place for place in went if place.get("number") and not place["inView"]] == []
