"""Make the collectors of the settings, and tell the store and the metrics what they do."""

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from keytrail.collect.breaker import Breaker
from keytrail.collect.gaps import Cause, Gap, GapKeeper
from keytrail.collect.loop import Collector, Listener
from keytrail.collect.privacy import Privacy
from keytrail.collect.redis_url import Tls, connect_later, parse_redis_url
from keytrail.collect.source import Source
from keytrail.config import Redis
from keytrail.store.ledger import GapRow, Ledger
from keytrail.store.writer import Writer


class Book:
    """Gaps and heartbeats in the store's ledger.

    Args:
        ledger: The ledger.
        alone: No other process collects for this store.
    """

    def __init__(self, ledger: Ledger, *, alone: bool = True) -> None:
        self._ledger = ledger
        self._alone = alone

    def last_heartbeat(self, source: str) -> datetime | None:
        """When a source was last known to be sealed."""
        return self._ledger.last_heartbeat(source)

    def heartbeat(self, source: str, at: datetime) -> None:
        """Note that a source was sealed."""
        self._ledger.heartbeat(source, at)

    def add_gap(self, gap: Gap) -> None:
        """Keep a gap that has ended, if nobody else was sealing in it."""
        if gap.end is not None and (self._alone or not self._sealed_by_others(gap, gap.end)):
            self._ledger.add_gap(GapRow(gap.source, gap.start, gap.end, gap.cause.value))

    def _sealed_by_others(self, gap: Gap, end: datetime) -> bool:
        """Whether another collector was at work; where it was away as well, for a part, it says so itself."""
        if gap.cause not in {Cause.DOWN, Cause.SOURCE_AWAY, Cause.CAP}:
            return False
        # One that works says so only every ten seconds.
        return end - gap.start < _SAYS_SO_WITHIN or self._ledger.sealed_within(gap.source, gap.start, end)


_SAYS_SO_WITHIN: Final = timedelta(seconds=15)


def open_source(redis: Redis, url: str, *, store_id: str) -> Source:
    """The lists of one Redis; nothing is asked of it yet.

    Raises:
        SourceError: The URL or a prefix can't be used; names the bad part.
    """
    target = parse_redis_url(url)
    tls = Tls(redis.ca_file, redis.cert_file, redis.key_file, redis.verify)
    # Collection begins by itself when Redis is there; until then answers go on.
    client = connect_later(
        target,
        tls=tls,
        sentinel_username=redis.sentinel_username,
        sentinel_password=redis.sentinel_password.get_secret_value(),
    )
    return Source(
        client,
        name=str(target),
        owner=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
        store_id=store_id,
        prefix=redis.prefix,
        cap_bytes=redis.cap_bytes,
        lease_seconds=redis.lease_seconds,
        forward_prefix=redis.forward_prefix,
        forward_ttl_seconds=redis.forward_ttl,
    )


def make_collectors(
    redis: Redis, *, ledger: Ledger, writer: Writer, privacy: Privacy, listener: Listener, alone: bool = True
) -> list[Collector]:
    """One collector for each Redis of the settings, not yet started.

    Args:
        redis: The settings' section.
        ledger: The store's ledger.
        writer: The way into the store.
        privacy: What is kept of a record.
        listener: Told of what was stored.
        alone: No other process collects for this store.

    Raises:
        SourceError: A URL or a prefix can't be used; names the bad part.
    """
    store_id = ledger.store_id() if redis.urls else ""
    collectors = []
    for url in redis.urls:
        source = open_source(redis, url, store_id=store_id)
        collectors.append(
            Collector(
                source,
                writer,
                privacy=privacy,
                gaps=GapKeeper(source.name, Book(ledger, alone=alone)),
                breaker=Breaker(redis.breaker),
                listener=listener,
                rejects_for=redis.rejects_for,
                alone=alone,
            )
        )
    return collectors


@contextlib.contextmanager
def collecting(collectors: list[Collector]) -> Iterator[None]:
    """Collect until the block ends; then each finishes the chunk under way and gives its batch back."""
    try:
        for collector in collectors:
            collector.start()
        yield
    finally:
        for collector in collectors:
            collector.stop()
