"""Take away what is older than the settings keep, in whole partitions; the oldest raw days before the disk is full.

Where there is a place for cold days (`store.cold`), raw rows are moved there first, and dropped there later.

Dropping a partition makes the engine forget its tokens, so it must hold nothing that may be tried again: one with rows
of a batch that was never confirmed stays for a week longer, in which the batch finds its rows again. What was confirmed
is known by the table of batches, which is never pruned.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from keytrail.config import Retention
from keytrail.metrics import Metrics
from keytrail.store.client import Engine
from keytrail.store.cold import Nowhere
from keytrail.store.cooling import Cooling
from keytrail.store.kept import (
    BEGINNING,
    RAW_ROWS,
    RECORDED,
    ROLLUP_ROWS,
    Partition,
    kept_since,
    note_kept_since,
    partitions,
)
from keytrail.store.raw_rows import cold_partitions
from keytrail.store.tables import BATCHES, COLD_DAYS, RAW, REJECTS, ROLLUPS
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
        what: `raw`, `moved` (raw rows that become a cold day), `cold` (a cold day), `rollups`, `recorded` (the
            recorded requests of raw rows) or `rejects`.
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
        self._cooling = Cooling(engine, writer)

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
        what = "dropped" if self._engine.cold is None else "moved or dropped"
        return (
            f"the disk has {share:.1%} free, less than retention.free_share: the oldest days of raw records are {what}"
        )

    def plan(self, now: datetime) -> list[Step]:
        """What there is to take away.

        Args:
            now: The time, UTC.
        """
        settings, today = self._settings, now.date()
        raw = partitions(self._engine, RAW)
        steps = [step if step.what == "cold" else self._waiting(step, now) for step in self._raw_steps(raw, today)]
        going = {step.partition.id: step.what for step in steps if step.what != "cold" and not step.waits}
        old = {one.id for one in self._old(raw, _days_ago(today, settings.recorded_days), RECORDED)}
        # No cold day has recorded requests that have an end: they would need its file to be written once more.
        old |= {name for name, what in going.items() if what == "moved" and settings.recorded_days}
        steps += [
            Step("recorded", one, "age")
            for one in raw
            if one.id in old and going.get(one.id) != "raw" and self._has_recorded(one)
        ]
        oldest = _months_ago(today, settings.rollup_months)
        for table in (*(rollup.table for rollup in ROLLUPS), REJECTS):
            what = "rejects" if table == REJECTS else "rollups"
            steps += [Step(what, one, "age") for one in self._old(partitions(self._engine, table), oldest, ROLLUP_ROWS)]
        return steps

    def _raw_steps(self, raw: Sequence[Partition], today: date) -> list[Step]:
        """What becomes of single records, in the table and in cold storage."""
        settings, cold = self._settings, self._engine.cold
        old = list(self._old(raw, _days_ago(today, settings.raw_days), RAW_ROWS))
        if cold is None:
            return [Step("raw", one, "age") for one in old] + [
                Step("raw", one, "disk") for one in self._for_room(raw, old, today)
            ]
        if isinstance(cold, Nowhere):
            # To drop what comes after cold days would be to lose these, too.
            return []
        days = cold_partitions(self._engine)
        first = (
            _months_ago(today, settings.rollup_months)
            if settings.cold_days is None
            else _days_ago(today, settings.cold_days)
        )
        reachable = kept_since(self._engine, RAW_ROWS)
        for_good = {one.id for one in self._old(raw, first, RAW_ROWS)} | {one.id for one in raw if one.end <= reachable}
        over = list(self._old(days, first, RAW_ROWS))
        steps = [Step("cold", one, "age") for one in over]
        if self._directory is None or not cold.on_disk_of(self._directory):
            steps += [Step("raw" if one.id in for_good else "moved", one, "age") for one in old]
            return steps + [Step("moved", one, "disk") for one in self._for_room(raw, old, today)]
        # On the same disk moving makes little room: the oldest goes, wherever it is, and nothing before it can stay.
        oldest = sorted([*days, *raw], key=lambda one: (one.start, one.table))
        short = list(self._for_room(oldest, [*over, *old], today))
        end = max((one.end for one in short), default=BEGINNING)
        for one in old:
            steps.append(Step("raw" if one.id in for_good or one.start < end else "moved", one, "age"))
        return steps + [Step("cold" if one.table == COLD_DAYS else "raw", one, "disk") for one in short]

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

    def run(self, now: datetime, *, go_on: Callable[[], bool] = lambda: True) -> list[Step]:
        """Take it away, partition by partition; killed halfway, the next run does the rest.

        Args:
            now: The time, UTC.
            go_on: Whether to go on, asked before each day that is moved, which may take a minute.

        Returns:
            What was taken away or moved.

        Raises:
            StoreError: The engine refuses.
        """
        steps = [step for step in self.plan(now) if not step.waits]
        self._note(steps)
        recorded = [step for step in steps if step.what == "recorded"]
        if recorded:
            self._empty_recorded(max(step.partition.end for step in recorded))
        dropped = [step for step in steps if step.what not in {"recorded", "cold", "moved"}]
        if dropped:
            # In one pause, as on a server it takes seconds until everybody has seen it.
            with self._writer.paused():
                for step in dropped:
                    dropping = f"{self._engine.layout.alter(step.partition.table)} DROP PARTITION ID"
                    self._engine.command(f"{dropping} '{step.partition.id}'")
        if self._engine.cold is not None:
            self._cooling.drop([step.partition.start for step in steps if step.what == "cold"])
        done = [step for step in steps if step.what != "moved"]
        self._tell(done)
        # Last, as it takes longest and may fail where nothing else does.
        for step in steps:
            if step.what == "moved" and go_on() and self._cooling.move(step.partition):
                self._tell([step])
                done.append(step)
        return done

    def _tell(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.what != "moved":
                self._metrics.pruned.labels(step.what, step.why).inc(step.partition.rows)
            level = log.warning if step.why == "disk" else log.info
            level("moved" if step.what == "moved" else "pruned", **step.shown())

    def _note(self, steps: Sequence[Step]) -> None:
        """Before anything goes: who reads meanwhile must learn that it may have read half."""
        for whats, note in (({"raw", "cold"}, RAW_ROWS), ({"rollups"}, ROLLUP_ROWS), ({"recorded"}, RECORDED)):
            mine = [step for step in steps if step.what in whats]
            if mine:
                end = max(step.partition.end for step in mine)
                if end > kept_since(self._engine, note):
                    note_kept_since(self._engine, note, end)

    def _for_room(self, parts: Sequence[Partition], gone: Sequence[Partition], today: date) -> Iterator[Partition]:
        """The oldest partitions that make room enough, none of them of the last days."""
        disk = self.disk()
        if disk is None:
            return
        # The engine removes the files of what was dropped or merged some minutes later.
        leaving = self._engine.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE NOT active").rows[0][0]
        wanted = self._settings.free_share * disk.total - disk.free - leaving
        for one in parts:
            if wanted <= 0:
                return
            if one not in gone:
                if one.end > today - timedelta(days=LEAST_DAYS - 1):
                    return
                yield one
            wanted -= one.size

    def _waiting(self, step: Step, now: datetime) -> Step:
        """The step, which waits where its partition may be needed by a batch that is tried again."""
        part = step.partition
        long_due = now.date() - part.end > timedelta(days=self._settings.raw_days) + WAIT_FOR_BATCHES
        if step.why == "age" and long_due and now.date() - self._last_changed(part) > WAIT_FOR_BATCHES:
            return step
        unconfirmed = self._engine.query(_UNCONFIRMED, {"partition": part.id}).rows[0][0]
        return Step(step.what, part, step.why, waits=bool(unconfirmed))

    def _last_changed(self, part: Partition) -> date:
        """The day on which anything last came to a partition, or later: history may have been imported long after."""
        found = self._engine.query(
            f"SELECT toDate(max(modification_time), 'UTC') FROM {self._engine.layout.system('parts')} "
            "WHERE active AND database = currentDatabase() AND table = {table:String} "
            "AND partition_id = {partition:String}",
            {"table": self._engine.layout.local(part.table), "partition": part.id},
        )
        day: date = found.rows[0][0]
        return day

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
