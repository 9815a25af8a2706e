"""What a consumer did is what a plain sum over the records says, each matched by its own time stamp."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keytrail.query.consumers import activity
from keytrail.query.ranges import between
from keytrail.query.request import Scope
from keytrail.store.consumers import Link, replace_links
from tests.oracle.records import SECOND, Record
from tests.oracle.strategies import ORGS
from tests.query.shops import Shops, in_one

START = 1772323200  # 2026-03-01 00:00 UTC
DAYS = 3
KEYS = ("11111111", "22222222", "33333333")


def at(second: float) -> datetime:
    return datetime.fromtimestamp(START, UTC) + timedelta(seconds=second)


def holds(links: Sequence[Link], record: Record) -> bool:
    moment = at(record.millisecond / 1000 - START)
    values = {"key": [record.api_key], "client": [record.oauth_id], "tag": record.tags}
    return any(link.value in values[link.kind] and link.start <= moment < link.end for link in links)


def some_records(seed: int) -> list[Record]:
    chance = random.Random(seed)
    return [
        Record(
            timestamp=(START * 1000 + chance.randrange(DAYS * 86_400_000)) * SECOND // 1000,
            org_id=chance.choice((ORGS[0], ORGS[0], ORGS[1])),
            api_id=chance.choice(("a", "b")),
            path=chance.choice(("/x", "/y")),
            api_key=chance.choice(KEYS),
            oauth_id=chance.choice(("", "", "client")),
            tags=chance.choice(((), ("dev-1",), ("dev-1", "dev-2"))),
            response_code=chance.choice((200, 200, 404, 502, -1)),
            # Up to 31 ms every latency has a bucket of its own.
            latency_total=(latency := chance.randrange(32)),
            latency_upstream=latency // 2,
        )
        for _ in range(800)
    ]


# The key was rotated in the middle of a minute and again at a midnight; the client came at a quarter of an hour.
ROTATED = (
    (KEYS[0], 0, 40_017.123),
    (KEYS[1], 40_017.123, 86_400),
    (KEYS[2], 86_400, 2 * 86_400 + 5),
)


@pytest.mark.parametrize("more", [(), (("client", "client", 900, 200_000),), (("tag", "dev-2", 50_000, 90_000.5),)])
def test_a_rotated_key_is_one_consumer(shops: Shops, more: Sequence[tuple[str, str, float, float]]) -> None:
    records = some_records(len(more))
    shops.stock(in_one(records))
    given = [*(("key", *one) for one in ROTATED), *more]
    links = [Link(shops.org, "acme", "ACME", kind, value, at(a), at(b)) for kind, value, a, b in given]
    replace_links(shops.product.parts.engine, shops.org, links)
    asked = between("2026-03-01", "2026-03-03", "Asia/Kathmandu")
    found = activity(shops.product.parts.engine, Scope(shops.org), links, asked, 100)
    edges = [datetime.fromisoformat(edge) for edge in asked.edges]
    hits = [
        record
        for record in records
        if record.org_id == ORGS[0]
        and record.response_code != -1
        and edges[0] <= at(record.millisecond / 1000 - START) < edges[1]
        and holds(links, record)
    ]
    assert numbers(found.totals) == summed(hits)
    by_endpoint = defaultdict(list)
    for record in hits:
        by_endpoint[record.api_id, record.path].append(record)
    assert {(row["api"], row["path"]): numbers(row) for row in found.endpoints} == {
        key: summed(some) for key, some in by_endpoint.items()
    }
    counts = [row["hits"] for row in found.endpoints]
    assert counts == sorted(counts, reverse=True)
    assert found.total_endpoints == len(by_endpoint)
    for link, row in zip(links, found.links, strict=True):
        mine = [r for r in records if r.org_id == ORGS[0] and r.response_code != -1 and holds([link], r)]
        seen = [row["hits"], instant(row["first_seen"]), instant(row["last_seen"])]
        times = [record.millisecond for record in mine]
        assert seen == [len(mine), min(times), max(times)]


def test_what_never_came_and_a_limited_scope(shops: Shops) -> None:
    shops.stock(in_one([Record(timestamp=START * SECOND, org_id=ORGS[0], api_id="a", api_key=KEYS[0], path="/")]))
    links = [Link(shops.org, "acme", "ACME", "key", value) for value in KEYS[:2]]
    asked = between("2026-03-01", "2026-03-01", "UTC")
    engine = shops.product.parts.engine
    replace_links(engine, shops.org, links)
    found = activity(engine, Scope(shops.org), links, asked, 100)
    assert [(one["hits"], one["first_seen"], one["from"], one["until"]) for one in found.links] == [
        (1, "2026-03-01T00:00:00.000Z", None, None),
        (0, None, None, None),
    ]
    hidden = activity(engine, Scope(shops.org, frozenset({"b"})), links, asked, 100)
    assert (hidden.totals["hits"], hidden.endpoints, [one["hits"] for one in hidden.links]) == (0, [], [0, 0])


def summed(records: list[Record]) -> dict[str, Any]:
    latencies = sorted(record.latency_total for record in records)
    n = len(records)
    return {
        "hits": n,
        "success": sum(record.response_code == 200 for record in records),
        "error": sum(record.response_code >= 400 for record in records),
        "latency": pytest.approx(sum(latencies) / n),
        "upstream_latency": pytest.approx(sum(record.latency_upstream for record in records) / n),
        "p95_latency": next(value for place, value in enumerate(latencies, 1) if place >= n * 0.95),
        "first_hit": min(record.millisecond for record in records),
        "last_hit": max(record.millisecond for record in records),
    }


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    names = ("hits", "success", "error", "latency", "upstream_latency", "p95_latency")
    return {name: row[name] for name in names} | {name: instant(row[name]) for name in ("first_hit", "last_hit")}


def instant(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
