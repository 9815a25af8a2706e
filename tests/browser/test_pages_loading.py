"""Pages while they load, at every width, light and dark: what is to come has its room."""

import pytest
from playwright.sync_api import Route, expect

from keytrail.web.ui import render
from tests.browser.conftest import Tab
from tests.browser.looks import MOST_SHIFT, looked_at, shift


@pytest.mark.parametrize("name", ["overview", "key", "endpoint"])
def test_page_while_it_loads(paths: dict[str, str], tab: Tab, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever it took the last time, it comes after the page.
    monkeypatch.setattr(render, "_WITH_THE_PAGE", 0.0)
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    seen = tab("/prefer")
    seen.page.route("**/*panel=*", hold)
    seen.goto(paths[name])
    waiting = seen.page.locator("[aria-busy=true]")
    expect(waiting.first).to_be_visible()
    assert waiting.count() == seen.page.locator(".skeleton").count()
    looked_at(seen, f"{name}-loading", "[aria-busy]")
    before = shift(seen)
    for one in late:
        one.continue_()
    expect(waiting).to_have_count(0)
    # What came has the room that was kept for it.
    assert shift(seen) - before <= MOST_SHIFT
