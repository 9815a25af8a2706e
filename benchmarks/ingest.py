"""Import of a file: records per second and memory, against decoding alone and inserting alone in the same run."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks import traffic
from benchmarks.measure import keytrail, say
from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.config import Store
from keytrail.store.client import EmbeddedEngine
from keytrail.store.migrate import migrate
from keytrail.store.tables import RAW

CHUNK = 50_000
TIME = Path("/usr/bin/time")
"""Tells the peak memory of a process, where the system has it."""


def run() -> dict[str, Any]:
    """Import each kind of records."""
    return {
        "slim": measure("slim", traffic.slim(500_000), 500_000),
        "with_geo": measure("with geo", traffic.with_geo(300_000), 300_000),
        "detailed": measure("detailed", traffic.detailed(200_000), 200_000),
        "protobuf": measure("protobuf", traffic.protobuf(200_000), 200_000, Wire.PROTOBUF),
    }


def measure(name: str, blobs: Iterator[bytes], count: int, wire: Wire = Wire.MSGPACK) -> dict[str, float]:
    """Import so many records and hold it against its two halves."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "records.ndjson"
        kept = list(blobs)
        traffic.write_capture(file, kept, wire)
        decode_only, tables = decoded(kept, wire)
        insert_only = inserted(Path(folder) / "baseline", tables)
        del tables
        usage = Path(folder) / "usage"
        began = time.perf_counter()
        command = keytrail("import", "--data", f"{folder}/data", "--quiet", str(file))
        if TIME.exists():
            command = [str(TIME), "-f", "%M", "-o", str(usage), *command]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - began
        rate = count / seconds
        memory = int(usage.read_text()) * 1024 if usage.exists() else 0
    together = 1 / (1 / decode_only + 1 / insert_only)
    say(f"{name}: import, from start to end of the process", f"{rate:,.0f} records/s", f"peak {memory / 1e6:,.0f} MB")
    for what, baseline in (
        ("decoding and steps alone", decode_only),
        ("inserting alone", insert_only),
        ("the two one after the other", together),
    ):
        say(f"{name}: {what}", f"{baseline:,.0f} records/s", f"import is {rate / baseline:.2f} of it")
    return {"import": rate, "decode": decode_only, "insert": insert_only, "peak_bytes": memory}


def decoded(blobs: list[bytes], wire: Wire = Wire.MSGPACK) -> tuple[float, list[pa.Table]]:
    """Records per second of decoding and steps alone, and the tables."""
    tables = []
    source = iter(blobs)
    began = time.perf_counter()
    offset = 0
    while portion := list(islice(source, CHUNK)):
        chunk = decode_chunk(portion, wire, privacy=Privacy(), batch_id="b", offset=offset)
        tables.append(chunk.table)
        offset += len(portion)
    return len(blobs) / (time.perf_counter() - began), tables


def inserted(directory: Path, tables: list[pa.Table]) -> float:
    """Records per second of inserting alone."""
    engine = EmbeddedEngine(directory, Store())
    try:
        migrate(engine)
        began = time.perf_counter()
        for number, table in enumerate(tables):
            engine.insert(RAW, table, f"baseline:{number}")
        return sum(table.num_rows for table in tables) / (time.perf_counter() - began)
    finally:
        engine.close()
