"""What changed, for somebody woken at night: who, where, since when, whose fault, and how sure that is."""

import csv
import shlex
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from playwright.sync_api import expect

from keytrail.demo.world import build_world
from tests.browser.conftest import EACH, HOSTILE, OTHER, Site, Tab
from tests.product import TOKEN


def test_one_click_from_the_overview_tells_who_and_since_when(site: Site, tab: Tab) -> None:
    world = build_world()
    seen = tab("/")
    page = seen.page
    page.locator(".pages").get_by_role("link", name="What changed").click()
    page.wait_for_url("**/changes")
    seen.settled()
    # One key is refused by the gateway since six hours, one endpoint fails behind it.
    first = page.locator("#p-verdict li").first
    expect(first.locator("a.main")).to_have_text(world.failing.alias)
    for words in ("more errors", "4xx from the gateway", " h ago"):
        expect(first).to_contain_text(words)
    broken = page.locator("#p-verdict li", has=page.get_by_role("link", name=world.broken[1].path, exact=True))
    expect(broken).to_contain_text("5xx from the upstream")
    # An outage is many keys', a limit many endpoints': it is told of none alone.
    expect(broken).not_to_contain_text("nearly all")
    expect(first).not_to_contain_text("nearly all")
    # The requests that it tells of are a click away.
    sought = first.get_by_role("link", name="See the requests").get_attribute("href")
    assert sought
    assert parse_qs(urlsplit(sought).query) == {"key": [world.failing.key], "code_class": ["4xx"]}
    # Every row is what the API answers to the same question.
    shown = page.locator("#p-errors tbody tr").evaluate_all(
        "rows => rows.map(row => [row.querySelector('a.main').textContent,"
        " ...[...row.cells].slice(1).map(cell => (cell.querySelector('a') || cell).textContent.trim()),"
        " row.querySelector('time').dateTime])"
    )
    answer = asked_by(page.locator("#p-errors [data-copy]").get_attribute("data-copy"))
    assert shown
    for cells, row in zip(shown, answer["errors"]["rows"], strict=True):
        assert cells[:4] == [row["alias"] or row["key"], row["path"], row["code_class"], row["origin"]]
        assert cells[5] == f"+{row['contribution']:,.0f}"
        assert cells[7] == f"{row['errors']:,}"
        assert cells[-1] == row["since"].replace("Z", "+00:00")
    # And so is the file.
    page.locator("#p-errors summary").click()
    with page.expect_download() as download:
        page.locator("#p-errors").get_by_role("link", name="CSV", exact=True).click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8-sig").splitlines()))
    assert [(row["key"], row["path"], row["since"]) for row in rows] == [
        (row["key"], row["path"], row["since"]) for row in answer["errors"]["rows"]
    ]
    # A row filters, and opens.
    page.locator("#p-errors tbody tr").first.get_by_text("4xx").click()
    seen.settled()
    assert "code_class=4xx" in page.url
    page.locator("#p-errors tbody tr").first.get_by_title("See the requests").click()
    page.wait_for_url("**/requests?*")
    seen.settled()
    expect(page.locator("#p-log tbody tr").first).to_contain_text("4")
    assert seen.faults == []


def test_whose_errors_an_endpoint_has_is_told_where_they_are_one_key_s(tab: Tab) -> None:
    # Of the other tenant, each key has an endpoint of its own; this one's answers but two are 503 from the upstream.
    seen = tab("/changes?least_hits=5", token=OTHER)
    told = seen.page.locator("#p-verdict li", has=seen.page.get_by_role("link", name="/" + HOSTILE[2], exact=True))
    expect(told).to_contain_text(f"5xx from the upstream, nearly all with the key {HOSTILE[2]}")
    expect(told.get_by_role("link", name="This key")).to_have_attribute("href", "/keys/0000000000000002")
    told.get_by_role("link", name="See the requests").click()
    seen.page.wait_for_url("**/requests?*")
    seen.settled()
    assert parse_qs(urlsplit(seen.page.url).query) == {
        "key": ["0000000000000002"],
        "api": [HOSTILE[2]],
        "path": ["/" + HOSTILE[2]],
        "code_class": ["5xx"],
    }
    expect(seen.page.locator("#p-log tbody tr")).to_have_count(EACH - 2)
    assert seen.faults == []


def test_other_baselines_and_what_can_not_be_compared(tab: Tab) -> None:
    seen = tab("/changes?by=endpoint")
    page = seen.page
    expect(page.locator("#p-errors thead th").first).to_have_text("Endpoint")
    page.get_by_role("link", name="Consumer", exact=True).click()
    seen.settled()
    expect(page.locator("#p-errors tbody tr").first.locator("a.main")).to_have_text("Pellamoor Freight")
    page.go_back()
    expect(page.locator("#p-errors thead th").first).to_have_text("Endpoint")
    page.get_by_role("link", name="Last week").click()
    seen.settled()
    assert "baseline=last_week" in page.url
    assert "by=endpoint" in page.url
    # There were no records a week ago: more errors than none, and nothing to be slower than.
    assert page.locator("#p-errors tbody tr").count() >= 1
    expect(page.locator("#p-latency")).to_contain_text("Nothing to compare with")
    expect(page.locator("#p-figures")).to_contain_text("no request before")
    assert seen.faults == []


def asked_by(command: str | None) -> Any:
    """What the API answers to a copied command."""
    assert command
    *_, url, flag, body = shlex.split(command)
    assert flag == "-d"
    answer = httpx.post(url, content=body, headers={"Authorization": TOKEN}, trust_env=False, timeout=60)
    assert answer.status_code == 200
    return answer.json()
