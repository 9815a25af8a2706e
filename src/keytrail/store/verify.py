"""Hold the store against its ledger: the rows of every batch, and every rollup against the raw rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from keytrail.store.client import Engine
from keytrail.store.kept import RAW_ROWS, kept_since
from keytrail.store.raw_rows import ALL_TIME, Bound, ColdDay, cold_days, raw_rows
from keytrail.store.rebuild import months_of_raw
from keytrail.store.tables import BATCHES, DUPLICATES, ERASED_ROWS, RAW
from keytrail.store.writer import Writer

MOST_SHOWN: Final = 100

# A chunk that was confirmed twice, as after a kill between the two, counts once.
# Of a batch that reaches back before what retention keeps, only a part is there.
# As many rows are not enough: one may be there twice and another not at all, so places in the batch are counted, too.
_DIFFERING: Final = f"""
WITH toDateTime64({{since:Date}}, 3, 'UTC') AS since
SELECT
    batch_id, origin, expected, found, found - places AS twice,
    if(partly, 0, greatest(expected - places, 0)) AS missing,
    twice + if(unsure, 0, greatest(places - expected, 0)) AS surplus
FROM (
    SELECT batch_id, sumIf(stored, newest >= since) - any(erased) AS expected, any(origin) AS origin,
        min(oldest) < since AS partly, partly AND any(erased) > 0 AS unsure
    FROM (
        SELECT batch_id, offset, stored, origin, oldest, newest FROM {BATCHES} WHERE stored > 0
        ORDER BY batch_id, offset, written_at LIMIT 1 BY batch_id, offset
    ) AS chunks
    LEFT JOIN (SELECT batch_id, sum(rows) AS erased FROM {ERASED_ROWS} GROUP BY batch_id) AS those USING batch_id
    GROUP BY batch_id
) AS confirmed
FULL JOIN (
    SELECT batch_id, count() AS found, groupBitmap(seq) AS places FROM <raw rows> WHERE time >= since GROUP BY batch_id
) AS held USING batch_id
WHERE missing > 0 OR surplus > 0
ORDER BY batch_id
"""
_ON_DISK: Final = {"max_bytes_before_external_group_by": 300_000_000}
"""Bytes from which on the places are counted on the disk: two for each row, and some hundreds for each batch."""


# A chunk was let go of as a duplicate because the table of batches had it: so it still must.
_DUPLICATES: Final = f"""
SELECT sum(records), sumIf(records, confirmed = 0) FROM {DUPLICATES}
LEFT JOIN (SELECT DISTINCT batch_id, offset, 1 AS confirmed FROM {BATCHES}) AS known USING batch_id, offset
"""


@dataclass(frozen=True, slots=True)
class Differing:
    """A batch whose rows are not those that the ledger says.

    Attributes:
        batch_id: The batch.
        origin: The list or the file; "" if no chunk of it was confirmed.
        expected: Rows by the ledger.
        found: Raw rows.
        twice: Those of them that are there a second time.
    """

    batch_id: str
    origin: str
    expected: int
    found: int
    twice: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    Attributes:
        batches: Batches in the ledger.
        records: Raw rows.
        missing: Rows that the ledger says and that are not there.
        surplus: Rows that are there and that the ledger does not say: an attempt that was killed and not repeated yet.
            And those that are there a second time.
        differing: The first batches that differ.
        duplicate: Records that came again and were not stored again.
        unconfirmed: Those of them whose chunk the ledger does not know: they are missing.
        rollups: Rollups that differ from the raw rows: `table month`.
        cold: Cold days.
        damaged: Those of them whose file is not there or not what was written, with the file; their rows are missing,
            and rollups are compared without cold days.
        twice: Rows of confirmed batches that are there a second time.
    """

    batches: int
    records: int
    missing: int
    surplus: int
    differing: list[Differing]
    rollups: list[str]
    duplicate: int = 0
    unconfirmed: int = 0
    cold: int = 0
    damaged: list[str] = field(default_factory=list)
    twice: int = 0


def verify(engine: Engine, writer: Writer) -> Verified:
    """Count the rows of every batch, and add up every rollup.

    Reads the batch of every raw row, so it takes about a second for ten million, and every byte of cold days; what
    seems to differ is looked at again while nothing is written.

    Raises:
        StoreError: The engine can't.
    """
    days = cold_days(engine)
    damaged = _damaged(engine, days)
    rows = _differing(engine, damaged)
    if rows:
        with writer.paused():
            rows = _differing(engine, damaged)
    missing, surplus = (sum(int(row[what]) for row in rows) for what in ("missing", "surplus"))
    twice = sum(int(row["twice"]) for row in rows if row["expected"])
    shown = [
        Differing(row["batch_id"], row["origin"], row["expected"], row["found"], row["twice"])
        for row in rows[:MOST_SHOWN]
    ]
    batches = engine.query(f"SELECT uniqExact(batch_id) FROM {BATCHES}").rows[0][0]
    source, bound = _raw_rows(engine, damaged)
    records = engine.query(f"SELECT count() FROM {source}", bound.values).rows[0][0]
    rollups = writer.drift(months_of_raw(engine), cold=() if damaged else None)
    duplicate, unconfirmed = engine.query(_DUPLICATES).rows[0]
    broken = [f"{one.day} ({one.file})" for one in damaged]
    return Verified(
        batches,
        records,
        missing,
        surplus,
        shown,
        rollups,
        duplicate,
        unconfirmed,
        cold=len(days),
        damaged=broken,
        twice=twice,
    )


def _damaged(engine: Engine, days: Sequence[ColdDay]) -> list[ColdDay]:
    """The cold days whose file is not there, byte for byte."""
    cold = engine.cold
    if cold is None:
        return list(days)
    sizes = cold.sizes()
    return [one for one in days if sizes.get(one.file) != one.size or cold.sha256(one.file) != one.sha256]


def _raw_rows(engine: Engine, damaged: Sequence[ColdDay]) -> tuple[str, Bound]:
    """Where all raw rows are but those of damaged files, and the bound values of that."""
    rows, bound = raw_rows(engine, [ALL_TIME]), Bound()
    cold = tuple(one for one in rows.cold if one not in damaged)
    return (replace(rows, cold=cold).source(bound) if cold else RAW), bound


def _differing(engine: Engine, damaged: Sequence[ColdDay]) -> list[dict[str, Any]]:
    source, bound = _raw_rows(engine, damaged)
    values = {"since": kept_since(engine, RAW_ROWS), **bound.values}
    return engine.query(_DIFFERING.replace("<raw rows>", source), values, _ON_DISK).dicts()
