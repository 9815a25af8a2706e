"""Stores of many millions of requests, made inside the engine: rows as the collector would store them, views included.

Decoding ten million records takes longer than what is measured on them, and has a benchmark of its own.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import at, progress, stores, times
from keytrail.cli.wiring import assembled
from keytrail.config import load
from keytrail.query.request import Filter, Query, Scope, day_range
from keytrail.query.run import rows_to_read
from keytrail.query.run import run as ask
from keytrail.store.client import INSERT_SETTINGS, Engine
from keytrail.store.merging import BY_DAY_AFTER_SECONDS
from keytrail.store.tables import DAY_SECONDS, RAW, ROLLUPS
from keytrail.web.auth import hash_token
from keytrail.web.rows import METRICS

ORG: Final = "5e9d9544a1dcd60001d0ed20"
TOKEN: Final = "benchmark"
APIS: Final = 8
PATHS: Final = 20
"""Endpoints of an API."""
ENDPOINTS_OF_A_KEY: Final = 10
CLIENTS: Final = 60
DAYS: Final = 30
_PORTION: Final = 2_000_000
"""Rows of one statement."""
_TELL_EVERY: Final = 20.0
"""Seconds from one word on how far the filling is to the next."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests evenly over the last thirty days.

    Attributes:
        requests: How many.
        keys: How many keys they come from.
        tail: 1 makes all keys equally busy; 3 makes the busiest hundredth of them send a fifth of all, as in traffic.
    """

    requests: int
    keys: int = 1_000
    tail: int = 3


def key_of(number: int) -> str:
    """The key of that number; 0 is the busiest."""
    return f"{number * 2654435761 % 2**64:016x}"


def busy_keys(traffic: Traffic, count: int) -> list[str]:
    """Keys as busy as they are in traffic: evenly by their share of all requests."""
    places = [(number + 0.5) / count for number in range(count)]
    return [key_of(int(traffic.keys * place**traffic.tail)) for place in places]


def fill(engine: Engine, traffic: Traffic, *, batch: str = "scale") -> float:
    """Store the traffic; seconds that it took.

    What is older than three days is merged then, as the engine does after that time (`keytrail/store/merging.py`).
    """
    began = said = time.perf_counter()
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    first = int((until - timedelta(days=DAYS)).timestamp() * 1000)
    old = traffic.requests * (DAYS - _MERGED_AFTER_DAYS) // DAYS
    for start, end in ((0, old), (old, traffic.requests)):
        for place in range(start, end, _PORTION):
            engine.command(_INSERT, _values(traffic, place, min(_PORTION, end - place), first, batch))
            if time.perf_counter() - said > _TELL_EVERY:
                said = time.perf_counter()
                done = min(place + _PORTION, end)
                progress(f"filled {done:,} of {traffic.requests:,} requests in {said - began:.0f} s")
        if end == old:
            for rollup in ROLLUPS:
                if rollup.seconds == DAY_SECONDS:
                    engine.command(f"OPTIMIZE TABLE {rollup.table} FINAL")
    _until_merged(engine)
    return time.perf_counter() - began


_MERGED_AFTER_DAYS: Final = BY_DAY_AFTER_SECONDS // 86_400
_MERGES_AT_MOST: Final = 120.0


def _until_merged(engine: Engine) -> None:
    """A store that was filled this fast has merges waiting, which would be measured with what is asked."""
    deadline, quiet = time.monotonic() + _MERGES_AT_MOST, 0
    while quiet < 3 and time.monotonic() < deadline:
        time.sleep(1)
        running = engine.query("SELECT count() FROM system.merges").rows[0][0]
        quiet = 0 if running else quiet + 1


def _values(traffic: Traffic, start: int, count: int, first: int, batch: str) -> dict[str, Any]:
    return {
        "start": start,
        "count": count,
        "requests": traffic.requests,
        "keys": traffic.keys,
        "tail": traffic.tail,
        "first": first,
        "span": DAYS * 86_400_000,
        "batch": batch,
    }


_RANDOM: Final = "(sipHash64({number}, number) / 18446744073709551616.0)"
"""A number from 0 to 1, of its own for each use and row."""

_COLUMNS: Final = {
    "time": "fromUnixTimestamp64Milli({first:Int64} + toInt64(number * {span:Int64} / {requests:UInt64}), 'UTC')",
    "org_id": f"'{ORG}'",
    "api_id": "lower(leftPad(hex(api), 32, '4'))",
    "api_name": "concat('API ', toString(api))",
    "api_version": "'Non Versioned'",
    "api_key": "lower(leftPad(hex(bitAnd(key * 2654435761, 18446744073709551615)), 16, '0'))",
    "alias": "concat('key ', toString(key))",
    "oauth_id": f"if(key % 4 = 0, lower(leftPad(hex(key % {CLIENTS}), 32, 'c')), '')",
    "method": "if(place % 5 = 0, 'POST', 'GET')",
    "host": "'upstream.test'",
    "path": "concat('/resource/', toString(place))",
    "raw_path": "concat('/resource/', toString(place), '/', toString(number % 1000))",
    "code": "status",
    "request_time": "wait",
    "latency": "wait",
    "upstream_latency": "if(status = 429, 0, wait - 1)",
    "user_agent": "concat('client/', toString(key % 50))",
    "ip": "concat('198.51.100.', toString(key % 250))",
    "country": "['DE', 'US', 'IN', 'BR', 'JP'][key % 5 + 1]",
    "tags": f"[concat('key-', api_key), 'org-{ORG}', concat('api-', api_id)]",
    "track_path": "true",
    "kind": "'rest'",
    "code_class": "concat(toString(intDiv(status, 100)), 'xx')",
    "error_origin": "multiIf(status < 400, '', status = 429, 'gateway', 'upstream')",
    "batch_id": "{batch:String}",
    "seq": "toUInt32(number)",
}
_INSERT: Final = f"""INSERT INTO {RAW} ({", ".join(_COLUMNS)})
WITH
    toUInt64({{keys:UInt32}} * pow({_RANDOM.format(number=1)}, {{tail:UInt8}})) AS key,
    toUInt64({ENDPOINTS_OF_A_KEY} * {_RANDOM.format(number=2)}) AS endpoint,
    (key + endpoint) % {APIS} AS api,
    (key * 7 + endpoint * 3) % {PATHS} AS place,
    toInt64(5 + exp(3 + 0.8 * ({" + ".join(_RANDOM.format(number=n) for n in range(3, 9))} - 3) * 1.41)) AS wait,
    [200, 200, 200, 200, 201, 404, 429, 502][least(8, toUInt8(1 + 8 * pow({_RANDOM.format(number=9)}, 3)))] AS status
SELECT {", ".join(f"{sql} AS {name}" for name, sql in _COLUMNS.items())}
FROM numbers({{start:UInt64}}, {{count:UInt64}})
SETTINGS {", ".join(f"{name} = {value}" for name, value in INSERT_SETTINGS.items())}, max_block_size = 100000"""


@contextmanager
def store(traffic: Traffic) -> Iterator[tuple[Path, Path]]:
    """A filled store, closed: its directory, and a configuration file with a token for it.

    Args:
        traffic: What it holds. A store that has that already, up to today (UTC), is taken as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        directory = stores() / f"store-{traffic.requests}-{traffic.keys}-{traffic.tail}"
        config = Path(folder) / "keytrail.toml"
        permissions = '["analytics", "logs"]'
        config.write_text(
            f'[[tokens]]\nname = "b"\nsha256 = "{hash_token(TOKEN)}"\norg = "{ORG}"\npermissions = {permissions}\n',
            encoding="utf-8",
        )
        if directory.exists() and not _is_filled(directory, config, traffic):
            # Of an earlier day, or a filling that was broken off.
            shutil.rmtree(directory)
        if not directory.exists():
            with opened(directory, config) as engine:
                progress(f"{traffic.requests:,} requests filled in {fill(engine, traffic):.0f} s")
        yield directory, config


@contextmanager
def opened(directory: Path, config: Path) -> Iterator[Engine]:
    """The engine of a store."""
    with assembled(load(config, overrides={"store.url": f"chdb:{directory}", "redis.url": ""})) as parts:
        yield parts.engine


def _is_filled(directory: Path, config: Path, traffic: Traffic) -> bool:
    """Whether a store has all of the traffic, up to today."""
    with opened(directory, config) as engine:
        found = engine.query(f"SELECT countIf(batch_id = 'scale'), max(time) FROM {RAW}").rows[0]
    return bool(found[0] == traffic.requests and found[1].date() == datetime.now(UTC).date())


@dataclass(frozen=True, slots=True)
class Month:
    """What it took to answer which endpoints a key called in 30 days.

    Attributes:
        p50_ms: The median time in the engine.
        least_ms: The least: what it takes where nothing else runs.
        rows: Rows of the rollups that the engine picked by their order for one key, on average.
        parts: Parts of the rollup by key and day.
        bytes: Bytes on disk by table.
    """

    p50_ms: float
    least_ms: float
    rows: float
    parts: int
    bytes: dict[str, int]


def a_keys_month(traffic: Traffic) -> Month:
    """Ask a filled store for the endpoints of twenty keys."""
    taken, rows = [], 0
    with store(traffic) as (directory, config), opened(directory, config) as engine:
        for key in busy_keys(traffic, _KEYS_ASKED):
            query = question(key)
            answer = ask(engine, query)
            assert answer.total_rows == ENDPOINTS_OF_A_KEY
            rows += rows_to_read(engine, answer)
            taken += times(partial(ask, engine, query), _TIMES_ASKED)
        sizes = engine.query("SELECT table, sum(bytes_on_disk), count() FROM system.parts WHERE active GROUP BY table")
    return Month(
        at(sorted(taken), 0.5) * 1000,
        min(taken) * 1000,
        rows / _KEYS_ASKED,
        next(int(count) for table, _, count in sizes.rows if table == "by_key_day"),
        {str(table): int(size) for table, size, _ in sizes.rows},
    )


_KEYS_ASKED: Final = 20
_TIMES_ASKED: Final = 10


def question(key: str, *, org: str = ORG, days: int = DAYS, zone: str = "UTC") -> Query:
    """The question of which endpoints a key called."""
    today = datetime.now(UTC).date()
    return Query(
        scope=Scope(org),
        spans=day_range(today - timedelta(days=days), today, zone),
        zone=zone,
        dimensions=("path", "api"),
        metrics=METRICS,
        filters=(Filter("key", "in", [key]), Filter("kind", "is", "rest")),
    )
