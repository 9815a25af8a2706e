"""What is not to be kept goes in whole days, is announced, and never counts half."""

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from keytrail.config import Retention
from keytrail.errors import RequestError, StoreError
from keytrail.metrics import Metrics
from keytrail.query.ask import ask
from keytrail.query.question import parse
from keytrail.query.request import Scope
from keytrail.store import upkeep
from keytrail.store.kept import (
    BEGINNING,
    RAW_ROWS,
    RECORDED,
    ROLLUP_ROWS,
    kept_since,
    note_kept_since,
    partitions,
)
from keytrail.store.rebuild import differing, mend_months, months_of_raw
from keytrail.store.retention import Disk, Pruning, Step
from keytrail.store.tables import RAW, RETAINED, ROLLUPS
from keytrail.store.verify import verify
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product
from tests.store.room import at_rest

ORG = "o"
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
TABLES = [rollup.table for rollup in ROLLUPS]
KEEPS = Retention(raw_days=10, rollup_months=2, recorded_days=3)


def line(day: date, n: int) -> bytes:
    instant = datetime(day.year, day.month, day.day, n % 24, tzinfo=UTC)
    record = Record(
        timestamp=int(instant.timestamp()) * SECOND,
        org_id=ORG,
        api_id="a",
        api_key="7f3c3ca87376cabe",
        oauth_id="c",
        path="/",
        response_code=200,
        latency_total=n,
    )
    recorded = base64.b64encode(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").decode()
    return json.dumps({**json.loads(to_json(record)), "raw_request": recorded}).encode()


def put(store: Product, day: date, count: int, batch: str = "") -> None:
    batch = batch or f"batch of {day}"
    lines = [line(day, n) for n in range(count)]
    taken = store.parts.intake.take(batch, 0, lines, following="", attempt=1, origin="test", org=None)
    assert taken.stored + taken.duplicate == count


DAYS = [date(2025, 12, 30), date(2025, 12, 31), date(2026, 1, 31), date(2026, 2, 1)]
DAYS += [date(2026, 3, day) for day in (1, 5, 9, 10, 16, 17, 19, 20)]
KEPT = ["20260310", "20260316", "20260317", "20260319", "20260320"]
"""Ten days beside today."""
LINES = [line(day, n) for day in DAYS for n in range(3)]
BATCH: dict[str, str] = {}
LEFT = (len(DAYS) - 2) * 3
"""Records in the sums, once December is gone."""


def broken_off(store: Product, day: date, count: int, batch: str) -> None:
    """Store records as if the process had been killed before it wrote the batch down."""
    lines = [line(day, n) for n in range(count)]
    chunk = store.parts.intake.prepare(batch, 0, lines, following="", attempt=1, origin="test")
    store.parts.engine.insert(RAW, chunk.rows, f"{batch}:0")


@pytest.fixture
def filled(store: Product) -> Iterator[Product]:
    """Three records on each of some days."""
    store.empty()
    store.parts.engine.command(f"TRUNCATE TABLE {RETAINED}{store.parts.engine.layout.on_cluster}")
    # A batch of its own for each test: tables remember the tokens of parts that are gone.
    BATCH["many"] = uuid.uuid4().hex
    assert store.parts.intake.take(
        BATCH["many"], 0, LINES, following="", attempt=1, origin="t", org=None
    ).stored == len(LINES)
    store.came_in_time()
    yield store
    store.empty()
    store.parts.engine.command(f"TRUNCATE TABLE {RETAINED}{store.parts.engine.layout.on_cluster}")


class Room(Pruning):
    """Pruning on a disk of 1,000 bytes."""

    free = 1000

    def disk(self) -> Disk:
        return Disk(self.free, 1000)


def pruning(store: Product, keeps: Retention = KEEPS, free: int = 1000) -> Room:
    made = Room(store.parts.engine, store.parts.writer, keeps, None, Metrics())
    made.free = free
    return made


def days(store: Product, table: str = RAW) -> list[str]:
    return [one.id for one in partitions(store.parts.engine, table)]


def sums(store: Product) -> list[int]:
    return [store.query(f"SELECT sum(records) FROM {table}")[0][0] for table in TABLES]


def told(steps: list[Step], what: str) -> list[str]:
    return [step.partition.id for step in steps if step.what == what and not step.waits]


def test_what_is_older_goes_in_whole_partitions(filled: Product) -> None:
    engine = filled.parts.engine
    assert [kept_since(engine, what) for what in (RAW_ROWS, ROLLUP_ROWS, RECORDED)] == [BEGINNING] * 3
    planned = pruning(filled).plan(NOW)
    assert len(days(filled)) == len(DAYS), "a plan takes nothing away"
    done = pruning(filled).run(NOW)
    assert done == planned
    # All that is older than three days beside today loses its recorded requests.
    assert days(filled) == KEPT
    assert told(done, "recorded") == ["20260310", "20260316"]
    assert filled.query(f"SELECT min(toDate(time)) FROM {RAW} WHERE raw_request != ''") == [(date(2026, 3, 17),)]
    # Two months beside this one.
    assert days(filled, "by_key_15m") == ["202601", "202602", "202603"]
    assert sums(filled) == [LEFT] * len(ROLLUPS)
    assert kept_since(engine, RAW_ROWS) == date(2026, 3, 10)
    assert kept_since(engine, ROLLUP_ROWS) == date(2026, 1, 1)
    assert kept_since(engine, RECORDED) == date(2026, 3, 17)
    assert pruning(filled).plan(NOW) == []
    verified = verify(engine, filled.parts.writer)
    assert (verified.records, verified.differing, verified.rollups) == (15, [], [])


def test_history_that_comes_late_stays_as_if_it_were_new(filled: Product) -> None:
    """Thirteen records of 1 March, of which nine come on the 19th: their day stays for ten days from then."""
    put(filled, date(2026, 3, 1), 9, "late")
    filled.parts.engine.command(
        "ALTER TABLE batches UPDATE written_at = toDateTime64('2026-03-19', 3, 'UTC') WHERE batch_id = 'late' "
        "SETTINGS mutations_sync = 2"
    )
    planned = pruning(filled).plan(NOW)
    assert "20260301" not in told(planned, "raw")
    assert "20260305" in told(planned, "raw")
    assert "20260301" in told(pruning(filled).plan(NOW + timedelta(days=10)), "raw")
    # Once it can't be asked for any more, nothing is gained by keeping it.
    pruning(filled).run(NOW)
    assert "20260301" in told(pruning(filled).plan(NOW), "raw")


@pytest.mark.parametrize("keeps", [Retention(raw_days=0, rollup_months=0, recorded_days=0)])
def test_for_ever(filled: Product, keeps: Retention) -> None:
    assert pruning(filled, keeps).plan(NOW) == []


def test_duplicates_stay_duplicates(filled: Product) -> None:
    pruning(filled).run(NOW)
    before = sums(filled)
    put(filled, date(2026, 3, 19), 3, "later")
    for attempt in (1, 2):
        again = filled.parts.intake.take(BATCH["many"], 0, LINES, following="", attempt=attempt, origin="t", org=None)
        assert (again.stored, again.duplicate) == (0, len(LINES))
    assert sums(filled) == [count + 3 for count in before]


def test_rebuilding_keeps_the_days_whose_rows_are_gone(filled: Product) -> None:
    pruning(filled).run(NOW)
    engine, writer, before = filled.parts.engine, filled.parts.writer, sums(filled)
    assert months_of_raw(engine) == [202603]
    assert writer.drift([202602, 202603]) == []
    # What came late for a day that is gone is in the sums, and is not compared with rows that go again.
    put(filled, date(2026, 3, 5), 5)
    assert [differing(engine, month) for month in (202602, 202603)] == [[], []]
    altered = engine.layout.alter("by_key_day")
    engine.command(f"{altered} DELETE WHERE bucket >= '2026-03-15' SETTINGS mutations_sync = 2")
    assert differing(engine, 202603) == ["by_key_day"]
    assert mend_months(engine, [202602, 202603]) == ["by_key_day 202603"]
    assert writer.rebuild([202601, 202602, 202603]) == [f"{table} 202603" for table in TABLES]
    assert sums(filled) == [count + 5 for count in before]
    assert told(pruning(filled).run(NOW), "raw") == ["20260305"]
    assert sums(filled) == [count + 5 for count in before]


def test_what_needs_rows_that_are_gone_says_so(filled: Product) -> None:
    pruning(filled).run(NOW)
    engine = filled.parts.engine

    def records(start: str, end: str, **more: Any) -> int:
        asked = {"metrics": ["records"], "from": start, "to": end, **more}
        return int(ask(engine, Scope(ORG), parse(asked, default_zone="UTC")).rows[0]["records"])

    by_country = {"filter": {"dimension": "country", "operator": "is", "value": ""}}
    assert records("2026-01-01", "2026-03-20") == LEFT
    assert records("2026-03-10", "2026-03-20", **by_country) == 15
    with pytest.raises(RequestError, match="single records of 2026-03-09, and those from before 2026-03-10 are no"):
        records("2026-03-09", "2026-03-20", **by_country)
    with pytest.raises(RequestError, match="nothing of 2025-12-31 is kept any more"):
        records("2025-12-31", "2026-03-20")
    # A minute in the middle of a quarter of an hour is read from raw rows.
    assert records("2026-01-31T10:15:00Z", "2026-02-01T10:15:00Z") == 3
    with pytest.raises(RequestError, match="single records of 2026-02-01"):
        records("2026-01-31T10:15:00Z", "2026-02-01T10:16:00Z")


def test_taken_away_while_it_was_read(filled: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = filled.parts.engine
    read = engine.query

    def slow(sql: str, *more: Any) -> Any:
        found = read(sql, *more)
        if "country" in sql:
            monkeypatch.undo()
            pruning(filled).run(NOW)
        return found

    monkeypatch.setattr(engine, "query", slow)
    asked = {"metrics": ["records"], "dimensions": ["country"], "from": "2026-03-01", "to": "2026-03-20"}
    with pytest.raises(RequestError, match="single records of 2026-03-01"):
        ask(engine, Scope(ORG), parse(asked, default_zone="UTC"))


def test_the_oldest_days_go_before_the_disk_is_full(filled: Product) -> None:
    for_ever = Retention(raw_days=0, rollup_months=0, recorded_days=0, free_share=0.5)
    # Whatever is dropped or merged and not yet removed counts as free.
    filled.parts.engine.query("SELECT 1")
    sizes = {one.id: one.size for one in partitions(filled.parts.engine, RAW)}
    short = pruning(filled, for_ever, free=500)
    assert (short.plan(NOW), short.short_of_room()) == ([], "")

    def plan(leaving: int) -> list[Step]:
        short.disk = lambda: Disk(0, 2 * (leaving + sizes["20251230"] + 1))  # type: ignore[method-assign]
        return short.plan(NOW)

    steps = at_rest(filled, plan)
    assert [(step.what, step.partition.id, step.why) for step in steps] == [
        ("raw", "20251230", "disk"),
        ("raw", "20251231", "disk"),
    ]
    assert "0.0% free, less than retention.free_share" in short.short_of_room()
    # Today and yesterday stay, however little room there is.
    short.disk = lambda: Disk(0, 2**50)  # type: ignore[method-assign]
    short.run(NOW)
    assert days(filled) == ["20260319", "20260320"]
    assert kept_since(filled.parts.engine, RAW_ROWS) == date(2026, 3, 18)
    assert sums(filled) == [len(LINES)] * len(ROLLUPS)


def test_a_batch_that_is_tried_again_finds_its_rows(filled: Product) -> None:
    """Dropped with its rows, it would be stored again, and its sums count twice."""
    broken_off(filled, date(2026, 3, 8), 4, "broken off")
    steps = pruning(filled).plan(NOW)
    assert [step.partition.id for step in steps if step.waits] == ["20260308"]
    pruning(filled).run(NOW)
    assert days(filled)[:2] == ["20260308", "20260310"]
    before = sums(filled)
    lines = [line(date(2026, 3, 8), n) for n in range(4)]
    taken = filled.parts.intake.take("broken off", 0, lines, following="", attempt=2, origin="test", org=None)
    assert taken.stored == 4
    assert sums(filled) == before
    assert told(pruning(filled).run(NOW), "raw") == ["20260308"]


@pytest.mark.parametrize("age", [12, 2_000])
def test_one_that_nobody_tries_again_does_not_keep_a_day_for_ever(store: Product, age: int) -> None:
    """Nor less than a week where it is of an import of history, which comes long after its days."""
    store.empty()
    # By the clock of the machine, as the engine knows by it when rows came.
    now = datetime.now(UTC)
    day = now.date() - timedelta(days=age)
    broken_off(store, day, 4, "given up")
    for days_later, waits in ((0, True), (4, True), (10, False)):
        plan = pruning(store).plan(now + timedelta(days=days_later))
        assert [(step.partition.id, step.waits) for step in plan if step.what == "raw"] == [(f"{day:%Y%m%d}", waits)]


@pytest.mark.parametrize("at", ["INSERT INTO retained", "DROP PARTITION ID '20260301'", "UPDATE raw_request"])
def test_broken_off_and_run_again(filled: Product, at: str) -> None:
    engine = filled.parts.engine

    class Breaking:
        """The engine, which is gone at one statement."""

        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def command(self, sql: str, *more: Any) -> None:
            if at in sql:
                raise StoreError("killed")
            engine.command(sql, *more)

        def insert(self, table: str, *more: Any) -> None:
            if at.endswith(table):
                raise StoreError("killed")
            engine.insert(table, *more)

    breaking: Any = Breaking()
    with pytest.raises(StoreError, match="killed"):
        Room(breaking, filled.parts.writer, KEEPS, None, Metrics()).run(NOW)
    assert len(days(filled)) == len(DAYS) or kept_since(engine, RAW_ROWS) == date(2026, 3, 10)
    pruning(filled).run(NOW)
    assert days(filled) == KEPT
    assert sums(filled) == [LEFT] * len(ROLLUPS)
    assert filled.query(f"SELECT min(toDate(time)) FROM {RAW} WHERE raw_request != ''") == [(date(2026, 3, 17),)]


def test_a_store_whose_raw_table_has_months(filled: Product) -> None:
    """As those that were made before raw rows stood in days."""
    engine = filled.parts.engine
    made = engine.query(f"SHOW CREATE TABLE {RAW}").rows[0][0]
    engine.command(f"RENAME TABLE {RAW} TO requests_in_days")
    try:
        engine.command(made.replace("toYYYYMMDD(time)", "toYYYYMM(time)"))
        engine.command(f"INSERT INTO {RAW} SELECT * FROM requests_in_days")
        steps = pruning(filled, replace_days(KEEPS, 19)).plan(NOW)
        assert told(steps, "raw") == ["202512", "202601", "202602"]
        assert (steps[0].partition.start, steps[0].partition.end) == (date(2025, 12, 1), date(2026, 1, 1))
        assert told(pruning(filled, replace_days(KEEPS, 20)).plan(NOW), "raw") == ["202512", "202601"]
    finally:
        engine.command(f"DROP TABLE {RAW} SYNC")
        engine.command(f"RENAME TABLE requests_in_days TO {RAW}")


def replace_days(keeps: Retention, days: int) -> Retention:
    return keeps.model_copy(update={"raw_days": days})


@pytest.mark.parametrize("fault", [ValueError("a fault of ours"), StoreError("away"), OSError("the disk")])
def test_no_fault_ends_pruning_for_good(filled: Product, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    pruned, again = [], threading.Event()

    def prune(_: upkeep.Upkeep) -> list[Step]:
        pruned.append(1)
        if len(pruned) == 1:
            raise fault
        again.set()
        return []

    monkeypatch.setattr(upkeep, "FIRST_PRUNE", 0.0)
    monkeypatch.setattr(upkeep, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(upkeep.Upkeep, "prune", prune)
    with filled.parts.upkeep.running():
        assert again.wait(60)


def test_from_when_on_there_is_something_is_known_though_a_token_was_logged_before(store: Product) -> None:
    """As after a kill between the engine's note of a token and the part that belongs to it."""
    for _ in range(2):
        note_kept_since(store.parts.engine, RAW_ROWS, date(2026, 3, 10))
        assert kept_since(store.parts.engine, RAW_ROWS) == date(2026, 3, 10)
        store.parts.engine.command(f"ALTER TABLE {RETAINED} DELETE WHERE 1 SETTINGS mutations_sync = 2")
