"""A ClickHouse server against the embedded engine: inserting a million records, and a key's endpoints over 30 days.

The server is a process of its own on the same machine, asked over HTTP (ClickHouse 26.7.2, which the tests use). Both
are given each chunk and each question in turn, so what else the machine does costs both alike.
"""

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks import scale, traffic
from benchmarks.ingest import decoded
from benchmarks.measure import at, progress, say, times
from keytrail.config import Store
from keytrail.query.run import run as ask
from keytrail.store.address import parse_address
from keytrail.store.client import EmbeddedEngine, Engine, ServerEngine
from keytrail.store.migrate import migrate
from keytrail.store.tables import RAW
from tests.cluster.clickhouse_server import clickhouse_servers

RECORDS: Final = 1_000_000
_MADE: Final = 100_000
"""Records that are made; they are inserted ten times, each under a token of its own."""
REQUESTS: Final = scale.Traffic(1_000_000, tail=1)
"""What is asked about: 1,000 keys that call 10 endpoints each."""
_KEYS: Final = 20
_TIMES: Final = 10
_SERVER, _EMBEDDED = "server", "embedded"


def run() -> dict[str, Any]:
    """Insert into both, then ask both."""
    with TemporaryDirectory() as folder, clickhouse_servers(Path(folder)) as (server,):
        # As a user who may call the function that the traffic is made with.
        url = f"clickhouse://127.0.0.1:{server.port}/keytrail_benchmark"
        engines: dict[str, Engine] = {
            _EMBEDDED: EmbeddedEngine(Path(folder) / "embedded", Store()),
            _SERVER: ServerEngine(parse_address(url), Store()),
        }
        try:
            for engine in engines.values():
                migrate(engine)
            inserted = {name: RECORDS / seconds for name, seconds in insert(engines).items()}
            for name, engine in engines.items():
                progress(f"{name}: filled in {scale.fill(engine, REQUESTS):.0f} s")
            asked = {name: at(taken, 0.5) * 1000 for name, taken in question(engines).items()}
        finally:
            for engine in engines.values():
                engine.close()
    for what, found, unit, form in (
        ("inserting decoded records", inserted, "records/s", ",.0f"),
        ("a key's endpoints, p50", asked, "ms", ".1f"),
    ):
        ratio = found[_SERVER] / found[_EMBEDDED]
        say(
            f"{what}, server",
            f"{found[_SERVER]:{form}} {unit}",
            f"embedded {found[_EMBEDDED]:{form}} {unit}: {ratio:.2f} of it",
        )
    return {
        name: {"records_per_second": inserted[name], "question_p50_ms": asked[name]} for name in (_SERVER, _EMBEDDED)
    }


def insert(engines: dict[str, Engine]) -> dict[str, float]:
    """Seconds that each took for all records."""
    _, tables = decoded(list(traffic.slim(_MADE)))
    seconds = dict.fromkeys(engines, 0.0)
    for number, table in enumerate(tables * (RECORDS // _MADE)):
        for name, engine in engines.items():
            began = time.perf_counter()
            engine.insert(RAW, table, f"benchmark:{number}")
            seconds[name] += time.perf_counter() - began
    return seconds


def question(engines: dict[str, Engine]) -> dict[str, list[float]]:
    """Seconds of each question to each, sorted."""
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for key in scale.busy_keys(REQUESTS, _KEYS):
        query = scale.question(key)
        for name, engine in engines.items():
            assert ask(engine, query).total_rows >= scale.ENDPOINTS_OF_A_KEY
            taken[name] += times(partial(ask, engine, query), _TIMES)
    return {name: sorted(found) for name, found in taken.items()}
