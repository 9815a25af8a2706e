"""What the protocol does at its limits: the cap, damage, memory, a Redis that goes away."""

from typing import Any

import pytest
import redis

from keytrail.collect.frozen_batch import Rejection
from keytrail.collect.source import Source
from keytrail.errors import BatchDamaged, SourceError, SourceUnavailable
from tests.collect.conftest import PLAIN, MakeSource
from tests.collect.redis_servers import Servers
from tests.collect.test_source_protocol import drain, expire_leases, push, taken


def test_cap_stops_sealing_and_goes_on(raw: Any, make_source: MakeSource) -> None:
    source = make_source(cap_bytes=50_000)
    push(raw, 100, size=1_000)
    assert [one.outcome for one in source.seal()] == ["sealed"], "larger than the cap, but nothing else is held"
    push(raw, 5)
    raw.expire(PLAIN, 60)
    (capped,) = source.seal()
    assert (capped.outcome, capped.records) == ("capped", 5)
    assert 0 < capped.ttl_ms <= 60_000
    held = source.held
    assert held is not None
    assert held.full
    assert held.sealed > 50_000
    assert raw.llen(PLAIN) == 5
    batch = taken(source)
    assert source.advance(batch, 100) is None
    assert [one.outcome for one in source.seal()] == ["sealed"]


def test_cap_counts_within_one_round(raw: Any, make_source: MakeSource) -> None:
    source = make_source(cap_bytes=50_000)
    for number in range(3):
        push(raw, 100, f"{PLAIN}_{number}", size=1_000)
    assert [one.outcome for one in source.seal()] == ["sealed", "capped", "capped"]


def test_rejected_bytes_count_towards_the_cap(raw: Any, make_source: MakeSource) -> None:
    source = make_source(cap_bytes=50_000)
    push(raw, 100, size=1_000)
    source.seal()
    batch = taken(source)
    source.advance(batch, 100, [Rejection(number, "r", "d") for number in range(100)])
    push(raw, 1)
    assert [one.outcome for one in source.seal()] == ["capped"]
    assert source.expire_rejects(-1) == 100
    assert [one.outcome for one in source.seal()] == ["sealed"]


def test_default_cap(raw: Any, make_source: MakeSource) -> None:
    assert make_source().cap_bytes() == 256 * 1024 * 1024
    raw.config_set("maxmemory", 100_000_000)
    try:
        assert make_source().cap_bytes() == 25_000_000
    finally:
        raw.config_set("maxmemory", 0)
    assert make_source(cap_bytes=7).cap_bytes() == 7


def test_totals_return_to_nothing(raw: Any, make_source: MakeSource) -> None:
    source = make_source(most_in_chunk=7, fewest_in_chunk=1)
    push(raw, 100, size=100)
    source.seal()
    before = source.backlog()[0]
    assert (before.batches, before.records, before.length) == (1, 100, 0)
    assert before.size_bytes > 10_000
    batch = source.advance(taken(source), 7, [Rejection(0, "r", "d")])
    middle = source.backlog()[0]
    assert (middle.records, middle.rejects) == (93, 1)
    assert 0.9 < middle.size_bytes / before.size_bytes < 0.95
    assert middle.reject_bytes == 228
    while batch is not None:
        batch = source.advance(batch, batch.next_count)
    after = source.backlog()[0]
    assert (after.batches, after.records, after.size_bytes) == (0, 0, 0)


def test_a_damaged_batch_is_said_and_can_be_written_off(raw: Any, make_source: MakeSource) -> None:
    source = make_source(most_in_chunk=4, fewest_in_chunk=1)
    records = push(raw, 8)
    source.seal()
    batch = taken(source)
    frozen = source.keys[PLAIN].frozen(batch.id)
    raw.rpop(frozen, 3)
    source.read(batch)
    with pytest.raises(BatchDamaged) as caught:
        source.advance(batch, 4)
    assert (caught.value.expected, caught.value.found) == (8, 5)
    missing, rest = source.write_off(batch)
    assert missing == 3
    assert rest is not None
    assert (rest.count, rest.next_count) == (5, 4)
    assert rest.attempt > 1, "the store must be asked what it has of this chunk"
    assert source.write_off(batch)[0] == 0
    following = source.advance(rest, 4)
    assert following is not None
    assert source.read(following) == records[4:5]
    raw.delete(frozen)
    with pytest.raises(BatchDamaged):
        source.read(following)
    assert source.write_off(following) == (1, None)
    assert source.write_off(following)[1] is None
    assert source.take() is None
    backlog = source.backlog()[0]
    assert (backlog.missing, backlog.records, backlog.size_bytes, backlog.batches) == (4, 0, 0, 0)


def test_scripts_come_back_after_script_flush(raw: Any, source: Source) -> None:
    push(raw, 3)
    raw.script_flush()
    source.seal()
    raw.script_flush()
    assert len(drain(source)[PLAIN]) == 3


def test_no_memory_command_estimates_sizes(raw: Any, source: Source) -> None:
    source.calls.memory_usage = False
    push(raw, 1_000, size=100)
    (sealed,) = source.seal()
    assert sealed.estimated
    assert sealed.size_bytes == 116_000


def test_redis_away_and_back(own_servers: Servers) -> None:
    from keytrail.collect.redis_url import parse_redis_url
    from tests.collect.redis_servers import connect

    server = own_servers.start("--appendonly", "yes", "--appendfsync", "always")
    with server.client() as raw:
        records = push(raw, 10)
    client = connect(parse_redis_url(f"redis://127.0.0.1:{server.port}"), retries=0)
    source = Source(client, name="t", owner="o", store_id="s", most_in_chunk=4, fewest_in_chunk=1)
    source.seal()
    batch = taken(source)
    source.advance(batch, batch.next_count)
    server.stop()
    for call in (source.seal, source.take, source.backlog, lambda: source.renew(batch)):
        with pytest.raises(SourceUnavailable):
            call()
    folder = server.log.parent
    again = own_servers.start("--appendonly", "yes", "--dir", str(folder), port=server.port)
    assert again.process.poll() is None
    assert source.take() is None, "the lease outlived Redis"
    with again.client() as raw:
        expire_leases(raw, source)
    resumed = taken(source)
    assert resumed.offset == 4
    assert source.read(resumed) == records[4:8]
    source.close()


def test_at_the_memory_limit_records_are_still_sealed_and_drained(own_servers: Servers) -> None:
    from keytrail.collect.redis_url import parse_redis_url
    from tests.collect.redis_servers import connect

    server = own_servers.start("--maxmemory-policy", "noeviction")
    client = connect(parse_redis_url(f"redis://127.0.0.1:{server.port}"))
    source = Source(client, name="t", owner="o", store_id="s", most_in_chunk=500, fewest_in_chunk=1,
                    forward_prefix="pump-", cap_bytes=10**9)  # fmt: skip
    with server.client() as raw:
        records = push(raw, 2_000, size=1_000)
        source.seal()
        push(raw, 10)
        batch = taken(source)
        source.release(batch)
        raw.config_set("maxmemory", 1_000_000)
        with pytest.raises(redis.RedisError, match=r"OOM|maxmemory"):
            raw.rpush("x", "y")
        source.calls.client.script_flush()
        with pytest.raises(redis.RedisError, match=r"OOM|maxmemory"):
            raw.set("x", "y")
        assert [one.outcome for one in source.seal()] == ["sealed"]
        batch = taken(source)
        source.renew(batch)
        batch = source.fresh_token(batch, "fresh")
        others = taken(source)
        assert others.count == 10
        assert source.advance(others, 10) is None
        assert source.release(batch)
        batch = taken(source)
        assert source.read(batch) == records[:500]
        following = source.advance(batch, 500, [Rejection(3, "r", "d")])
        assert following is not None
        assert [one.record for one in source.rejects(PLAIN)] == [records[3]]
        assert source.retry_rejects(PLAIN, [source.rejects(PLAIN)[0].id]).outcome == "sealed"
        rest = source.advance(following, 500)
        while rest is not None:
            rest = source.advance(rest, rest.next_count)
    source.close()


def test_unknown_key_type_for_forwarding_changes_nothing(raw: Any, make_source: MakeSource) -> None:
    source = make_source(forward_prefix="pump-")
    push(raw, 3)
    raw.set("pump-tyk-system-analytics", "x")
    assert [one.outcome for one in source.seal()] == ["sealed"]
    batch = taken(source)
    with pytest.raises(SourceError, match="not a list"):
        source.advance(batch, 3, [Rejection(0, "r", "d")])
    assert source.rejects(PLAIN) == []
    assert len(source.read(batch)) == 3
