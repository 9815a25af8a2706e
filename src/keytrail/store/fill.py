"""Rollups that a later version brings, made of the records that a store has already."""

from collections.abc import Callable
from typing import Final

import structlog

from keytrail.store.client import Engine
from keytrail.store.kept import BEGINNING, CALLERS, RAW_ROWS, kept_since, note_kept_since
from keytrail.store.rebuild import months_of_raw, rebuild_month
from keytrail.store.tables import BY_CALLER, BY_CLIENT, ROLLUPS

log = structlog.get_logger("keytrail.store")


def fill_callers(engine: Engine) -> None:
    """Make the rollups by caller, and those by client with the requests without one, of all raw rows.

    Whole months are put in place, so that after a kill it is run again from the beginning. Of days whose raw rows are
    gone nothing can tell them: from when on there are any is noted first, and the planner leaves them alone before.

    Args:
        engine: The engine; nobody else may be writing.

    Raises:
        StoreError: The engine refuses.
    """
    since = kept_since(engine, RAW_ROWS)
    if since > BEGINNING:
        note_kept_since(engine, CALLERS, since)
    for month in months_of_raw(engine):
        for rollup in ROLLUPS:
            if rollup.family in {BY_CALLER, BY_CLIENT}:
                log.info("making sums of a newer version", table=rollup.table, month=month)
                rebuild_month(engine, rollup, month)


FILLS: Final[dict[int, Callable[[Engine], None]]] = {9: fill_callers}
"""What is to be made after a migration, by its number."""
