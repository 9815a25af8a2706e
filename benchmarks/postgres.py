"""A key's endpoints over 30 days, of 36 million requests, against a PostgreSQL table of hourly aggregates.

The table is that of the vendor's pump (its `tyk_aggregated`, DDL below): once with the index that the pump makes, and
once with the best one for this query. Of the pump's dimensions only those of keys and of keys with endpoints are
filled; it keeps a dozen more. Needs PostgreSQL's server (Debian's package `postgresql`), which is started on a socket
of its own.

1,000 keys call 10 endpoints each, every hour, 5 times.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import scale
from benchmarks.measure import at, progress, say, stores
from keytrail.store.tables import RAW

TRAFFIC: Final = scale.Traffic(36_000_000, tail=1)
KEYS: Final = 20
RUNS: Final = 5
_PORT: Final = 5433
_ROOM: Final = 25_000_000_000
"""Bytes of disk: the table, its two indexes, the log, and what sorting an index takes."""

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
    month = scale.a_keys_month(TRAFFIC)
    ours = {"p50_ms": month.p50_ms, "bytes": month.bytes}
    say("keytrail, a key's endpoints over 30 days", f"p50 {month.p50_ms:.1f} ms")
    raw, rollups = month.bytes[RAW], sum(month.bytes.values()) - month.bytes[RAW]
    say("bytes on disk", f"raw {raw / 1e6:,.0f} MB, rollups {rollups / 1e6:,.0f} MB", f"of them {shown(month.bytes)}")
    with database() as psql:
        theirs = in_postgres(psql)
    say("against PostgreSQL as the pump keeps it", f"{theirs['pumps_index_p50_ms'] / month.p50_ms:.1f} times as fast")
    say("against PostgreSQL with the best index", f"{month.p50_ms / theirs['best_index_p50_ms']:.1f} times its time")
    return {**ours, **theirs}


def shown(size: dict[str, int]) -> str:
    """Sizes of tables as text."""
    return ", ".join(f"{table} {held / 1e6:,.0f}" for table, held in sorted(size.items()) if held > 1e6)


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
        """What the client prints for some statements.

        Raises:
            RuntimeError: A statement failed; says why.
        """
        ran = subprocess.run(
            self._command, input=text, capture_output=True, text=True, user=self._user, cwd="/", check=False
        )
        if ran.returncode:
            raise RuntimeError(ran.stderr.strip())
        return ran.stdout


@contextmanager
def database() -> Iterator[Psql]:
    """A private server; its data goes when it ends."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path())
    if not (programs / "initdb").exists():
        raise SystemExit("PostgreSQL's server is not installed (Debian's package postgresql)")
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    # A clone in somebody's home may not be open to that user.
    reached = not user or not subprocess.run(["test", "-x", str(stores())], user=user, cwd="/", check=False).returncode
    place = stores() if reached else Path("/var/tmp")
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        raise SystemExit(f"{place} has {free / 1e9:.0f} GB free; PostgreSQL needs {_ROOM / 1e9:.0f} GB")
    folder = Path(tempfile.mkdtemp(dir=place))
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
        options += " -c work_mem=64MB -c maintenance_work_mem=1GB -c max_wal_size=4GB -c fsync=off"
        # What is filled once and then only read needs no care for crashes, and is vacuumed when it is full.
        options += " -c wal_level=minimal -c max_wal_senders=0 -c full_page_writes=off -c autovacuum=off"
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
    hours = {"org": scale.ORG, "api": "4" * 32, "first": first}
    psql(f"{DDL};")
    began = time.perf_counter()
    for day in range(scale.DAYS):
        start = first + day * 86_400
        psql(_FILL.format(**{**hours, "first": start, "last": start + 86_400 - 3600}) + ";")
        if day % 5 == 4:
            progress(f"PostgreSQL filled with {day + 1} of {scale.DAYS} days in {time.perf_counter() - began:.0f} s")
    figures: dict[str, Any] = {"version": psql("SHOW server_version").strip()}
    for name, index in (("pumps_index", PUMPS_INDEX), ("best_index", BEST_INDEX)):
        psql(f"{index}; VACUUM ANALYZE tyk_aggregated;")
        progress(f"index made after {time.perf_counter() - began:.0f} s")
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
