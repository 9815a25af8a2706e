from __future__ import annotations

from typing import Any

import pytest

from keytrail.collect.frozen_batch import Rejection
from keytrail.collect.source import Source
from keytrail.collect.source_keys import new_batch_id
from keytrail.errors import PrefixRefused, SourceError
from tests.collect.conftest import PLAIN, MakeSource
from tests.collect.test_source_protocol import drain, expire_leases, push, taken

PROTOBUF = PLAIN + "_protobuf"


def reject_all(source: Source, raw: Any, records: list[bytes], name: str = PLAIN) -> None:
    raw.rpush(name, *records)
    source.seal()
    batch = taken(source)
    rejects = [Rejection(index, f"reason-{index}", f"digest-{index}") for index in range(len(records))]
    assert source.advance(batch, len(records), rejects) is None


def test_dead_letters_keep_bytes_reason_digest_and_place(raw: Any, source: Source) -> None:
    records = [b"\x00\xff", b"", b"secret"]
    reject_all(source, raw, records)
    letters = source.rejects(PLAIN)
    assert [one.record for one in letters] == records
    assert [one.reason for one in letters] == ["reason-0", "reason-1", "reason-2"]
    assert [(one.seq, one.digest) for one in letters] == [(0, "digest-0"), (1, "digest-1"), (2, "digest-2")]
    assert "secret" not in repr(letters)
    assert [one.seq for one in source.rejects(PLAIN, limit=2)] == [0, 1]
    assert [one.seq for one in source.rejects(PLAIN, after=letters[1].id)] == [2]
    assert source.rejects(PROTOBUF) == []


def test_many_rejects_in_a_large_chunk(raw: Any, source: Source) -> None:
    records = push(raw, 5_000)
    source.seal()
    batch = taken(source)
    chosen = [0, 1, 499, 500, 501, 999, 1_000, 2_500, 4_999]
    source.advance(batch, 5_000, [Rejection(index, "r", "d") for index in reversed(chosen)])
    assert [one.record for one in source.rejects(PLAIN)] == [records[index] for index in chosen]
    assert [one.seq for one in source.rejects(PLAIN)] == chosen


def test_rejects_are_dropped_and_expire(raw: Any, source: Source) -> None:
    reject_all(source, raw, [b"a", b"b", b"c"])
    reject_all(source, raw, [b"d"], PROTOBUF)
    letters = source.rejects(PLAIN)
    assert source.drop_rejects(PLAIN, [letters[1].id]) == 1
    assert source.drop_rejects(PLAIN, [letters[1].id]) == 0
    assert source.expire_rejects(7 * 86_400) == 0
    assert [one.record for one in source.rejects(PLAIN)] == [b"a", b"c"]
    assert source.expire_rejects(-1) == 3
    assert source.expire_rejects(-1) == 0
    assert all((one.rejects, one.reject_bytes) == (0, 0) for one in source.backlog())


def test_more_than_one_call_of_rejects_expires(raw: Any, source: Source) -> None:
    reject_all(source, raw, [b"%d" % number for number in range(2_500)])
    assert source.expire_rejects(-1) == 2_500


def test_retry_makes_a_batch_once(raw: Any, source: Source) -> None:
    reject_all(source, raw, [b"a", b"b", b"c"])
    ids = [one.id for one in source.rejects(PLAIN)]
    batch_id = new_batch_id()
    assert source.retry_rejects(PLAIN, [ids[0], ids[2]], batch_id).records == 2
    assert source.retry_rejects(PLAIN, [ids[0], ids[2]], batch_id).outcome == "again"
    assert source.retry_rejects(PLAIN, [ids[0]]).outcome == "empty"
    batch = taken(source)
    assert (batch.id, batch.retry, batch.list_name, batch.attempt) == (batch_id, True, PLAIN, 1)
    assert source.read(batch) == [b"a", b"c"]
    assert source.advance(batch, 2, [Rejection(1, "still bad", "d")]) is None
    assert source.retry_rejects(PLAIN, [ids[0], ids[2]], batch_id).outcome == "again", "a tombstone stays"
    assert sorted(one.record for one in source.rejects(PLAIN)) == [b"b", b"c"]
    backlog = source.backlog()[0]
    assert (backlog.rejects, backlog.records, backlog.size_bytes) == (2, 0, 0)
    with pytest.raises(ValueError, match="distinct"):
        source.retry_rejects(PLAIN, [ids[0], ids[0]])
    with pytest.raises(SourceError):
        source.retry_rejects(PLAIN, ["no id"])


def test_forwarding_hands_each_record_to_the_pump_once(raw: Any, make_source: MakeSource) -> None:
    source = make_source(forward_prefix="pump-", most_in_chunk=600, fewest_in_chunk=1)
    pump = "pump-tyk-system-analytics"
    records = push(raw, 1_500)
    source.seal()
    batch = taken(source)
    following = source.advance(batch, batch.next_count, [Rejection(1, "r", "d")])
    source.advance(batch, batch.next_count, [Rejection(1, "r", "d")])
    assert following is not None
    assert 0 < raw.pttl(pump) <= 60_000
    raw.pexpire(pump, 30_000)
    expire_leases(raw, source)
    drain(source)
    assert raw.lrange(pump, 0, -1) == records, "the rejected too: the pump has its own opinion"
    assert raw.pttl(pump) <= 30_000, "the TTL is given once, as the gateway does"
    assert source.retry_rejects(PLAIN, [source.rejects(PLAIN)[0].id]).outcome == "sealed"
    drain(source)
    assert raw.llen(pump) == 1_500, "a record that is tried again was forwarded before"
    backlog = source.backlog()[0]
    assert (backlog.forwarded, backlog.forward_dropped) == (1_500, 0)
    assert len([one for one in source.seal() if one.outcome != "sealed"]) == 0


def test_protobuf_is_forwarded_without_a_ttl(raw: Any, make_source: MakeSource) -> None:
    source = make_source(forward_prefix="pump-")
    records = push(raw, 3, PROTOBUF)
    source.seal()
    drain(source)
    assert raw.lrange("pump-tyk-system-analytics_protobuf", 0, -1) == records
    assert raw.pttl("pump-tyk-system-analytics_protobuf") == -1


def test_the_pumps_list_is_capped_oldest_first(raw: Any, make_source: MakeSource) -> None:
    source = make_source(forward_prefix="pump-", forward_cap_bytes=60_000)
    pump = "pump-tyk-system-analytics"
    records = push(raw, 100, size=1_000)
    source.seal()
    drain(source)
    kept = raw.lrange(pump, 0, -1)
    assert 40 <= len(kept) <= 60
    assert kept == records[-len(kept) :]
    assert source.backlog()[0].forward_dropped == 100 - len(kept)
    source.seal()
    held = source.held
    assert held is not None
    assert 40_000 < held.forwarded <= 60_000
    push(raw, 100, PLAIN + "_1", size=1_000)
    source.seal()
    drain(source)
    assert 20_000 < raw.memory_usage(pump + "_1") < 40_000, "a fair share"
    push(raw, 1)
    source.seal()
    drain(source)
    both = raw.memory_usage(pump + "_1") + raw.memory_usage(pump)
    assert both < 70_000, "one cap for all the pump's lists"
    raw.delete(pump, pump + "_1")
    source.seal()
    assert source.held is not None
    assert source.held.forwarded == 0, "the pump took them"


def test_forwarding_to_where_we_read_is_refused(make_source: MakeSource) -> None:
    with pytest.raises(PrefixRefused):
        make_source(forward_prefix="analytics-")
