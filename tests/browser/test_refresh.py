"""Refreshing by itself: what is in sight is asked for anew, and nothing while nobody sees it."""

from playwright.sync_api import Page, Route

from tests.browser.conftest import EVERY, Open, Seen


def hide(page: Page, *, hidden: bool) -> None:
    """Put the tab behind another one, or in front again."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def watched(opened: Open) -> tuple[Seen, Page, list[str]]:
    """The overview under a clock of the test's own, and the panels that are asked for from then on."""
    seen = opened(token="a-token-of-the-tests", refreshing=True)
    page = seen.page
    page.clock.install()
    seen.goto("/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("panel=")[2]))
    return seen, page, asked


def test_it_pauses_in_a_hidden_tab_and_when_switched_off(opened: Open) -> None:
    seen, page, asked = watched(opened)
    with page.expect_request("**panel=traffic"):
        page.clock.run_for(EVERY)
    seen.settled()
    assert {"age", "figures", "traffic"} <= set(asked)
    # What is below the window waits until one gets there.
    assert "versions" not in asked
    hide(page, hidden=True)
    seen.settled()
    asked.clear()
    page.clock.run_for(6 * EVERY)
    seen.settled()
    assert asked == []
    # Back again it is not ten seconds old.
    with page.expect_request("**panel=traffic"):
        hide(page, hidden=False)
    seen.settled()
    page.locator("[data-refresh]").click()
    seen.settled()
    asked.clear()
    page.clock.run_for(6 * EVERY)
    seen.settled()
    assert asked == []
    # It stays off.
    page.reload()
    page.clock.run_for(6 * EVERY)
    assert page.locator("[data-refresh]").get_attribute("aria-pressed") == "false"
    assert seen.faults == []


def test_a_refresh_keeps_what_somebody_points_at(opened: Open) -> None:
    seen, page, asked = watched(opened)
    page.locator("#p-traffic h2").hover()
    # As an extension of the browser does it: it must not be written into what comes, which the page's policy forbids.
    page.locator("#h-latency").evaluate("one => { one.style.color = 'red'; }")
    # The page's own time goes on while it is opened.
    seen.settled()
    asked.clear()
    with page.expect_request("**panel=latency"):
        page.clock.run_for(EVERY)
    seen.settled()
    assert "traffic" not in asked
    # Nor does an answer that was under way close a menu.

    def opened_meanwhile(route: Route) -> None:
        page.locator("#p-latency summary").click()
        route.continue_()

    page.route("**panel=latency", opened_meanwhile)
    with page.expect_response("**panel=latency"):
        page.clock.run_for(EVERY)
    seen.settled()
    assert page.locator("#p-latency details[open]").count() == 1
    assert page.locator("#h-latency[style]").count() == 0
    assert seen.faults == []
