from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

from keytrail.collect.chunks import Renewing
from keytrail.collect.frozen_batch import Batch, Rejection
from keytrail.collect.source import Source
from keytrail.errors import LeaseLost
from tests.collect.conftest import PLAIN, MakeSource

LISTS = (PLAIN, f"{PLAIN}_4", f"{PLAIN}_protobuf")


def test_workers_that_fall_asleep_and_take_over(raw: Any, make_source: MakeSource) -> None:
    """Two collectors with two workers each share three lists; leases run out in the middle of work."""
    total = 6_000
    done = threading.Event()
    stored: dict[tuple[str, int], tuple[bytes, ...]] = {}
    lock = threading.Lock()
    one_sleeps = threading.Semaphore()
    problems: list[BaseException] = []

    def worker(source: Source, seed: int) -> None:
        chance = random.Random(seed)
        while not done.is_set():
            batch = source.take()
            if batch is None:
                time.sleep(0.005)
            try:
                while batch is not None:
                    records = tuple(source.read(batch))
                    with lock:
                        assert stored.setdefault((batch.id, batch.offset), records) == records
                    if one_sleeps.acquire(blocking=False):
                        # Whoever comes first sleeps until another has taken its batch.
                        while not takeovers() and not done.is_set():
                            time.sleep(0.01)
                    elif chance.random() < 0.05:
                        time.sleep(0.15)
                    rejects = [Rejection(i, "r", "d") for i, one in enumerate(records) if one.endswith(b"77")]
                    batch = source.advance(batch, len(records), rejects)
            except LeaseLost:
                pass

    def takeovers() -> int:
        return sum(one.takeovers for one in sources[0].backlog())

    def sealer(source: Source) -> None:
        while not done.is_set():
            source.seal()
            time.sleep(0.01)

    def guarded(target: Any, *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                target(*args)
            except BaseException as error:
                problems.append(error)
                done.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    sources = [make_source(most_in_chunk=20, fewest_in_chunk=1, lease_seconds=0.1) for _ in range(2)]
    threads = [guarded(sealer, source) for source in sources]
    threads += [guarded(worker, source, seed) for seed, source in enumerate(sources * 2)]
    pushed = [b"%d" % number for number in range(total)]
    for first in range(0, total, 50):
        raw.rpush(LISTS[first // 50 % 3], *pushed[first : first + 50])
        time.sleep(0.002)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not done.is_set():
        if not raw.exists(*LISTS) and all(one.batches == 0 for one in sources[0].backlog()):
            break
        time.sleep(0.02)
    done.set()
    for thread in threads:
        thread.join(60)
    assert problems == []
    everything = [record for records in stored.values() for record in records]
    assert sorted(everything) == sorted(pushed)
    dead = [letter.record for name in LISTS for letter in sources[0].rejects(name, limit=total)]
    assert sorted(dead) == sorted(record for record in pushed if record.endswith(b"77"))
    assert takeovers() > 0, "else this shows nothing"


def test_nobody_renews_any_more_when_an_insert_is_done(
    raw: Any, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections may be closed then: a renewal that is under way would end in an error of no known kind."""
    raw.rpush(PLAIN, b"x")
    source.seal()
    batch = source.take()
    assert batch is not None
    renew, begun, under_way = source.renew, threading.Event(), list[Batch]()

    def slow(one: Batch) -> None:
        under_way.append(one)
        begun.set()
        time.sleep(0.1)
        renew(one)
        under_way.remove(one)

    monkeypatch.setattr(source, "lease_seconds", 0.03)
    monkeypatch.setattr(source, "renew", slow)
    with Renewing(source, [batch, batch]):
        assert begun.wait(60)
    assert under_way == []
