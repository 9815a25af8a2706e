"""Every page with data, at every width, light and dark: nothing goes wrong in it, and it is accessible."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PAGES, WITH_CHARTS, Open, Tab
from tests.browser.looks import MOST_SHIFT, looked_at, overflow, shift

MOST_WIRE = 400_000
"""Bytes of the first page with everything that it loads."""
LEAST_TARGET = 40
"""Pixels of height of what a finger has to hit."""


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


def test_a_phone_shows_whose_figures_these_are(tab: Tab) -> None:
    page = tab("/keys").page
    page.set_viewport_size({"width": 360, "height": 800})
    table, name = page.locator("#p-table .scroll"), page.locator("#p-table tbody th").first
    # That there is more is seen, and the name stays while one looks at it.
    expect(table).to_have_class("scroll more-right")
    before = name.bounding_box()
    table.evaluate("one => one.scrollTo(9999, 0)")
    expect(table).to_have_class("scroll more-left")
    assert name.bounding_box() == before
    page = tab("/pipeline").page
    page.set_viewport_size({"width": 360, "height": 800})
    expect(page.locator(".figure .note").first).to_be_in_viewport(ratio=1)
    for column in ("Stored", "To visible", "Attempt"):
        expect(page.locator("#p-batches thead th", has_text=column)).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("path", ["/", "/requests?code=404"])
def test_a_finger_hits_what_it_is_meant_to(tab: Tab, path: str) -> None:
    seen = tab(path)
    seen.page.set_viewport_size({"width": 360, "height": 800})
    tools = seen.page.context.new_cdp_session(seen.page)
    tools.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})
    seen.whole()
    # Of what is seen: what one would hit a little above and below its middle, too.
    missed = seen.page.evaluate(
        """least => [...document.querySelectorAll(
            "a:not(.skip), button:not(.vh), summary, input:not([type=hidden]), select")].filter(one => {
            if (!one.checkVisibility() || one.closest(".data:not(.shown)")) return false;
            one.scrollIntoView({ block: "center", inline: "center" });
            const box = one.getBoundingClientRect(), across = (box.left + box.right) / 2;
            return [-1, 1].some(side => {
                const met = document.elementFromPoint(across, (box.top + box.bottom) / 2 + side * (least / 2 - 1));
                return !(one.contains(met) || one.labels?.[0]?.contains(met));
            });
        }).map(one => one.outerHTML.slice(0, 160))""",
        LEAST_TARGET,
    )
    overflowing = overflow(seen)
    tools.detach()
    assert missed == []
    assert overflowing <= 0


def test_first_page_is_light_and_stands_still(opened: Open) -> None:
    seen = opened("/")
    seen.page.wait_for_timeout(200)
    assert 100_000 < seen.wire <= MOST_WIRE
    assert shift(seen) <= MOST_SHIFT
    assert seen.page.locator("[aria-busy]").count() == 0
    assert seen.faults == []
