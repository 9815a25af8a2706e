"""What is a gap where several collectors seal the same lists."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from keytrail.cli.collecting import Book
from keytrail.collect.gaps import Cause, Gap, GapKeeper
from keytrail.store.ledger import Ledger
from tests.cluster.conftest import product_on
from tests.cluster.fronts import Server

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ledger(server: Server) -> Iterator[Ledger]:
    with product_on(server) as running:
        yield Ledger(running.parts.engine)


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> datetime:
        return BEGAN + timedelta(seconds=self.now)


def gaps_of(ledger: Ledger, source: str) -> list[tuple[float, float, str]]:
    first, last = (round((BEGAN + timedelta(seconds=at)).timestamp() * 1000) for at in (-1000, 1000))
    return [
        ((gap.start - BEGAN).total_seconds(), (gap.end - BEGAN).total_seconds(), gap.cause)
        for gap in ledger.gaps(first, last)
        if gap.source == source
    ]


def test_one_that_is_away_leaves_no_gap_while_another_seals(ledger: Ledger) -> None:
    clock, book = Clock(), Book(ledger, alone=False)
    away, there = (GapKeeper("both", book, clock) for _ in range(2))
    for second in range(0, 121, 5):
        clock.now = second
        if 20 <= second < 100:
            away.not_sealed(Cause.SOURCE_AWAY)
        else:
            away.sealed()
        there.sealed()
        for keeper in (away, there):
            keeper.flush()
    assert gaps_of(ledger, "both") == []


def test_a_gap_of_all_is_one(ledger: Ledger) -> None:
    """The first was away from 20 to 100, the second from 40 to 70: only then nothing was sealed."""
    clock, book = Clock(), Book(ledger, alone=False)
    first, second = (GapKeeper("all", book, clock) for _ in range(2))
    for now in range(0, 121, 5):
        clock.now = now
        for keeper, (start, end) in ((first, (20, 100)), (second, (40, 70))):
            if start <= now < end:
                keeper.not_sealed(Cause.SOURCE_AWAY)
            else:
                keeper.sealed()
            keeper.flush()
    assert gaps_of(ledger, "all") == [(35.0, 70.0, "source_away")]


def test_a_second_that_starts_beside_the_first_finds_no_gap(ledger: Ledger) -> None:
    clock, book = Clock(), Book(ledger, alone=False)
    first = GapKeeper("start", book, clock)
    for now in (0, 5, 8):
        clock.now = now
        first.sealed()
        first.flush()
    clock.now = 9
    second = GapKeeper("start", book, clock)
    second.sealed()
    second.flush()
    assert gaps_of(ledger, "start") == []


def test_when_none_ran_the_next_one_says_so(ledger: Ledger) -> None:
    clock, book = Clock(), Book(ledger, alone=False)
    first = GapKeeper("down", book, clock)
    first.sealed()
    first.flush(last=True)
    clock.now = 300
    second = GapKeeper("down", book, clock)
    second.sealed()
    second.flush()
    assert gaps_of(ledger, "down") == [(0.0, 300.0, "down")]


def test_what_something_else_took_is_a_gap_all_the_same(ledger: Ledger) -> None:
    book = Book(ledger, alone=False)
    book.heartbeat("thief", BEGAN + timedelta(seconds=5))
    book.add_gap(Gap("thief", BEGAN, BEGAN + timedelta(seconds=10), Cause.COMPETING_READER))
    assert gaps_of(ledger, "thief") == [(0.0, 10.0, "competing_reader")]
