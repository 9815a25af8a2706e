"""A day of single records as a Parquet file against the same day in the table: room, time to move it, questions."""

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import traffic
from benchmarks.measure import at, forget_peak_memory, peak_memory, say, times
from keytrail.cli.wiring import Assembly, assembled
from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.config import load
from keytrail.query.ask import ask
from keytrail.query.export import Form, export
from keytrail.query.question import parse
from keytrail.query.records import Search, page
from keytrail.query.request import ALL_TIME, Filter, Scope
from keytrail.store.chunk import Chunk
from keytrail.store.cooling import Cooling
from keytrail.store.kept import partitions
from keytrail.store.raw_rows import cold_days
from keytrail.store.tables import RAW

RECORDS = 1_000_000
RUNS = 9


def run() -> dict[str, Any]:
    """Fill a day or two, ask, move them, and ask again."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load(overrides={"store.url": f"chdb:{Path(folder) / 'data'}", "store.cold": "cold"})
        with assembled(settings, collect=False) as parts:
            _fill(parts, traffic.with_geo(RECORDS, 1))
            parts.engine.command(f"OPTIMIZE TABLE {RAW} FINAL")
            held = partitions(parts.engine, RAW)
            hot_bytes = sum(one.size for one in held) * 1_000_000 // RECORDS
            org, key = parts.engine.query(f"SELECT org_id, api_key FROM {RAW} LIMIT 1").rows[0]
            hot = {name: at(times(asked, RUNS), 0.5) for name, asked in _questions(parts, org, key).items()}
            forget_peak_memory()
            before = peak_memory()
            taken = times(lambda: [Cooling(parts.engine, parts.writer).move(one) for one in held], 1)[0]
            more = peak_memory() - before
            days = cold_days(parts.engine)
            cold_bytes = sum(one.size for one in days) * 1_000_000 // RECORDS
            cold = {name: at(times(asked, RUNS), 0.5) for name, asked in _questions(parts, org, key).items()}
    share = cold_bytes / hot_bytes
    say("a million records, cold", f"{cold_bytes / 1e6:.1f} MB", f"{hot_bytes / 1e6:.1f} MB in the table: {share:.2f}")
    say("to move them", f"{taken:.1f} s", f"{len(days)} days, {more / 1e6:.0f} MB of memory more than before")
    for name, seconds in cold.items():
        text = f"{hot[name] * 1000:.0f} ms from the table: {seconds / hot[name]:.1f} times"
        say(name, f"{seconds * 1000:.0f} ms", text)
    return {
        "bytes_per_million": {"hot": hot_bytes, "cold": cold_bytes},
        "seconds_to_move": taken,
        "memory_to_move": more,
        "seconds": {name: {"hot": hot[name], "cold": cold[name]} for name in cold},
    }


def _questions(parts: Assembly, org: str, key: str) -> dict[str, Callable[[], object]]:
    engine = parts.engine
    first = (traffic.NOW - timedelta(days=2)).date().isoformat()
    last = traffic.NOW.date().isoformat()
    minute = (traffic.NOW - timedelta(hours=6)).replace(minute=7, second=0, microsecond=0)

    def question(**more: Any) -> Callable[[], object]:
        asked = parse({"metrics": ["hits", "p95_latency"], "from": first, "to": last, **more}, default_zone="UTC")
        return lambda: ask(engine, Scope(org), asked)

    everything = Search(Scope(org), (ALL_TIME,))
    of_key = Search(Scope(org), (ALL_TIME,), (Filter("key", "is", key),))
    return {
        "by country and API": question(dimensions=["country", "api"]),
        "by country, of one key": question(
            dimensions=["country"], filter={"dimension": "key", "operator": "is", "value": key}
        ),
        "by path, seven minutes": question(
            **{"dimensions": ["path"], "from": _text(minute), "to": _text(minute + timedelta(minutes=7))}
        ),
        "a page of single requests": lambda: page(engine, everything, limit=100),
        "a page of one key's": lambda: page(engine, of_key, limit=100),
        "export of one key": lambda: sum(map(len, export(engine, of_key, Form.NDJSON))),
    }


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _fill(parts: Assembly, source: Iterator[bytes]) -> None:
    offset = 0
    while portion := list(islice(source, 50_000)):
        table = decode_chunk(portion, Wire.MSGPACK, privacy=Privacy(), batch_id="b", offset=offset).table
        parts.writer.write(Chunk("b", offset, len(portion), table, [], "file", "cold", 1, datetime.now(UTC)))
        offset += len(portion)
