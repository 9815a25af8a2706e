"""Write batches so that each counts exactly once, whatever was killed and whenever.

A chunk of a batch (its id and offset) goes in under a deduplication token, so a plain retry changes nothing. That is
not enough: the engine logs a token before the part is in place, and a kill in between makes the retry a silent loss.
So where there may have been an earlier attempt, it is looked which rows are there, the others are inserted, and the
rollups of the touched months are compared with the raw rows.

On a server other processes write too, so what compares or rebuilds takes a turn (`turns.py`), and every insert waits
for whoever has one. On a cluster a chunk goes in through the distributed table, each shard's part under the same token.
"""

import hashlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute

from keytrail.store.chunk import Chunk, Written, ledger_row, place_of, places, reject_rows, utc_days
from keytrail.store.client import Engine
from keytrail.store.cold import Nowhere
from keytrail.store.duplicates import Duplicate, note_duplicate
from keytrail.store.erased import Erased
from keytrail.store.kept import month_of
from keytrail.store.mutations import wait_for_mutations
from keytrail.store.rebuild import differing, mend_months, months_of_raw, rebuild_month
from keytrail.store.surely import insert_surely
from keytrail.store.tables import BATCHES, RAW, REJECTS, ROLLUPS
from keytrail.store.turns import Turns

# Its stubs know only some of its functions, and those too narrowly.
pc: Any = pyarrow.compute


class Writer:
    """The one way into the store.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.erased = Erased(engine)
        # The comparison of rollups with raw rows must not see half of another insert.
        self._one_at_a_time = threading.Lock()
        self._turns = Turns(engine)

    def seen(self, batch_id: str, offset: int) -> list[dict[str, Any]]:
        """What the table of batches says of a chunk: an empty list if it was never confirmed."""
        return self._engine.query(
            f"SELECT taken, stored, rejected, next FROM {BATCHES} "
            "WHERE batch_id = {batch:String} AND offset = {offset:UInt64} ORDER BY written_at",
            {"batch": batch_id, "offset": offset},
        ).dicts()

    def has_rows(self, chunk: Chunk) -> bool:
        """Whether any row stands in a chunk's place, as after an attempt that was killed before it was confirmed."""
        if not chunk.rows.num_rows:
            return False
        place, values = place_of(chunk)
        return bool(self._engine.query(f"SELECT 1 FROM {RAW} WHERE {place} LIMIT 1", values).rows)

    def write(self, chunk: Chunk, *, token: str = "", record_token: Callable[[str], None] = lambda _: None) -> Written:
        """Store a chunk and confirm it.

        Args:
            chunk: The chunk; the same batch, offset and rows each time it is tried.
            token: A token that an earlier attempt has recorded instead of the usual one.
            record_token: Told of a token before the chunk is inserted under it instead of the usual one.

        Raises:
            StoreError: It could not be written; trying again with a higher `attempt` is safe.
        """
        with self._one_at_a_time:
            # Also a first attempt: a Redis that lost its last moments gives what was let go of once more, as if new.
            if self._repeats(chunk):
                return self.duplicate(chunk)
            # Who has a turn may be erasing somebody, so who that is can be asked only afterwards.
            self._turns.wait()
            whole = chunk
            chunk, erased = self._without_erased(whole)
            token = token or f"{chunk.batch_id}:{chunk.offset}"
            phantom, rebuilt = False, 0
            if chunk.attempt > 1 and whole.rows.num_rows:
                token, phantom = self._complete(chunk, whole, token, record_token)
                rebuilt = len(self._mend(utc_days(whole.rows)))
            elif chunk.rows.num_rows:
                self._engine.insert(RAW, chunk.rows, token)
            if chunk.digests:
                self._keep_rejected(chunk, f"{token}:rejected")
            self._confirm(chunk, token)
            return Written(chunk.rows.num_rows, len(chunk.rejected) + len(erased), 0, phantom, rebuilt, tuple(erased))

    def write_together(self, chunks: Sequence[Chunk]) -> list[Written]:
        """Store chunks of several batches in one insert, each confirmed by itself.

        Args:
            chunks: Chunks that nobody can have tried to write before, without rejected records.

        Raises:
            StoreError: They could not be written; write each by itself, with a higher `attempt`.
        """
        with self._one_at_a_time:
            repeated = self._which_repeat(chunks)
            self._turns.wait()
            cleared = [
                None if again else self._without_erased(chunk) for chunk, again in zip(chunks, repeated, strict=True)
            ]
            if any(cleared):
                self._insert_together([one[0] for one in cleared if one])
            return [
                Written(one[0].rows.num_rows, len(one[1]), 0, erased=tuple(one[1])) if one else self.duplicate(chunk)
                for chunk, one in zip(chunks, cleared, strict=True)
            ]

    def _insert_together(self, chunks: Sequence[Chunk]) -> None:
        names = "|".join(f"{chunk.batch_id}:{chunk.offset}" for chunk in chunks)
        token = f"together:{hashlib.sha256(names.encode()).hexdigest()}"
        rows = pa.concat_tables([chunk.rows for chunk in chunks]).unify_dictionaries().combine_chunks()
        if rows.num_rows:
            self._engine.insert(RAW, rows, token)
        ledger = pa.concat_tables([ledger_row(chunk, token) for chunk in chunks]).combine_chunks()
        self._engine.insert(BATCHES, ledger, f"{token}:confirmed")

    def duplicate(self, chunk: Chunk) -> Written:
        """Note in the ledger that a chunk came again which is stored already; nothing of it is stored.

        Raises:
            StoreError: It could not be noted; the chunk must not be let go of.
        """
        note_duplicate(
            self._engine,
            Duplicate(
                chunk.batch_id, chunk.offset, chunk.source, chunk.origin, chunk.taken, chunk.attempt, chunk.sealed_at
            ),
        )
        return Written(0, 0, chunk.taken)

    def rebuild(self, months: Iterable[int], tables: Collection[str] = ()) -> list[str]:
        """Make rollups from the raw rows again; nothing is written meanwhile, and a kill leaves the old ones in place.

        Args:
            months: Months as YYYYMM; one without raw rows is left alone, as its rollups are all that there is of it.
            tables: Only these rollups; empty means all.

        Returns:
            What was rebuilt: `table month`.

        Raises:
            StoreError: It could not be done; what was rebuilt before stays.
        """
        rebuilt = []
        with self.paused():
            kept = set(months_of_raw(self._engine))
            for month in sorted(set(months) & kept):
                for rollup in ROLLUPS:
                    if not tables or rollup.table in tables:
                        rebuild_month(self._engine, rollup, month)
                        rebuilt.append(f"{rollup.table} {month}")
        return rebuilt

    def drift(self, months: Iterable[int], *, cold: Collection[date] | None = ()) -> list[str]:
        """Rollups that differ from the raw rows: `table month`.

        What seems to differ may be an insert under way, so that is looked at again while nothing is written.

        Args:
            months: Months as YYYYMM.
            cold: Cold days to compare, too, which reads their files; None for all.
        """
        suspects = [month for month in months if differing(self._engine, month, cold=cold)]
        if not suspects:
            return []
        with self.paused():
            return [f"{table} {month}" for month in suspects for table in differing(self._engine, month, cold=cold)]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written meanwhile: raw rows, rollups and the table of batches agree."""
        with self._one_at_a_time, self._turns.hold():
            yield

    def _without_erased(self, chunk: Chunk) -> tuple[Chunk, list[int]]:
        """A chunk without those who were erased, and the places of their records in the batch."""
        rows, erased = self.erased.drop_erased(chunk.rows)
        return replace(chunk, rows=rows, erased=len(erased)), erased

    def _repeats(self, chunk: Chunk) -> bool:
        """Whether the table of batches has the very chunk."""
        known = self.seen(chunk.batch_id, chunk.offset)
        return any(row["taken"] == chunk.taken and row["next"] == chunk.next for row in known)

    def _which_repeat(self, chunks: Sequence[Chunk]) -> list[bool]:
        """The same of each of several chunks."""
        found = self._engine.query(
            f"SELECT batch_id, offset, taken, next FROM {BATCHES} WHERE batch_id IN {{batches:Array(String)}}",
            {"batches": [chunk.batch_id for chunk in chunks]},
        )
        known = set(found.rows)
        return [(chunk.batch_id, chunk.offset, chunk.taken, chunk.next) in known for chunk in chunks]

    def _mend(self, days: list[date]) -> list[str]:
        """Rebuild the rollups that differ from raw rows in the months of days; this process writes nothing meanwhile.

        Records may have come late, for a cold day: the files of these days are read, too.
        """
        months = sorted({month_of(day) for day in days})
        cold = () if isinstance(self._engine.cold, Nowhere) else days
        if self._engine.layout.shared:
            # What seems to differ may be an insert of another process under way: only what still does takes a turn.
            months = [month for month in months if differing(self._engine, month)]
            if months:
                time.sleep(_UNDER_WAY)
            months = [month for month in months if differing(self._engine, month)]
        if not months:
            return []
        with self._turns.hold():
            return mend_months(self._engine, months, cold=cold)

    def _complete(
        self, chunk: Chunk, whole: Chunk, token: str, record_token: Callable[[str], None]
    ) -> tuple[str, bool]:
        """Insert those of a chunk's rows that no earlier attempt has left, and make sure that exactly these are there.

        As many rows are not enough: an insert has a part for each day, so a kill leaves some days and not others. They
        are looked for where those of the whole chunk are: an earlier attempt may have stored somebody who was erased
        after it.
        """
        # What a killed attempt began to take away would go after it was counted.
        wait_for_mutations(self._engine, RAW, "DELETE", reachable=True)
        expected = places(chunk)
        stored = self._stored(whole)
        if stored != expected:
            # Only what is missing: what went in together with others went in under another token.
            self._insert_without(chunk, stored, token)
            stored = self._settled(whole, expected)
        if stored == expected:
            return token, False
        if Counter(stored) - Counter(expected):
            place, values = place_of(whole)
            deletion = f"{self._engine.layout.alter(RAW)} DELETE WHERE {place} SETTINGS mutations_sync = 2"
            self._engine.command(deletion, values)
            stored = []
        if not chunk.rows.num_rows:
            return token, False
        token = f"{chunk.batch_id}:{chunk.offset}:{uuid.uuid4().hex}"
        record_token(token)
        self._insert_without(chunk, stored, token)
        return token, True

    def _insert_without(self, chunk: Chunk, stored: list[int], token: str) -> None:
        """Insert the rows of a chunk but those in some places."""
        there = pc.is_in(chunk.rows.column("seq"), pa.array(stored, pa.uint32()))
        rows = chunk.rows.filter(pc.invert(there))
        if rows.num_rows:
            self._engine.insert(RAW, rows, token)

    def _keep_rejected(self, chunk: Chunk, token: str) -> None:
        """Note the rejected records of a chunk, those once that an earlier attempt has noted."""
        rows = reject_rows(chunk)
        if chunk.attempt == 1:
            self._engine.insert(REJECTS, rows, token)
            return

        def missing() -> pa.Table:
            found = self._engine.query(
                f"SELECT seq, reason, detail FROM {REJECTS} WHERE batch_id = {{batch:String}} "
                "AND seq >= {first:UInt32} AND seq < {last:UInt32}",
                {"batch": chunk.batch_id, "first": chunk.offset, "last": chunk.offset + chunk.taken},
            )
            noted = set(found.rows)
            told = zip(*(rows.column(name).to_pylist() for name in ("seq", "reason", "detail")), strict=True)
            return rows.filter(pa.array([one not in noted for one in told], pa.bool_()))

        insert_surely(self._engine, REJECTS, token, missing)

    def _confirm(self, chunk: Chunk, token: str) -> None:
        """Tell the table of batches that a chunk is stored."""
        row = ledger_row(chunk, token)
        if chunk.attempt == 1:
            self._engine.insert(BATCHES, row, f"{token}:confirmed")
        else:
            insert_surely(
                self._engine, BATCHES, f"{token}:confirmed", lambda: row.slice(0, 0 if self._repeats(chunk) else 1)
            )

    def _settled(self, chunk: Chunk, expected: list[int]) -> list[int]:
        """Which of the chunk's rows are there; on a cluster the replica that is asked may be a little behind."""
        deadline = time.monotonic() + (_REPLICAS_AGREE if self._engine.layout.cluster else 0)
        while (stored := self._stored(chunk)) != expected and time.monotonic() < deadline:
            time.sleep(_UNDER_WAY)
        return stored

    def _stored(self, chunk: Chunk) -> list[int]:
        """Places in the batch of the rows that stand where the chunk's do, in order, as often as they are there."""
        place, values = place_of(chunk)
        found = self._engine.query(f"SELECT seq FROM {RAW} WHERE {place} ORDER BY seq", values)
        return [int(seq) for (seq,) in found.rows]


_UNDER_WAY: Final = 0.5
"""Seconds after which what was under way has mostly ended."""
_REPLICAS_AGREE: Final = 10.0
"""Seconds until a replica that is alive has what the others have."""
