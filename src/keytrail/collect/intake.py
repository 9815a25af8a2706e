"""From lines of files to stored rows: what an import in this process and one that is sent over HTTP have in common."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from keytrail.collect.decode import PIECE, Decoding, Wire
from keytrail.collect.decoded_chunk import SCHEMA, DecodedChunk, finish_chunk
from keytrail.collect.lines import Format, parse
from keytrail.collect.privacy import Privacy
from keytrail.record import Reason, Rejected, Taken
from keytrail.store.chunk import Chunk
from keytrail.store.writer import Writer


class Intake:
    """Takes lines of files, chunk by chunk.

    Args:
        writer: The way into the store.
        privacy: What is kept of a record.
    """

    def __init__(self, writer: Writer, privacy: Privacy) -> None:
        self._writer = writer
        self._privacy = privacy
        # What is in a place must not change between looking and writing.
        self._one_at_a_time = threading.Lock()

    def seen(self, batch_id: str, offset: int, org: str | None = None) -> list[dict[str, Any]]:
        """What was confirmed of a chunk: `taken` and `next` of each that was written in its place.

        Args:
            batch_id: The batch.
            offset: Place of the chunk's first line in the batch.
            org: The only organisation that the asker sends records of; None for all.
        """
        # What was sent for all organisations holds this one's records, too.
        names = {batch_id, _scoped(batch_id, org)}
        return [row for name in names for slot in self._slots(name, offset) for row in slot]

    def _slots(self, batch_id: str, offset: int) -> Iterator[list[dict[str, Any]]]:
        """What was confirmed in a place, slot by slot up to the first that is free."""
        slot = 0
        while found := self._writer.seen(_in_slot(batch_id, slot), offset):
            yield found
            slot += 1

    def prepare(
        self,
        batch_id: str,
        offset: int,
        lines: Sequence[bytes],
        *,
        following: str,
        attempt: int,
        origin: str,
        org: str | None = None,
        form: Format = Format.AUTO,
    ) -> Chunk:
        """Decode lines and run the steps over them; nothing is stored yet.

        Args:
            batch_id: The batch.
            offset: Place of the first line in the batch.
            lines: The lines.
            following: What the next chunk is found by.
            attempt: 1 if nobody can have tried before.
            origin: Name for the ledger.
            org: The only organisation whose records are taken; None for all.
            form: What the lines hold.
        """
        name = _scoped(batch_id, org)
        rejected: list[Rejected] = []
        tables = []
        decodings: dict[Wire, tuple[Decoding, list[int]]] = {}
        for start in range(0, len(lines), PIECE):
            parsed = parse(lines[start : start + PIECE], form)
            rejected.extend(Rejected(start + r.index, r.reason, r.detail) for r in parsed.rejected)
            for wire, (blobs, within) in parsed.blobs.items():
                if wire not in decodings:
                    decodings[wire] = Decoding(wire), []
                decoding, places = decodings[wire]
                decoding.add(blobs)
                places += [start + place for place in within]
        for decoding, places in decodings.values():
            decoded = finish_chunk(decoding.done(), len(places), privacy=self._privacy, batch_id=name, org=org)
            tables.append(_placed(decoded, places, offset))
            rejected.extend(Rejected(places[r.index], r.reason, r.detail) for r in decoded.rejected)
        rejected.sort(key=lambda item: item.index)
        return Chunk(
            batch_id=name,
            offset=offset,
            taken=len(lines),
            rows=pa.concat_tables(tables).unify_dictionaries().combine_chunks() if tables else SCHEMA.empty_table(),
            rejected=rejected,
            source="file",
            origin=origin,
            attempt=attempt,
            sealed_at=datetime.now(UTC),
            next=following,
        )

    def write(self, chunk: Chunk) -> Taken:
        """Store a prepared chunk.

        Raises:
            StoreError: It could not be stored; trying again with a higher attempt is safe.
        """
        with self._one_at_a_time:
            known = list(self._slots(chunk.batch_id, chunk.offset))
            for slot, rows in enumerate(known):
                if any((row["taken"], row["next"]) == (chunk.taken, chunk.next) for row in rows):
                    there = replace(chunk, batch_id=_in_slot(chunk.batch_id, slot))
                    return Taken(0, self._writer.duplicate(there).duplicate, ())
            # Another file's chunk stands in this place: it must stay, and this one is not a repetition of it.
            written = self._writer.write(_moved(chunk, len(known)) if known else chunk)
        if written.duplicate:
            return Taken(written.stored, written.duplicate, ())
        erased = [Rejected(place - chunk.offset, Reason.ERASED) for place in written.erased]
        return Taken(written.stored, 0, [*chunk.rejected, *erased])

    def take(
        self,
        batch_id: str,
        offset: int,
        lines: Sequence[bytes],
        *,
        following: str,
        attempt: int,
        origin: str,
        org: str | None = None,
        form: str = Format.AUTO.value,
    ) -> Taken:
        """Store lines: `prepare` and `write` in one."""
        chunk = self.prepare(
            batch_id,
            offset,
            lines,
            following=following,
            attempt=attempt,
            origin=origin,
            org=org,
            form=Format(form),
        )
        return self.write(chunk)


def _scoped(batch_id: str, org: str | None) -> str:
    """What a sender of one organisation sends is its own: others' records in it were refused, not stored."""
    return batch_id if org is None else f"{batch_id}@{org}"


def _in_slot(batch_id: str, slot: int) -> str:
    """Files that begin alike have different chunks in the same place."""
    return f"{slot}:{batch_id}" if slot else batch_id


def _moved(chunk: Chunk, slot: int) -> Chunk:
    name = _in_slot(chunk.batch_id, slot)
    index = chunk.rows.schema.get_field_index("batch_id")
    kind = chunk.rows.schema.field(index)
    names = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), chunk.rows.num_rows), pa.array([name]))
    return replace(chunk, batch_id=name, rows=chunk.rows.set_column(index, kind, names.cast(kind.type)))


def _placed(decoded: DecodedChunk, places: Sequence[int], offset: int) -> pa.Table:
    """Rows of one wire form among others: their place is that of their line."""
    if list(places) == list(range(len(places))) and offset == 0:
        return decoded.table
    within = pa.array([offset + place for place in places], pa.uint32())
    index = decoded.table.schema.get_field_index("seq")
    return decoded.table.set_column(index, "seq", within.take(decoded.table["seq"].combine_chunks()))
