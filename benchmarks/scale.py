"""Stores of many millions of requests, made inside the engine: rows as the collector would store them, views included.

Decoding ten million records takes longer than what is measured on them, and has a benchmark of its own.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import say
from keytrail.cli.wiring import assembled
from keytrail.config import load
from keytrail.store.client import INSERT_SETTINGS
from keytrail.store.tables import RAW
from keytrail.web.auth import hash_token

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


def fill(engine: Any, traffic: Traffic, *, batch: str = "scale") -> float:
    """Store the traffic; seconds that it took."""
    began = time.perf_counter()
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    first = int((until - timedelta(days=DAYS)).timestamp() * 1000)
    for start in range(0, traffic.requests, _PORTION):
        engine.command(_INSERT, _values(traffic, start, first, batch))
    return time.perf_counter() - began


def _values(traffic: Traffic, start: int, first: int, batch: str) -> dict[str, Any]:
    return {
        "start": start,
        "count": min(_PORTION, traffic.requests - start),
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
def store(traffic: Traffic, kept: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """A filled store, closed: its directory, and a configuration file with a token for it.

    Args:
        traffic: What it holds.
        kept: A directory that keeps it for the next run; None removes it.
    """
    with tempfile.TemporaryDirectory() as folder:
        directory = (kept or Path(folder)) / f"store-{traffic.requests}-{traffic.keys}-{traffic.tail}"
        config = Path(folder) / "keytrail.toml"
        permissions = '["analytics", "logs"]'
        config.write_text(
            f'[[tokens]]\nname = "b"\nsha256 = "{hash_token(TOKEN)}"\norg = "{ORG}"\npermissions = {permissions}\n',
            encoding="utf-8",
        )
        with assembled(load(config, overrides={"store.url": f"chdb:{directory}", "redis.url": ""})) as parts:
            stored = parts.engine.query(f"SELECT count() FROM {RAW} WHERE batch_id = 'scale'").rows[0][0]
            if stored != traffic.requests:
                seconds = fill(parts.engine, traffic)
                say("filled", f"{traffic.requests:,} requests in {seconds:.0f} s")
        yield directory, config
