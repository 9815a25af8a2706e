"""Bodies of records over HTTP to stored rows: each counts once, however often it is sent under one key.

A body is one chunk. Under a key it is found again in the ledger by organisation and key, so a client that got no answer
may send it again. Where there is no such entry, an earlier attempt may still have left rows: it was killed before it
could confirm them. A token would not tell (the engine may have logged it without its rows), so every attempt has a
token of its own and looks for rows first; where there are any, the writer adds what is missing and mends the rollups.
"""

import hashlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from keytrail.collect.body import split, unpack
from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.errors import Conflict
from keytrail.record import Reason, Received
from keytrail.store.chunk import Chunk, Written
from keytrail.store.duplicates import Duplicate
from keytrail.store.ledger import Confirmed, Ledger
from keytrail.store.writer import Writer

SOURCE: Final = "http"
MOST_LISTED: Final = 1_000
"""Rejected records that an answer lists one by one; all are counted."""


class Listener(Protocol):
    """Told of what is stored."""

    def stored(self, source: str, chunk: Chunk, written: Written, seconds: float) -> None:
        """A chunk was stored, so many seconds after it came."""

    def repeated(self, source: str, records: int) -> None:
        """So many records came again that are stored already."""


class Ingest:
    """Takes bodies of records.

    Args:
        writer: The way into the store.
        ledger: What was confirmed.
        privacy: What is kept of a record.
        listener: Told of what is stored.
    """

    def __init__(self, writer: Writer, ledger: Ledger, privacy: Privacy, listener: Listener) -> None:
        self._writer = writer
        self._ledger = ledger
        self._privacy = privacy
        self._listener = listener
        # A client that has given up waiting sends again while its first request is still being stored.
        self._one_at_a_time = threading.Lock()

    def receive(
        self, body: bytes, *, content_type: str, encoding: str, key: str, org: str | None, sender: str
    ) -> Received:
        """Store a body.

        Args:
            body: The body as it came.
            content_type: Its form.
            encoding: Its content encoding; "" for none.
            key: By which the sender knows the body again; "" for a body that counts whenever it is sent.
            org: The only organisation whose records are taken; None for all.
            sender: Name for the ledger.

        Raises:
            RequestError: The body can't be taken as a whole, or the key was used for another one.
            StoreError: It could not be stored; sending it again under the same key is safe.
        """
        began = time.perf_counter()
        blobs, wire = split(unpack(body, encoding), content_type)
        digest = _digest(blobs, wire)
        batch_id = _batch_of(org, key)
        # Before any work: most repetitions come long after the first.
        if key and (known := self._ledger.confirmed(batch_id)):
            return self._again(batch_id, known, digest, sender)
        chunk = self._prepare(batch_id, blobs, wire, digest, org=org, sender=sender)
        with self._one_at_a_time:
            if key and (known := self._ledger.confirmed(batch_id)):
                return self._again(batch_id, known, digest, sender)
            # A body without rows can't have left any, but what was rejected of it.
            if key and (not chunk.rows.num_rows or self._writer.has_rows(chunk)):
                chunk = replace(chunk, attempt=2)
            written = self._writer.write(chunk, token=f"{batch_id}:0:{uuid.uuid4().hex}")
        self._listener.stored(SOURCE, chunk, written, time.perf_counter() - began)
        reasons = Counter(item.reason.value for item in chunk.rejected)
        if written.erased:
            reasons[Reason.ERASED.value] += len(written.erased)
        counts = chunk.taken, written.stored, written.rejected
        return Received(*counts, dict(sorted(reasons.items())), chunk.rejected[:MOST_LISTED])

    def _prepare(
        self, batch_id: str, blobs: Sequence[bytes], wire: Wire, digest: str, *, org: str | None, sender: str
    ) -> Chunk:
        now = datetime.now(UTC)
        decoded = decode_chunk(blobs, wire, privacy=self._privacy, batch_id=batch_id, org=org, now=now)
        return Chunk(
            batch_id=batch_id,
            offset=0,
            taken=len(blobs),
            rows=decoded.table,
            rejected=decoded.rejected,
            source=SOURCE,
            origin=sender,
            attempt=1,
            sealed_at=now,
            next=digest,
            digests=[hashlib.sha256(blobs[item.index]).hexdigest() for item in decoded.rejected],
        )

    def _again(self, batch_id: str, known: Confirmed, digest: str, sender: str) -> Received:
        if known.next != digest:
            raise Conflict("Idempotency-Key: it was used for other records")
        attempt = self._ledger.duplicates(batch_id) + 2
        self._ledger.note_duplicate(
            Duplicate(batch_id, 0, SOURCE, sender, known.taken, attempt, sealed_at=datetime.now(UTC))
        )
        self._listener.repeated(SOURCE, known.taken)
        listed = self._ledger.rejects_of(batch_id, limit=min(known.rejected, MOST_LISTED)) if known.rejected else []
        reasons = dict(sorted(known.reasons.items()))
        return Received(known.taken, known.stored, known.rejected, reasons, listed, replayed=True)


def _batch_of(org: str | None, key: str) -> str:
    """A key is its organisation's own: another may use the same."""
    if not key:
        return f"{SOURCE}:{uuid.uuid4().hex}"
    # JSON, so that no organisation and key look like another's.
    return f"{SOURCE}:{hashlib.sha256(json.dumps([org, key]).encode()).hexdigest()}"


def _digest(blobs: Sequence[bytes], wire: Wire) -> str:
    """Of the records, not of the body: a client may pack them otherwise when it tries again."""
    hashed = hashlib.sha256(wire.value.encode())
    for blob in blobs:
        hashed.update(len(blob).to_bytes(8))
        hashed.update(blob)
    return hashed.hexdigest()
