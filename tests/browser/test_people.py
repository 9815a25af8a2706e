"""Consumers: who there is, and what one did with all its keys and clients together."""

from collections import Counter

from playwright.sync_api import expect

from keytrail.demo.directory import directory
from keytrail.demo.world import build_world
from tests.browser.conftest import OTHER, Site, Tab

CONSUMER = "pellamoor-freight"


def test_a_consumers_numbers_are_those_of_its_keys_and_clients(site: Site, tab: Tab) -> None:
    links = [link for link in directory(build_world()) if link.consumer == CONSUMER]
    held = {(link.kind, link.value) for link in links}
    hits = [
        record
        for record in site.records
        if record.response_code != -1 and {("key", record.api_key), ("client", record.oauth_id)} & held
    ]
    assert {kind for kind, _ in held} == {"key", "client"}
    seen = tab("/consumers?range=7d&q=pellamoor+freight")
    page = seen.page
    row = page.locator("#p-table tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("td").first).to_have_text(f"{len(hits):,}")
    row.locator("a.main").click()
    page.wait_for_url(f"**/consumers/{CONSUMER}?range=7d")
    seen.settled()
    expect(page.locator("h1")).to_have_text(links[0].name)
    expect(page.locator(".figure dd.value").first).to_have_text(f"{len(hits):,}")
    # Everything that belongs to it, each with its own.
    own = {
        **Counter(record.api_key for record in hits if not record.oauth_id),
        **Counter(record.oauth_id for record in hits if record.oauth_id),
    }
    shown = page.locator("#p-links tbody tr").evaluate_all(
        "rows => rows.map(row => [row.querySelector('[data-copy]').dataset.copy, row.cells[4].textContent.trim()])"
    )
    assert dict(shown) == {value: f"{own.get(value, 0):,}" for _, value in held}
    # From there to one key, and to the requests of all.
    page.locator("#p-traffic summary").click()
    page.locator("#p-traffic .drop a", has_text="See the requests").click()
    page.wait_for_url("**/requests?*")
    seen.settled()
    expect(page.locator(".chip")).to_contain_text(links[0].name)
    newest = max(hits, key=lambda record: record.timestamp)
    expect(page.locator("#p-log tbody tr").first).to_contain_text(newest.raw_path)
    assert seen.faults == []
    # Another organisation does not even know of it.
    other = tab(f"/consumers/{CONSUMER}", token=OTHER)
    expect(other.page.locator("h1")).to_have_text("There is no such page")
