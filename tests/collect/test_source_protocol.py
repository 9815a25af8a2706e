from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from keytrail.collect.frozen_batch import Batch, Rejection
from keytrail.collect.source import Source
from keytrail.collect.source_keys import list_names, new_batch_id
from keytrail.errors import LeaseLost
from tests.collect.conftest import PLAIN, MakeSource
from tests.collect.redis_servers import wait_for


def push(raw: Any, count: int, source: str = PLAIN, size: int = 8, start: int = 0) -> list[bytes]:
    records = [b"%0*d" % (size, number) for number in range(start, start + count)]
    for first in range(0, count, 1_000):
        raw.rpush(source, *records[first : first + 1_000])
    return records


def expire_leases(raw: Any, source: Source) -> None:
    """As if the time of every lease had run out."""
    for keys in source.keys.values():
        for member in raw.zrangebyscore(keys.leases, "(0", "+inf"):
            raw.zadd(keys.leases, {member: 1})


def drain(source: Source) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    batch = source.take()
    while batch is not None:
        records = source.read(batch)
        found.setdefault(batch.list_name, []).extend(records)
        batch = source.advance(batch, len(records)) or source.take()
    return found


def taken(source: Source) -> Batch:
    batch = source.take()
    assert batch is not None
    return batch


def test_every_list_is_sealed_and_comes_out_as_it_was(raw: Any, source: Source) -> None:
    chance = random.Random(4)
    pushed = {}
    for name in list_names():
        pushed[name] = [chance.randbytes(chance.randrange(60)) for _ in range(chance.randrange(1, 9))]
        pushed[name] += [b"", b"\x00", b"\xff\xfe\r\n", b"\xc3\x28"]
        raw.rpush(name, *pushed[name])
    raw.rpush("analytics-other", b"not ours")
    sealed = source.seal()
    assert {one.list_name for one in sealed} == set(list_names())
    assert {one.outcome for one in sealed} == {"sealed"}
    assert not raw.exists(*list_names())
    assert drain(source) == pushed
    assert raw.lrange("analytics-other", 0, -1) == [b"not ours"]
    assert source.seal() == []
    assert source.take() is None
    leftovers = {key.decode().rsplit(":", 1)[1] for key in raw.keys("keytrail:*") if b":leases:" not in key}
    assert leftovers <= {"state", "store", "stores"}, "only tombstones, totals and store ids stay"
    assert all(0 < raw.pttl(key) <= 600_000 for key in raw.keys("keytrail:*:state"))


def test_a_sealed_list_never_expires(raw: Any, source: Source) -> None:
    push(raw, 5)
    raw.pexpire(PLAIN, 60_000)
    (sealed,) = source.seal()
    assert 0 < sealed.ttl_ms <= 60_000
    keys = source.keys[PLAIN]
    of_batch = keys.frozen(sealed.batch_id), keys.state(sealed.batch_id), keys.leases, keys.totals, keys.stores
    assert [raw.pttl(key) for key in of_batch] == [-1] * 5, "each is there and has no time to live"
    assert len(drain(source)[PLAIN]) == 5


def test_a_list_that_expires_between_look_and_seal(raw: Any, source: Source) -> None:
    push(raw, 5)
    original = source._sealing.seal_list

    def late(name: str, batch_id: str) -> object:
        raw.pexpire(PLAIN, 1)
        time.sleep(0.01)
        return original(name, batch_id)

    source._sealing.seal_list = late  # type: ignore[method-assign, assignment]
    (sealed,) = source.seal()
    assert sealed.outcome == "empty"
    assert source.take() is None
    assert raw.keys("keytrail:*:state") == []


def test_lists_of_another_type_do_not_disturb(raw: Any, source: Source) -> None:
    raw.set(PLAIN, "x")
    push(raw, 3, PLAIN + "_3")
    outcomes = {one.list_name: one.outcome for one in source.seal()}
    assert outcomes == {PLAIN: "not_a_list", PLAIN + "_3": "sealed"}
    assert source._sealing.seal_list(PLAIN, new_batch_id()).outcome == "not_a_list"
    assert [one.list_name for one in source.backlog()] == [PLAIN, PLAIN + "_3"]


def test_the_list_that_dies_first_is_sealed_first(raw: Any, source: Source) -> None:
    for number, ttl in enumerate([500_000, 50_000, None, 200_000]):
        push(raw, 1, f"{PLAIN}_{number}")
        if ttl:
            raw.pexpire(f"{PLAIN}_{number}", ttl)
    assert [one.list_name[-1] for one in source.seal()] == ["1", "3", "0", "2"]


def test_repeated_seal_keeps_the_frozen_and_the_new_records(raw: Any, source: Source) -> None:
    first = push(raw, 100)
    batch_id = new_batch_id()
    done = source._sealing.seal_list(PLAIN, batch_id)
    second = push(raw, 100, start=1_000)
    again = source._sealing.seal_list(PLAIN, batch_id)
    assert (done.outcome, again.outcome) == ("sealed", "again")
    assert (again.records, again.chunk, again.size_bytes) == (done.records, done.chunk, done.size_bytes)
    assert raw.llen(PLAIN) == 100
    source.seal()
    assert drain(source)[PLAIN] == first + second


def test_seal_repeated_after_the_batch_is_finished_does_not_reuse_its_id(raw: Any, source: Source) -> None:
    push(raw, 10)
    batch_id = new_batch_id()
    source._sealing.seal_list(PLAIN, batch_id)
    drain(source)
    push(raw, 10, start=50)
    assert source._sealing.seal_list(PLAIN, batch_id).outcome == "again"
    assert raw.llen(PLAIN) == 10, "else new records would go under a token that the store has seen"


@pytest.mark.parametrize(
    ("records", "size", "chunks"),
    [
        (1, 8, [1]),
        (999, 8, [999]),
        (1_000, 8, [1_000]),
        (20_000, 8, [20_000]),
        (50_000, 8, [50_000]),
        (50_001, 8, [25_001, 25_000]),
        (120_000, 8, [40_000, 40_000, 40_000]),
    ],
)
def test_chunks_grow_with_the_backlog(raw: Any, source: Source, records: int, size: int, chunks: list[int]) -> None:
    push(raw, records, size=size)
    source.seal()
    seen = []
    batch = source.take()
    while batch is not None:
        read = source.read(batch)
        assert int(read[0]) == batch.offset
        seen.append(len(read))
        batch = source.advance(batch, len(read))
    assert seen == chunks


def test_chunks_are_bounded_in_bytes(raw: Any, make_source: MakeSource) -> None:
    source = make_source(most_bytes_in_chunk=100_000)
    push(raw, 2_000, size=1_000)
    source.seal()
    assert 80 <= taken(source).next_count <= 100
    push(raw, 2, PLAIN + "_1", size=300_000)
    source.seal()
    assert taken(source).next_count == 1


def test_several_batches_of_one_list_oldest_first(raw: Any, source: Source) -> None:
    pushed = []
    for number in range(5):
        pushed += push(raw, 3, start=10 * number)
        source.seal()
    assert source.backlog()[0].batches == 5
    assert drain(source)[PLAIN] == pushed
    backlog = source.backlog()[0]
    assert (backlog.batches, backlog.records, backlog.size_bytes, backlog.oldest_ms) == (0, 0, 0, 0)


def test_take_leases_expire_by_the_redis_clock(raw: Any, make_source: MakeSource) -> None:
    one, two, brief = (make_source(lease_seconds=seconds) for seconds in (60, 60, 0.1))
    push(raw, 3)
    one.seal()

    def ends_after(seconds: float, act: Callable[[], Any]) -> Any:
        """What was asked of Redis, whose lease ends so long after the moment at which Redis did it."""
        began = one.time_ms()
        done = act()
        ((_, deadline),) = raw.zrange(one.keys[PLAIN].leases, 0, -1, withscores=True)
        assert began + seconds * 1000 <= deadline <= one.time_ms() + seconds * 1000
        return done

    first = ends_after(60, partial(taken, one))
    assert (first.attempt, first.takes) == (1, 1)
    assert two.take() is None
    ends_after(60, partial(one.renew, first))
    assert two.take() is None
    ends_after(0.1, partial(brief.renew, first))
    found: list[Batch] = []

    def taken_over() -> bool:
        if batch := two.take():
            found.append(batch)
        return bool(found)

    wait_for(taken_over, what="end of the lease")
    (second,) = found
    assert (second.id, second.attempt, second.takes, second.offset) == (first.id, 2, 2, 0)
    for call in (
        lambda: one.renew(first),
        lambda: one.read(first),
        lambda: one.advance(first, 3),
        lambda: one.fresh_token(first, "x"),
        lambda: one.write_off(first),
    ):
        with pytest.raises(LeaseLost):
            call()
    assert one.release(first) is False
    assert two.advance(second, 3) is None
    with pytest.raises(LeaseLost):
        one.advance(first, 3)
    assert one.backlog()[0].takeovers == 1


def test_an_expired_lease_that_nobody_took_is_still_ours(raw: Any, source: Source) -> None:
    push(raw, 3)
    source.seal()
    batch = taken(source)
    expire_leases(raw, source)
    source.renew(batch)
    assert source.take() is None
    expire_leases(raw, source)
    assert source.advance(batch, 3) is None


def test_repeated_take_is_one_attempt_and_two_takes_are_not_one(raw: Any, source: Source) -> None:
    push(raw, 3)
    (sealed,) = source.seal()
    one = source._leases.take_batch(PLAIN, sealed.batch_id, "lease-1")
    again = source._leases.take_batch(PLAIN, sealed.batch_id, "lease-1")
    assert one == again
    assert one is not None
    assert one.attempt == 1
    assert source._leases.take_batch(PLAIN, sealed.batch_id, "lease-2") is None, "same owner, another thread"
    assert source._leases.take_batch(PLAIN, new_batch_id()) is None


def test_repeated_advance(raw: Any, make_source: MakeSource) -> None:
    source = make_source(most_in_chunk=2, fewest_in_chunk=1)
    records = push(raw, 4)
    source.seal()
    batch = taken(source)
    rejects = [Rejection(1, "bad_timestamp", "d1")]
    following = source.advance(batch, 2, rejects)
    assert source.advance(batch, 2, rejects) == following
    assert following is not None
    assert (following.offset, following.identity) == (2, f"{batch.id}:2")
    assert [one.record for one in source.rejects(PLAIN)] == [records[1]]
    assert source.read(following) == records[2:]
    with pytest.raises(LeaseLost):
        source.read(batch)
    assert source.advance(following, 2) is None
    assert source.advance(following, 2) is None, "repeated after the end"
    with pytest.raises(LeaseLost):
        source.advance(batch, 2, rejects)
    assert len(source.rejects(PLAIN)) == 1
    assert raw.llen(source.keys[PLAIN].frozen(batch.id)) == 0


def test_advance_takes_whole_chunks_and_sound_rejections(raw: Any, source: Source) -> None:
    push(raw, 3)
    source.seal()
    batch = taken(source)
    for count, rejects in [
        (2, []),
        (0, []),
        (3, [Rejection(3, "r", "d")]),
        (3, [Rejection(-1, "r", "d")]),
        (3, [Rejection(1, "r", "d"), Rejection(1, "r", "d")]),
    ]:
        with pytest.raises(ValueError, match="chunk"):
            source.advance(batch, count, rejects)
    assert len(source.read(batch)) == 3


def test_attempts_belong_to_the_chunk(raw: Any, make_source: MakeSource) -> None:
    source = make_source(most_in_chunk=1, fewest_in_chunk=1)
    push(raw, 4)
    source.seal()
    crashed = taken(source)
    expire_leases(raw, source)
    batch = taken(source)
    assert (crashed.attempt, batch.attempt) == (1, 2)
    following = source.advance(batch, 1)
    assert following is not None
    assert following.attempt == 1, "the outcome of the earlier chunk is settled"
    assert source.release(following)
    assert source.release(following) is False
    resumed = taken(source)
    assert (resumed.attempt, resumed.offset, resumed.takes) == (1, 1, 3), "a clean stop needs no recovery"
    expire_leases(raw, source)
    assert taken(source).attempt == 2


def test_fresh_tokens(raw: Any, make_source: MakeSource) -> None:
    source = make_source(most_in_chunk=2, fewest_in_chunk=1)
    push(raw, 4)
    source.seal()
    batch = taken(source)
    assert batch.token == batch.identity == f"{batch.id}:0"
    one = source.fresh_token(batch, "fresh-1")
    assert source.fresh_token(batch, "fresh-1") == one
    two = source.fresh_token(one, "fresh-2")
    assert two.token == "fresh-2"
    assert source.fresh_token(batch, "fresh-1").tokens == ("fresh-1", "fresh-2"), "a late repeat is not the last"
    expire_leases(raw, source)
    other = taken(source)
    assert (other.token, other.tokens, other.identity) == ("fresh-2", ("fresh-1", "fresh-2"), batch.identity)
    following = source.advance(other, 2)
    assert following is not None
    assert following.token == f"{batch.id}:2"
    with pytest.raises(LeaseLost):
        source.fresh_token(other, "late")
    assert taken_again(raw, source).tokens == ()
    for bad in ("", "a\nb"):
        with pytest.raises(ValueError, match="line"):
            source.fresh_token(following, bad)


def taken_again(raw: Any, source: Source) -> Batch:
    expire_leases(raw, source)
    return taken(source)


def test_free_leases_of_the_dead_only(raw: Any, make_source: MakeSource) -> None:
    dead = make_source(owner="dead")
    foreign = make_source(owner="other", store_id="foreign")
    push(raw, 3)
    dead.seal()
    left = taken(dead)
    push(raw, 3)
    foreign.seal()
    theirs = taken(foreign)
    push(raw, 3)
    dead.seal()
    heir = make_source(owner="heir")
    with pytest.raises(ValueError, match="foreign"):
        heir.free_leases_of("foreign")
    assert heir.free_leases_of("store") == 1
    with pytest.raises(LeaseLost):
        dead.advance(left, 3)
    batch = taken(heir)
    assert (batch.id, batch.attempt) == (left.id, 2), "the abandoned first"
    assert heir.free_leases_of("store") == 0, "our own stay"
    heir.renew(batch)
    foreign.renew(theirs)
    keys = heir.keys[PLAIN]
    repeat = [keys.frozen(left.id), keys.state(left.id), keys.leases], [left.id, left.lease, "newer"]
    assert heir.calls.script("free", *repeat) == [b"changed"]


def test_another_stores_batches_are_reported_and_never_touched(raw: Any, make_source: MakeSource) -> None:
    foreign, ours = make_source(store_id="foreign"), make_source()
    push(raw, 3)
    began = ours.time_ms()
    foreign.seal()
    ended = ours.time_ms()
    assert ours.take() is None
    assert ours.backlog() == []
    (seen,) = ours.foreign_batches()
    assert (seen.list_name, seen.store_id, seen.batches) == (PLAIN, "foreign", 1)
    assert began <= seen.last_seal_ms <= ended
    expire_leases(raw, foreign)
    assert ours.take() is None
    assert len(drain(foreign)[PLAIN]) == 3
    assert foreign.foreign_batches() == []
