"""
The list of traces and their trees, as somebody with a browser uses them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import expect

from tests.browser import traced
from tests.browser.conftest import PHONE, Browser
from tests.live import LiveSite
from tests.needs import needs
from tests.traces.made import SECRETS

pytestmark = [pytest.mark.browser, needs("chromium")]

with_phone = pytest.mark.parametrize("browser_options", [{"viewport": PHONE}], ids=["phone"])
without_scripts = pytest.mark.parametrize(
    "browser_options", [{"java_script_enabled": False}], ids=["no scripts"]
)
LIST = "/traces/"
# Half of the 1.5 s that a tree of 2,000 nodes may take.
OPEN_SECONDS = 0.75


@pytest.fixture(scope="module", autouse=True)
def furnished(live: LiveSite) -> None:
    live.manage("shell", "-c", "from tests.browser.traced import furnish; furnish()")


@pytest.fixture
def database(live: LiveSite) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(live.env["DATABASE_URL"].removeprefix("sqlite:///"), timeout=20)
    yield opened
    opened.close()


def finish(database: sqlite3.Connection, key: UUID) -> None:
    """
    As the writer does when a run has ended.
    """
    for table, column in (("trace", "id"), ("step", "trace_id")):
        database.execute(
            f"UPDATE langserve_traces_{table} SET state='done', duration_ms=31000 "
            f"WHERE {column} = ?",
            [key.hex],
        )
    database.commit()


def url(key: UUID) -> str:
    return f"{LIST}{key}/"


def focused(browser: Browser) -> str:
    name: str = browser.page.evaluate(
        "document.activeElement.querySelector('.name')?.textContent ?? ''"
    )
    return name


def shown(browser: Browser) -> list[str]:
    names: list[str] = browser.page.locator("#tree .name >> visible=true").all_inner_texts()
    return names


ALL = ["run", "RunnableParallel<a,b>", "Lookup", "ChatModel", "RunnableLambda", "Parser"]


# The list


def test_filters_are_in_the_address_and_back(browser: Browser) -> None:
    page = browser.page
    browser.sign_in(path=LIST)
    page.select_option("#filter-state", "failed")
    page.fill("#filter-q", "Runnable")
    page.press("#filter-q", "Enter")
    expect(page).to_have_url(f"{browser.url}{LIST}?q=Runnable&state=failed")
    assert {*page.locator("tbody .state").all_inner_texts()} == {"Failed"}
    page.click(".chip-filter:has-text('Text')")
    expect(page).to_have_url(f"{browser.url}{LIST}?state=failed")
    expect(page.locator("#filter-state")).to_have_value("failed")
    page.go_back()
    expect(page.locator("#filter-q")).to_have_value("Runnable")
    page.click("text=Clear all")
    expect(page).to_have_url(browser.url + LIST)


@without_scripts
def test_traces_are_read_without_scripts(browser: Browser) -> None:
    page = browser.page
    browser.sign_in(path=LIST)
    page.select_option("#filter-state", "failed")
    page.click(".filters button")
    assert page.url == f"{browser.url}{LIST}?state=failed"
    browser.open(url(traced.FAMILY))
    page.click("#tree >> text=Lookup")
    assert "?node=" in page.url
    assert page.locator("#panel h2").inner_text() == "Lookup"
    page.check("[name=hide]")
    page.click("[data-without-scripts]")
    assert shown(browser) == ["run", "Lookup", "ChatModel", "Parser"]


def test_ticked_traces_are_exported_and_deleted(browser: Browser) -> None:
    page = browser.page
    browser.sign_in(path=LIST)
    page.click("text=Slowest")
    page.locator("tbody [name=run]").nth(5).check()
    expect(page.locator("[data-bulk-count]")).to_have_text("1")
    with page.expect_download() as download:
        page.click("text=Export")
    assert download.value.suggested_filename.endswith(".jsonl")
    page.click("text=Delete…")
    page.click("text=Delete 1 trace")
    expect(page.locator(".notice-success")).to_have_text("1 trace is deleted.")
    page.check("[data-tick-all]")
    ticked = page.locator("tbody [name=run]:checked")
    assert ticked.count() == page.locator("tbody tr").count()


def test_rows_are_walked_with_j_and_k(browser: Browser) -> None:
    browser.sign_in(path=LIST)
    links = browser.page.locator(".run-link")
    links.nth(0).focus()
    browser.page.keyboard.press("j")
    expect(links.nth(1)).to_be_focused()
    browser.page.keyboard.press("k")
    expect(links.nth(0)).to_be_focused()


def test_new_runs_are_announced_and_running_ones_change_in_place(
    browser: Browser, database: sqlite3.Connection
) -> None:
    page = browser.page
    browser.sign_in(path=LIST)
    row = page.locator(f"tr[data-run='{traced.TICKING}']")
    expect(row.locator(".state")).to_have_text("Running")
    finish(database, traced.TICKING)
    new = UUID(int=traced.TICKING.int << 64)
    columns = [one[1] for one in database.execute("PRAGMA table_info(langserve_traces_trace)")]
    copied = ", ".join(name for name in columns if name not in ("id", "started_at"))
    database.execute(
        f"INSERT INTO langserve_traces_trace (id, started_at, {copied}) "
        f"SELECT ?, datetime('now'), {copied} FROM langserve_traces_trace WHERE id = ?",
        [new.hex, traced.FAMILY.hex],
    )
    database.commit()
    expect(row.locator(".state")).to_have_text("Done")
    expect(row).to_contain_text("31.0 s")
    button = page.locator("[data-new-runs]")
    expect(button).to_have_text("1 new run")
    assert page.locator(f"tr[data-run='{new}']").count() == 0
    button.click()
    expect(page.locator(f"tr[data-run='{new}']")).to_be_visible()


# The tree


def test_tree_is_walked_by_the_keys_of_trees(browser: Browser) -> None:
    keys = browser.page.keyboard
    browser.sign_in(path=url(traced.FAMILY))
    assert browser.page.locator("#panel h2").inner_text() == "ChatModel"
    browser.page.locator("#tree [tabindex='0']").focus()
    assert focused(browser) == "ChatModel"
    steps = [
        ("Home", "run"),
        ("ArrowDown", "RunnableParallel<a,b>"),
        ("ArrowUp", "run"),
        ("End", "Parser"),
        ("k", "RunnableLambda"),
        ("j", "Parser"),
        ("ArrowLeft", "run"),
        ("ArrowRight", "RunnableParallel<a,b>"),
        ("ArrowLeft", "RunnableParallel<a,b>"),  # folded
        ("ArrowDown", "RunnableLambda"),
        ("*", "RunnableLambda"),  # all beside it are opened
        ("ArrowUp", "ChatModel"),
        ("p", "Parser"),
        ("Home", "run"),
    ]
    for key, name in steps:
        keys.press(key)
        assert focused(browser) == name, key
    opened = browser.page.locator("#tree a[aria-expanded]").first
    expect(opened).to_have_attribute("aria-expanded", "true")
    keys.press("ArrowLeft")
    expect(opened).to_have_attribute("aria-expanded", "false")
    assert shown(browser) == ["run"]


def test_selected_node_is_in_the_address(browser: Browser) -> None:
    page = browser.page
    browser.sign_in(path=url(traced.FAMILY))
    page.click("#tree >> text=Lookup")
    expect(page.locator("#panel h2")).to_have_text("Lookup")
    expect(page.locator("#tree [aria-selected=true] .name")).to_have_text("Lookup")
    assert "?node=" in page.url
    page.click("#tree >> text=Parser")
    expect(page.locator("#panel h2")).to_have_text("Parser")
    page.go_back()
    expect(page.locator("#panel h2")).to_have_text("Lookup")
    page.reload()
    expect(page.locator("#panel h2")).to_have_text("Lookup")


def test_tree_is_searched_and_thinned_in_place(browser: Browser) -> None:
    page = browser.page
    browser.sign_in(path=url(traced.FAMILY))
    assert shown(browser) == ALL
    page.fill("[name=find]", "chat")
    assert shown(browser) == ALL[:4]
    page.check("[name=hide]")
    assert shown(browser) == ["run", "Lookup", "ChatModel"]
    expect(page.locator("#tree >> text=Lookup")).to_be_visible()
    levels = page.locator("#tree a >> visible=true").evaluate_all(
        "links => links.map(link => link.ariaLevel)"
    )
    assert levels == ["1", "2", "3"]
    page.reload()
    assert shown(browser) == ["run", "Lookup", "ChatModel"]
    page.fill("[name=find]", "nothing")
    expect(page.locator("[data-none]")).to_be_visible()
    page.fill("[name=find]", "")
    page.uncheck("[name=hide]")
    page.check("[name=errors]")
    assert shown(browser) == ALL[:4]
    page.uncheck("[name=errors]")
    assert shown(browser) == ALL
    page.click("text=Collapse all")
    assert shown(browser) == ["run", "RunnableParallel<a,b>", "RunnableLambda", "Parser"]


def test_rest_of_a_long_payload_is_loaded(browser: Browser) -> None:
    page = browser.page
    browser.sign_in(path=url(traced.FAMILY))
    page.click("#tree >> text=Parser")
    page.click("[data-load-rest]")
    expect(page.locator("[data-load-rest]")).to_have_count(0)
    assert len(page.locator("[data-rest-into]").inner_text()) == 100_002


def test_two_thousand_nodes_open_in_time(browser: Browser) -> None:
    browser.sign_in(path=LIST)
    devtools = browser.page.context.new_cdp_session(browser.page)
    # The page's own work, whatever else the machine does; test_detail.py has the server's.
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    before = worked()
    browser.open(url(traced.LONG))
    expect(browser.page.locator("#tree [role=treeitem]")).to_have_count(traced.STEPS + 1)
    opened = worked()
    frames = browser.page.evaluate(SCROLL)
    of_a_frame = (worked() - opened) / frames
    assert opened - before < OPEN_SECONDS, opened - before
    # No long task: each frame draws a screen of rows that were not drawn before.
    assert of_a_frame < 0.1, of_a_frame


# Scrolls the tree from end to end, and tells in how many frames.
SCROLL = """async () => {
  const tree = document.getElementById("tree");
  let frames = 0;
  for (let top = 0; top < tree.scrollHeight; top += 2000, frames += 1) {
    tree.scrollTop = top;
    await new Promise(requestAnimationFrame);
  }
  return frames;
}"""


def test_running_trace_updates_itself_until_it_ends(
    browser: Browser, database: sqlite3.Connection
) -> None:
    page = browser.page
    browser.sign_in(path=url(traced.RUNNING))
    ticking = page.locator("#trace-head [data-ticking]")
    before = ticking.inner_text()
    expect(ticking).not_to_have_text(before)
    page.click("#tree >> text=Thinking")
    expect(page.locator("#panel .state")).to_have_text("Running")
    finish(database, traced.RUNNING)
    expect(page.locator("#trace-head .state")).to_have_text("Done")
    expect(page.locator("#trace-head")).to_contain_text("31.0 s")
    expect(page.locator("#panel .state")).to_have_text("Done")
    expect(page.locator("#tree [aria-selected=true] .name")).to_have_text("Thinking")
    expect(page.locator("[data-said]")).to_have_text("The run has ended.")


# Everywhere


def test_payloads_are_in_no_byte_for_who_may_not_see_them(browser: Browser) -> None:
    browser.sign_in("bob", path=LIST)
    for path in (LIST, url(traced.FAMILY), f"{url(traced.FAMILY)}?fragment=panel"):
        response = browser.page.request.get(browser.url + path)
        assert response.status == 200
        assert [word for word in (*SECRETS, "Which door") if word in response.text()] == []


def test_untrusted_text_does_nothing(browser: Browser) -> None:
    browser.sign_in(path=f"{LIST}?state=failed")
    expect(browser.page.locator("tbody")).to_contain_text("<img src=x")
    browser.open(url(traced.EVIL))
    expect(browser.page.locator("#panel")).to_contain_text("<script>owned()")
    browser.page.locator("#tree a").first.click()
    expect(browser.page.locator("#panel")).to_contain_text("the whole run")
    browser.page.locator("#tree a").last.click()
    expect(browser.page.locator("#panel .error-box")).to_contain_text("<script>owned()")
    assert browser.page.evaluate("document.body.id") == ""


@with_phone
def test_nothing_is_wider_than_a_phone(browser: Browser) -> None:
    wrong = "version=x&since=yesterday&slower=x"
    browser.sign_in(path=LIST)
    for path in (f"{LIST}?tag={'W' * 150}&{wrong}", LIST, url(traced.WIDE)):
        browser.open(path)
        for summary in browser.page.locator("main summary >> visible=true").all():
            summary.click()
        for direction in ("ltr", "rtl"):
            browser.page.evaluate("direction => document.dir = direction", direction)
            assert browser.sticking_out() == [], path
            assert browser.page.evaluate("document.documentElement.scrollWidth") == 320, path


@pytest.mark.parametrize("path", [LIST, url(traced.FAMILY)])
def test_every_control_is_reached_by_tab_and_shows_it(browser: Browser, path: str) -> None:
    browser.sign_in(path=path)
    # Of a tree one node is reached by Tab, the others from there.
    browser.page.evaluate(
        "document.querySelectorAll('#tree a[tabindex=\"-1\"]').forEach(link => link.inert = true)"
    )
    browser.page.evaluate("document.querySelectorAll('#tree a[inert]').forEach(a => a.remove())")
    wanted, went = browser.walk_by_tab()

    assert wanted <= {place.get("number") for place in went}
    assert [place for place in went if place.get("number") and place["ring"] < 3] == []
    assert [place for place in went if place.get("number") and not place["inView"]] == []


@pytest.mark.parametrize("media", [{"forced_colors": "active"}, {"color_scheme": "dark"}], ids=str)
def test_pages_hold_in_other_colors(browser: Browser, media: Any) -> None:
    browser.page.emulate_media(**media)
    browser.sign_in(path=LIST)
    browser.open(url(traced.FAMILY))

    assert shown(browser) == ALL
