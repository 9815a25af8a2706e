"""Any question about any records gives what a plain Python sum over them gives."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keytrail.errors import RequestError, TooCostly
from keytrail.query import ask as asking
from keytrail.query.ask import Reply, ask
from keytrail.query.catalog import METRICS
from keytrail.query.question import parse
from keytrail.query.request import Scope
from tests.oracle.answers import VALUES, change, groups, holds, numbers
from tests.oracle.clock import days, hour_exists, hours, local_time
from tests.oracle.records import SECOND, Record
from tests.oracle.strategies import APIS, CLIENTS, KEYS, ORGS, PATHS, TAGS
from tests.oracle.strategies import Question as Stock
from tests.query.shops import Arrival, Shops, in_one
from tests.query.test_sums import stocked

# Hypothesis tells a failing example before it has made it small.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

UNHURRIED = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
# What rollups have, and what only raw rows have: with one of the latter, no rollup would be read.
ROLLED = tuple(name for name in METRICS if name.startswith("latest") is False and "upstream_latency_h" not in name)
ROLLED = tuple(name for name in ROLLED if not (name.startswith("p") and "upstream" in name))
RAW_ONLY = ("hits", "p50_upstream_latency", "p99_upstream_latency", "upstream_latency_histogram", "distinct_clients")

texts = {
    "api": APIS,
    "key": KEYS,
    "oauth_client": CLIENTS,
    "path": PATHS,
    "kind": ("rest", "tcp", "mcp"),
    "tag": (*TAGS, "of nobody"),
    "policy": ("a b", "none"),
    "version": ("Non Versioned", "v1"),
    "code_class": ("2xx", "tcp"),
}


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(("text", "text", "text", "number", "flag", "tags")))
    if kind == "number":
        operator = draw(st.sampled_from(("is", "is_not", "greater", "less")))
        value: Any = draw(st.sampled_from((-1, 199, 200, 399, 404, 10**9)))
        return {"dimension": "code", "operator": operator, "value": value}
    if kind == "flag":
        return {"dimension": "tracked", "operator": "is", "value": draw(st.booleans())}
    if kind == "tags":
        value = draw(st.lists(st.sampled_from(TAGS), min_size=1, max_size=2))
        return {"dimension": "tag", "operator": "has_all", "value": value}
    name = draw(st.sampled_from(tuple(texts)))
    operator = draw(st.sampled_from(("is", "is_not", "in", "not_in", "prefix", "contains")))
    value = draw(st.sampled_from(texts[name]))
    if operator in {"in", "not_in"}:
        value = draw(st.lists(st.sampled_from(texts[name]), min_size=1, max_size=2))
    elif operator in {"prefix", "contains"}:
        start = draw(st.integers(0, 3)) if operator == "contains" else 0
        value = value[start : start + 3]
    return {"dimension": name, "operator": operator, "value": value}


conditions = st.recursive(
    comparisons(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"and": items})
        | st.lists(inner, min_size=1, max_size=3).map(lambda items: {"or": items})
        | inner.map(lambda item: {"not": item})
    ),
    max_leaves=5,
)
dimensions = st.lists(st.sampled_from(sorted(VALUES)), max_size=3, unique=True)


def answered(shops: Shops, stock: Stock, **fields: Any) -> Reply:
    asked = {"from": str(stock.start), "to": str(stock.end), "zone": stock.zone, "limit": 1000} | fields
    return ask(shops.product.parts.engine, Scope(shops.org), parse(asked, default_zone="UTC"))


def of_days(stock: Stock, start: date, end: date, condition: Any) -> list[Record]:
    return [
        record
        for record in stock.records
        if record.org_id == stock.org
        and start <= local_time(record.timestamp, stock.zone).date() <= end
        and (condition is None or holds(condition, record))
    ]


def by_key(rows: Sequence[Any], names: Sequence[str]) -> dict[Any, Any]:
    found = {tuple(row[name] for name in names): row for row in rows}
    assert len(found) == len(rows)
    return found


def only(found: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    return {
        name: pytest.approx(found[name], rel=1e-12) if isinstance(found[name], float) else found[name]
        for name in metrics
    }


@UNHURRIED
@given(stocked(), dimensions, st.none() | conditions, st.booleans())
def test_rows_and_totals(
    shops: Shops, case: tuple[Stock, Arrival], names: list[str], condition: Any, raw: bool
) -> None:
    stock, arrival = case
    shops.stock(arrival)
    metrics = RAW_ONLY if raw else ROLLED
    reply = answered(shops, stock, metrics=list(metrics), dimensions=names, filter=condition, totals=True)
    chosen = of_days(stock, stock.start, stock.end, condition)
    expected = {
        key: dict(zip(names, key, strict=True)) | only(numbers(found, stock.zone), metrics)
        for key, found in groups(chosen, names).items()
        # With hits alone asked for, a group of TCP byte counters is no row.
        if not raw or not names or any(record.response_code != -1 for record in found)
    }
    if not names:
        expected.setdefault((), only(numbers([], stock.zone), metrics))
    assert by_key(reply.rows, names) == expected
    assert reply.total_rows == len(expected)
    assert reply.totals == only(numbers(chosen, stock.zone), metrics)
    first = "hits" if raw else "records"
    counts = [row[first] for row in reply.rows]
    assert counts == sorted(counts, reverse=True)


@settings(UNHURRIED, max_examples=8)
@given(
    stocked(), st.sampled_from(((), ("api",), ("kind", "method"), ("tag",))), st.sampled_from(("hour", "day", "month"))
)
def test_steps_and_the_period_before(
    shops: Shops, case: tuple[Stock, Arrival], names: tuple[str, ...], step: str
) -> None:
    stock, arrival = case
    if step == "hour" and stock.end - stock.start > timedelta(4):
        step = "day"
    shops.stock(arrival)
    metrics = ("records", "hits", "error", "latency", "p95_latency", "min_latency")
    length = stock.end - stock.start + timedelta(1)
    earlier = (stock.start - length, stock.end - length)
    compare = {"from": str(earlier[0]), "to": str(earlier[1])}
    reply = answered(shops, stock, metrics=list(metrics), dimensions=list(names), step=step, compare=compare)
    now, before = (groups(of_days(stock, *range_, None), names) for range_ in ((stock.start, stock.end), earlier))
    labels, old_labels = (labels_of(*range_, stock.zone, step) for range_ in ((stock.start, stock.end), earlier))
    keys = list(now) if names else [()]
    rows = iter(reply.rows)
    assert len(reply.rows) == len(keys) * len(labels)
    seen = set()
    for _ in keys:
        for place, label in enumerate(labels):
            row = next(rows)
            key = tuple(row[name] for name in names)
            seen.add(key)
            assert row["step"] == label
            new = numbers([r for r in now.get(key, ()) if label_of(r, stock.zone, step) == label], stock.zone)
            old = numbers(
                [
                    r
                    for r in before.get(key, ())
                    if place < len(old_labels) and label_of(r, stock.zone, step) == old_labels[place]
                ],
                stock.zone,
            )
            if place >= len(old_labels):
                old = dict.fromkeys(old)
            assert {name: row[name] for name in metrics} == only(new, metrics)
            assert row["earlier"] == only(old, metrics)
            for name in metrics:
                assert row["change"][name] == pytest.approx(change(row[name], row["earlier"][name]))
    assert seen == set(keys) or not labels


def labels_of(start: date, end: date, zone: str, step: str) -> list[str]:
    if step == "hour":
        return [f"{day}T{hour:02}:00" for day, hour in hours(start, end, zone)]
    real = [str(day) for day in days(start, end) if any(hour_exists(day, hour, zone) for hour in range(24))]
    return list(dict.fromkeys(day[:7] for day in real)) if step == "month" else real


def label_of(record: Record, zone: str, step: str) -> str:
    local = local_time(record.timestamp, zone)
    return {"month": f"{local:%Y-%m}", "day": f"{local:%Y-%m-%d}", "hour": f"{local:%Y-%m-%dT%H:00}"}[step]


NOON = 1772366400  # 2026-03-01 12:00 UTC
DAY = Stock("UTC", date(2026, 3, 1), date(2026, 3, 1), [])


def hit(second: int = 0, **fields: Any) -> Record:
    given: dict[str, Any] = {"org_id": ORGS[0], "api_id": "a", "path": "/", "response_code": 200} | fields
    return Record(timestamp=(NOON + second) * SECOND, **given)


def test_what_is_gone_and_what_is_new(shops: Shops) -> None:
    day = 86_400
    shops.stock(in_one([hit(path="/new"), hit(path="/both"), hit(-day, path="/both"), hit(-day, path="/gone")] * 2))
    reply = answered(shops, DAY, dimensions=["path"], order=["path"], compare="previous")
    assert [(row["path"], row["hits"], row["earlier"]["hits"], row["change"]["hits"]) for row in reply.rows] == [
        ("/both", 2, 2, 0),
        ("/new", 2, 0, None),
        ("/gone", 0, 2, -1),
    ]
    assert reply.total_rows == 2
    page = answered(shops, DAY, dimensions=["path"], order=["path"], compare="previous", limit=1)
    assert [(row["path"], row["earlier"]["hits"]) for row in page.rows] == [("/both", 2)]


def test_pages_fit_together(shops: Shops) -> None:
    shops.stock(in_one([hit(path=f"/{n}") for n in range(7)]))
    pages = [answered(shops, DAY, dimensions=["path"], limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [[row["path"] for row in page.rows] for page in pages] == [
        ["/0", "/1", "/2"],
        ["/3", "/4", "/5"],
        ["/6"],
        [],
    ]
    assert {page.total_rows for page in pages} == {7}


def test_instants_as_edges(shops: Shops) -> None:
    shops.stock(in_one([hit(second) for second in (-1, 0, 1, 60)]))
    edges = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:01:00+01:00"}
    reply = answered(shops, DAY, **edges, step="minute")
    assert [(row["step"], row["hits"]) for row in reply.rows] == [("2026-03-01T12:00", 2)]


def test_a_table_without_rows_has_no_least(shops: Shops) -> None:
    """Of a range that several tables answer, one of which has nothing."""
    shops.stock(in_one([hit(0, latency_total=7)]))
    edges = {"from": "2026-03-01T11:50:01Z", "to": "2026-03-01T13:00:00Z"}
    (row,) = answered(shops, DAY, **edges, metrics=["min_latency", "first_hit", "hits"]).rows
    assert row == {"min_latency": 7, "first_hit": "2026-03-01T12:00:00.000Z", "hits": 1}


def test_a_question_for_single_requests_says_so_and_is_bounded(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    shops.stock(in_one([hit(n, user_agent=f"agent {n % 3}") for n in range(50)]))
    rolled = answered(shops, DAY, dimensions=["path"], metrics=["hits", "p95_latency", "distinct_keys"])
    assert (rolled.raw_only, rolled.tables) == (False, ["by_key_day"])
    raw = answered(shops, DAY, dimensions=["user_agent"])
    assert (raw.raw_only, raw.tables, raw.total_rows) == (True, ["requests"], 3)
    monkeypatch.setitem(asking.RAW_LIMITS, "max_rows_to_read", 10)
    with pytest.raises(TooCostly, match="too many rows: narrow the range") as caught:
        answered(shops, DAY, dimensions=["user_agent"])
    assert caught.value.status == 400
    assert answered(shops, DAY, dimensions=["path"]).rows


def test_groups_of_single_requests_go_to_the_disk(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that millions of them are answered within the memory that a question may take."""
    shops.stock(in_one([hit(n, user_agent=f"agent {n % 30}") for n in range(90)]))

    def gone_to_disk() -> int:
        sql = "SELECT sum(value) FROM system.events WHERE event = 'ExternalAggregationWritePart'"
        return int(shops.product.parts.engine.query(sql).rows[0][0])

    before = gone_to_disk()
    expected = answered(shops, DAY, dimensions=["user_agent"]).rows
    assert gone_to_disk() == before
    assert asking.RAW_LIMITS["max_bytes_before_external_group_by"] < asking.RAW_LIMITS["max_memory_usage"] / 2
    monkeypatch.setitem(asking.RAW_LIMITS, "max_bytes_before_external_group_by", 1)
    monkeypatch.setitem(asking.RAW_LIMITS, "group_by_two_level_threshold", 1)
    assert answered(shops, DAY, dimensions=["user_agent"]).rows == expected
    assert gone_to_disk() > before


def test_rows_read_are_those_of_the_table(shops: Shops) -> None:
    shops.stock(in_one([hit(n) for n in range(300)]))
    (told,) = answered(shops, DAY, dimensions=["user_agent"], explain=True).statements
    # The table is read in stretches of rows: at least those that answer.
    assert told.read_rows >= 300


def test_too_many_steps_are_refused_before_they_are_made(shops: Shops) -> None:
    for fields in ({"from": "2017-01-01"}, {"from": "1970-01-01", "to": "1979-12-31"}):
        with pytest.raises(RequestError, match=r"^step: the range has more than"):
            answered(shops, DAY, step="minute", **fields)
