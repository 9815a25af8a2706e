"""Take away what is older than the settings keep, in whole partitions; the oldest raw days before the disk is full.

Dropping a partition makes the engine forget its tokens, so it must hold nothing that may be tried again: one with rows
of a batch that was never confirmed stays for a week longer, in which the batch finds its rows again. What was confirmed
is known by the table of batches, which is never pruned.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from keytrail.config import Retention
from keytrail.metrics import Metrics
from keytrail.store.client import Engine
from keytrail.store.kept import (
    RAW_ROWS,
    RECORDED,
    ROLLUP_ROWS,
    Partition,
    kept_since,
    note_kept_since,
    partitions,
)
from keytrail.store.tables import BATCHES, RAW, REJECTS, ROLLUPS
from keytrail.store.writer import Writer

log = structlog.get_logger("keytrail.store")

LEAST_DAYS: Final = 2
"""Today and yesterday are never dropped to make room."""
WAIT_FOR_BATCHES: Final = timedelta(days=7)
"""For so long a partition stays that holds rows of a batch which was never confirmed."""

_RECORDED_COLUMNS: Final = ("raw_request", "raw_response")
_SOME_RECORDED: Final = " OR ".join(f"{column} != ''" for column in _RECORDED_COLUMNS)
_UNDER_WAY: Final = (
    "SELECT count() FROM {mutations} WHERE database = currentDatabase() AND table = {{table:String}} AND NOT is_done"
)
_LOOK_EVERY: Final = 0.05

_LAST_CAME: Final = (
    f"SELECT max(written_at) FROM {BATCHES} WHERE stored > 0 AND newest >= toDateTime64({{start:Date}}, 3, 'UTC') "
    "AND oldest < toDateTime64({end:Date}, 3, 'UTC')"
)

# Chunks of a batch are confirmed in order, so what stands behind the last confirmed one is not.
_UNCONFIRMED: Final = f"""
SELECT count() FROM (
    SELECT batch_id, max(seq) AS last FROM {RAW} WHERE _partition_id = {{partition:String}} GROUP BY batch_id
) AS held
LEFT JOIN (
    SELECT batch_id, max(offset + taken) AS confirmed FROM {BATCHES}
    WHERE batch_id IN (SELECT DISTINCT batch_id FROM {RAW} WHERE _partition_id = {{partition:String}})
    GROUP BY batch_id
) AS known USING batch_id
WHERE last >= confirmed
"""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to take away.

    Attributes:
        what: `raw`, `rollups`, `recorded` (the recorded requests of raw rows) or `rejects`.
        partition: The partition.
        why: `age`, or `disk` if only the room is wanted.
        waits: It stays for now, as a batch that was never confirmed has rows in it.
    """

    what: str
    partition: Partition
    why: str
    waits: bool = False

    def shown(self) -> dict[str, Any]:
        """It as JSON shows it."""
        part = self.partition
        return {
            "what": self.what,
            "table": part.table,
            "from": part.start.isoformat(),
            "until": part.end.isoformat(),
            "rows": part.rows,
            "bytes": part.size,
            "why": self.why,
            "waits": self.waits,
        }


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the store, bytes."""

    free: int
    total: int


class Pruning:
    """Takes away what is not to be kept.

    Args:
        engine: The store's engine.
        writer: The way into it, which waits while a partition is dropped.
        settings: What to keep.
        directory: The data directory; None where the store's disk is not ours to look at.
        metrics: Told of what was taken away.
    """

    def __init__(
        self, engine: Engine, writer: Writer, settings: Retention, directory: Path | None, metrics: Metrics
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._settings = settings
        self._directory = directory
        self._metrics = metrics

    def disk(self) -> Disk | None:
        """The disk as it is."""
        if self._directory is None:
            return None
        usage = shutil.disk_usage(self._directory)
        return Disk(usage.free, usage.total)

    def short_of_room(self) -> str:
        """Why raw rows are dropped before their age, for people; "" if they are not."""
        disk = self.disk()
        if disk is None or disk.free >= self._settings.free_share * disk.total:
            return ""
        share = disk.free / disk.total
        return (
            f"the disk has {share:.1%} free, less than retention.free_share: the oldest days of raw records are dropped"
        )

    def plan(self, now: datetime) -> list[Step]:
        """What there is to take away.

        Args:
            now: The time, UTC.
        """
        settings, today = self._settings, now.date()
        raw = partitions(self._engine, RAW)
        steps = [Step("raw", one, "age") for one in self._old(raw, _days_ago(today, settings.raw_days), RAW_ROWS)]
        gone = {step.partition.id for step in steps}
        steps += [Step("raw", one, "disk") for one in self._for_room(raw, gone, today)]
        steps = [self._waiting(step, now) for step in steps]
        going = {step.partition.id for step in steps if not step.waits}
        steps += [
            Step("recorded", one, "age")
            for one in self._old(raw, _days_ago(today, settings.recorded_days), RECORDED)
            if one.id not in going and self._has_recorded(one)
        ]
        oldest = _months_ago(today, settings.rollup_months)
        for table in (*(rollup.table for rollup in ROLLUPS), REJECTS):
            what = "rejects" if table == REJECTS else "rollups"
            steps += [Step(what, one, "age") for one in self._old(partitions(self._engine, table), oldest, ROLLUP_ROWS)]
        return steps

    def _old(self, parts: Iterable[Partition], first: date | None, what: str) -> Iterator[Partition]:
        """The partitions before the first day that is kept.

        History that is imported stays as long as if it were new, from the day it came: else an import would be
        taken away within the hour. Not where such days were taken away before, as nobody could ask for it.
        """
        if first is None:
            return
        reachable = kept_since(self._engine, what)
        for one in parts:
            if one.end <= first and (one.end <= reachable or self._last_came(one) < first):
                yield one

    def _last_came(self, part: Partition) -> date:
        """The day on which records of a partition were last stored; 1970 where no batch of them is known."""
        found = self._engine.query(_LAST_CAME, {"start": part.start, "end": part.end})
        came: datetime = found.rows[0][0]
        return came.date()

    def run(self, now: datetime) -> list[Step]:
        """Take it away, partition by partition; killed halfway, the next run does the rest.

        Args:
            now: The time, UTC.

        Returns:
            What was taken away.

        Raises:
            StoreError: The engine refuses.
        """
        steps = [step for step in self.plan(now) if not step.waits]
        self._note(steps)
        recorded = [step for step in steps if step.what == "recorded"]
        if recorded:
            self._empty_recorded(max(step.partition.end for step in recorded))
        if len(recorded) < len(steps):
            # In one pause, as on a server it takes seconds until everybody has seen it.
            with self._writer.paused():
                for step in steps:
                    if step.what != "recorded":
                        dropping = f"{self._engine.layout.alter(step.partition.table)} DROP PARTITION ID"
                        self._engine.command(f"{dropping} '{step.partition.id}'")
        for step in steps:
            self._metrics.pruned.labels(step.what, step.why).inc(step.partition.rows)
            level = log.warning if step.why == "disk" else log.info
            level("pruned", **step.shown())
        return steps

    def _note(self, steps: Sequence[Step]) -> None:
        """Before anything goes: who reads meanwhile must learn that it may have read half."""
        for what, note in (("raw", RAW_ROWS), ("rollups", ROLLUP_ROWS), ("recorded", RECORDED)):
            mine = [step for step in steps if step.what == what]
            if mine:
                end = max(step.partition.end for step in mine)
                why = "disk" if any(step.why == "disk" for step in mine) else "age"
                if end > kept_since(self._engine, note):
                    note_kept_since(self._engine, note, end, why)

    def _for_room(self, raw: Sequence[Partition], gone: set[str], today: date) -> Iterator[Partition]:
        """The oldest partitions that make room enough, none of them of the last days."""
        disk = self.disk()
        if disk is None:
            return
        # The engine removes the files of what was dropped or merged some minutes later.
        leaving = self._engine.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE NOT active").rows[0][0]
        wanted = self._settings.free_share * disk.total - disk.free - leaving
        for one in raw:
            if wanted <= 0:
                return
            if one.id not in gone:
                if one.end > today - timedelta(days=LEAST_DAYS - 1):
                    return
                yield one
            wanted -= one.size

    def _waiting(self, step: Step, now: datetime) -> Step:
        """The step, which waits where its partition may be needed by a batch that is tried again."""
        part = step.partition
        long_due = now.date() - part.end > timedelta(days=self._settings.raw_days) + WAIT_FOR_BATCHES
        if step.why == "age" and long_due:
            return step
        unconfirmed = self._engine.query(_UNCONFIRMED, {"partition": part.id}).rows[0][0]
        return Step(step.what, part, step.why, waits=bool(unconfirmed))

    def _has_recorded(self, part: Partition) -> bool:
        sql = f"SELECT 1 FROM {RAW} WHERE _partition_id = {{partition:String}} AND ({_SOME_RECORDED}) LIMIT 1"
        return bool(self._engine.query(sql, {"partition": part.id}).rows)

    def _empty_recorded(self, before: date) -> None:
        """Empty the columns in one mutation: one for each partition takes a second each, however small.

        It runs beside what is stored, and goes on by itself after a kill.
        """
        values = {"before": before}
        emptied = ", ".join(f"{column} = ''" for column in _RECORDED_COLUMNS)
        old = f"time < toDateTime64({{before:Date}}, 3, 'UTC') AND ({_SOME_RECORDED})"
        layout = self._engine.layout
        self._engine.command(f"{layout.alter(RAW)} UPDATE {emptied} WHERE {old}", values)
        under_way = _UNDER_WAY.format(mutations=layout.system_of_all("mutations"))
        while self._engine.query(under_way, {"table": layout.local(RAW)}).rows[0][0]:
            time.sleep(_LOOK_EVERY)


def _days_ago(today: date, days: int) -> date | None:
    """The first day that is kept; None if all are."""
    return today - timedelta(days=days) if days else None


def _months_ago(today: date, months: int) -> date | None:
    """The first month that is kept; None if all are."""
    if not months:
        return None
    number = today.year * 12 + today.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)
