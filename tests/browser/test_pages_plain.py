"""Every page without scripts, and with names that would do harm if they could."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import HOSTILE, OTHER, PAGES, TABLES, Tab
from tests.browser.looks import overflow


@pytest.mark.parametrize("name", PAGES)
def test_scripts_off(paths: dict[str, str], tab: Tab, name: str) -> None:
    seen = tab(paths[name], scripts=False)
    assert seen.page.locator("table:visible tbody tr").count() >= 1
    # The charts' own, too.
    for chart in seen.page.locator("[data-chart]").all():
        expect(chart.locator("table")).to_be_visible()
        expect(chart.locator(".canvas")).to_be_hidden()
    # Nothing that only a script could answer is offered.
    for control in seen.page.locator("button:visible").all():
        assert control.evaluate("one => one.type") == "submit"
    assert seen.faults == []


@pytest.mark.parametrize("path", [*TABLES[:-1], "/changes?by=endpoint&least_hits=1", "/keys/0000000000000000"])
def test_hostile_names_are_shown_and_never_run(tab: Tab, path: str) -> None:
    seen = tab(path, token=OTHER)
    if path != "/changes":
        # Each alone has too few requests there.
        assert HOSTILE[0] in seen.page.inner_text("body")
    seen.page.set_viewport_size({"width": 360, "height": 900})
    assert overflow(seen) <= 0
    if path == "/requests":
        # One of them in full.
        seen.page.locator("#p-log tbody tr th a").first.click()
        seen.page.wait_for_url("**/requests/*")
        seen.settled()
        assert overflow(seen) <= 0
    assert seen.page.title() != "run"
    assert seen.faults == []
