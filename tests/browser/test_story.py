"""The story: woken at night, from the overview to who, where, since when and whose fault; and the keyboard."""

from playwright.sync_api import expect

from keytrail.demo.world import build_world
from tests.browser.conftest import Open, Site, Tab


def test_from_the_overview_to_the_guilty(site: Site, opened: Open) -> None:
    failing = build_world().failing
    seen = opened("/")
    page = seen.page
    # Who: the gateway refuses one key; since when stands beside it.
    cause = page.locator("#p-guilty tbody tr").first
    assert failing.alias in cause.inner_text()
    assert "429" in cause.inner_text()
    assert "gateway" in cause.inner_text()
    assert "h ago" in cause.locator("td").nth(6 - 1).inner_text()
    cause.locator("a.main").click()
    seen.settled()
    expect(page.locator("h1")).to_have_text(failing.alias)
    assert page.url == f"{site.address}/keys/{failing.key}"
    # Where: its endpoints, the worst first by a click on the column.
    page.locator("#p-table thead a", has_text="Errors").first.click()
    seen.settled()
    assert "sort=-error" in page.url
    worst = page.locator("#p-table tbody tr").first
    path = worst.locator("a.main").inner_text()
    # What: a click on the code filters the page.
    page.locator("#p-all-codes a.to", has_text="429").click()
    seen.settled()
    assert "code=429" in page.url
    expect(page.locator(".chip")).to_contain_text("429")
    # The table keeps its order through the filter.
    assert "sort=-error" in page.url
    # By its whole name: the path of one endpoint begins another's.
    page.locator("#p-table").get_by_role("link", name=path, exact=True).first.click()
    seen.settled()
    expect(page.locator("h1")).to_have_text(path)
    # The request itself.
    page.locator("#p-traffic summary").click()
    page.locator("#p-traffic .drop a", has_text="See the requests").click()
    page.wait_for_url("**/requests?*")
    seen.settled()
    # Now and then another key is refused there, too.
    page.locator("#p-log tbody tr", has=page.get_by_role("link", name=failing.alias)).first.locator("th a").click()
    page.wait_for_url("**/requests/*")
    seen.settled()
    expect(page.locator("h1")).to_contain_text("429")
    assert failing.key in page.inner_text("main")
    # Twice back, faster than the first page comes: it is given up, and the second is shown.
    page.route("**/requests?*", lambda route: None)
    with page.expect_event("requestfailed", lambda request: "/requests?" in request.url):
        page.go_back()
        page.go_back()
    page.unroute("**/requests?*")
    page.wait_for_url("**/endpoint?*")
    seen.settled()
    expect(page.locator("h1")).to_have_text(path)
    shared = page.url
    # Back, reload, and the link in somebody else's browser.
    page.go_back()
    seen.settled()
    expect(page.locator("h1")).to_have_text(failing.alias)
    page.go_forward()
    seen.settled()
    page.reload()
    expect(page.locator("h1")).to_have_text(path)
    other = opened(token="")
    other.page.goto(shared)
    other.page.get_by_label("Token").fill("a-token-of-the-tests")
    other.page.get_by_role("button", name="Sign in").click()
    other.settled()
    assert other.page.url == shared
    expect(other.page.locator("h1")).to_have_text(path)
    assert seen.faults == []
    assert other.faults == []


def test_removing_a_chip_and_filtering_by_a_legend(tab: Tab) -> None:
    seen = tab("/")
    page = seen.page
    page.evaluate("scrollTo(0, 200)")
    page.locator("#p-traffic .legend a", has_text="5xx").click()
    seen.settled()
    assert page.url.endswith("?code_class=5xx")
    assert page.evaluate("scrollY") == 200
    page.locator(".chip .drop-it").click()
    seen.settled()
    assert "code_class" not in page.url
    assert seen.faults == []


def test_dragging_over_a_chart_zooms(tab: Tab) -> None:
    seen = tab("/")
    page = seen.page
    box = page.locator("#p-traffic .canvas").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, y, steps=4)
    page.mouse.move(box["x"] + box["width"] * 0.7, y, steps=4)
    page.mouse.up()
    page.wait_for_url("**from=*")
    seen.settled()
    assert "to=" in page.url
    assert page.locator("#p-traffic canvas").count() >= 1
    assert seen.faults == []


def test_keyboard(opened: Open) -> None:
    seen = opened("/")
    page = seen.page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("t")
    expect(page.locator("#ranges [aria-current]")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    seen.chord("g", "k")
    page.wait_for_url("**/keys")
    seen.settled()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("pellamoor freight")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=pellamoor*")
    seen.settled()
    rows = page.locator("#p-table tbody tr")
    assert rows.count() >= 1
    rows.first.locator("a.main").focus()
    page.keyboard.press("ArrowDown")
    if rows.count() > 1:
        expect(rows.nth(1).locator("a.main")).to_be_focused()
    assert seen.faults == []


def test_theme_and_zone_are_remembered(opened: Open) -> None:
    seen = opened("/")
    page = seen.page
    page.locator("[data-theme-switch]").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.reload()
    # In the page as it was sent: it never flashes in the other theme.
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.locator("select[name=zone]").select_option("Asia/Tokyo")
    page.wait_for_url("**zone=Asia%2FTokyo*")
    seen.goto("/keys")
    expect(page.locator("select[name=zone]")).to_have_value("Asia/Tokyo")
    assert seen.faults == []


def test_signing_out(site: Site, opened: Open) -> None:
    seen = opened("/")
    seen.page.get_by_label("Account").click()
    seen.page.get_by_role("button", name="Sign out").click()
    seen.page.wait_for_url("**/signin")
    seen.page.goto(f"{site.address}/keys")
    assert seen.page.url == f"{site.address}/signin?next=%2Fkeys"
    seen.page.get_by_label("Token").fill("wrong")
    seen.page.get_by_role("button", name="Sign in").click()
    expect(seen.page.get_by_role("alert")).to_contain_text("No such token")
