"""Each rollup holds what a plain Python sum over the raw rows gives, in every column."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from keytrail.store.rebuild import differing
from keytrail.store.tables import DAY_SECONDS, MEASURES, ROLLUPS, Rollup, histogram_bucket
from tests.oracle.records import Record
from tests.oracle.strategies import edges, records, zones
from tests.product import Product
from tests.query.shops import Arrival, arrivals, line

# Hypothesis tells a failing example before it has made it small.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_AGGREGATION = {
    "request_time_sum": "request_time",
    "latency_sum": "latency",
    "latency_min": "latency",
    "latency_max": "latency",
    "upstream_latency_sum": "upstream_latency",
    "upstream_latency_min": "upstream_latency",
    "upstream_latency_max": "upstream_latency",
    "content_length_sum": "content_length",
    "network_bytes_in_sum": "network_bytes_in",
    "network_bytes_out_sum": "network_bytes_out",
    "first_time": "time",
    "last_time": "time",
}

Group = tuple[Any, ...]


def dicts(store: Product, sql: str) -> list[dict[str, Any]]:
    return store.parts.engine.query(sql).dicts()


def bucket_of(moment: datetime, seconds: int) -> datetime:
    length = timedelta(seconds=seconds)
    return EPOCH + (moment.replace(tzinfo=UTC) - EPOCH) // length * length


def summed_in_python(rollup: Rollup, raw: Iterable[dict[str, Any]]) -> dict[Group, dict[str, Any]]:
    groups: dict[Group, list[dict[str, Any]]] = {}
    for row in raw:
        place = (bucket_of(row["time"], rollup.seconds), *(row[name] for name in rollup.family.columns))
        groups.setdefault(place, []).append(row)
    return {place: measures(rows) for place, rows in groups.items()}


def measures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    histogram: dict[int, int] = {}
    for row in rows:
        bucket = histogram_bucket(row["latency"])
        histogram[bucket] = histogram.get(bucket, 0) + 1
    functions: dict[str, Callable[..., Any]] = {"sum": sum, "min": min, "max": max}
    made = {
        measure.column: functions[measure.function](row[BEFORE_AGGREGATION[measure.column]] for row in rows)
        for measure in MEASURES
        if measure.column in BEFORE_AGGREGATION
    }
    return made | {"records": len(rows), "latency_histogram": histogram}


def stored(store: Product, rollup: Rollup) -> dict[Group, dict[str, Any]]:
    names = ["bucket", *rollup.family.columns]
    merged = ", ".join(f"{m.function}({m.column}) AS {m.column}" for m in MEASURES)
    rows = dicts(store, f"SELECT {', '.join(names)}, {merged} FROM {rollup.table} GROUP BY {', '.join(names)}")
    found = {}
    for row in rows:
        place = (row["bucket"].replace(tzinfo=UTC), *(row[name] for name in rollup.family.columns))
        found[place] = {m.column: row[m.column] for m in MEASURES}
    return found


@settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(zones.flatmap(lambda zone: records(edges(zone)[-4:], min_size=5, max_size=30)).flatmap(arrivals))
def test_rollups_hold_the_sums_of_the_raw_rows(store: Product, arrival: Arrival) -> None:
    store.empty()
    for chunk in arrival:
        store.put_lines([line(record, form) for record, form in chunk])
    raw = dicts(store, "SELECT * FROM requests")
    assert len(raw) == sum(map(len, arrival))
    for rollup in ROLLUPS:
        assert stored(store, rollup) == summed_in_python(rollup, raw)
    for (month,) in store.query("SELECT DISTINCT toYYYYMM(time) FROM requests"):
        assert differing(store.parts.engine, month) == []


def test_every_measure_is_summed_here() -> None:
    """A new measure must be added above, or it would not be held against anything."""
    assert {*BEFORE_AGGREGATION, "records", "latency_histogram"} == {measure.column for measure in MEASURES}


@pytest.mark.parametrize("rollup", ROLLUPS, ids=lambda rollup: rollup.table)
def test_buckets_begin_where_they_should(store: Product, rollup: Rollup) -> None:
    """Also just before and just after an edge, and far from 1970."""
    day = datetime(2024, 2, 29, tzinfo=UTC)
    edges = [day, day + timedelta(seconds=900), day + timedelta(days=1), datetime(2000, 1, 2, tzinfo=UTC)]
    moments = [edge + timedelta(milliseconds=shift) for edge in edges for shift in (-1, 0)]
    store.empty()
    store.put_lines(
        [
            line(Record(timestamp=int((moment - EPOCH) / timedelta(milliseconds=1)) * 10**6, oauth_id="c"), "msgpack")
            for moment in moments
        ]
    )
    rows = store.query(f"SELECT bucket, sum(records) FROM {rollup.table} GROUP BY bucket")
    expected: dict[datetime, int] = {}
    for moment in moments:
        bucket = bucket_of(moment, rollup.seconds)
        expected[bucket] = expected.get(bucket, 0) + 1
    assert {bucket.replace(tzinfo=UTC): count for bucket, count in rows} == expected
    assert all(bucket.hour == 0 for bucket in expected) == (rollup.seconds == DAY_SECONDS)
