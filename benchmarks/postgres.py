"""A key's endpoints over 30 days, of 36 million requests, against a PostgreSQL table of hourly aggregates.

The table is that of the vendor's pump (its `tyk_aggregated`, DDL below): once with the index that the pump makes, and
once with the best one for this query. Of the pump's dimensions only those of keys and of keys with endpoints are
filled; it keeps a dozen more. Needs PostgreSQL's server (Debian's package `postgresql`), which is started on a socket
of its own.

1,000 keys call 10 endpoints each, every hour, 5 times. `BENCH_STORES` names a folder that keeps the filled stores.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import scale
from benchmarks.measure import at, say, times
from keytrail.cli.wiring import assembled
from keytrail.config import load
from keytrail.query.request import Filter, Query, Scope, day_range
from keytrail.query.run import run as ask
from keytrail.store.tables import RAW
from keytrail.web.rows import METRICS

TRAFFIC: Final = scale.Traffic(36_000_000, tail=1)
KEYS: Final = 20
RUNS: Final = 5
_PORT: Final = 5433

_COUNTERS: Final = {
    **dict.fromkeys(("hits", "success", "error"), "bigint"),
    **dict.fromkeys(("request_time", "total_request_time"), "numeric"),
    **dict.fromkeys(("identifier", "human_identifier"), "text"),
    "last_time": "timestamptz",
    **dict.fromkeys(("open_connections", "closed_connections", "bytes_in", "bytes_out"), "bigint"),
    **dict.fromkeys(("max_upstream_latency", "min_upstream_latency", "total_upstream_latency"), "bigint"),
    "upstream_latency": "numeric",
    **dict.fromkeys(("max_latency", "min_latency", "total_latency"), "bigint"),
    "latency": "numeric",
}
_CODES: Final = (
    "1x 200 201 2x 301 302 303 304 3x 400 401 403 404 429 4x 500 501 502 503 504 5x".split()  # noqa: SIM905 - a table
)
DDL: Final = (
    "CREATE TABLE tyk_aggregated (id text PRIMARY KEY, "
    + ", ".join(f"counter_{name} {kind}" for name, kind in _COUNTERS.items())
    + ", timestamp bigint, org_id text, dimension text, dimension_value text, "
    + ", ".join(f"code_{code} bigint" for code in _CODES)
    + ")"
)
PUMPS_INDEX: Final = (
    "CREATE INDEX tyk_aggregated_idx_dimension ON tyk_aggregated (dimension, timestamp, org_id, dimension_value)"
)
BEST_INDEX: Final = (
    "CREATE INDEX best ON tyk_aggregated (org_id, dimension, dimension_value text_pattern_ops, timestamp)"
)
_FILL: Final = """INSERT INTO tyk_aggregated
SELECT encode(convert_to(hour || '{org}' || dimension || value, 'UTF8'), 'hex'),
    hits, hits - 1, 1, 21, 21 * hits, value, 'key', to_timestamp(hour + 3599), 0, 0, 0, 0,
    60, 9, 20 * hits, 20, 61, 10, 21 * hits, 21, hour, '{org}', dimension, value,
    0, hits - 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0
FROM (
    SELECT hour, 'keyendpoints' AS dimension, 5 AS hits,
        lpad(to_hex(key), 16, '0') || '.' || encode(('{api}:/resource/' || endpoint)::bytea, 'hex') AS value
    FROM generate_series({first}, {last}, 3600) AS hour, generate_series(0, 999) AS key,
        generate_series(0, 9) AS endpoint
    UNION ALL
    SELECT hour, 'apikeys', 50, lpad(to_hex(key), 16, '0')
    FROM generate_series({first}, {last}, 3600) AS hour, generate_series(0, 999) AS key
) AS kept"""
_ASK: Final = """SELECT dimension_value, sum(counter_hits) AS hits, sum(counter_success), sum(counter_error),
    max(counter_last_time), sum(counter_total_request_time) / sum(counter_hits),
    sum(counter_total_latency) / sum(counter_hits), sum(counter_total_upstream_latency) / sum(counter_hits),
    max(counter_max_upstream_latency), min(counter_min_upstream_latency), max(counter_max_latency),
    min(counter_min_latency)
FROM tyk_aggregated
WHERE dimension = 'keyendpoints' AND org_id = '{org}' AND timestamp >= {first} AND timestamp < {last}
    AND dimension_value LIKE '{key}.%'
GROUP BY dimension_value ORDER BY hits DESC;"""


def run() -> dict[str, Any]:
    """Both in turn, on the same machine."""
    kept = Path(os.environ["BENCH_STORES"]) if "BENCH_STORES" in os.environ else None
    ours = in_keytrail(kept)
    with database() as psql:
        theirs = in_postgres(psql)
    say("against PostgreSQL as the pump keeps it", f"{theirs['pumps_index_p50_ms'] / ours['p50_ms']:.1f} times as fast")
    say("against PostgreSQL with the best index", f"{ours['p50_ms'] / theirs['best_index_p50_ms']:.1f} times its time")
    return {**ours, **theirs}


def in_keytrail(kept: Path | None) -> dict[str, Any]:
    """p50 in the engine, and bytes on disk."""
    with (
        scale.store(TRAFFIC, kept) as (directory, config),
        assembled(load(config, overrides={"store.url": f"chdb:{directory}", "redis.url": ""})) as parts,
    ):
        taken = []
        for key in scale.busy_keys(TRAFFIC, KEYS):
            query = question(key)
            assert ask(parts.engine, query).total_rows == scale.ENDPOINTS_OF_A_KEY
            taken += times(partial(ask, parts.engine, query), RUNS)
        sizes = parts.engine.query("SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active GROUP BY table")
        size = {str(table): int(held) for table, held in sizes.rows}
    p50 = at(sorted(taken), 0.5) * 1000
    say("keytrail, a key's endpoints over 30 days", f"p50 {p50:.1f} ms")
    rollups = sum(size.values()) - size[RAW]
    say("bytes on disk", f"raw {size[RAW] / 1e6:,.0f} MB, rollups {rollups / 1e6:,.0f} MB", f"of them {shown(size)}")
    return {"p50_ms": p50, "bytes": size}


def shown(size: dict[str, int]) -> str:
    """Sizes of tables as text."""
    return ", ".join(f"{table} {held / 1e6:,.0f}" for table, held in sorted(size.items()) if held > 1e6)


def question(key: str) -> Query:
    """The question of which endpoints a key called."""
    today = datetime.now(UTC).date()
    return Query(
        scope=Scope(scale.ORG),
        spans=day_range(today - timedelta(days=30), today, "UTC"),
        zone="UTC",
        dimensions=("path", "api"),
        metrics=METRICS,
        filters=(Filter("key", "in", [key]), Filter("kind", "is", "rest")),
    )


class Psql:
    """Runs statements in a database.

    Args:
        command: The client's command line, without a statement.
        user: Whom it runs as; None: whoever runs this.
    """

    def __init__(self, command: list[str], user: str | None) -> None:
        self._command = command
        self._user = user

    def __call__(self, text: str) -> str:
        """What the client prints for some statements."""
        ran = subprocess.run(
            self._command, input=text, capture_output=True, text=True, user=self._user, cwd="/", check=True
        )
        return ran.stdout


@contextmanager
def database() -> Iterator[Psql]:
    """A private server; its data goes when it ends."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path())
    if not (programs / "initdb").exists():
        raise SystemExit("PostgreSQL's server is not installed (Debian's package postgresql)")
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_STORES")))
    folder.chmod(0o755)
    try:
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(data, user)
        subprocess.run(
            [str(programs / "initdb"), "-D", str(data), "-A", "trust"],
            user=user,
            cwd="/",
            check=True,
            capture_output=True,
        )
        options = f"-c listen_addresses= -c unix_socket_directories={data} -p {_PORT} -c shared_buffers=4GB"
        options += " -c work_mem=64MB -c maintenance_work_mem=1GB -c max_wal_size=16GB -c fsync=off"
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log")]
        subprocess.run([*control, "-o", options, "start"], user=user, cwd="/", check=True, capture_output=True)
        try:
            connection = ["-h", str(data), "-p", str(_PORT), "-v", "ON_ERROR_STOP=1", "-q", "-At", "postgres"]
            yield Psql([str(programs / "psql"), *connection], user)
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], user=user, cwd="/", check=True, capture_output=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_postgres(psql: Psql) -> dict[str, Any]:
    """p50 with each index, and bytes on disk."""
    last = int(datetime.now(UTC).replace(minute=0, second=0, microsecond=0).timestamp())
    first = last - scale.DAYS * 86_400
    hours = {"org": scale.ORG, "api": "4" * 32, "first": first, "last": last - 3600}
    psql(f"{DDL}; {_FILL.format(**hours)};")
    figures: dict[str, Any] = {"version": psql("SHOW server_version").strip()}
    for name, index in (("pumps_index", PUMPS_INDEX), ("best_index", BEST_INDEX)):
        psql(f"{index}; VACUUM ANALYZE tyk_aggregated;")
        asked = [_ASK.format(**{**hours, "last": last, "key": f"{number * 50:016x}"}) for number in range(KEYS)]
        rows = psql(asked[3]).count("\n")
        assert rows == scale.ENDPOINTS_OF_A_KEY, rows
        told = psql("\\o /dev/null\n\\timing on\n" + "\n".join(one for one in asked for _ in range(RUNS)))
        taken = sorted(float(ms) for ms in re.findall(r"Time: ([\d.]+) ms", told))
        figures[f"{name}_p50_ms"] = at(taken, 0.5)
        say(f"PostgreSQL {figures['version']}, {name.replace('_', ' ')}", f"p50 {at(taken, 0.5):.1f} ms")
    sizes = psql("SELECT pg_table_size('tyk_aggregated'), pg_indexes_size('tyk_aggregated')").strip().split("|")
    table, indexes = (int(size) / 1e6 for size in sizes)
    say("bytes on disk, two of its dimensions", f"table {table:,.0f} MB, indexes {indexes:,.0f} MB")
    return {**figures, "table_mb": table, "index_mb": indexes}
