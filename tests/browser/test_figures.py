"""What a page shows is what the API answers, and what was recorded."""

import re
from collections import Counter

from tests.browser.conftest import OTHER, OTHER_ORG, Open, Site, busiest
from tests.oracle.records import from_msgpack


def number(text: str) -> int:
    """A count as a page shows it."""
    return int(text.replace(",", ""))


def test_a_keys_endpoints_are_those_of_the_api(site: Site, opened: Open) -> None:
    key, today = busiest(site, "api_key"), site.end
    parts = f"{today.day}/{today.month}/{today.year}"
    answer = site.product.get(f"/api/activity/keys/endpoint/{key}/{parts}/{parts}?p=-1")
    expected = {
        (row["id"]["path"], row["id"]["api_name"] or ""): (row["hits"], row["success"], row["error"])
        for row in answer["data"]
    }
    day = today.strftime("%Y-%m-%d")
    seen = opened(f"/keys/{key}?from={day}&to={day}&kind=rest")
    rows = seen.page.locator("#p-table tbody tr")
    shown = {}
    for row in rows.all():
        cells = [cell.inner_text() for cell in row.locator("td").all()]
        shown[row.locator("a.main").inner_text()] = tuple(number(cell) for cell in cells[:3])
    assert shown
    assert shown == {path: counts for (path, _), counts in expected.items()}
    assert len(shown) == len(expected)


def test_overview_counts_what_was_recorded(site: Site, opened: Open) -> None:
    records = [from_msgpack(blob) for blob in site.blobs]
    hits = [record for record in records if record.response_code != -1]
    seen = opened("/?range=7d")
    figures = seen.page.locator(".figure dd.value")
    assert number(figures.nth(0).inner_text()) == len(hits)
    errors = sum(record.response_code >= 400 for record in hits)
    assert figures.nth(1).inner_text() == f"{errors / len(hits) * 100:.1f} %"
    assert number(figures.nth(3).inner_text()) == len({record.api_key for record in hits})
    codes = Counter(str(record.response_code) for record in hits if record.response_code >= 400)
    rows = [row.inner_text().split() for row in seen.page.locator("#p-codes tbody tr").all()]
    assert {row[0]: number(row[-1]) for row in rows} == dict(codes.most_common(8))


def test_table_of_a_chart_adds_up(site: Site, opened: Open) -> None:
    hits = sum(from_msgpack(blob).response_code != -1 for blob in site.blobs)
    seen = opened("/?range=7d&compare=off")
    cells = seen.page.locator("#p-traffic td[data-v]").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.v))"
    )
    assert sum(cells) == hits


def test_nothing_crosses(site: Site, opened: Open) -> None:
    key = busiest(site, "api_key")
    ours, theirs = opened("/keys"), opened("/keys", token=OTHER)
    assert key in ours.page.content()
    for path in ("/", "/keys", "/clients", "/apis", "/endpoints", "/errors", "/pipeline", f"/keys/{key}?range=30d"):
        theirs.goto(path)
        ours.goto(path)
        assert "Orders API" not in theirs.page.content()
        assert OTHER_ORG not in ours.page.content()
        assert "<script>document" not in re.sub(r"<script src[^>]*>", "", ours.page.content())
    theirs.goto(f"/keys/{key}?range=30d")
    assert theirs.page.locator("#p-table .empty").is_visible()
    # What the organisation does not have is not even named: an alias belongs to who may see the key.
    assert theirs.page.inner_text("h1") == key
