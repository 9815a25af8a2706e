"""Every page with data, at every width, light and dark: nothing goes wrong in it, and it is accessible."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PAGES, WITH_CHARTS, Open, Tab
from tests.browser.looks import MOST_SHIFT, PHONE, at_hand, looked_at, shift

MOST_WIRE = 400_000
"""Bytes of the first page with everything that it loads."""


@pytest.mark.parametrize("name", PAGES)
def test_page_with_data(paths: dict[str, str], tab: Tab, name: str) -> None:
    seen = tab(paths[name])
    seen.settled()
    assert shift(seen) <= MOST_SHIFT
    seen.whole()
    assert seen.page.locator("[aria-busy]:not(#loading)").count() == 0
    if name in WITH_CHARTS:
        charts = seen.page.locator("[data-chart]:has(tr[data-from])")
        assert charts.count() == WITH_CHARTS[name]
        for chart in charts.all():
            expect(chart.locator("canvas")).to_have_count(1)
            # Where nothing was collected is marked, and named.
            assert chart.locator('tr[data-gap="keytrail did not run"]').count() in {1, 2}
            expect(chart.locator(".legend")).to_contain_text("nothing was collected")
    looked_at(seen, name)
    at_hand(seen)


def test_a_phone_shows_what_tells_most_first(opened: Open) -> None:
    seen = opened("/keys?sort=-p99_latency", width=PHONE["width"])
    page = seen.page
    row = page.locator("#p-table tbody tr").first
    places = {
        column: row.locator(f"td[data-label='{column}']").bounding_box()
        for column in ("Requests", "Errors", "Error rate", "p95", "p99")
    }
    name = row.locator("th").bounding_box()
    heights = {column: place["y"] for column, place in places.items() if place}
    assert name
    first = {heights.pop(column) for column in ("Requests", "Errors", "Error rate", "p95")}
    assert [name["y"], *first, heights["p99"]] == sorted([name["y"], *first, heights["p99"]])
    assert len(first) == 1
    # What a figure is stands above it, and what the table is sorted by is in sight.
    title = row.locator("td").first.evaluate("one => getComputedStyle(one, '::before').content")
    assert title.startswith('"Requests"')
    expect(page.locator("#p-table thead th[aria-sort=descending]")).to_be_in_viewport(ratio=1)
    # To a screen reader it is a table as before.
    expect(page.get_by_role("columnheader", name="p99")).to_have_count(1)
    expect(row.get_by_role("rowheader")).to_have_count(1)


def test_a_finger_hits_what_it_is_meant_to(tab: Tab) -> None:
    seen = tab("/requests?code=404")
    seen.whole()
    expect(seen.page.locator(".chip")).to_be_visible()
    at_hand(seen)
    for path in ("/docs", "/nothing-here"):
        seen.page.goto(seen.address + path)
        at_hand(seen)


def test_first_page_is_light_and_stands_still(opened: Open) -> None:
    seen = opened("/")
    seen.page.wait_for_timeout(200)
    assert 100_000 < seen.wire <= MOST_WIRE
    assert shift(seen) <= MOST_SHIFT
    assert seen.page.locator("[aria-busy]").count() == 0
    assert seen.faults == []
