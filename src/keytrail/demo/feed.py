"""The demo's traffic on its way into the store: the past in chunks, the present as it happens."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import structlog

from keytrail.collect.batch import make_batch
from keytrail.collect.decode import Wire
from keytrail.collect.privacy import Privacy
from keytrail.demo.traffic import live
from keytrail.demo.world import World
from keytrail.errors import KeytrailError
from keytrail.store.writer import Chunk, Writer

EVERY: Final = 1.0
"""Seconds between two batches."""
_MOST: Final = 20_000
"""Records of a batch, where the machine can't keep up."""

log = structlog.get_logger("keytrail.demo")


def chunk_of(blobs: Sequence[bytes], batch_id: str, offset: int) -> Chunk:
    """A chunk of records in the gateway's wire format, ready for the store."""
    batch = make_batch(blobs, Wire.MSGPACK, privacy=Privacy(), batch_id=batch_id, offset=offset)
    return Chunk(
        batch_id=batch_id,
        offset=offset,
        taken=batch.taken,
        rows=batch.table,
        rejected=batch.rejected,
        source="file",
        origin="demo",
        attempt=1,
        sealed_at=datetime.now(UTC),
    )


@contextmanager
def feeding(writer: Writer, world: World, *, start: datetime, rate: float) -> Iterator[None]:
    """Within it records go on arriving, a batch every second.

    Args:
        writer: The way into the store.
        world: The cast.
        start: When the past ended.
        rate: Records per second; 0 for none.
    """
    if rate <= 0:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_feed, args=(writer, world, start, rate, ended), name="feed")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _feed(writer: Writer, world: World, start: datetime, rate: float, ended: threading.Event) -> None:
    records = live(world, start=start, rate=rate)
    due, record = next(records)
    offset = 0
    while not ended.wait(EVERY):
        now = time.time()
        blobs: list[bytes] = []
        while due <= now and len(blobs) < _MOST:
            blobs.append(record)
            due, record = next(records)
        if not blobs:
            continue
        try:
            writer.write(chunk_of(blobs, "demo-live", offset))
        except KeytrailError as error:
            log.error("no more traffic arrives", error=str(error))  # noqa: TRY400 - the message says it all
            return
        offset += len(blobs)
