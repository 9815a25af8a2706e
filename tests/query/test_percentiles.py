"""Percentiles from the histogram: as near to the true ones as its buckets are, and the same however records came."""

from datetime import date
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keytrail.query.catalog import SHARES
from keytrail.query.request import Query, Scope, day_range
from keytrail.query.run import run
from keytrail.store.tables import histogram_bucket, histogram_range
from tests.oracle.records import SECOND, Record
from tests.oracle.strategies import ORGS
from tests.query.shops import Arrival, Shops, arrivals

PERCENTS = {"p50_latency": 50, "p90_latency": 90, "p95_latency": 95, "p99_latency": 99}
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 3)
MIDNIGHT = 1772323200  # 2026-03-01 UTC

# Hypothesis tells a failing example before it has made it small.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

UNHURRIED = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

# Below 32 ms a bucket is one value; powers of two are where a bucket begins.
latencies = (
    st.integers(0, 70)
    | st.integers(0, 100_000)
    | st.integers(0, 40).map(lambda power: 2**power)
    | st.integers(1, 40).map(lambda power: int(2**power) - 1)
)


@st.composite
def hits(draw: st.DrawFn) -> list[Record]:
    # Few with many at one value, as ranks at the edge of a bucket are where a rule is off by one.
    found = draw(st.lists(latencies, min_size=1, max_size=20))
    found += [draw(st.sampled_from(found))] * draw(st.sampled_from((0, 0, 1, 10, 80)))
    return [
        Record(
            # In three days, so that day rollups, quarters of an hour and raw rows all take part.
            timestamp=(MIDNIGHT + n % 3 * 86_400 + n * 611) * SECOND,
            org_id=ORGS[0],
            api_id="a",
            path="/",
            response_code=200,
            latency_total=latency,
        )
        for n, latency in enumerate(found)
    ]


def nearest_rank(values: list[int], percent: int) -> int:
    """The least value that at least so many percent of the values do not exceed."""
    return sorted(values)[ceil(Fraction(percent * len(values), 100)) - 1]


def percentiles(shops: Shops) -> dict[str, float]:
    # Kathmandu's days begin at a quarter: both rollups are read.
    answer = run(
        shops.product.parts.engine,
        Query(
            scope=Scope(shops.org),
            spans=day_range(FIRST, LAST, "Asia/Kathmandu"),
            zone="Asia/Kathmandu",
            dimensions=(),
            metrics=("hits", *PERCENTS),
        ),
    )
    assert len(answer.plan.segments) > 1
    return answer.rows[0] if answer.rows else {}


@UNHURRIED
@given(hits().flatmap(lambda found: st.tuples(st.just(found), arrivals(found), arrivals(found))))
def test_nearest_rank_within_a_bucket(shops: Shops, case: tuple[list[Record], Arrival, Arrival]) -> None:
    found, arrival, other = case
    shops.stock(arrival)
    numbers = percentiles(shops)
    local_start, local_end = MIDNIGHT - 20_700, MIDNIGHT - 20_700 + 3 * 86_400
    counted = [r.latency_total for r in found if local_start <= r.timestamp // SECOND < local_end]
    assert numbers.get("hits", 0) == len(counted)
    for name, percent in PERCENTS.items() if counted else ():
        exact = nearest_rank(counted, percent)
        low, high = histogram_range(histogram_bucket(exact))
        assert numbers[name] == (low + high) / 2
        assert abs(numbers[name] - exact) <= exact * 0.032
    shops.stock(other)
    assert percentiles(shops) == numbers


@pytest.mark.parametrize("share", SHARES)
def test_share_of_hits_is_never_rounded_up(shops: Shops, share: float) -> None:
    """The engine multiplies with a double: 0.99 times a multiple of 100 must not come out above the whole number."""
    percent = round(share * 100)
    sql = (
        f"SELECT number, quantileExactWeighted({share})(value, weight) AS found FROM ("
        f"SELECT number, 0 AS value, number * {percent} AS weight FROM numbers(1, 10000) UNION ALL "
        f"SELECT number, 1 AS value, number * {100 - percent} AS weight FROM numbers(1, 10000)) "
        "GROUP BY number HAVING found != 0"
    )
    assert shops.product.query(sql) == []
