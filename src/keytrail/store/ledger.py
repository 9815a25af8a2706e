"""What the store knows of collection: who it is, what was sealed when, gaps, rejected records, batches."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from keytrail.instants import moment_of, text_of, to_instant
from keytrail.record import Kind, Reason, Rejected
from keytrail.store.client import Engine
from keytrail.store.duplicates import Duplicate, note_duplicate
from keytrail.store.tables import BATCHES, DUPLICATES
from keytrail.store.turns import Turns

_BY_THE_MINUTE: Final = "competing_reader"
_GOES_ON_WITHIN: Final = timedelta(seconds=60)
"""What is seen again within the time from one note to the next had not ended."""


@dataclass(frozen=True, slots=True)
class GapRow:
    """An interval in which nothing was sealed; see `collect/gaps.py`."""

    source: str
    start: datetime
    end: datetime
    cause: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A row of the table of batches; see `writer.Chunk`."""

    taken: int
    stored: int
    rejected: int
    reasons: dict[str, int]
    next: str


class Ledger:
    """Reads and writes the tables of collection.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def store_id(self) -> str:
        """The name of this store, made once: batches in Redis belong to it, whichever process works on them."""
        if found := self._known_id():
            return found
        with Turns(self._engine).hold():
            # Another process may have begun at the same moment.
            if found := self._known_id():
                return found
            made = uuid.uuid4().hex
            self._engine.command(
                "INSERT INTO identity (store_id, made_at) VALUES ({id:String}, now64(3))",
                {"id": made},
            )
            return made

    def _known_id(self) -> str:
        found = self._engine.query("SELECT store_id FROM identity ORDER BY made_at LIMIT 1").rows
        return str(found[0][0]) if found else ""

    def last_heartbeat(self, source: str) -> datetime | None:
        """When a source was last known to be sealed."""
        found = self._engine.query(
            "SELECT toUnixTimestamp64Milli(max(sealed_at)), count() FROM heartbeats WHERE source = {source:String}",
            {"source": source},
        ).rows[0]
        return moment_of(found[0]) if found[1] else None

    def heartbeat(self, source: str, at: datetime) -> None:
        """Note that a source was sealed."""
        rows = pa.table({"source": [source], "sealed_at": pa.array([at], Kind.INSTANT.arrow)})
        self._engine.insert("heartbeats", rows, f"{source}:{at.isoformat()}")

    def sealed_within(self, source: str, start: datetime, end: datetime) -> bool:
        """Whether some collector of a source is known to have sealed between two instants."""
        found = self._engine.query(
            "SELECT count() FROM heartbeats WHERE source = {source:String} "
            "AND sealed_at > fromUnixTimestamp64Milli({start:Int64}, 'UTC') "
            "AND sealed_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')",
            {
                "source": source,
                "start": to_instant(start),
                "end": to_instant(end),
            },
        )
        return bool(found.rows[0][0])

    def add_gap(self, gap: GapRow) -> None:
        """Keep a gap that has ended."""
        rows = pa.table(
            {
                "source": [gap.source],
                "start": pa.array([gap.start], Kind.INSTANT.arrow),
                "end": pa.array([gap.end], Kind.INSTANT.arrow),
                "cause": [gap.cause],
            }
        )
        self._engine.insert("gaps", rows, f"{gap.source}:{gap.start.isoformat()}:{gap.end.isoformat()}")

    def gaps(self, start: int, end: int) -> list[GapRow]:
        """Gaps that touch a stretch of time in ms since the epoch, oldest first.

        What a competing reader takes is noted once a minute, so that it is known meanwhile and after a kill: it is told
        as one gap for as long as that goes on.
        """
        found = self._engine.query(
            "SELECT source, toUnixTimestamp64Milli(start), toUnixTimestamp64Milli(end), cause FROM gaps "
            "WHERE start < fromUnixTimestamp64Milli({end:Int64}, 'UTC') "
            "AND end > fromUnixTimestamp64Milli({start:Int64}, 'UTC') ORDER BY start, source",
            {"start": start, "end": end},
        )
        joined: list[GapRow] = []
        latest: dict[str, int] = {}
        for source, first, last, cause in found.rows:
            gap = GapRow(source, moment_of(first), moment_of(last), cause)
            place = latest.get(source) if cause == _BY_THE_MINUTE else None
            if place is not None and gap.start - joined[place].end <= _GOES_ON_WITHIN:
                joined[place] = replace(joined[place], end=max(joined[place].end, gap.end))
                continue
            if cause == _BY_THE_MINUTE:
                latest[source] = len(joined)
            joined.append(gap)
        return joined

    def batches(self, *, limit: int, org: str | None = None) -> list[dict[str, Any]]:
        """What became of the chunks that were taken last, newest first.

        A chunk that was taken again though it was stored is told once more, and then all of it is `duplicate`.

        Args:
            limit: How many at most.
            org: Only what was stored of this organisation; the counts of others are left out.
        """
        if org is None:
            told, values = f"{_STORED} FROM {BATCHES} UNION ALL {_FOUND_AGAIN} FROM {DUPLICATES}", {}
        else:
            told, values = (
                f"{_STORED_OF_ORG} FROM {BATCHES} WHERE mapContains(stored_by_org, {{org:String}})",
                {"org": org},
            )
        found = self._engine.query(
            f"SELECT * FROM ({told}) ORDER BY written_ms DESC, batch_id, offset, attempt LIMIT {{limit:UInt32}}",
            {"limit": limit, **values},
        )
        return [_batch(row) for row in found.dicts()]

    def note_duplicate(self, found: Duplicate) -> None:
        """Keep that a chunk came again which is stored.

        Raises:
            StoreError: It could not be kept.
        """
        note_duplicate(self._engine, found)

    def duplicates(self, batch_id: str) -> int:
        """How often chunks of a batch came again."""
        sql = f"SELECT count() FROM {DUPLICATES} WHERE batch_id = {{batch:String}}"
        return int(self._engine.query(sql, {"batch": batch_id}).rows[0][0])

    def totals(self, org: str | None = None) -> dict[str, Any]:
        """Sums over all that was taken; of one organisation only what was stored.

        `taken` is the sum of `stored`, `rejected` and `duplicate`: a chunk that was taken again counts again.
        """
        if org is not None:
            found = self._engine.query(f"SELECT sum(stored_by_org[{{org:String}}]) FROM {BATCHES}", {"org": org}).rows[
                0
            ]
            return {"stored": int(found[0])}
        found = self._engine.query(
            f"SELECT sum(taken), sum(stored), sum(rejected), sumMap(reasons), count() FROM {BATCHES}"
        ).rows[0]
        duplicate = int(self._engine.query(f"SELECT sum(records) FROM {DUPLICATES}").rows[0][0])
        return {
            "taken": int(found[0]) + duplicate,
            "stored": int(found[1]),
            "rejected": int(found[2]),
            "duplicate": duplicate,
            "reasons": {str(reason): int(count) for reason, count in dict(found[3]).items()},
            "chunks": int(found[4]),
        }

    def rejects(self, *, limit: int) -> list[dict[str, Any]]:
        """The latest rejected records, newest first; never their bytes."""
        found = self._engine.query(
            "SELECT batch_id, seq, source, list, reason, detail, digest, toUnixTimestamp64Milli(rejected_at) AS at_ms "
            "FROM rejects ORDER BY rejected_at DESC, batch_id, seq LIMIT {limit:UInt32}",
            {"limit": limit},
        )
        rows = [dict(row) for row in found.dicts()]
        return [{"at": _text(row.pop("at_ms")), **row} for row in rows]

    def confirmed(self, batch_id: str) -> Confirmed | None:
        """What was written of a batch of one chunk; None if it was never confirmed."""
        found = self._engine.query(
            f"SELECT taken, stored, rejected, reasons, next FROM {BATCHES} "
            "WHERE batch_id = {batch:String} AND offset = 0 ORDER BY written_at LIMIT 1",
            {"batch": batch_id},
        ).dicts()
        if not found:
            return None
        row = found[0]
        reasons = {str(reason): int(count) for reason, count in dict(row["reasons"]).items()}
        return Confirmed(row["taken"], row["stored"], row["rejected"], reasons, row["next"])

    def rejects_of(self, batch_id: str, *, limit: int) -> list[Rejected]:
        """The first rejected records of a batch of one chunk; of a place what was noted of it last.

        Args:
            batch_id: The batch.
            limit: How many at most.
        """
        found = self._engine.query(
            "SELECT seq, reason, detail FROM rejects WHERE batch_id = {batch:String} "
            "ORDER BY seq, rejected_at DESC LIMIT 1 BY seq LIMIT {limit:UInt32}",
            {"batch": batch_id, "limit": limit},
        )
        return [Rejected(seq, Reason(reason), detail) for seq, reason, detail in found.rows]

    def tables(self) -> list[dict[str, Any]]:
        """Rows, bytes on disk and parts of each table."""
        return self._engine.query(
            "SELECT replaceRegexpOne(table, '_local$', '') AS table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, "
            f"count() AS parts FROM {self._engine.layout.system('parts')} "
            "WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"
        ).dicts()


_CHUNK: Final = (
    "SELECT batch_id, offset, source, origin, attempt, toUnixTimestamp64Milli(sealed_at) AS sealed_ms, "
    "toUnixTimestamp64Milli({at}) AS written_ms"
)
_STORED: Final = f"{_CHUNK.format(at='written_at')}, taken, stored AS stored_here, rejected, reasons, 0 AS duplicate"
_FOUND_AGAIN: Final = (
    f"{_CHUNK.format(at='found_at')}, records AS taken, 0 AS stored_here, 0 AS rejected, "
    "map() AS reasons, records AS duplicate"
)
_STORED_OF_ORG: Final = f"{_CHUNK.format(at='written_at')}, stored_by_org[{{org:String}}] AS stored_here"


def _batch(row: dict[str, Any]) -> dict[str, Any]:
    row = dict(row)
    sealed, written = row.pop("sealed_ms"), row.pop("written_ms")
    stored = row.pop("stored_here")
    return {
        **row,
        "stored": stored,
        "sealed_at": _text(sealed),
        "written_at": _text(written),
        # What was found stored had been visible before.
        "ms_to_visible": None if row.get("duplicate") else max(0, written - sealed),
    }


def _text(milliseconds: int) -> str:
    return text_of(moment_of(milliseconds))
