"""Answers say until when they are complete, and when nothing was collected."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from keytrail.cli.operations import Operations
from keytrail.errors import StoreAway
from keytrail.query.zones import Span
from keytrail.store.ledger import GapRow, Ledger
from keytrail.web import coverage
from keytrail.web.coverage import HEADER, Coverage
from tests.product import TOKEN, Product

PATH = "/api/activity/keys/endpoint/k/22/11/2026/23/11/2026"
DAY = Span(1_795_392_000_000, 1_795_478_400_000)
"""23 November 2026, UTC."""
TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)


T = TypeVar("T", bound=Operations)


class Collecting(Operations):
    """Collects from one source."""

    gap: dict[str, Any] | None = None
    through: str | None = "2026-11-23T12:00:00.000Z"

    def collection(self, *, lists: bool) -> list[dict[str, Any]]:
        return [{"gap": self.gap}]

    def complete_through(self) -> str | None:
        return self.through


@pytest.fixture
def ledger(running: Product, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    # The application reads gaps again at each answer.
    monkeypatch.setattr(coverage, "_KEPT_SECONDS", -1.0)
    yield Ledger(running.parts.engine)
    running.parts.engine.command("TRUNCATE TABLE gaps")


def of(running: Product, kind: type[T]) -> T:
    """Operations of a process without collectors."""
    return kind((), running.parts.metrics, running.parts.writer)


def told(running: Product, operations: Operations, span: Span = DAY) -> str | None:
    return Coverage(running.parts.engine, operations).headers([span]).get(HEADER)


def test_nothing_is_said_where_nothing_is_collected(running: Product) -> None:
    answer = running.http.get(PATH, headers={"Authorization": TOKEN})
    assert answer.status_code == 200
    assert HEADER not in answer.headers


def test_gaps_of_the_range(running: Product, ledger: Ledger) -> None:
    for hours in range(7):
        start = TEN - timedelta(hours=hours)
        ledger.add_gap(GapRow("redis", start, start + timedelta(minutes=5), "down" if hours else "cap"))
    said = told(running, of(running, Collecting))
    assert said is not None
    assert said.startswith("complete-through=2026-11-23T12:00:00.000Z; gaps=7; gap=2026-11-23T06:00:00.000Z/")
    assert said.endswith(", 2026-11-23T10:00:00.000Z/2026-11-23T10:05:00.000Z cap")
    assert said.count("/") == 5
    earlier = Span(DAY.start - 86_400_000, DAY.start)
    assert told(running, of(running, Collecting), earlier) == "complete-through=2026-11-23T12:00:00.000Z; gaps=0"
    assert told(running, of(running, Operations), earlier) is None
    assert (told(running, of(running, Operations)) or "").startswith("complete-through=unknown; gaps=7;")


def test_a_gap_that_lasts_has_no_end(running: Product) -> None:
    operations = of(running, Collecting)
    operations.gap = {"start": "2020-05-01T10:00:00.000Z", "cause": "source_away"}
    operations.through = None
    span = Span(DAY.start - 365 * 6 * 86_400_000, DAY.start)
    assert told(running, operations, span) == (
        "complete-through=unknown; gaps=1; gap=2020-05-01T10:00:00.000Z/.. source_away"
    )


def test_an_answer_carries_it(running: Product, ledger: Ledger) -> None:
    ledger.add_gap(GapRow("redis", TEN, TEN + timedelta(minutes=5), "down"))
    answer = running.http.get(PATH, headers={"Authorization": TOKEN})
    assert answer.headers[HEADER] == (
        "complete-through=unknown; gaps=1; gap=2026-11-23T10:00:00.000Z/2026-11-23T10:05:00.000Z down"
    )


def test_a_store_that_does_not_tell_is_no_store_without_gaps(running: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StoreAway("away")

    monkeypatch.setattr(Ledger, "gaps", away)
    assert told(running, of(running, Collecting)) == "complete-through=2026-11-23T12:00:00.000Z; gaps=unknown"


def test_gaps_are_read_once_a_second_and_else_it_costs_less_than_two_milliseconds(
    running: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, now = Ledger.gaps, [1.0]
    reads: list[object] = []

    def counted(*arguments: Any) -> list[GapRow]:
        reads.append(arguments)
        return read(*arguments)

    monkeypatch.setattr(Ledger, "gaps", counted)
    monkeypatch.setattr(coverage, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = Coverage(running.parts.engine, of(running, Collecting))
    made.headers([DAY])
    # Of this thread: the engine's own may be at work beside it.
    began = time.thread_time()
    for _ in range(100):
        made.headers([DAY])
    assert (time.thread_time() - began) / 100 < 0.002
    now[0] += 1
    made.headers([DAY])
    assert len(reads) == 1
    now[0] += 0.001
    made.headers([DAY])
    assert len(reads) == 2


def test_the_body_of_an_own_answer_carries_it(running: Product, ledger: Ledger) -> None:
    """With every gap that touches the range, and nothing where nothing is collected."""
    assert running.get("/api/v1/query?from=2020-11-23&to=2020-11-23")["coverage"] is None
    for start in (TEN, TEN - timedelta(days=1)):
        ledger.add_gap(GapRow("redis", start, start + timedelta(minutes=5), "down"))
    gaps = [{"start": "2026-11-23T10:00:00.000Z", "end": "2026-11-23T10:05:00.000Z", "cause": "down"}]
    made = Coverage(running.parts.engine, of(running, Collecting))
    assert made.told([DAY]) == {"complete_through": "2026-11-23T12:00:00.000Z", "gaps": gaps, "raw_since": None}
    told = running.get("/api/v1/query?from=2026-11-23&to=2026-11-23")["coverage"]
    assert told == {"complete_through": None, "gaps": gaps, "raw_since": None}
