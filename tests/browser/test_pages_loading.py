"""Pages while they load, at every width, light and dark: what is to come has its room."""

import pytest
from playwright.sync_api import expect

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
    seen = tab("/prefer")
    seen.page.route("**/*panel=*", lambda _: None)
    seen.page.goto(seen.address + paths[name])
    waiting = seen.page.locator(WAITING)
    expect(waiting.first).to_be_visible()
    assert waiting.count() == seen.page.locator(".panel[id^=p-]").count()
    assert waiting.count() == seen.page.locator(".panel[id^=p-] .skeleton").count()
    looked_at(seen, f"{name}-loading", "[aria-busy]")
    before = shift(seen)
    # What has been held back is let go by that.
    seen.page.unroute_all()
    seen.whole()
    # What came has the room that was kept for it.
    assert shift(seen) - before <= MOST_SHIFT


def test_what_takes_long_comes_when_it_is_in_sight(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_WITH_THE_PAGE", {True: 0.0, False: 100.0})
    tab("/")
    seen = tab("/")
    page = seen.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("panel=")[2]))
    assert page.locator("#p-tags[aria-busy=true]").count() == 1
    assert page.locator("#p-traffic[aria-busy=true]").count() == 0
    assert asked == []
    page.locator("#p-tags").scroll_into_view_if_needed()
    expect(page.locator("#p-tags tbody tr").first).to_be_visible()
    assert "tags" in asked
    assert seen.faults == []


def test_a_proxy_s_error_takes_nothing_away(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_WITH_THE_PAGE", {True: 0.0, False: 100.0})
    tab("/")
    seen = tab("/")
    page = seen.page
    expect(page.locator("#p-tags")).to_have_attribute("aria-busy", "true")
    page.route("**/*panel=*", lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad</h1>"))
    with page.expect_response("**/*panel=traffic"), page.expect_response("**/*panel=age"):
        page.keyboard.press("r")
    # What was to come says that it does not; what is there stays.
    page.locator("#p-tags").scroll_into_view_if_needed()
    expect(page.locator("#p-tags .failed")).to_contain_text("This could not be loaded. Try again")
    expect(page.locator("#p-traffic canvas")).to_have_count(1)
    expect(page.locator("#age [data-ago]")).to_have_count(1)
    page.unroute_all()
    page.locator("#p-tags .failed a").click()
    expect(page.locator("#p-tags .failed")).to_have_count(0)
    page.locator("#p-tags").scroll_into_view_if_needed()
    expect(page.locator("#p-tags tbody tr").first).to_be_visible()
