from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from keytrail.collect import radar
from keytrail.collect.radar import Finding, inspect
from keytrail.collect.redis_url import parse_redis_url
from keytrail.collect.source import Source
from tests.collect.conftest import PLAIN, MakeSource
from tests.collect.redis_servers import Servers, connect
from tests.collect.test_source_protocol import push, taken


def names(findings: list[Finding]) -> dict[str, str]:
    return {one.name: one.severity for one in findings if one.name != "persistence"}


def test_nothing_to_say(raw: Any, source: Source) -> None:
    push(raw, 3)
    raw.expire(PLAIN, 60)
    findings = inspect(source, watch_seconds=0.1)
    assert [(one.severity, one.name) for one in findings] == [("info", "persistence")]
    assert all(one.seen and one.change for one in findings)
    before = raw.lrange(PLAIN, 0, -1), raw.keys("*")
    inspect(source, watch_seconds=0)
    assert (raw.lrange(PLAIN, 0, -1), raw.keys("*")) == before, "looking changes nothing"


def test_a_list_near_its_end(raw: Any, source: Source) -> None:
    push(raw, 7)
    raw.expire(PLAIN, 19)
    (finding, *_) = inspect(source, watch_seconds=0)
    assert (finding.severity, finding.name) == ("error", "list_ttl")
    assert "7 records" in finding.seen
    assert PLAIN in finding.seen


def test_a_short_storage_expiration_time(raw: Any, source: Source) -> None:
    push(raw, 7)
    raw.expire(PLAIN, 29)
    source.seal()
    findings = inspect(source, watch_seconds=0)
    assert names(findings) == {"list_ttl_short": "warning"}
    assert "storage_expiration_time" in findings[0].change


def test_the_pumps_key(raw: Any, source: Source) -> None:
    raw.set("version-check-pump", "1.13.1")
    findings = inspect(source, watch_seconds=0)
    assert names(findings) == {"pump": "warning"}
    assert "1.13.1" in findings[0].seen


def test_a_reader_that_deletes(raw: Any, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    push(raw, 500)
    # It takes some while the radar waits for its next look, however long that takes.
    clock = SimpleNamespace(sleep=lambda seconds: raw.lpop(PLAIN, 5), time=time.time)
    monkeypatch.setattr(radar, "time", clock)
    assert names(inspect(source, watch_seconds=0.3)) == {"competing_reader": "error"}
    assert raw.llen(PLAIN) == 485


def test_our_own_collector_is_no_competitor(raw: Any, make_source: MakeSource) -> None:
    source, other = make_source(), make_source()
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            push(raw, 20)
            other.seal()
            # As no collector does, it would else seal twice in a millisecond, which nobody can tell from once.
            time.sleep(0.002)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        findings = inspect(source, watch_seconds=0.5)
    finally:
        stop.set()
        thread.join()
    assert names(findings) == {}


def test_another_store(raw: Any, make_source: MakeSource) -> None:
    push(raw, 3)
    make_source(store_id="elsewhere").seal()
    findings = inspect(make_source(), watch_seconds=0)
    assert names(findings) == {"competing_reader": "warning"}
    assert "elsewhere" in findings[0].seen


def test_clocks_that_differ(raw: Any, source: Source) -> None:
    for off, severity in ((5, "warning"), (-5, "warning"), (100, "error")):
        findings = inspect(source, watch_seconds=0, now_ms=lambda off=off: (time.time() + off) * 1000)  # type: ignore[misc]
        assert names(findings) == {"clock": severity}


def test_cap_missing_and_dropped(raw: Any, make_source: MakeSource) -> None:
    source = make_source(cap_bytes=10, forward_prefix="pump-", forward_cap_bytes=1)
    push(raw, 3)
    source.seal()
    batch = taken(source)
    raw.rpop(source.keys[PLAIN].frozen(batch.id))
    source.seal()
    _, rest = source.write_off(batch)
    assert rest is not None
    source.advance(rest, 2)
    found = names(inspect(source, watch_seconds=0))
    assert found == {"cap": "error", "records_missing": "error", "forward_dropped": "warning"}


def test_memory_and_persistence(own_servers: Servers) -> None:
    server = own_servers.start("--appendonly", "yes", "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru")
    source = Source(connect(parse_redis_url(f"redis://127.0.0.1:{server.port}")), name="t", owner="o", store_id="s")
    with server.client() as raw:
        raw.config_set("maxmemory", "4gb")
        assert {one.name: one.severity for one in inspect(source, watch_seconds=0)} == {"eviction": "error"}
        raw.config_set("maxmemory-policy", "volatile-ttl")
        assert names(inspect(source, watch_seconds=0)) == {"eviction": "warning"}
        raw.config_set("maxmemory-policy", "noeviction")
        # So much that what connections and buffers take for a moment is little beside it.
        raw.setrange("other", 50_000_000, "x")
        used = int(raw.info("memory")["used_memory"])
        raw.config_set("maxmemory", used * 100 // 85)
        assert names(inspect(source, watch_seconds=0)) == {"memory": "warning"}
        raw.config_set("maxmemory", used)
        found = names(inspect(source, watch_seconds=0))
        assert found["memory"] == "error"
    source.close()
