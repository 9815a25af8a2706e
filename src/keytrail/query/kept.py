"""Refuse what retention has taken away: a range is answered whole or not at all."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from keytrail.errors import NoLongerKept
from keytrail.query.request import ALL_TIME
from keytrail.query.zones import DAY, Span
from keytrail.store.client import Engine
from keytrail.store.kept import RAW_ROWS, ROLLUP_ROWS, kept_since

ROLLUPS_KEPT_FOR: Final = 59 * DAY
"""Rollups are kept for two months at least (`retention.rollup_months`): only older ranges have to be looked up, ms."""


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
    if first is None or (not raw and first > datetime.now(UTC).timestamp() * 1000 - ROLLUPS_KEPT_FOR):
        yield
        return
    _look_up(engine, first, raw=raw)
    yield
    _look_up(engine, first, raw=raw)


def _look_up(engine: Engine, first: int, *, raw: bool) -> None:
    since = kept_since(engine, RAW_ROWS if raw else ROLLUP_ROWS)
    begun = datetime.fromtimestamp(first / 1000, UTC)
    if begun >= datetime(since.year, since.month, since.day, tzinfo=UTC):
        return
    if raw:
        raise NoLongerKept(
            f"this needs single records of {begun.date()}, and those from before {since} are no longer kept "
            "(retention.raw_days): begin then or later, or ask in whole quarters of an hour for what rollups have"
        )
    raise NoLongerKept(
        f"nothing of {begun.date()} is kept any more (retention.rollup_months): begin on {since} or later"
    )
