"""The latency histogram's rule stands twice, in Python and in SQL: both must give the same."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from keytrail.store.tables import HISTOGRAM_SQL, histogram_bucket, histogram_range
from tests.product import Product

INT64 = st.integers(-(2**63), 2**63 - 1)
NEAR_POWERS = st.builds(
    lambda power, away: max(min((1 << power) + away, 2**63 - 1), -(2**63)), st.integers(0, 63), st.integers(-70, 70)
)


def buckets_in_sql(store: Product, values: list[int]) -> list[int]:
    rows = store.parts.engine.query(
        f"SELECT {HISTOGRAM_SQL} FROM (SELECT arrayJoin({{values:Array(Int64)}}) AS latency)", {"values": values}
    ).rows
    return [bucket for (bucket,) in rows]


@settings(deadline=None, max_examples=60)
@given(st.lists(NEAR_POWERS | INT64 | st.integers(0, 100_000), min_size=1, max_size=200))
@example([2**63 - 1, -(2**63), -1, 0, 31, 32, 2**53, 2**53 + 1])
def test_sql_gives_the_same_bucket(store: Product, values: list[int]) -> None:
    assert buckets_in_sql(store, values) == [histogram_bucket(value) for value in values]


def test_sql_gives_the_same_bucket_for_every_usual_value(store: Product) -> None:
    values = range(70_000)
    rows = store.query(f"SELECT {HISTOGRAM_SQL} FROM (SELECT toInt64(number) AS latency FROM numbers(70000))")
    assert [bucket for (bucket,) in rows] == [histogram_bucket(value) for value in values]


@given(st.integers(0, 2**63 - 1))
def test_a_bucket_holds_its_values_and_is_narrow(value: int) -> None:
    low, high = histogram_range(histogram_bucket(value))
    assert low <= value <= high
    assert high - low <= low / 16
    assert histogram_bucket(low) == histogram_bucket(high) == histogram_bucket(value)
    assert histogram_bucket(high + 1) == histogram_bucket(value) + 1


def test_below_32_ms_each_value_has_its_bucket() -> None:
    assert [histogram_range(histogram_bucket(value)) for value in range(32)] == [(value, value) for value in range(32)]


def test_a_negative_latency_counts_as_none() -> None:
    assert histogram_bucket(-5) == histogram_bucket(0) == 0
