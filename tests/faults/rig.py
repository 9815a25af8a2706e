"""What the kill tests share: numbered records that are pushed while collectors die, and the reckoning afterwards."""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from keytrail.store.client import Engine
from keytrail.store.rebuild import differing
from keytrail.store.tables import ROLLUPS
from tests.faults.beside import KEYS
from tests.faults.process import Collecting
from tests.oracle.records import Record, to_msgpack, to_protobuf
from tests.product import product

LISTS = (
    "analytics-tyk-system-analytics",
    "analytics-tyk-system-analytics_3",
    "analytics-tyk-system-analytics_7_protobuf",
)
TTL = 3_600
"""Seconds that a list lives. A gateway gives it 60: on a slow machine no collector might live that long, and what Redis
deletes before anybody could seal it is lost to all."""
POISON_EVERY = 1_009
START = datetime(2026, 9, 29, 12, tzinfo=UTC)
SPAN_NS = 3 * 86_400 * 1_000_000_000
"""Over the end of a month; each insert has a part for each day of raw rows, so a longer time would only cost."""


def spread(number: int) -> int:
    """The instant of a record, ns: all over the time, again and again."""
    return int(START.timestamp()) * 1_000_000_000 + number * 977_000_000_000 % SPAN_NS


RECORDS_OF_A_DAY = 3_000


def onward(number: int) -> int:
    """The instant of a record, ns: a day later every `RECORDS_OF_A_DAY` records."""
    return int(START.timestamp()) * 1_000_000_000 + number * 86_400_000_000_000 // RECORDS_OF_A_DAY


def with_late(number: int) -> int:
    """The same, but for every hundredth, which comes for a day that is over."""
    return onward(number // 2) if number % 100 == 0 else onward(number)


@dataclass
class Feed:
    """Pushes numbered records, as a gateway does, until told to stop; remembers what Redis has acknowledged."""

    client: Any
    rate: int = 2_000
    instant: Callable[[int], int] = spread
    pushed: set[str] = field(default_factory=set)
    poison: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        numbers = itertools.count()
        while not self._stop.is_set():
            began = time.monotonic()
            batches: dict[str, list[bytes]] = {}
            names = []
            poison = 0
            for _ in range(self.rate // 10):
                number = next(numbers)
                where = LISTS[number % len(LISTS)]
                if number % POISON_EVERY == 0:
                    batches.setdefault(where, []).append(b"\xc1 no record %d" % number)
                    poison += 1
                else:
                    names.append(f"/r/{number}")
                    batches.setdefault(where, []).append(encoded(number, where, self.instant))
            pipe = self.client.pipeline(transaction=True)
            for where, blobs in batches.items():
                pipe.rpush(where, *blobs)
                pipe.expire(where, TTL, nx=True)
            with contextlib.suppress(redis.RedisError):
                pipe.execute()
                self.pushed.update(names)
                self.poison += poison
            self._stop.wait(max(0.0, 0.1 - (time.monotonic() - began)))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def key_of(number: int) -> str:
    """The key of a record."""
    return KEYS[random.Random(number).randrange(len(KEYS))]


def encoded(number: int, where: str, instant: Callable[[int], int] = spread) -> bytes:
    """A record that can be told by its raw path; its other values make many groups, over two months."""
    chance = random.Random(number)
    record = Record(
        timestamp=instant(number),
        org_id=f"org{number % 2}",
        api_id=f"api{number % 3}",
        api_key=KEYS[chance.randrange(len(KEYS))],
        oauth_id=f"client{number % 4}" if number % 4 else "",
        path=f"/p{number % 5}",
        raw_path=f"/r/{number}",
        method="GET",
        response_code=chance.choice((200, 200, 200, 404, 500, -1)),
        latency_total=chance.randrange(500),
        latency_upstream=chance.randrange(400),
        request_time=chance.randrange(500),
        track_path=True,
    )
    return to_protobuf(record) if where.endswith("_protobuf") else to_msgpack(record)


def write_config(folder: Path, port: int, **redis_settings: object) -> Path:
    lines = [f'store.url = "chdb:{folder}/data"', f'redis.url = "redis://127.0.0.1:{port}/0"']
    lines += [f"redis.{name} = {value}" for name, value in redis_settings.items()]
    config = folder / "keytrail.toml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config


def drain(config: Path, client: Any) -> None:
    """Collect until nothing is left in Redis, then end in good order."""
    process = Collecting(config)
    deadline = time.monotonic() + 600
    try:
        while time.monotonic() < deadline and waiting(client):
            assert process.status is None
            time.sleep(0.1)
        process.terminate()
        assert process.wait() == 0
    finally:
        process.kill()
    assert waiting(client) == 0


def waiting(client: Any, lists: Iterable[str] = LISTS) -> int:
    """Records in gateway lists and frozen batches."""
    total = sum(int(client.llen(name)) for name in lists)
    for key in client.scan_iter("keytrail:*"):
        if client.type(key) == b"list":
            total += int(client.llen(key))
    return total


@dataclass(frozen=True)
class Reckoning:
    """What the store holds against what was pushed."""

    lost: int
    doubled: int
    strange: int
    rejected: int
    drift: tuple[str, ...]
    taken: int
    stored: int
    duplicate: int
    """Records that were taken again after they were stored, and not stored again."""
    unfounded: int
    """Those of them that the table of batches does not know, or that nobody can have stored before."""
    phantoms: int
    """Chunks that went in under a fresh token, as the one before it was noted without its rows."""


def reckon(folder: Path, feed: Feed) -> Reckoning:
    """Compare record by record, and every rollup group by group."""
    with product(folder / "data") as running:
        rows = running.query("SELECT raw_path, count() FROM requests GROUP BY raw_path")
        stored = {str(path): int(count) for path, count in rows}
        fresh = "countIf(match(token, ':[0-9a-f]{32}$'))"
        verified = running.parts.upkeep.verify()
        first = running.query("SELECT sumIf(records, attempt < 2) FROM duplicates")[0][0]
        ledger = running.query(f"SELECT sum(taken), sum(stored), {fresh} FROM batches")[0]
        return Reckoning(
            lost=len(feed.pushed - stored.keys()),
            doubled=sum(count - 1 for count in stored.values()),
            strange=len(stored.keys() - feed.pushed),
            rejected=int(running.query("SELECT count() FROM rejects")[0][0]),
            drift=tuple(group_drift(running.parts.engine)),
            taken=int(ledger[0]),
            stored=int(ledger[1]),
            duplicate=verified.duplicate,
            unfounded=verified.unconfirmed + verified.missing + verified.surplus + int(first),
            phantoms=int(ledger[2]),
        )


def exact(found: Reckoning, feed: Feed) -> None:
    """Every record ended in exactly one place, and nothing else did."""
    assert (found.lost, found.doubled, found.strange, found.drift) == (0, 0, 0, ())
    assert found.rejected == feed.poison
    assert found.stored == len(feed.pushed)
    assert found.taken == found.stored + found.rejected
    assert found.unfounded == 0


def group_drift(engine: Engine) -> Iterator[str]:
    """Rollups in which some group has other sums than the raw rows, group by group."""
    months = [int(month) for (month,) in engine.query("SELECT DISTINCT toYYYYMM(time) FROM requests").rows]
    for month in months:
        yield from (f"{table} {month}" for table in differing(engine, month))
    for rollup in ROLLUPS:
        groups = ", ".join(rollup.family.columns)
        raw = engine.query(
            f"SELECT {groups}, count(), sum(latency), min(latency), max(latency) FROM requests "
            f"GROUP BY {groups} ORDER BY {groups}"
        )
        rolled = engine.query(
            f"SELECT {groups}, sum(records), sum(latency_sum), min(latency_min), max(latency_max) FROM {rollup.table} "
            f"GROUP BY {groups} ORDER BY {groups}"
        )
        if raw.rows != rolled.rows:
            yield f"{rollup.table} by group"
