"""What a page shows is what the API answers, and what was recorded."""

import csv
import shlex
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.browser.conftest import HOSTILE, OTHER, TABLES, Seen, Site, Tab, busiest
from tests.product import TOKEN

HTML = {"Accept": "text/html"}


def number(text: str) -> int:
    """A count as a page shows it."""
    return int(text.replace(",", ""))


def test_a_keys_endpoints_are_those_of_the_api(site: Site, tab: Tab) -> None:
    # The day before the last one is whole, whenever this runs.
    key, day_before = busiest(site, "api_key"), site.end - timedelta(days=1)
    parts = f"{day_before.day}/{day_before.month}/{day_before.year}"
    answer = site.product.get(f"/api/activity/keys/endpoint/{key}/{parts}/{parts}?p=-1")
    expected = {
        (row["id"]["path"], row["id"]["api_name"] or ""): (row["hits"], row["success"], row["error"])
        for row in answer["data"]
    }
    day = day_before.strftime("%Y-%m-%d")
    seen = tab(f"/keys/{key}?from={day}&to={day}&kind=rest")
    rows = seen.page.locator("#p-table tbody tr").evaluate_all(
        "rows => rows.map(row => [row.querySelector('a.main').innerText,"
        " ...[...row.cells].slice(1, 4).map(cell => cell.innerText)])"
    )
    shown = {path: tuple(map(number, counts)) for path, *counts in rows}
    assert shown
    assert shown == {path: counts for (path, _), counts in expected.items()}
    assert len(shown) == len(expected)


def test_overview_counts_what_was_recorded(site: Site, tab: Tab) -> None:
    hits = [record for record in site.records if record.response_code != -1]
    seen = tab("/?range=7d")
    figures = seen.page.locator(".figure dd.value")
    assert number(figures.nth(0).inner_text()) == len(hits)
    errors = sum(record.response_code >= 400 for record in hits)
    assert figures.nth(1).inner_text() == f"{errors / len(hits) * 100:.1f} %"
    # No key, which a gateway records as the hash of nothing, is none.
    assert number(figures.nth(3).inner_text()) == len({record.api_key for record in hits} - {"", "00000000"})
    codes = Counter(record.response_code for record in hits if record.response_code >= 400)
    rows = [row.inner_text().split() for row in seen.page.locator("#p-codes tbody tr").all()]
    # Of codes with as many errors, the lower comes first.
    most = sorted(codes.items(), key=lambda one: (-one[1], one[0]))[:8]
    assert [(int(row[0]), number(row[-1])) for row in rows] == most


def test_table_of_a_chart_adds_up(site: Site, tab: Tab) -> None:
    hits = sum(record.response_code != -1 for record in site.records)
    seen = tab("/?range=7d&compare=off")
    cells = seen.page.locator("#p-traffic td[data-v]").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.v))"
    )
    assert sum(cells) == hits


def commands(seen: Seen, panel: str) -> list[str]:
    """The commands that a panel's menu copies, at least one."""
    found = seen.page.locator(f"#{panel} .drop [data-copy]").evaluate_all("all => all.map(one => one.dataset.copy)")
    assert found, panel
    return [str(command) for command in found]


def answer_to(command: str) -> Any:
    """What the API answers to a command."""
    *_, url, flag, body = shlex.split(command)
    assert flag == "-d"
    answer = httpx.post(url, content=body, headers={"Authorization": TOKEN}, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_nothing_crosses(site: Site, tab: Tab) -> None:
    key = busiest(site, "api_key")
    ours, theirs = tab("/keys"), tab("/keys", token=OTHER)
    assert key in ours.page.content()
    assert HOSTILE[0] not in ours.page.inner_text("body")
    for path in (*TABLES, f"/keys/{key}?range=30d", "/requests?range=30d"):
        their = theirs.page.request.get(site.address + path, headers=HTML).text()
        assert "Orders API" not in their
        assert key not in their or key in path
    theirs.goto(f"/keys/{key}?range=30d")
    assert theirs.page.locator("#p-table .empty").is_visible()
    # What the organisation does not have is not even named: an alias belongs to who may see the key.
    assert theirs.page.inner_text("h1") == key


def test_the_command_of_a_panel_asks_the_api_the_same(site: Site, tab: Tab) -> None:
    seen = tab("/?range=7d&compare=off")
    seen.whole()
    for panel in ("keys", "endpoints", "countries", "codes"):
        command = seen.page.locator(f"#p-{panel} [data-copy]").get_attribute("data-copy")
        assert command
        curl, _, token, _, _, url, data, body = shlex.split(command)
        assert (curl, token, data) == ("curl", "Authorization: $KEYTRAIL_TOKEN", "-d")
        assert url == f"{site.address}/api/v1/query"
        answer = httpx.post(url, content=body, headers={"Authorization": TOKEN}, trust_env=False, timeout=60).json()
        shown = [number(text) for text in seen.page.locator(f"#p-{panel} tbody td:nth-of-type(1)").all_inner_texts()]
        assert shown == [row["hits"] for row in answer["rows"]]
        assert shown


def test_the_commands_of_figures_and_errors_ask_the_api_the_same(tab: Tab) -> None:
    seen = tab("/?range=7d")
    page = seen.page
    (command,) = commands(seen, "p-figures")
    (row,) = answer_to(command)["rows"]
    shown = page.locator(".figure dd.value").all_inner_texts()
    assert shown == [
        f"{row['hits']:,}",
        f"{row['error_rate'] * 100:.1f} %",
        f"{row['p95_latency']:,.0f} ms",
        f"{row['distinct_keys']:,}",
        f"{row['gateway_overhead']:.1f} ms",
    ]
    # Who is behind the errors is two questions.
    gateway, upstream = (answer_to(command)["rows"] for command in commands(seen, "p-guilty"))
    told = {(row["key"], row["code"]): row["hits"] for row in gateway}
    told |= {(row["path"], row["code"]): row["hits"] for row in upstream}
    rows = page.locator("#p-guilty tbody tr")
    assert [number(text) for text in rows.locator("td:nth-of-type(3)").all_inner_texts()] == sorted(
        told.values(), reverse=True
    )[:8]
    # All errors are told apart by five things at once.
    seen.goto("/errors?range=7d")
    (command,) = commands(seen, "p-table")
    answer = answer_to(command)["rows"]
    assert {"code", "error_origin", "api", "path", "key"} <= answer[0].keys()
    shown = page.locator("#p-table tbody tr td:nth-of-type(1)").all_inner_texts()
    assert list(map(number, shown)) == [row["hits"] for row in answer]


def test_every_panel_can_be_asked_for_at_the_api(tab: Tab, paths: dict[str, str]) -> None:
    for name in ("overview", "changes", "key", "client", "consumer", "endpoint", "errors", "keys"):
        seen = tab(paths[name])
        panels = seen.page.locator(".panel[id^=p-]:not(#p-identity, #p-links)").evaluate_all(
            "panels => panels.map(one => one.id)"
        )
        assert len(panels) >= (1 if name == "keys" else 3)
        # Several panels of a page may be made of one question.
        for command in {command for panel in panels for command in commands(seen, panel)}:
            assert answer_to(command), name


def test_a_table_as_a_file_has_every_row(site: Site, tab: Tab) -> None:
    seen = tab("/keys?range=7d")
    seen.page.locator("#p-table summary").click()
    with seen.page.expect_download() as download:
        seen.page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8-sig").splitlines()))
    expected = Counter(record.api_key for record in site.records if record.response_code != -1)
    assert {row["key"]: int(row["hits"]) for row in rows} == expected


def test_older_requests_go_on_where_the_page_ends(site: Site, tab: Tab) -> None:
    key = busiest(site, "api_key")
    seen = tab(f"/requests?range=7d&key={key}")
    first = seen.page.locator("#p-log tbody th time").evaluate_all("all => all.map(one => one.dateTime)")
    seen.page.get_by_role("link", name="Older").click()
    seen.page.wait_for_url("**cursor=*")
    seen.settled()
    second = seen.page.locator("#p-log tbody th time").evaluate_all("all => all.map(one => one.dateTime)")
    records = [record for record in site.records if record.api_key == key]
    moments = sorted((record.timestamp // 1_000_000 for record in records), reverse=True)
    shown = [round(datetime.fromisoformat(text).timestamp() * 1000) for text in [*first, *second]]
    assert shown == moments[:200]
