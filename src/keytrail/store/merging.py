"""When the engine merges old parts of rollups, beside what it does for itself: what a migration told it, and why.

It leaves some ten parts in a month, and a look-up by key has to open each: a key's month took 1.7 times as long in nine
parts as in two. The engine does it in the background: see its setting `min_age_to_force_merge_seconds`. As with tables,
a test holds what the numbered files in `sql/` say against this module.
"""

from typing import Final

from keytrail.store.tables import DAY_SECONDS, ROLLUPS, Rollup

BY_DAY_AFTER_SECONDS: Final = 259_200
"""When parts of a rollup by day are merged: each time the whole month is written again."""
BY_15M_AFTER_SECONDS: Final = 86_400
"""When a month of quarters of an hour is merged, if nothing has come to it meanwhile."""


def merge_old_parts(rollup: Rollup) -> str:
    """The statement that makes the engine merge a rollup's old parts."""
    daily = rollup.seconds == DAY_SECONDS
    after = BY_DAY_AFTER_SECONDS if daily else BY_15M_AFTER_SECONDS
    return (
        f"ALTER TABLE {rollup.table} MODIFY SETTING min_age_to_force_merge_seconds = {after}, "
        f"min_age_to_force_merge_on_partition_only = {0 if daily else 1}"
    )


MERGING: Final = tuple(merge_old_parts(rollup) for rollup in ROLLUPS)
