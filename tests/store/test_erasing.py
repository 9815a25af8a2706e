"""Whoever is erased is gone everywhere, does not come back, and the sums and the ledger still add up."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keytrail.config import Retention
from keytrail.errors import NotFound, StoreError
from keytrail.metrics import Metrics
from keytrail.store.chunk import Written
from keytrail.store.consumers import Link, read_links, replace_links
from keytrail.store.erased import Erased, Remembered, Subject
from keytrail.store.erasing import Erasing, Receipt
from keytrail.store.retention import Pruning
from keytrail.store.tables import BATCHES, CONSUMERS, ERASED, ERASED_ROWS, RAW, RETAINED, ROLLUPS
from keytrail.store.verify import verify
from keytrail.store.writer import Writer
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product

ORG, OTHER = "o", "other"
THEIRS, OTHERS = "7f3c3ca87376cabe", "00000000"
ADDRESS = "192.0.2.7"
TODAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""The first of a month: the three days are of three months."""
DAYS = [TODAY - timedelta(days=days) for days in (40, 1, 0)]
TABLES = [rollup.table for rollup in ROLLUPS]
EXACT = [table for table in TABLES if not table.startswith("by_client")]
"""The rollups that a key goes out of also where its raw rows are gone."""
EMPTY = ("batches", RAW, RETAINED, ERASED, ERASED_ROWS, CONSUMERS, *TABLES)


def line(day: datetime, n: int, key: str, org: str = ORG) -> bytes:
    record = Record(
        timestamp=int((day + timedelta(minutes=n)).timestamp()) * SECOND,
        org_id=org,
        api_id="a",
        api_key=key,
        alias=f"alias of {key}",
        oauth_id="c" if n % 2 else "",
        path="/",
        response_code=200,
        latency_total=n,
        tags=(f"key-{key}", "blue"),
    )
    fields = json.loads(to_json(record))
    return json.dumps({**fields, "ip_address": ADDRESS if key == THEIRS else "192.0.2.8"}).encode()


# On each day 6 records of theirs, 4 of others; 2 of theirs at another organisation.
LINES = [line(day, n, THEIRS) for day in DAYS for n in range(6)]
LINES += [line(day, n, OTHERS) for day in DAYS for n in range(6, 10)]
LINES += [line(DAYS[1], n, THEIRS, OTHER) for n in range(2)]
ROUND = itertools.count()


@pytest.fixture
def filled(store: Product) -> Iterator[Product]:
    empty(store)
    assert put(store, LINES) == (len(LINES), [])
    yield store
    empty(store)


def empty(store: Product) -> None:
    """Take everything away, and who was erased."""
    layout = store.parts.engine.layout
    for table in EMPTY:
        store.parts.engine.command(f"TRUNCATE TABLE {layout.local(table)}{layout.on_cluster}")
    store.parts.writer.erased.read()


def put(store: Product, lines: list[bytes], batch: str = "") -> tuple[int, list[str]]:
    batch = batch or f"batch {next(ROUND)}"
    taken = store.parts.intake.take(batch, 0, lines, following="", attempt=1, origin="test", org=None)
    return taken.stored, [item.reason.value for item in taken.rejected]


def erase(store: Product, subject: Subject, *, keep_counts: bool = False) -> Receipt:
    return Erasing(store.parts.engine, store.parts.writer).erase([subject], keep_counts=keep_counts)


def counts(store: Product) -> dict[str, int]:
    found = {table: store.query(f"SELECT sum(records) FROM {table}")[0][0] for table in TABLES}
    return {**found, RAW: store.query(f"SELECT count() FROM {RAW}")[0][0]}


def sound(store: Product) -> None:
    verified = verify(store.parts.engine, store.parts.writer)
    assert (verified.missing, verified.surplus, verified.differing, verified.rollups) == (0, 0, [], [])


def everything(store: Product) -> str:
    """All that stands in the store, as text."""
    tables = [name for (name,) in store.query("SELECT name FROM system.tables WHERE database = currentDatabase()")]
    return "".join(str(store.query(f"SELECT * FROM {name}")) for name in tables if not name.endswith("_view"))


def prune(store: Product) -> None:
    """Take the raw rows of the first day away."""
    keeps = Retention(raw_days=10)
    store.came_in_time()
    Pruning(store.parts.engine, store.parts.writer, keeps, None, Metrics()).run(TODAY)
    assert counts(store)[RAW] == len(LINES) - 10


@pytest.mark.parametrize("pruned", [False, True])
def test_a_key_is_gone(filled: Product, pruned: bool) -> None:
    if pruned:
        prune(filled)
    receipt = erase(filled, Subject("key", THEIRS))
    assert receipt.raw == (14 if pruned else 20)
    left = counts(filled)
    # Of the day whose raw rows are gone, the sums by client can't tell whose they are.
    clients = 12 + (6 if pruned else 0)
    assert left == {
        **dict.fromkeys(EXACT, 12),
        **dict.fromkeys(("by_client_15m", "by_client_day"), clients),
        RAW: 8 if pruned else 12,
    }
    assert bool(receipt.left) is pruned
    assert THEIRS not in everything(filled)
    assert THEIRS not in str(receipt)
    sound(filled)


def test_sums_by_api_are_those_without_the_key(filled: Product) -> None:
    prune(filled)
    erase(filled, Subject("key", THEIRS))
    assert filled.query("SELECT sum(latency_sum), min(latency_min), max(latency_max) FROM by_api_day") == [
        (3 * (6 + 7 + 8 + 9), 6, 9)
    ]
    (histogram,) = filled.query("SELECT sumMap(latency_histogram) FROM by_api_15m")[0]
    assert histogram == {6: 3, 7: 3, 8: 3, 9: 3}


@pytest.mark.parametrize("pruned", [False, True])
def test_the_counts_stay_under_an_anonymous_key(filled: Product, pruned: bool) -> None:
    if pruned:
        prune(filled)
    before = counts(filled)
    receipt = erase(filled, Subject("key", THEIRS), keep_counts=True)
    assert counts(filled) == before
    anonymous = receipt.digests[0]["anonymous"]
    assert filled.query("SELECT api_key, sum(records) FROM by_key_day GROUP BY api_key ORDER BY api_key") == [
        (OTHERS, 12),
        (anonymous, 20),
    ]
    assert THEIRS not in everything(filled)
    assert ADDRESS not in everything(filled)
    assert "blue" in everything(filled)
    sound(filled)
    # What comes later stands under the same name.
    assert put(filled, [line(TODAY, 20, THEIRS)]) == (1, [])
    assert filled.query(f"SELECT count() FROM {RAW} WHERE api_key = '{anonymous}'") == [(15 if pruned else 21,)]
    assert THEIRS not in everything(filled)
    assert ADDRESS not in everything(filled)
    sound(filled)


@pytest.mark.parametrize("keep_counts", [False, True])
def test_a_client_goes_out_of_the_sums_of_callers_alone(filled: Product, keep_counts: bool) -> None:
    """Also of the day whose raw rows are gone, as these sums have keys and clients."""
    prune(filled)
    receipt = erase(filled, Subject("client", "c"), keep_counts=keep_counts)
    # Of each day every other record, and one of the other organisation.
    gone, left = 3 * 5 + 1, 3 * 5 + 1
    expected = [("", left, 3 * 3 + 1)]
    if keep_counts:
        expected.append((receipt.digests[0]["anonymous"], gone, 3 * 3 + 1))
    of_callers = "SELECT oauth_id, sum(records), sumIf(records, api_key = '{}') FROM by_caller_day GROUP BY oauth_id"
    assert filled.query(of_callers.format(THEIRS) + " ORDER BY oauth_id") == expected
    names = {name for (name,) in filled.query("SELECT DISTINCT alias FROM by_caller_day WHERE oauth_id != ''")}
    assert names == ({""} if keep_counts else set())
    sound(filled)


def test_an_address_is_gone(filled: Product) -> None:
    receipt = erase(filled, Subject("ip", ADDRESS))
    assert receipt.raw == 20
    assert counts(filled)[RAW] == counts(filled)["by_api_day"] == 12
    assert ADDRESS not in everything(filled)
    sound(filled)


def test_an_address_is_hidden_where_counts_stay(filled: Product) -> None:
    before = counts(filled)
    erase(filled, Subject("ip", ADDRESS), keep_counts=True)
    assert counts(filled) == before
    assert ADDRESS not in everything(filled)
    assert filled.query(f"SELECT count() FROM {RAW} WHERE api_key = '{THEIRS}'") == [(20,)]


def test_an_organisation_and_a_time_of_its_own(filled: Product) -> None:
    assert erase(filled, Subject("key", THEIRS, OTHER)).raw == 2
    assert erase(filled, Subject("key", THEIRS, ORG, DAYS[1], DAYS[2])).raw == 6
    assert filled.query(f"SELECT count() FROM {RAW} WHERE api_key = '{THEIRS}'") == [(12,)]
    sound(filled)


def test_it_does_not_come_back(filled: Product) -> None:
    erase(filled, Subject("key", THEIRS))
    before = counts(filled)
    late, batch = [line(TODAY, 30, THEIRS), line(TODAY, 31, OTHERS), b"no record"], f"batch {next(ROUND)}"
    assert put(filled, late, batch) == (1, ["bad_line", "erased"])
    assert filled.query(f"SELECT taken, stored, rejected, reasons FROM batches WHERE batch_id = '{batch}'") == [
        (3, 1, 2, {"bad_line": 1, "erased": 1})
    ]
    assert filled.parts.writer.rebuild([TODAY.year * 100 + TODAY.month])
    assert counts(filled)[RAW] == before[RAW] + 1
    assert THEIRS not in everything(filled)
    sound(filled)
    # Another process, or this one started again, knows it, too.
    assert len(Erased(filled.parts.engine).all) == 1


def test_a_consumer_with_all_that_belongs_to_it(filled: Product) -> None:
    links = [Link(ORG, "shop", "Shop", "key", THEIRS), Link(ORG, "bank", "Bank", "key", OTHERS)]
    replace_links(filled.parts.engine, ORG, [])
    replace_links(filled.parts.engine, ORG, links)
    erasing = Erasing(filled.parts.engine, filled.parts.writer)
    with pytest.raises(NotFound):
        erasing.subjects_of("nobody", "")
    receipt = erasing.erase(erasing.subjects_of("shop", ""), keep_counts=False)
    assert (receipt.raw, receipt.directory) == (18, 1)
    assert [link.consumer for link in read_links(filled.parts.engine, ORG)] == ["bank"]
    assert filled.query(f"SELECT count() FROM {CONSUMERS} WHERE consumer = 'shop'") == [(0,)]


def test_a_receipt_erases_in_an_older_copy(filled: Product) -> None:
    receipt = erase(filled, Subject("key", THEIRS))
    empty(filled)
    assert put(filled, LINES) == (len(LINES), [])
    those = [
        Remembered(**{**one, "start": datetime.fromisoformat(one["start"]), "end": datetime.fromisoformat(one["end"])})
        for one in receipt.digests
    ]
    again = Erasing(filled.parts.engine, filled.parts.writer).again(those)
    assert (again.erasure, again.raw) == (receipt.erasure, 20)
    assert THEIRS not in everything(filled)
    sound(filled)
    assert put(filled, [line(TODAY, 30, THEIRS)]) == (0, ["erased"])
    assert Erasing(filled.parts.engine, filled.parts.writer).again(those).raw == 0


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "among others"])
@pytest.mark.parametrize("killed", [False, True], ids=["erased", "only remembered"])
def test_who_is_erased_before_their_records_are_confirmed(filled: Product, killed: bool, others: int) -> None:
    """Killed between the rows and the ledger: what is tried again is without them, and so is the ledger."""
    # Theirs come first and last.
    new = [line(TODAY, n, OTHERS) for n in range(21, 21 + others)] + [line(TODAY, n, THEIRS) for n in range(20, 26)]
    given: Any = {"following": "", "origin": "test"}
    name = f"batch {next(ROUND)}"
    breaking: Any = Breaking(filled.parts.engine, BATCHES)
    with pytest.raises(StoreError, match="killed"):
        Writer(breaking).write(filled.parts.intake.prepare(name, 0, new, attempt=1, **given))
    if killed:
        breaking = Breaking(filled.parts.engine, "requests REPLACE")
        with pytest.raises(StoreError, match="killed"):
            Erasing(breaking, filled.parts.writer).erase([Subject("key", THEIRS)], keep_counts=False)
    else:
        assert erase(filled, Subject("key", THEIRS)).raw == 26
    again = filled.parts.intake.prepare(name, 0, new, attempt=2, **given)
    assert filled.parts.writer.write(again) == Written(stored=others, rejected=6, duplicate=0)
    assert filled.query(f"SELECT count() FROM {RAW} WHERE batch_id = '{name}'") == [(others,)]
    erase(filled, Subject("key", THEIRS))
    assert counts(filled) == dict.fromkeys((RAW, *TABLES), 12 + others)
    sound(filled)


def test_as_many_of_a_batch_at_two_times(filled: Product) -> None:
    for minute in (0, 3):
        start = DAYS[1] + timedelta(minutes=minute)
        assert erase(filled, Subject("key", THEIRS, ORG, start, start + timedelta(minutes=3))).raw == 3
    sound(filled)


def test_the_note_of_what_goes_is_there_though_its_token_was_logged_before(filled: Product) -> None:
    """As after a kill between the engine's note of the token and the part that belongs to it."""
    breaking: Any = Breaking(filled.parts.engine, "requests REPLACE")
    with pytest.raises(StoreError, match="killed"):
        Erasing(breaking, filled.parts.writer).erase([Subject("key", THEIRS)], keep_counts=False)
    filled.parts.engine.command(f"ALTER TABLE {ERASED_ROWS} DELETE WHERE 1 SETTINGS mutations_sync = 2")
    erase(filled, Subject("key", THEIRS))
    sound(filled)


class Breaking:
    """An engine that is gone at one statement.

    Args:
        engine: The engine.
        at: What the statement contains.
        done: The statement is carried out all the same.
    """

    def __init__(self, engine: Any, at: str, *, done: bool = False) -> None:
        self._engine = engine
        self._at = at
        self._done = done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def command(self, sql: str, *more: Any) -> None:
        if self._at not in sql or self._done:
            self._engine.command(sql, *more)
        if self._at in sql:
            raise StoreError("killed")

    def insert(self, table: str, *more: Any) -> None:
        if table == self._at:
            raise StoreError("killed")
        self._engine.insert(table, *more)


@pytest.mark.parametrize(
    "at", ["requests REPLACE", "INSERT INTO by_api_15m_rebuilt", "by_key_day REPLACE", "ALTER TABLE consumers"]
)
def test_broken_off_and_run_again(filled: Product, at: str) -> None:
    broken_off_and_run_again(filled, at)


def broken_off_and_run_again(filled: Product, at: str, *, done: bool = False) -> None:
    breaking: Any = Breaking(filled.parts.engine, at, done=done)
    prune(filled)
    with pytest.raises(StoreError, match="killed"):
        Erasing(breaking, filled.parts.writer).erase([Subject("key", THEIRS)], keep_counts=False)
    erase(filled, Subject("key", THEIRS))
    assert counts(filled) == {
        **dict.fromkeys(EXACT, 12),
        **dict.fromkeys(("by_client_15m", "by_client_day"), 18),
        RAW: 8,
    }
    assert THEIRS not in everything(filled)
    sound(filled)
