"""Read raw rows where they are, and refuse what retention has taken away: a range is answered whole or not at all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from keytrail.errors import NoLongerKept, StoreAway, StoreError
from keytrail.instants import midnight, present
from keytrail.query.request import ALL_TIME
from keytrail.query.zones import DAY, Span, to_moment
from keytrail.store.client import Engine
from keytrail.store.kept import RAW_ROWS, ROLLUP_ROWS, kept_since
from keytrail.store.raw_rows import RawRows, raw_rows

T = TypeVar("T")

ROLLUPS_KEPT_FOR: Final = 59 * DAY
"""Rollups are kept for two months at least (`retention.rollup_months`): only older ranges have to be looked up, ms."""

_LONGEST: Final = timedelta(hours=1)
"""More than a reading takes: what is kept must still be when it ends."""

_TRIES: Final = 3


def stretches(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Spans as the store takes them."""
    return [(span.start, span.end) for span in spans]


def read_rows(engine: Engine, spans: Sequence[Span], read: Callable[[RawRows], T]) -> T:
    """Read raw rows of some stretches, each once, while days may become cold or cold days be written again.

    Args:
        engine: The engine.
        spans: The stretches.
        read: Reads them, given where they are; again, if that is no longer true afterwards.

    Raises:
        StoreAway: Days changed their place each time.
    """
    for _ in range(_TRIES):
        rows = raw_rows(engine, stretches(spans))
        try:
            found = read(rows)
        except StoreError:
            # Such as for a file that is no longer there.
            if raw_rows(engine, stretches(spans)) == rows:
                raise
            continue
        if raw_rows(engine, stretches(spans)) == rows:
            return found
    raise StoreAway("days of single records are changing their place: ask again")


@contextmanager
def all_kept(engine: Engine, spans: Sequence[Span], *, raw: bool = True) -> Iterator[None]:
    """Make sure that all rows of some stretches were there from the beginning of a reading to its end.

    What is taken away is noted before it goes, so it is looked up before and after.

    Args:
        engine: The engine.
        spans: The stretches; one that has no beginning (`ALL_TIME`) means all that there is.
        raw: Raw rows are read, and not rollups.

    Raises:
        NoLongerKept: Some are no longer kept; names the day.
    """
    first = min((span.start for span in spans if span.start > ALL_TIME.start), default=None)
    if first is None or first >= (_raw_since() if raw else present() - ROLLUPS_KEPT_FOR):
        yield
        return
    _look_up(engine, first, raw=raw)
    yield
    _look_up(engine, first, raw=raw)


def _raw_since() -> int:
    """From when on there are raw rows in any case: neither age nor a full disk takes today or yesterday away."""
    yesterday = (datetime.now(UTC) + _LONGEST).date() - timedelta(days=1)
    return midnight(yesterday)


def _look_up(engine: Engine, first: int, *, raw: bool) -> None:
    since = kept_since(engine, RAW_ROWS if raw else ROLLUP_ROWS)
    if first >= midnight(since):
        return
    begun = to_moment(first, UTC)
    if raw:
        raise NoLongerKept(
            f"this needs single records of {begun.date()}, and those from before {since} are no longer kept "
            "(retention.raw_days): begin then or later, or ask in whole quarters of an hour for what rollups have"
        )
    raise NoLongerKept(
        f"nothing of {begun.date()} is kept any more (retention.rollup_months): begin on {since} or later"
    )
