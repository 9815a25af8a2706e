"""Small batches of several lists go into the store in one insert, and still count each exactly once."""

from collections.abc import Iterator
from operator import gt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from keytrail.cli.collecting import collecting
from keytrail.collect.chunks import chunk_of
from keytrail.collect.frozen_batch import Batch
from keytrail.collect.redis_url import parse_redis_url
from keytrail.collect.source import Source
from keytrail.collect.together import SMALL
from keytrail.errors import StoreError
from keytrail.store.ledger import Ledger
from keytrail.store.tables import BATCHES, RAW, ROLLUPS
from tests.collect.conftest import PLAIN
from tests.collect.redis_servers import Server, Servers, connect, wait_for
from tests.faults.rig import encoded
from tests.product import Product, product

pytestmark = pytest.mark.redis

LISTS = [PLAIN, *(f"{PLAIN}_{number}" for number in range(9))]
EACH = 30


@pytest.fixture
def server(own_servers: Servers) -> Server:
    return own_servers.start()


@pytest.fixture
def running(server: Server, tmp_path: Path) -> Iterator[Product]:
    """A store with one batch of each list waiting."""
    client = server.client()
    for place, name in enumerate(LISTS):
        client.rpush(name, *[encoded(place * EACH + number, name) for number in range(EACH)])
    url = f"redis://127.0.0.1:{server.port}/0"
    with product(tmp_path, redis__url=[url]) as made:
        yield made


def counts(running: Product) -> set[int]:
    """Records in the raw table and in each rollup."""
    found = {int(running.query(f"SELECT sum(records) FROM {rollup.table}")[0][0]) for rollup in ROLLUPS}
    return found | {int(running.query("SELECT count() FROM requests")[0][0])}


def sealed(running: Product) -> Source:
    """All lists sealed, before the collector takes any."""
    source = running.parts.collectors[0].source
    source.seal()
    return source


def take_again(server: Server, running: Product, source: Source) -> None:
    """Let others take what a killed worker held, until all of it is let go of."""
    url = parse_redis_url(f"redis://127.0.0.1:{server.port}/0")
    again = Source(connect(url), name="again", owner="again", store_id=source.store_id)
    again.free_leases_of(source.store_id)
    again.close()
    with collecting(running.parts.collectors):
        wait_for(lambda: not any(one.batches for one in source.backlog()), what="batches let go of")


def test_small_batches_go_in_together(running: Product) -> None:
    source = sealed(running)
    with collecting(running.parts.collectors):
        wait_for(lambda: counts(running) == {len(LISTS) * EACH}, what="all records")
        wait_for(lambda: not any(one.batches for one in source.backlog()), what="batches let go of")
    ledger = running.query(
        "SELECT token, count(), sum(stored), uniqExact(batch_id, origin) FROM batches GROUP BY token"
    )
    assert [row[1:] for row in ledger] == [(len(LISTS), len(LISTS) * EACH, len(LISTS))]


@pytest.mark.parametrize("table", [RAW, BATCHES])
@pytest.mark.parametrize("after", [False, True], ids=["before the insert", "after the insert"])
def test_an_insert_of_unknown_outcome(
    running: Product, monkeypatch: pytest.MonkeyPatch, table: str, after: bool
) -> None:
    engine = running.parts.engine
    insert = engine.insert
    failed: list[str] = []

    def fail_once(into: str, rows: pa.Table, token: str) -> None:
        fail = into == table and token.startswith("together:") and not failed
        if not fail or after:
            insert(into, rows, token)
        if fail:
            failed.append(token)
            raise StoreError("cut off")

    monkeypatch.setattr(engine, "insert", fail_once)
    source = sealed(running)
    with collecting(running.parts.collectors):
        wait_for(lambda: bool(failed) and not any(one.batches for one in source.backlog()), what="batches let go of")
    assert counts(running) == {len(LISTS) * EACH}
    assert running.query("SELECT uniqExact(batch_id, seq) FROM requests") == [(len(LISTS) * EACH,)]
    assert running.query("SELECT sum(stored), count() FROM batches") == [(len(LISTS) * EACH, len(LISTS))]


def test_leases_are_renewed_until_they_are_in(
    server: Server, running: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An insert may have to wait for longer than a lease, while others on a server erase somebody."""
    source = sealed(running)
    monkeypatch.setattr(source, "lease_seconds", 0.3)  # Of what is renewed: the leases last as long as ever.
    client = server.client()
    url = parse_redis_url(f"redis://127.0.0.1:{server.port}/0")
    other = Source(connect(url), name="other", owner="other", store_id=source.store_id)
    insert, taken = running.parts.engine.insert, list[Batch | None]()

    def deadlines() -> list[float]:
        return [score for name in LISTS for _, score in client.zrange(source.keys[name].leases, 0, -1, withscores=True)]

    def slow(into: str, rows: pa.Table, token: str) -> None:
        if into == RAW:
            for _ in range(2):
                before = deadlines()
                wait_for(lambda old=before: all(map(gt, deadlines(), old)), what="renewal")  # type: ignore[misc]
            assert len(before) == len(LISTS)
            taken.append(other.take())
        insert(into, rows, token)

    monkeypatch.setattr(running.parts.engine, "insert", slow)
    first = source.take()
    assert first is not None
    assert running.parts.collectors[0]._together.store(first) == []
    assert taken == [None]
    other.close()


def test_taken_by_another_after_the_insert(server: Server, running: Product) -> None:
    """As after a kill between the insert and the ledger: whoever takes a batch next counts before it inserts."""
    source = sealed(running)
    engine = running.parts.engine
    insert = engine.insert

    class Killed(BaseException):
        pass

    def die(into: str, rows: Any, token: str) -> None:
        if into == BATCHES:
            raise Killed
        insert(into, rows, token)

    one = running.parts.collectors[0]
    first = source.take()
    assert first is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "insert", die)
        with pytest.raises(Killed):
            one._together.store(first)
    assert running.query("SELECT count() FROM requests") == [(len(LISTS) * EACH,)]
    take_again(server, running, source)
    assert counts(running) == {len(LISTS) * EACH}
    assert running.query("SELECT sum(stored), count() FROM batches") == [(len(LISTS) * EACH, len(LISTS))]
    metrics = running.http.get("/metrics").text
    for name in ("keytrail_takeovers_total", "keytrail_chunks_retried_total"):
        assert f'{name}{{source="{source.name}"}} {len(LISTS)}.0' in metrics


def test_taken_by_another_after_the_ledger(server: Server, running: Product) -> None:
    """As after a kill between the ledger and letting go: it is a duplicate, and the ledger tells of it."""
    source = sealed(running)
    one = running.parts.collectors[0]
    first = source.take()
    assert first is not None
    running.parts.writer.write(chunk_of(source.name, first, one._read(first), first.attempt))
    take_again(server, running, source)
    assert counts(running) == {len(LISTS) * EACH}
    told = Ledger(running.parts.engine).batches(limit=99)
    ends = ("attempt", "taken", "stored", "rejected", "duplicate")
    of_first = [one for one in told if one["batch_id"] == first.id]
    assert sorted(tuple(one[end] for end in ends) for one in of_first) == [(1, EACH, EACH, 0, 0), (2, EACH, 0, 0, EACH)]
    assert {one["origin"] for one in of_first} == {f"{source.name}/{first.list_name}"}
    assert len({one["sealed_at"] for one in of_first}) == 1
    totals, all_lists = Ledger(running.parts.engine).totals(), len(LISTS) * EACH
    assert (totals["taken"], totals["stored"], totals["duplicate"]) == (all_lists + EACH, all_lists, EACH)
    shown = running.http.get("/metrics").text
    assert f'keytrail_records_duplicate_total{{source="{source.name}"}} {EACH}.0' in shown


def test_a_redis_that_lost_its_last_moments(server: Server, running: Product) -> None:
    """It gives what was let go of once more, as if nobody had ever taken it."""
    client = server.client()
    # Another batch of a list that is large enough to go in by itself.
    name = f"{PLAIN}_9_protobuf"
    client.rpush(name, *[encoded(number, name) for number in range(5_000, 5_000 + SMALL + 1)])
    source = sealed(running)
    saved = {key: client.dump(key) for key in client.scan_iter()}
    with collecting(running.parts.collectors):
        wait_for(lambda: not any(one.batches for one in source.backlog()), what="batches let go of")
        # All keys at once, as a server comes back: else a collector sees the head of a batch without its records.
        with client.pipeline(transaction=True) as restoring:
            for key, content in saved.items():
                restoring.restore(key, 0, content, replace=True)
            restoring.execute()
        wait_for(lambda: not any(one.batches for one in source.backlog()), what="batches let go of again")
    records = len(LISTS) * EACH + SMALL + 1
    assert counts(running) == {records}
    totals = Ledger(running.parts.engine).totals()
    assert (totals["stored"], totals["duplicate"]) == (records, records)


def test_a_rejected_record_stays_with_its_own_batch(
    server: Server, running: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.client().rpush(LISTS[3], b"\xc1 no record")
    source = sealed(running)
    read = source.read
    names: list[str] = []

    def noted(batch: Batch) -> list[bytes]:
        names.append(batch.list_name)
        return read(batch)

    monkeypatch.setattr(source, "read", noted)
    with collecting(running.parts.collectors):
        wait_for(lambda: not any(one.batches for one in source.backlog()), what="batches let go of")
        assert len(source.rejects(LISTS[3])) == 1
    assert sorted(names) == sorted(LISTS), "each batch is read and decoded once"
    assert counts(running) == {len(LISTS) * EACH}
    assert running.query("SELECT list LIKE '%_2', seq FROM rejects") == [(1, EACH)]
