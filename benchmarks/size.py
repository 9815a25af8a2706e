"""Bytes on disk for each million requests, by table, by kind of record and by density, all parts merged."""

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import traffic
from benchmarks.measure import say
from keytrail.cli.wiring import assembled
from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.config import load
from keytrail.store.chunk import Chunk
from keytrail.store.tables import RAW, ROLLUPS

RECORDS = 200_000
KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "slim, 7,000 a day": partial(traffic.slim, RECORDS, 30),
    "geo, 7,000 a day": partial(traffic.with_geo, RECORDS, 30),
    "geo, 200,000 a day": partial(traffic.with_geo, RECORDS, 1),
    "slim, 20 million a day": lambda: iter(traffic.recent(RECORDS, 864)),
    "recorded, 7,000 a day": partial(traffic.recorded, RECORDS, 30),
}


def run() -> dict[str, Any]:
    """Store each kind and look at its tables."""
    results = {}
    for name, records in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            settings = load(overrides={"store.url": f"chdb:{Path(folder) / 'data'}"})
            with assembled(settings, collect=False) as parts:
                _fill(parts.writer, records())
                tables = [RAW, *(rollup.table for rollup in ROLLUPS)]
                for table in tables:
                    parts.engine.command(f"OPTIMIZE TABLE {table} FINAL")
                found = parts.engine.query(
                    "SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts "
                    "WHERE active AND database = currentDatabase() GROUP BY table"
                ).dicts()
        sizes = {row["table"]: row for row in found}
        results[name] = {
            table: {
                "bytes_per_million": round(sizes[table]["bytes"] * 1e6 / RECORDS),
                "rows_per_request": sizes[table]["rows"] / RECORDS,
                "bytes_per_row": sizes[table]["bytes"] / max(sizes[table]["rows"], 1),
            }
            for table in tables
            if table in sizes
        }
        for table, figures in results[name].items():
            text = f"{figures['bytes_per_million'] / 1e6:,.1f} MB a million"
            say(f"{name}: {table}", text, f"{figures['rows_per_request']:.3f} rows of {figures['bytes_per_row']:.0f} B")
    return results


def _fill(writer: Any, source: Iterator[bytes]) -> None:
    offset = 0
    while portion := list(islice(source, 50_000)):
        table = decode_chunk(portion, Wire.MSGPACK, privacy=Privacy(), batch_id="b", offset=offset).table
        writer.write(Chunk("b", offset, len(portion), table, [], "file", "size", 1, datetime.now(UTC)))
        offset += len(portion)
