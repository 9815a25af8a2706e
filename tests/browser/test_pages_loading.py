"""Pages while they load, at every width, light and dark: what is to come has its room."""

import pytest
from playwright.sync_api import Route, expect

from keytrail.web.ui import render
from tests.browser.conftest import PAGES, WAITING, Tab
from tests.browser.looks import MOST_SHIFT, looked_at, shift

WITHOUT_PANELS = ("request", "components")
"""The one has none, the other shows that state beside all others."""


@pytest.mark.parametrize("name", [name for name in PAGES if name not in WITHOUT_PANELS])
def test_page_while_it_loads(paths: dict[str, str], tab: Tab, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every panel comes after the page: none is as fast as that, and the last time that it took is known.
    monkeypatch.setattr(render, "_WITH_THE_PAGE", {True: 0.0, False: 0.0})
    tab(paths[name])
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    seen = tab("/prefer")
    seen.page.route("**/*panel=*", hold)
    seen.page.goto(seen.address + paths[name])
    waiting = seen.page.locator(WAITING)
    expect(waiting.first).to_be_visible()
    assert waiting.count() == seen.page.locator(".panel[id^=p-]").count()
    assert waiting.count() == seen.page.locator(".panel[id^=p-] .skeleton").count()
    looked_at(seen, f"{name}-loading", "[aria-busy]")
    before = shift(seen)
    for one in late:
        one.continue_()
    expect(waiting).to_have_count(0)
    # What came has the room that was kept for it.
    assert shift(seen) - before <= MOST_SHIFT
