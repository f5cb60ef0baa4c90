"""
The dashboard as somebody with a browser sees it, scripts or not.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import PHONE, Browser
from tests.live import LiveSite
from tests.needs import needs

pytestmark = [pytest.mark.browser, needs("chromium")]

MAKE_RUNS = """
from datetime import timedelta
from django.utils import timezone
from tests.traces.seeded import count, deployed, many, record
versions = list(deployed("seen", 2).versions.all())
now = timezone.now().replace(minute=0, second=0, microsecond=0)
runs = many(versions, 80, now - timedelta(hours=6), now)
record(runs)
count(runs)
"""
HEIGHT = 180
NAMES = ["requests", "latency", "first_chunk", "errors", "tokens", "cost"]


@pytest.fixture(scope="module", autouse=True)
def runs(live: LiveSite) -> None:
    live.manage("shell", "-c", MAKE_RUNS)


def opened(browser: Browser, query: str = "range=24h") -> None:
    browser.sign_in("root", "/dashboard/")
    browser.open(f"/dashboard/?{query}")


def column(chart: Locator, name: str) -> list[int]:
    """
    The numbers of a column of a chart's table, but for the whole period's.
    """
    heads = chart.locator("thead th").all_text_contents()
    cells = chart.locator(f"tbody td:nth-child({heads.index(name) + 1})").all_text_contents()
    return [int(cell.replace(",", "")) for cell in cells]


@pytest.mark.parametrize("browser_options", [{"java_script_enabled": False}], ids=["no scripts"])
def test_without_scripts_charts_are_drawn_and_filtered(browser: Browser) -> None:
    opened(browser)
    chart = browser.page.locator("#requests")
    expect(chart.get_by_role("img", name=re.compile("^Requests. 80 requests"))).to_be_visible()
    top = int(chart.locator(".y-axis span").first.text_content() or "")
    bars = chart.locator(".drawing rect[fill='url(#area-1)']").all()
    drawn = [float(bar.get_attribute("height") or "") / HEIGHT * top for bar in bars]
    done = [number for number in column(chart, "Done") if number]
    assert drawn == pytest.approx(done, abs=top / HEIGHT)
    assert sum(column(chart, "all")) == 80
    # Opened by what it says, without any script.
    assert not chart.locator("table").is_visible()
    chart.get_by_text("Show as table").click()
    expect(chart.locator("table")).to_be_visible()

    page = browser.page
    page.select_option("#id_group_by", "version")
    page.get_by_role("button", name="Show").click()
    assert "range=24h" in page.url
    assert "group_by=version" in page.url
    legend = page.locator("#requests .legend li").all_text_contents()
    assert sorted(" ".join(text.split()).rsplit(" ", 1)[0] for text in legend) == [
        "seen v1",
        "seen v2",
    ]


@pytest.mark.parametrize("browser_options", [{"viewport": PHONE}], ids=["phone"])
def test_nothing_sticks_out_on_a_phone(browser: Browser) -> None:
    opened(browser)
    page = browser.page
    for name in NAMES:
        page.locator(f"#{name} summary").click()
    assert browser.sticking_out() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_charts_have_names_tables_and_files(browser: Browser) -> None:
    opened(browser)
    page = browser.page
    for name in NAMES:
        chart = page.locator(f"#{name}")
        assert len(chart.get_by_role("img").get_attribute("aria-label") or "") > 10
        chart.locator("summary").press("Enter")
        expect(chart.locator("table")).to_be_visible()
    assert page.locator("h1").all_text_contents() == ["Dashboard"]

    expect(page.get_by_label("From")).to_be_hidden()
    page.get_by_label("Range").select_option("custom")
    expect(page.get_by_label("From")).to_be_visible()

    with browser.page.expect_download() as download:
        browser.page.locator("#latency .csv").click()
    assert download.value.suggested_filename == "latency.csv"
    assert "p95 ms" in download.value.path().read_text().splitlines()[0]
