"""Cold days answer as if they stood in the table."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from keytrail.errors import RequestError, StoreError
from keytrail.metrics import Metrics
from keytrail.query import pages
from keytrail.query.export import Form
from keytrail.query.raw import places, rows_at
from keytrail.query.records import Search, find, page
from keytrail.query.request import ALL_TIME, Query, Scope
from keytrail.query.zones import Span
from keytrail.store.raw_rows import find_cold
from keytrail.store.retention import Pruning
from keytrail.store.verify import verify
from tests.product import Product
from tests.store.cold_store import (
    KEEPS,
    NOW,
    OLD,
    ORG,
    OTHER,
    PER_DAY,
    RECORDS,
    all_right,
    asked,
    by_country,
    expected,
    exported,
    folder,
    hot,
    names,
    run,
)


def test_questions_read_hot_and_cold_days_as_one(cooled: Product) -> None:
    assert by_country(cooled) == expected()
    # In cold days alone, in the table alone, and across their border.
    assert by_country(cooled, "2026-02-27", "2026-03-09") == expected(end=date(2026, 3, 10))
    assert by_country(cooled, "2026-03-10") == expected(start=date(2026, 3, 10))
    assert by_country(cooled, "2026-03-09", "2026-03-10") == expected(date(2026, 3, 9), date(2026, 3, 11))
    # Rollups, and what no quarter of an hour covers from raw rows: the records of minutes 0 to 5 and 15 to 29.
    spans = asked(cooled, "2026-03-01T00:06:00Z", "2026-03-01T21:03:00Z", dimensions=["key"])
    assert spans.tables == ["by_key_15m", "requests"]
    inside = [one for one in RECORDS if one.org == ORG and one.day == OLD[1]]
    first, last = (round(datetime(2026, 3, 1, h, m, tzinfo=UTC).timestamp() * 1000) for h, m in ((0, 6), (21, 3)))
    counted = Counter(one.record.api_key for one in inside if first <= one.record.millisecond < last)
    assert {row["key"]: row["records"] for row in spans.rows} == counted
    answer = asked(cooled, "2026-02-01", "2026-03-20", dimensions=["tag"], metrics=["records", "p95_upstream_latency"])
    tags = Counter(tag for one in RECORDS if one.org == ORG for tag in one.record.tags)
    assert {row["tag"]: row["records"] for row in answer.rows if row["tag"]} == tags


def test_explain_does_not_say_where_the_files_are(cooled: Product) -> None:
    answer = asked(cooled, "2026-02-01", "2026-03-20", explain=True)
    (statement,) = answer.statements
    assert "Parquet" in statement.sql
    assert str(folder(cooled).path) not in statement.sql
    places_told = [name for name, value in statement.statement.parameters.items() if "cold" in str(value)]
    assert places_told
    assert set(places_told) <= statement.statement.hidden


def test_only_the_files_of_a_range_are_opened(cooled: Product) -> None:
    for file in folder(cooled).path.glob("2026-03-01*"):
        file.unlink()
    assert by_country(cooled, "2026-03-02") == expected(start=date(2026, 3, 2))
    assert by_country(cooled, "2026-02-01", "2026-02-28") == expected(end=date(2026, 3, 1))
    with pytest.raises(StoreError):
        by_country(cooled, "2026-03-01", "2026-03-02")
    verified = verify(cooled.parts.engine, cooled.parts.writer)
    assert [one[:10] for one in verified.damaged] == ["2026-03-01"]
    assert verified.missing == PER_DAY + 5


def test_single_requests(cooled: Product) -> None:
    engine, search = cooled.parts.engine, Search(Scope(ORG), (ALL_TIME,))
    seen, cursor = [], ""
    while True:
        found = page(engine, search, cursor=cursor, limit=40)
        seen += [(row.place.time, row.dimensions["raw_path"]) for row in found.rows]
        cursor = found.following
        if not cursor:
            break
    wanted = [(one.record.millisecond, one.name) for one in RECORDS if one.org == ORG]
    assert seen == sorted(wanted, reverse=True)
    row = page(engine, search, limit=1000).rows[-1]
    whole = find(engine, Scope(ORG), row.place.text())
    oldest = next(one for one in RECORDS if one.name == row.dimensions["raw_path"])
    assert whole is not None
    assert whole.columns["user_agent"] == oldest.record.user_agent
    assert whole.columns["tags"] == list(oldest.record.tags)
    assert find(engine, Scope(OTHER), row.place.text()) is None
    query = Query(Scope(ORG), (Span(0, 2**50),), "UTC", (), ())
    at = places(engine, query)
    read = [one["raw_path"] for some in rows_at(engine, query, at, ["raw_path", "time"]) for one in some]
    assert read == [name for _, name in seen]


@pytest.mark.parametrize("at_once", [7, 8000])
@pytest.mark.parametrize("form", [Form.NDJSON, Form.PARQUET])
def test_exports(cooled: Product, form: Form, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS", at_once)
    monkeypatch.setattr(pages, "_BLOCK_ROWS", 3)
    assert exported(cooled, form) == names(ORG)
    assert exported(cooled, form, None) == names(ORG, OTHER)
    assert exported(cooled, form, "nobody") == []


@pytest.mark.parametrize("gone", ["20260227", "20260309"])
def test_a_day_that_is_moved_while_it_is_read(warm: Product, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = warm.parts.engine
    read = engine.query

    def slow(sql: str, *more: Any) -> Any:
        if "country" in sql:
            monkeypatch.undo()
            run(warm)
            assert gone not in hot(warm)
        return read(sql, *more)

    monkeypatch.setattr(engine, "query", slow)
    assert by_country(warm) == expected()


def test_without_the_setting_nothing_is_answered_by_halves(cooled: Product) -> None:
    engine, there = cooled.parts.engine, folder(cooled)
    engine.cold = None
    find_cold(engine)
    try:
        assert by_country(cooled, "2026-03-10") == expected(start=date(2026, 3, 10))
        for answer in (by_country, exported):
            with pytest.raises(RequestError, match=r"store\.cold does not say where"):
                answer(cooled)
        verified = verify(engine, cooled.parts.writer)
        assert (len(verified.damaged), verified.missing) == (3, 3 * (PER_DAY + 5))
        # Dropping what comes after would end them.
        planned = Pruning(engine, cooled.parts.writer, KEEPS, None, Metrics()).plan(NOW + timedelta(days=9))
        assert [step.what for step in planned if step.what in {"raw", "cold", "moved"}] == []
    finally:
        engine.cold = there
    all_right(cooled)
