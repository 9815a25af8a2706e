"""Raw rows: in order, a bounded number at a time, and only those that may be seen."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from keytrail.query import raw
from keytrail.query.raw import places, rows_at
from keytrail.query.records import Place
from keytrail.query.request import ALL_TIME, Filter, Query, Scope
from keytrail.query.zones import Span
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product, product

START = 1_772_366_400
ONE = Record(timestamp=START * SECOND, org_id="mine", api_id="api-1", path="/0", response_code=200)
# Two of each ms; the last is another's.
RECORDS = [replace(ONE, timestamp=ONE.timestamp + n // 2 * 10**6, path=f"/{n}") for n in range(10)]
RECORDS[9] = replace(RECORDS[9], org_id="theirs")
RECORDS[4] = replace(RECORDS[4], api_id="api-2")
# Of two days, so that no short stretch has a page of them.
SPREAD = [replace(ONE, timestamp=(START - n * 37 * 60) * SECOND, org_id="spread", path=f"/{n}") for n in range(1, 80)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with product(tmp_path_factory.mktemp("store")) as started:
        started.put_lines([to_json(record).encode() for record in (*RECORDS, *SPREAD)])
        yield started


def question(org: str | None = "mine", **more: object) -> Query:
    plain = Query(
        scope=Scope(org), spans=(Span(START * 1000, START * 1000 + 1000),), zone="UTC", dimensions=(), metrics=()
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def read(running: Product, query: Query) -> list[str]:
    engine = running.parts.engine
    chunks = list(rows_at(engine, query, places(engine, query), ["path"]))
    assert all(len(chunk) <= raw.ROWS_AT_ONCE for chunk in chunks)
    return [row["path"] for chunk in chunks for row in chunk]


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "ROWS_AT_ONCE", 4)


def test_latest_first(running: Product) -> None:
    assert read(running, question()) == [f"/{n}" for n in range(8, -1, -1)]
    assert read(running, question(org=None)) == [f"/{n}" for n in range(9, -1, -1)]


def test_a_page(running: Product) -> None:
    assert read(running, question(limit=3)) == ["/8", "/7", "/6"]
    assert read(running, question(limit=3, offset=7)) == ["/1", "/0"]
    assert read(running, question(limit=3, offset=9)) == []


@pytest.mark.parametrize("first_rows", [0, 30, 1_000])
def test_pages_are_looked_for_back_from_the_end(
    running: Product, first_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "FIRST_ROWS", first_rows)
    spans = (Span((START - 3 * 86_400) * 1000, (START - 40_000) * 1000), Span((START - 30_000) * 1000, ALL_TIME.end))
    expected = [f"/{n}" for n in range(1, 80) if not 30_000 < n * 37 * 60 <= 40_000]
    for offset in range(0, 84, 7):
        page = read(running, question(org="spread", spans=spans, limit=7, offset=offset))
        assert page == expected[offset : offset + 7], offset


def test_stretches_and_filters(running: Product) -> None:
    apart = (Span(START * 1000, START * 1000 + 1), Span(START * 1000 + 3, START * 1000 + 4))
    assert read(running, question(spans=apart)) == ["/7", "/6", "/1", "/0"]
    assert read(running, question(spans=())) == []
    assert read(running, question(filters=(Filter("api", "is", "api-2"),))) == ["/4"]
    assert "/4" not in read(running, question(scope=Scope("mine", frozenset({"api-1"}))))
    assert read(running, question(scope=Scope("mine", frozenset()))) == []


def test_a_place_tells_no_more_than_may_be_seen(running: Product) -> None:
    """Who knows a place of another's row does not get the row."""
    engine = running.parts.engine
    theirs = places(engine, question(org="theirs"))
    assert len(theirs) == 1
    assert list(rows_at(engine, question(org="mine"), theirs, ["path"])) == [[]]


def test_a_row_that_is_gone_is_left_out(running: Product) -> None:
    engine = running.parts.engine
    found = places(engine, question(limit=1))
    gone = Place(found[0].time, found[0].batch_id, 4_000_000)
    (chunk,) = rows_at(engine, question(), [gone, *found], ["time", "path", "tags"])
    assert chunk == [{"time": START * 1000 + 4, "path": "/8", "tags": []}]
