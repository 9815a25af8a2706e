"""The plan of a question: every instant of the range once, whole days where it can, from the cheapest table."""

import re
from collections.abc import Callable, Iterable
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keytrail.errors import RequestError
from keytrail.query.build import build
from keytrail.query.joined import Joined
from keytrail.query.plan import Plan, plan
from keytrail.query.request import Filter, Not, Query, Scope, day_range
from keytrail.query.zones import DAY, MINUTE, Span, Step
from keytrail.store.tables import DAY_SECONDS, RAW, ROLLUPS
from tests.oracle.strategies import ZONES, day_ranges

QUARTER = 15 * MINUTE
SECONDS = {rollup.table: rollup.seconds for rollup in ROLLUPS}

UNHURRIED = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])

OF_A_KEY = Filter("key", "in", ["k"])

ranges = st.sampled_from(ZONES).flatmap(
    lambda name: st.tuples(st.just(name), day_ranges(name, historic=True), st.sampled_from((None, *Step)))
)


def question(spans: tuple[Span, ...], zone: str = "UTC", **more: Any) -> Query:
    values: dict[str, Any] = {"scope": Scope("o"), "dimensions": ("path",), "metrics": ("hits",), "joined": Joined()}
    return Query(spans=spans, zone=zone, **{**values, **more})


def sorted_pieces(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span.start)


def covered_once(chosen: Plan, spans: tuple[Span, ...]) -> None:
    """The segments' stretches, side by side, are the range's."""
    pieces = sorted_pieces(span for segment in chosen.segments for span in segment.spans)
    assert all(piece.start < piece.end for piece in pieces)
    joined: list[Span] = []
    for piece in pieces:
        if joined and joined[-1].end == piece.start:
            joined[-1] = Span(joined[-1].start, piece.end)
        else:
            assert not joined or joined[-1].end < piece.start
            joined.append(piece)
    assert joined == list(spans)


def on_edges(chosen: Plan) -> None:
    """A rollup is only asked for what is made of whole buckets of it."""
    for segment in chosen.segments:
        assert segment.raw == (segment.table == RAW)
        assert all(before.end < after.start for before, after in pairwise(segment.spans))
        for span in () if segment.raw else segment.spans:
            length = SECONDS[segment.table] * 1000
            assert span.start % length == 0
            assert span.end % length == 0


@UNHURRIED
@given(ranges)
def test_local_days(case: tuple[str, tuple[date, date], Step | None]) -> None:
    name, (start, end), step = case
    if step is Step.MINUTE:
        end = start
    spans = day_range(start, end, name)
    chosen = plan(question(spans, name, step=step))
    covered_once(chosen, spans)
    on_edges(chosen)
    if chosen.steps:
        one_step_a_bucket(chosen)


def one_step_a_bucket(chosen: Plan) -> None:
    """No bucket that is read holds instants of two steps."""
    assert chosen.steps
    starts = {piece.start for piece in chosen.steps.pieces}
    for segment in chosen.segments:
        if segment.raw:
            continue
        length = SECONDS[segment.table] * 1000
        for span in segment.spans:
            cuts = [start for start in starts if span.start < start < span.end]
            assert all(cut % length == 0 for cut in cuts)


@UNHURRIED
@given(st.lists(st.integers(0, 10 * DAY), min_size=2, max_size=6, unique=True))
def test_any_stretches(edges: list[int]) -> None:
    edges = sorted(edges)[: len(edges) // 2 * 2]
    base = 1_772_323_200_000
    spans = tuple(Span(base + a, base + b) for a, b in zip(edges[::2], edges[1::2], strict=True))
    chosen = plan(question(spans))
    covered_once(chosen, spans)
    on_edges(chosen)


def test_a_long_range_reads_days_and_at_most_a_day_of_quarters_at_each_end() -> None:
    (span,) = day_range(date(2025, 1, 1), date(2025, 12, 31), "Asia/Kathmandu")
    by_day, by_quarter = plan(question((span,), filters=(OF_A_KEY,))).segments
    assert by_day.table == "by_key_day"
    assert by_quarter.table == "by_key_15m"
    assert sum(s.end - s.start for s in by_day.spans) == 364 * DAY
    assert sum(s.end - s.start for s in by_quarter.spans) == DAY


def test_steps_of_days_that_are_utc_days_read_day_rows() -> None:
    spans = day_range(date(2026, 1, 1), date(2026, 1, 31), "UTC")
    assert [s.table for s in plan(question(spans, step=Step.DAY)).segments] == ["by_api_day"]
    assert [s.table for s in plan(question(spans, step=Step.HOUR)).segments] == ["by_api_15m"]
    assert [s.table for s in plan(question(spans, step=Step.MINUTE)).segments] == [RAW]


@pytest.mark.parametrize(
    ("asked", "table"),
    [
        ({"dimensions": ("path", "api")}, "by_api_day"),
        ({"dimensions": ("path",), "filters": (OF_A_KEY,)}, "by_key_day"),
        ({"dimensions": ("key",), "metrics": ("latest_alias",)}, "by_caller_day"),
        ({"dimensions": ("key", "api")}, "by_key_day"),
        ({"dimensions": ("code",), "filters": (OF_A_KEY, Filter("error_origin", "is", "gateway"))}, "by_caller_day"),
        ({"dimensions": (), "metrics": ("distinct_keys",)}, "by_caller_day"),
        ({"dimensions": (), "filters": (Filter("oauth_client", "is", "c"),)}, "by_client_day"),
        ({"dimensions": ("oauth_client",), "filters": (Filter("oauth_client", "is_not", ""),)}, "by_client_day"),
        ({"dimensions": ("oauth_client", "path")}, "by_client_day"),
        ({"dimensions": (), "filters": (Filter("oauth_client", "is", ""),)}, "by_client_day"),
        ({"dimensions": (), "filters": (Filter("oauth_client", "is_not", "c"),)}, "by_client_day"),
        ({"dimensions": ("key",), "filters": (Filter("oauth_client", "is", "c"),)}, "by_caller_day"),
        # No rollup has keys, clients and endpoints.
        ({"dimensions": ("key", "path"), "filters": (Filter("oauth_client", "is", "c"),)}, RAW),
        ({"dimensions": (), "filters": (Filter("tag", "has_all", ["gold"]),)}, RAW),
        ({"dimensions": ("country",)}, RAW),
        ({"dimensions": ("path",), "scope": Scope("o", frozenset({"a"}))}, "by_api_day"),
    ],
)
def test_the_cheapest_table_that_knows(asked: dict[str, Any], table: str) -> None:
    spans = day_range(date(2026, 1, 1), date(2026, 1, 31), "UTC")
    assert [segment.table for segment in plan(question(spans, **asked)).segments] == [table]


def test_no_time_at_all() -> None:
    assert plan(question(())).segments == ()
    assert plan(question((), dimensions=("country",))).segments == ()


def test_the_scope_stands_in_every_source() -> None:
    spans = day_range(date(2026, 1, 1), date(2026, 1, 31), "America/St_Johns")
    asked = question(spans, "America/St_Johns", scope=Scope("of mine", frozenset({"a", "b"})))
    sql, statement = build(asked, plan(asked))
    values = statement.parameters
    sources = sql.split("UNION ALL")
    assert len(sources) == 2
    for source in sources:
        assert "org_id = {v0:String}" in source
        assert "api_id IN {v1:Array(String)}" in source
    assert (values["v0"], values["v1"]) == ("of mine", ["a", "b"])


def test_no_value_stands_in_the_text_of_a_statement() -> None:
    evil = "') OR 1 = 1 --"
    spans = day_range(date(2026, 1, 1), date(2026, 1, 3), "UTC")
    filters = (
        Filter("key", "in", [evil]),
        Filter("path", "is", evil),
        Filter("path", "prefix", evil),
        Filter("path", "contains", evil),
        Filter("tag", "has_all", [evil]),
        Filter("version", "is_not", evil),
    )
    asked = question(spans, scope=Scope(evil, frozenset({evil})), filters=filters, limit=1, offset=2)
    sql, statement = build(asked, plan(asked))
    values = statement.parameters
    assert "OR 1" not in sql
    assert len(values) == len(filters) + 6


REFUSED: dict[str, Callable[[], object]] = {
    "dimension": lambda: Filter("nothing", "is", ""),
    "operator": lambda: Filter("path", "like", ""),
    "dimensions": lambda: question((), dimensions=("path; DROP TABLE requests",)),
    "metrics": lambda: question((), metrics=("hits", "hits2")),
    "backwards": lambda: day_range(date(2026, 1, 2), date(2026, 1, 1), "UTC"),
    "over ten years": lambda: day_range(date(2016, 1, 1), date(2026, 1, 10), "UTC"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(RequestError):
        REFUSED[name]()


def test_ten_years_are_allowed() -> None:
    (span,) = day_range(date(2016, 3, 1), date(2026, 3, 1), "UTC")
    assert (span.end - span.start) // DAY == 3653
    assert DAY_SECONDS * 1000 == DAY


def test_a_keys_month_with_fine_edges_is_read_from_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keytrail.query.plan.LONGEST_FINE", 35 * 24 * 3600 * 1000)
    month, two_months = (
        day_range(date(2026, 1, 1), last, "Asia/Kolkata") for last in (date(2026, 1, 31), date(2026, 2, 28))
    )

    def tables(spans: tuple[Span, ...], *filters: Filter | Not, **more: Any) -> list[str]:
        return [s.table for s in plan(question(spans, zone="Asia/Kolkata", filters=filters, **more)).segments]

    assert tables(month, OF_A_KEY) == ["by_key_15m"]
    assert tables(two_months, OF_A_KEY) == ["by_key_day", "by_key_15m"]
    # Of all keys, or all but one, there are too many rows.
    assert tables(month) == ["by_api_day", "by_api_15m"]
    assert tables(month, Not(OF_A_KEY)) == ["by_key_day", "by_key_15m"]
    assert tables(month, dimensions=("key", "path")) == ["by_key_day", "by_key_15m"]
    # Of who called alone there are no quarters of an hour: those are of a family that knows more, or raw.
    assert tables(month, dimensions=("key",)) == ["by_caller_day", "by_key_15m"]
    assert tables(month, OF_A_KEY, dimensions=("key",)) == ["by_key_15m"]
    assert tables(month, dimensions=("key", "oauth_client")) == ["by_caller_day", RAW]


def test_of_days_from_before_a_rollup_was_there_another_answers() -> None:
    spans = day_range(date(2026, 1, 1), date(2026, 1, 31), "UTC")

    def table(since: date, *dimensions: str, filters: tuple[Filter, ...] = ()) -> str:
        (first,) = day_range(since, since, "UTC")
        known = Joined(callers_since=first.start)
        (segment,) = plan(question(spans, dimensions=dimensions, filters=filters, joined=known)).segments
        return segment.table

    in_time, late = date(2026, 1, 1), date(2026, 1, 2)
    assert (table(in_time, "key"), table(late, "key")) == ("by_caller_day", "by_key_day")
    assert (table(in_time, "oauth_client"), table(late, "oauth_client")) == ("by_client_day", RAW)
    assert (table(in_time, "key", "oauth_client"), table(late, "key", "oauth_client")) == ("by_caller_day", RAW)
    # Who has a client was always there.
    for one, expected in (
        (Filter("oauth_client", "is_not", ""), "by_client_day"),
        (Filter("oauth_client", "in", ["a", "b"]), "by_client_day"),
        (Filter("oauth_client", "in", ["a", ""]), RAW),
        (Filter("oauth_client", "is", ""), RAW),
        (Filter("oauth_client", "is_not", "a"), RAW),
    ):
        assert table(late, "path", filters=(one,)) == expected, one


@pytest.mark.parametrize(
    ("limits", "tables"),
    [
        ({}, {"by_api"}),
        ({"apis": frozenset({"a"})}, {"by_api"}),
        ({"keys": frozenset({"k"})}, {"by_key"}),
        ({"oauth_clients": frozenset({"c"})}, {"by_client"}),
        ({"oauth_clients": frozenset({"c", ""})}, {"by_client"}),
        ({"apis": frozenset({"a"}), "keys": frozenset({"k"})}, {"by_key"}),
        ({"keys": frozenset({"k"}), "oauth_clients": frozenset({"c"})}, {RAW}),
    ],
)
def test_the_table_has_what_the_scope_needs(limits: dict[str, Any], tables: set[str]) -> None:
    spans = day_range(date(2026, 1, 1), date(2026, 1, 5), "UTC")
    asked = question(spans, scope=Scope("o", **limits))
    chosen = plan(asked)
    assert {re.sub("_(15m|day)$", "", segment.table) for segment in chosen.segments} == tables
    sql, statement = build(asked, chosen)
    bound = [value for value in statement.parameters.values() if isinstance(value, list)]
    for values in limits.values():
        assert sorted(values) in bound
    assert sql.count("org_id =") == len(chosen.segments)
