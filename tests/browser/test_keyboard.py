"""All of a page by the keyboard alone: everything can be reached, is seen to be, and can be left."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Tab

FOCUSABLE = "a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']"
VISIBLE = f"""[...document.querySelectorAll("{FOCUSABLE}")].filter(
    one => one.tabIndex >= 0 && !one.closest('[hidden], dialog:not([open])')
        && one.checkVisibility({{visibilityProperty: true, opacityProperty: false}}))"""


@pytest.mark.parametrize("path", ["/", "/changes", "/keys?q=pellamoor", "/requests?code=404&range=1h", "/pipeline"])
def test_everything_is_reached_in_order_and_seen_to_be(tab: Tab, path: str) -> None:
    seen = tab(path)
    page = seen.page
    seen.settled()
    # A panel that comes while one is on the way to it has other elements then.
    seen.whole()
    count = page.evaluate(
        f"""() => {{
            window.wanted = {VISIBLE};
            window.reached = [];
            document.addEventListener('focusin', (event) => {{
                const style = getComputedStyle(event.target);
                const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
                window.reached.push([window.wanted.indexOf(event.target), ring, event.target.outerHTML.slice(0, 120)]);
            }});
            return window.wanted.length;
        }}"""
    )
    for _ in range(count):
        page.keyboard.press("Tab")
    reached: list[Any] = page.evaluate("window.reached")
    assert count > 15
    assert [place for place, _, _ in reached] == list(range(count)), reached[-3:]
    assert [what for _, ring, what in reached if not ring] == []
    assert seen.faults == []


def test_menus_dialogs_and_charts_by_the_keyboard(opened: Open) -> None:
    seen = opened("/keys?range=7d")
    page = seen.page
    # Past the header at once.
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    # Sort by a heading, open a row, come back.
    page.get_by_role("link", name="Errors", exact=True).last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**sort=-error*")
    seen.settled()
    first = page.locator("#p-table tbody tr").first.locator("a.main")
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/keys/*")
    seen.settled()
    # A menu opens, is walked through, closes, and the focus is where it was.
    menu = page.locator("#p-traffic summary")
    menu.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#p-traffic .drop a").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(page.locator("#p-traffic .drop")).to_be_hidden()
    # A chart as a table: its rows zoom.
    menu.press("Enter")
    page.get_by_role("button", name="Show as a table").press("Enter")
    row = page.locator("#p-traffic .data tbody tr:has(td:not([data-v='0'], [data-v=''])) a").first
    row.focus()
    expect(row).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**from=*")
    seen.settled()
    # A filter, and its removal.
    page.locator("#p-all-codes a.to").first.press("Enter")
    page.wait_for_url("**code=*")
    seen.settled()
    page.locator(".chip .drop-it").press("Enter")
    seen.settled()
    assert "code=" not in page.url
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    assert seen.faults == []


def test_copied_values_paste_clean(opened: Open) -> None:
    seen = opened("/keys?range=7d")
    page = seen.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied = page.locator("#p-table [data-copy]").nth(1)
    copied.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_have_text("Copied")
    value = copied.get_attribute("data-copy")
    assert page.evaluate("navigator.clipboard.readText()") == value
    assert value
    assert value == value.strip()
    assert seen.faults == []


def test_on_paper(tab: Tab) -> None:
    seen = tab("/")
    page = seen.page
    page.emulate_media(media="print", color_scheme="dark")
    # Numbers instead of drawings, nothing to click, dark on white.
    for chart in page.locator("[data-chart]").all():
        expect(chart.locator("table")).to_be_visible()
        expect(chart.locator(".canvas")).to_be_hidden()
    for gone in (".top", ".menu", ".segments"):
        expect(page.locator(f"{gone}:visible")).to_have_count(0)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") in {
        "rgba(0, 0, 0, 0)",
        "rgb(255, 255, 255)",
    }
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('h2')).color") == "rgb(0, 0, 0)"
    # What the page is about is there.
    expect(page.locator(".printed")).to_contain_text("24 hours")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert seen.faults == []
