"""Intervals in which nothing was sealed, each with its cause."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from keytrail.collect.gaps import Cause, Gap, GapKeeper
from keytrail.errors import StoreAway

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Notes:
    """A book in memory, whose store can be away."""

    heart: datetime | None = None
    gaps: list[Gap] = field(default_factory=list)
    beats: int = 0
    away: bool = False

    def last_heartbeat(self, source: str) -> datetime | None:
        return self.heart

    def heartbeat(self, source: str, at: datetime) -> None:
        self._open()
        self.heart = at
        self.beats += 1

    def add_gap(self, gap: Gap) -> None:
        self._open()
        self.gaps.append(gap)

    def _open(self) -> None:
        if self.away:
            raise StoreAway("away")


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def on(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


def keeper(notes: Notes, clock: Clock) -> GapKeeper:
    return GapKeeper("redis", notes, clock)


def test_a_source_that_was_never_sealed_has_no_gap() -> None:
    notes, clock = Notes(), Clock()
    gaps = keeper(notes, clock)
    clock.on(100)
    assert gaps.present() is None
    gaps.sealed()
    gaps.flush()
    assert notes.gaps == []
    assert notes.heart == clock.now


def test_being_down_is_a_gap() -> None:
    notes, clock = Notes(heart=START), Clock()
    clock.on(300)
    gaps = keeper(notes, clock)
    assert gaps.present() == Gap("redis", START, None, Cause.DOWN)
    gaps.sealed()
    assert gaps.present() is None
    gaps.flush()
    assert notes.gaps == [Gap("redis", START, clock.now, Cause.DOWN)]


@pytest.mark.parametrize("cause", [Cause.SOURCE_AWAY, Cause.CAP])
def test_what_kept_it_from_sealing_is_the_cause(cause: Cause) -> None:
    notes, clock = Notes(), Clock()
    gaps = keeper(notes, clock)
    gaps.sealed()
    clock.on(1)
    gaps.not_sealed(cause)
    assert gaps.present() is None, "the ordinary rhythm"
    clock.on(9)
    gaps.not_sealed(Cause.DOWN)
    assert gaps.present() == Gap("redis", START, None, cause), "the first cause stands"
    clock.on(1)
    gaps.sealed()
    gaps.flush()
    assert notes.gaps == [Gap("redis", START, clock.now, cause)]


def test_a_short_pause_is_no_gap() -> None:
    notes, clock = Notes(heart=START), Clock()
    clock.on(4.9)
    gaps = keeper(notes, clock)
    gaps.sealed()
    gaps.flush()
    assert notes.gaps == []


def test_a_gap_that_could_not_be_written_keeps_its_end() -> None:
    notes, clock = Notes(heart=START, away=True), Clock()
    end = clock.on(60)
    gaps = keeper(notes, clock)
    gaps.sealed()
    with pytest.raises(StoreAway):
        gaps.flush()
    clock.on(60)
    gaps.sealed()
    notes.away = False
    gaps.flush()
    gaps.flush()
    assert notes.gaps == [Gap("redis", START, end, Cause.DOWN)]
    assert notes.heart == clock.now


def test_sealing_writes_nothing_itself() -> None:
    """Or it would wait for the store while the gateway's time to live is running."""
    notes, clock = Notes(heart=START, away=True), Clock()
    gaps = keeper(notes, clock)
    clock.on(60)
    gaps.sealed()
    gaps.not_sealed(Cause.CAP)
    gaps.note(Cause.COMPETING_READER, START, clock.now)
    assert (notes.gaps, notes.heart) == ([], START)


def test_heartbeats_are_rare_and_the_last_is_exact() -> None:
    notes, clock = Notes(), Clock()
    gaps = keeper(notes, clock)
    for _ in range(60):
        clock.on(0.5)
        gaps.sealed()
        gaps.flush()
    assert 3 <= notes.beats <= 4
    last = clock.now
    clock.on(3)
    gaps.not_sealed(Cause.SOURCE_AWAY)
    gaps.flush(last=True)
    assert notes.heart == last


def test_an_older_copy_of_the_store_is_a_gap_of_its_own() -> None:
    notes, clock = Notes(heart=START), Clock()
    sealed_last = clock.on(3_600)
    now = clock.on(60)
    gaps = keeper(notes, clock)
    gaps.known_from_source(sealed_last, None)
    gaps.sealed()
    gaps.flush()
    assert notes.gaps == [
        Gap("redis", START, sealed_last, Cause.RESTORED),
        Gap("redis", sealed_last, now, Cause.DOWN),
    ]


def test_what_waited_for_the_store_is_no_gap() -> None:
    """The store was away, sealing went on, then we were killed: all of it still waits in Redis."""
    notes, clock = Notes(heart=START), Clock()
    oldest = clock.on(2)
    sealed_last = clock.on(3_600)
    gaps = keeper(notes, clock)
    gaps.known_from_source(sealed_last, oldest)
    clock.on(4)
    gaps.sealed()
    gaps.flush()
    assert notes.gaps == []


def test_a_note_hardly_ahead_of_the_heartbeat_is_a_kill() -> None:
    notes, clock = Notes(heart=START), Clock()
    sealed_last = clock.on(55)
    gaps = keeper(notes, clock)
    gaps.known_from_source(sealed_last, None)
    now = clock.on(10)
    gaps.sealed()
    gaps.flush()
    assert notes.gaps == [Gap("redis", sealed_last, now, Cause.DOWN)]
