"""A chunk counts exactly once, in the raw table and in every rollup, whatever became of earlier attempts."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from keytrail.errors import StoreError
from keytrail.store.chunk import Chunk, Written
from keytrail.store.ledger import Ledger
from keytrail.store.mutations import wait_for_mutations
from keytrail.store.rebuild import differing, mend_months
from keytrail.store.tables import DUPLICATES, ROLLUPS
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product

# Two chunks of a batch, over two months, and another batch that has nothing to do with what goes wrong.
FIRST = int(datetime(2026, 2, 27, tzinfo=UTC).timestamp()) * SECOND
RECORDS = [
    Record(
        timestamp=FIRST + n * 3600 * SECOND,
        org_id="o",
        api_id=f"api-{n % 3}",
        api_key="7f3c3ca87376cabe",
        oauth_id="c" if n % 4 else "",
        path="/",
        response_code=200,
        latency_total=n,
        latency_upstream=n // 2,
        request_time=n,
    )
    for n in range(120)
]
OTHERS = RECORDS[:7]
MONTHS = (202602, 202603)


ROUND: dict[Product, int] = {}


def batch_of(store: Product) -> str:
    """Each test has a batch of its own: tables remember the tokens of parts that were replaced."""
    return f"batch {ROUND[store]}"


def chunk(store: Product, *, attempt: int = 1, other: bool = False, offset: int = 0) -> Chunk:
    records = OTHERS if other else RECORDS[offset : offset + 60]
    lines = [to_json(record).encode() for record in records]
    # Lines that are no records have their place too.
    lines.insert(30, b"no record")
    name = batch_of(store) + (" of another" if other else "")
    return store.parts.intake.prepare(name, offset, lines, following="", attempt=attempt, origin="test")


def write(store: Product, *, attempt: int = 1, other: bool = False, offset: int = 0) -> Written:
    return store.parts.writer.write(chunk(store, attempt=attempt, other=other, offset=offset))


def alter(store: Product, table: str, how: str) -> None:
    """Alter the rows of a table behind the store's back, on a cluster in every shard."""
    store.parts.engine.command(f"{store.parts.engine.layout.alter(table)} {how}")


def delete(store: Product, more: str = "") -> None:
    """Take raw rows of the test's batch away."""
    place = f"batch_id = '{batch_of(store)}' {more}"
    alter(store, "requests", f"DELETE WHERE {place} SETTINGS mutations_sync = 2")


def unconfirmed(store: Product) -> None:
    """As if the process had been killed before it wrote the batch down."""
    store.parts.engine.command(f"TRUNCATE TABLE batches{store.parts.engine.layout.on_cluster}")


def counted(store: Product) -> dict[str, int]:
    """Records of each rollup beside how many each should have, as the raw rows say."""
    tables = {rollup.table: f"SELECT sum(records) FROM {rollup.table}" for rollup in ROLLUPS}
    tables["requests"] = "SELECT count() FROM requests"
    return {table: store.query(sql)[0][0] for table, sql in tables.items()}


def exact(store: Product, records: list[Record]) -> None:
    assert counted(store) == dict.fromkeys((*(rollup.table for rollup in ROLLUPS), "requests"), len(records))
    latency = sum(record.latency_total for record in records)
    for rollup in ROLLUPS:
        assert store.query(f"SELECT sum(latency_sum) FROM {rollup.table}") == [(latency,)]
    assert [table for month in MONTHS for table in differing(store.parts.engine, month)] == []


@pytest.fixture(autouse=True)
def _neighbours(store: Product) -> None:
    store.empty()
    ROUND[store] = ROUND.get(store, 0) + 1
    write(store, other=True)


def test_the_same_chunk_twice_counts_once(store: Product) -> None:
    """Even where the second writer thinks that it is the first: the engine knows its token."""
    for _ in range(3):
        write(store)
        exact(store, RECORDS[:60] + OTHERS)
    assert store.query(f"SELECT count() FROM batches WHERE batch_id = '{batch_of(store)}'") == [(1,)]


def test_a_confirmed_chunk_is_a_duplicate(store: Product) -> None:
    assert write(store) == Written(stored=60, rejected=1, duplicate=0)
    assert write(store, attempt=2) == Written(stored=0, rejected=0, duplicate=61)
    exact(store, RECORDS[:60] + OTHERS)
    assert store.query(
        f"SELECT taken, stored, rejected, attempt FROM batches WHERE batch_id = '{batch_of(store)}'"
    ) == [(61, 60, 1, 1)]
    # Each time that it comes again is in the ledger, and the ledger still adds up.
    assert write(store, attempt=3) == Written(stored=0, rejected=0, duplicate=61)
    assert store.query(
        f"SELECT offset, source, origin, records, attempt FROM duplicates WHERE batch_id = '{batch_of(store)}' "
        "ORDER BY attempt"
    ) == [(0, "file", "test", 61, 2), (0, "file", "test", 61, 3)]
    ledger = Ledger(store.parts.engine)
    entries = [one for one in ledger.batches(limit=9) if one["batch_id"] == batch_of(store)]
    counts = [[one[name] for name in ("attempt", "taken", "stored", "rejected", "duplicate")] for one in entries]
    assert sorted(counts) == [[1, 61, 60, 1, 0], [2, 61, 0, 0, 61], [3, 61, 0, 0, 61]]
    assert [one["ms_to_visible"] is None for one in entries] == [one["duplicate"] > 0 for one in entries]
    totals = ledger.totals()
    # The neighbour has 7 records and a line that is none.
    assert [totals[name] for name in ("taken", "stored", "rejected", "duplicate")] == [3 * 61 + 8, 67, 2, 2 * 61]


def test_a_duplicate_that_cannot_be_noted_is_not_let_go_of(store: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store)
    insert = store.parts.engine.insert

    def refuse(table: str, rows: pa.Table, token: str) -> None:
        if table == DUPLICATES:
            raise StoreError("the disk is full")
        insert(table, rows, token)

    with monkeypatch.context() as patch:
        patch.setattr(store.parts.engine, "insert", refuse)
        with pytest.raises(StoreError, match="the disk is full"):
            write(store, attempt=2)
    assert write(store, attempt=3) == Written(stored=0, rejected=0, duplicate=61)
    assert store.query("SELECT sum(records), max(attempt) FROM duplicates") == [(61, 3)]
    exact(store, RECORDS[:60] + OTHERS)


def test_two_chunks_of_a_batch(store: Product) -> None:
    write(store)
    write(store, offset=60)
    write(store, offset=60, attempt=2)
    exact(store, [*RECORDS[:60], *RECORDS[60:], *OTHERS])


def test_a_second_attempt_where_nothing_was_stored(store: Product) -> None:
    assert write(store, attempt=2) == Written(stored=60, rejected=1, duplicate=0)
    exact(store, RECORDS[:60] + OTHERS)
    assert store.parts.writer.seen(batch_of(store), 0) == [{"taken": 61, "stored": 60, "rejected": 1, "next": ""}]


def _all_stored(store: Product) -> None:
    """The kill came just before the chunk was confirmed."""


def _raw_partly_gone(store: Product) -> None:
    delete(store, "AND seq % 3 = 0")


def _raw_gone_but_its_token_known(store: Product) -> None:
    delete(store)


def _raw_partition_gone(store: Product) -> None:
    """The other batch has no records in March."""
    alter(store, "requests", "DROP PARTITION ID '20260301'")


def _one_day_twice_and_another_gone(store: Product) -> None:
    """As many rows as there should be: two kills left a day of each attempt, as an insert has a part for each day."""
    delete(store, "AND toDate(time) = '2026-02-28'")
    store.parts.engine.command(
        f"INSERT INTO requests SELECT * FROM requests WHERE batch_id = '{batch_of(store)}' "
        "AND toDate(time) = '2026-02-27' SETTINGS insert_deduplicate = 0"
    )


def _a_rollup_partition_gone(store: Product) -> None:
    alter(store, "by_key_15m", "DROP PARTITION ID '202602'")


def _every_rollup_gone(store: Product) -> None:
    layout = store.parts.engine.layout
    for rollup in ROLLUPS:
        store.parts.engine.command(f"TRUNCATE TABLE {layout.local(rollup.table)}{layout.on_cluster}")


def _a_rollup_counted_twice(store: Product) -> None:
    rollup = ROLLUPS[0]
    store.parts.engine.command(f"INSERT INTO {rollup.table} {rollup.select()}")


def _everything_at_once(store: Product) -> None:
    _raw_partly_gone(store)
    _a_rollup_partition_gone(store)
    _a_rollup_counted_twice(store)


HAVOC: dict[str, Callable[[Product], None]] = {
    "nothing": _all_stored,
    "raw rows partly gone": _raw_partly_gone,
    "raw rows gone, token known": _raw_gone_but_its_token_known,
    "raw partition gone": _raw_partition_gone,
    "one day twice, another gone": _one_day_twice_and_another_gone,
    "rollup partition gone": _a_rollup_partition_gone,
    "every rollup gone": _every_rollup_gone,
    "rollup counted twice": _a_rollup_counted_twice,
    "everything at once": _everything_at_once,
}


@pytest.mark.parametrize("name", HAVOC)
def test_a_second_attempt_mends(store: Product, name: str) -> None:
    write(store)
    HAVOC[name](store)
    unconfirmed(store)
    assert write(store, attempt=2) == Written(stored=60, rejected=1, duplicate=0)
    exact(store, RECORDS[:60] + OTHERS)
    # And a third sees that the second was good.
    assert write(store, attempt=3) == Written(stored=0, rejected=0, duplicate=61)
    exact(store, RECORDS[:60] + OTHERS)


@pytest.mark.parametrize("name", ["raw rows gone, token known", "rollup partition gone"])
def test_attempts_upon_attempts_mend(store: Product, name: str) -> None:
    """Each attempt may fail as the one before it did, just before it was confirmed."""
    write(store)
    for attempt in (2, 3):
        HAVOC[name](store)
        unconfirmed(store)
        write(store, attempt=attempt)
        exact(store, RECORDS[:60] + OTHERS)


def test_a_token_of_the_ledger_without_its_row(store: Product) -> None:
    """As after a kill between the engine's note of the token and the part: the row is there after the next attempt."""
    whole = replace(chunk(store), digests=["a digest"])
    store.parts.writer.write(whole)
    for table in ("batches", "rejects"):
        alter(store, table, f"DELETE WHERE batch_id = '{batch_of(store)}' SETTINGS mutations_sync = 2")
    assert store.parts.writer.write(replace(whole, attempt=2)) == Written(stored=60, rejected=1, duplicate=0)
    for table in ("batches", "rejects"):
        assert store.query(f"SELECT count() FROM {table} WHERE batch_id = '{batch_of(store)}'") == [(1,)], table
    assert store.parts.writer.write(replace(whole, attempt=3)) == Written(stored=0, rejected=0, duplicate=61)


def test_rejects_are_noted_once_under_whatever_token(store: Product) -> None:
    whole = replace(chunk(store), digests=["a digest"])
    store.parts.writer.write(whole)
    _raw_gone_but_its_token_known(store)
    unconfirmed(store)
    assert store.parts.writer.write(replace(whole, attempt=2)).phantom
    assert store.query(f"SELECT seq FROM rejects WHERE batch_id = '{batch_of(store)}'") == [(30,)]


def test_what_a_killed_attempt_takes_away_is_waited_for(store: Product) -> None:
    """The engine goes on with it by itself; the rows that will go look as if they were there to stay."""
    write(store)
    unconfirmed(store)
    store.parts.engine.command("SYSTEM STOP MERGES requests")
    alter(store, "requests", f"DELETE WHERE batch_id = '{batch_of(store)}' SETTINGS mutations_sync = 0")
    going_on = threading.Timer(0.3, lambda: store.parts.engine.command("SYSTEM START MERGES requests"))
    going_on.start()
    assert write(store, attempt=2).stored == 60
    going_on.join()
    wait_for_mutations(store.parts.engine, "requests")
    exact(store, RECORDS[:60] + OTHERS)


def test_only_what_is_missing_goes_in_again(store: Product) -> None:
    """A rollup that has the others already is right at once, and no day is written again."""
    write(store)
    _raw_partition_gone(store)
    before = store.query("SELECT name FROM system.parts WHERE table = 'requests' AND active ORDER BY name")
    for rollup in ROLLUPS:
        alter(store, rollup.table, "DROP PARTITION ID '202603'")
    unconfirmed(store)
    assert write(store, attempt=2).rebuilt == 0
    exact(store, RECORDS[:60] + OTHERS)
    after = store.query("SELECT name FROM system.parts WHERE table = 'requests' AND active ORDER BY name")
    assert set(before) < set(after)


def test_the_other_chunk_of_a_batch_is_left_alone(store: Product) -> None:
    write(store)
    write(store, offset=61)
    _raw_partly_gone(store)
    unconfirmed(store)
    write(store, attempt=2)
    place = f"batch_id = '{batch_of(store)}' AND seq"
    assert store.query(f"SELECT count() FROM requests WHERE {place} < 61") == [(60,)]
    # Of the other one's places, 61 to 120, every third is gone, and the line that is no record.
    assert store.query(f"SELECT count() FROM requests WHERE {place} >= 61") == [(39,)]
    assert [table for month in MONTHS for table in differing(store.parts.engine, month)] == []


def test_a_chunk_without_rows_is_confirmed(store: Product) -> None:
    nothing = store.parts.intake.prepare(
        f"{batch_of(store)} empty", 0, [b"x", b"y"], following="n", attempt=2, origin="test"
    )
    assert store.parts.writer.write(nothing) == Written(stored=0, rejected=2, duplicate=0)
    assert store.parts.writer.write(nothing) == Written(stored=0, rejected=0, duplicate=2)
    assert store.query("SELECT taken, stored, rejected, reasons FROM batches WHERE batch_id LIKE '% empty'") == [
        (2, 0, 2, {"bad_line": 2})
    ]
    exact(store, OTHERS)


def test_the_ledger_tells_what_was_written(store: Product) -> None:
    write(store)
    found = store.parts.engine.query(f"SELECT * FROM batches WHERE batch_id = '{batch_of(store)}'").dicts()
    assert len(found) == 1
    row = found[0]
    oldest, newest = (datetime.fromtimestamp(r.timestamp // SECOND, UTC) for r in (RECORDS[0], RECORDS[59]))
    assert (row["taken"], row["stored"], row["rejected"]) == (61, 60, 1)
    assert (row["reasons"], row["stored_by_org"]) == ({"bad_line": 1}, {"o": 60})
    assert (row["oldest"].replace(tzinfo=UTC), row["newest"].replace(tzinfo=UTC)) == (oldest, newest)
    assert (row["source"], row["origin"], row["attempt"]) == ("file", "test", 1)


def test_mending_what_is_whole_does_nothing(store: Product) -> None:
    write(store)
    assert mend_months(store.parts.engine, MONTHS) == []
    assert mend_months(store.parts.engine, [199001]) == []


def test_mending_rebuilds_only_what_differs(store: Product) -> None:
    write(store)
    _a_rollup_partition_gone(store)
    assert mend_months(store.parts.engine, MONTHS) == ["by_key_15m 202602"]
    exact(store, RECORDS[:60] + OTHERS)
    assert store.query("SELECT count() FROM system.tables WHERE name LIKE '%rebuilt'") == [(0,)]


def test_mending_goes_on_after_a_rebuilding_that_was_killed(store: Product) -> None:
    write(store)
    layout = store.parts.engine.layout
    left, whole = layout.local("by_key_15m_rebuilt"), layout.local("by_key_15m")
    store.parts.engine.command(f"CREATE TABLE {left}{layout.on_cluster} AS {whole}")
    store.parts.engine.command(f"INSERT INTO {left} SELECT * FROM {whole}")
    _a_rollup_partition_gone(store)
    mend_months(store.parts.engine, MONTHS)
    exact(store, RECORDS[:60] + OTHERS)


def test_a_chunk_is_stored_whole_or_not_at_all(store: Product) -> None:
    broken = chunk(store)
    rows = broken.rows.set_column(0, "time", pa.array(["no time"] * broken.rows.num_rows))
    with pytest.raises(StoreError):
        store.parts.writer.write(replace(broken, rows=rows))
    exact(store, OTHERS)
    write(store)
    exact(store, RECORDS[:60] + OTHERS)
