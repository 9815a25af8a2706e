"""A key's endpoints over 30 days, of 3 million stored requests: in the engine and over HTTP, against raw rows."""

import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import scale, traffic
from benchmarks.measure import at, peak_memory, say, server, times
from keytrail.cli.wiring import assembled
from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.config import load
from keytrail.demo.world import NO_KEY, ORG_ID, build_world
from keytrail.query.ask import ask as answer
from keytrail.query.question import parse
from keytrail.query.request import Filter, Query, Scope
from keytrail.query.run import run as ask
from keytrail.store.tables import RAW
from keytrail.web.auth import hash_token

RECORDS = 3_000_000
TOKEN = "benchmark"


def run() -> dict[str, Any]:
    """Fill a store and ask."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "data"
        config = Path(folder) / "keytrail.toml"
        config.write_text(
            f'[[tokens]]\nname = "b"\nsha256 = "{hash_token(TOKEN)}"\norg = "{ORG_ID}"\n', encoding="utf-8"
        )
        settings = load(config, overrides={"store.url": f"chdb:{directory}"})
        results: dict[str, Any] = {}
        with assembled(settings) as parts:
            fill(parts.engine)
            results |= in_engine(parts.engine)
            results |= two_dimensions(parts.engine)
        with server(directory, config) as (client, ready, pid):
            say("ready after a start on this store", f"{ready:.2f} s")
            results |= over_http(client) | {"ready_seconds": ready, "idle_bytes": peak_memory(pid)}
        return results


def fill(engine: Any) -> None:
    """Store the traffic."""
    began = time.perf_counter()
    source = traffic.with_geo(RECORDS)
    offset = 0
    while portion := list(islice(source, 100_000)):
        table = decode_chunk(portion, Wire.MSGPACK, privacy=Privacy(), batch_id="b", offset=offset).table
        engine.insert(RAW, table, f"b:{offset}")
        offset += len(portion)
    say("filled", f"{RECORDS:,} records in {time.perf_counter() - began:.0f} s")


def busy_keys(count: int) -> list[str]:
    """Keys as busy as they are in traffic: every so-manieth of all keys by their share."""
    callers = sorted(build_world().callers, key=lambda caller: caller.weight, reverse=True)
    keys = [caller.key for caller in callers if caller.key != NO_KEY]
    return [keys[place * len(keys) // count] for place in range(count)]


def question(key: str, days: int) -> Query:
    """The question of which endpoints a key called, in a zone whose days are not those of the rollups."""
    return scale.question(key, org=ORG_ID, days=days, zone="Asia/Kolkata")


def in_engine(engine: Any) -> dict[str, float]:
    """Time in the engine: 30 days, 3 days, and the same from raw rows."""
    keys = busy_keys(20)
    found: dict[str, float] = {}
    cost: dict[int, float] = {}
    for days in (30, 3):
        taken, rows = [], 0
        for key in keys:
            ask(engine, question(key, days))
            taken += times(partial(ask, engine, question(key, days)), 10)
            rows += ask(engine, question(key, days)).total_rows
        taken.sort()
        found[f"engine_{days}_days_p50_ms"] = at(taken, 0.5) * 1000
        found[f"engine_{days}_days_p99_ms"] = at(taken, 0.99) * 1000
        cost[days] = at(taken, 0.5) / max(rows, 1)
        say(
            f"{days} days of a key, in the engine",
            f"p50 {at(taken, 0.5) * 1000:.1f} ms, p99 {at(taken, 0.99) * 1000:.1f} ms",
            f"{rows} rows of {len(keys)} keys",
        )
    # A tag that every record has makes only raw rows able to answer.
    raw = question(keys[0], 30)
    raw = replace(raw, filters=(*raw.filters, Filter("tag", "has_all", [f"org-{ORG_ID}"])))
    slow = at(times(lambda: ask(engine, raw), 5), 0.5)
    found["raw_30_days_p50_ms"] = slow * 1000
    say("the same from raw rows", f"{slow * 1000:.0f} ms", f"{slow * 1000 / found['engine_30_days_p50_ms']:.1f} times")
    say("cost a row, 30 days against 3", f"{cost[30] / cost[3]:.2f} times")
    return found | {"long_against_short": cost[30] / cost[3]}


def two_dimensions(engine: Any) -> dict[str, float]:
    """Time for a month of everything by two dimensions with the 95th percentile: from rollups, and from raw rows."""
    found = {}
    for names in (("api", "path"), ("key", "api"), ("country", "api")):
        fields = {"metrics": ["hits", "p95_latency"], "dimensions": list(names), "range": "last_30_days"}
        asked = parse(fields, default_zone="Asia/Kolkata")
        reply = answer(engine, Scope(ORG_ID), asked)
        taken = at(times(partial(answer, engine, Scope(ORG_ID), asked), 10), 0.5) * 1000
        found["_by_".join(names) + "_p50_ms"] = taken
        say(f"30 days by {' and '.join(names)} with p95", f"p50 {taken:.0f} ms", ", ".join(reply.tables))
    return found


def over_http(client: Any) -> dict[str, float]:
    """Time over HTTP for the same questions."""
    today = datetime.now(UTC).date()
    start = today - timedelta(days=30)
    span = f"{start.day}/{start.month}/{start.year}/{today.day}/{today.month}/{today.year}"

    def get(key: str) -> None:
        answer = client.get(f"/api/activity/keys/endpoint/{key}/{span}?p=-1", headers={"Authorization": TOKEN})
        assert answer.status_code == 200, answer.text

    taken = []
    for key in busy_keys(20):
        get(key)
        taken += times(partial(get, key), 10)
    taken.sort()
    say("30 days of a key, over HTTP", f"p50 {at(taken, 0.5) * 1000:.1f} ms, p99 {at(taken, 0.99) * 1000:.1f} ms")
    return {"http_p50_ms": at(taken, 0.5) * 1000, "http_p99_ms": at(taken, 0.99) * 1000}
