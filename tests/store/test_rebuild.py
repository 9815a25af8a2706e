"""Rollups from raw rows: whole months, safe to kill, and never from what is not there."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from keytrail.errors import StoreError
from keytrail.store import rebuild
from keytrail.store.tables import RAW, ROLLUPS
from keytrail.store.writer import Writer
from tests.cli.captures import lines_of
from tests.product import Product

MONTH = 202611
TABLES = [rollup.table for rollup in ROLLUPS]
EVERYTHING = [f"{table} {MONTH}" for table in TABLES]


@pytest.fixture
def filled(store: Product) -> Iterator[Product]:
    store.empty()
    store.put_lines(lines_of()[:300])
    yield store
    store.empty()


def sums(store: Product) -> dict[str, Any]:
    return {table: store.query(f"SELECT sum(records), sum(latency_sum) FROM {table}") for table in TABLES}


def test_what_is_wrong_is_made_again(filled: Product) -> None:
    before, writer = sums(filled), filled.parts.writer
    assert writer.drift([MONTH]) == []
    filled.parts.engine.command("TRUNCATE TABLE by_key_15m")
    filled.parts.engine.command("INSERT INTO by_api_day SELECT * FROM by_api_day")
    assert set(writer.drift([202610, MONTH])) == {f"by_key_15m {MONTH}", f"by_api_day {MONTH}"}
    assert writer.rebuild([202610, MONTH], ["by_key_15m"]) == [f"by_key_15m {MONTH}"]
    assert writer.drift([MONTH]) == [f"by_api_day {MONTH}"]
    assert writer.rebuild([MONTH]) == EVERYTHING
    assert sums(filled) == before
    assert writer.drift([MONTH]) == []


def test_a_month_without_raw_rows_keeps_its_rollups(filled: Product) -> None:
    before = sums(filled)
    filled.parts.engine.command(f"TRUNCATE TABLE {RAW}")
    assert rebuild.months_of_raw(filled.parts.engine) == []
    assert filled.parts.writer.rebuild([MONTH]) == []
    assert sums(filled) == before


@pytest.mark.parametrize("at", ["INSERT INTO by_client_15m_rebuilt", "ALTER TABLE by_client_15m REPLACE", "DROP TABLE"])
def test_broken_off_and_run_again(filled: Product, at: str) -> None:
    before, engine = sums(filled), filled.parts.engine

    class Breaking:
        """The engine, which is gone at one statement."""

        def __init__(self) -> None:
            # A table of an earlier try is dropped first.
            self.left = 2 if at == "DROP TABLE" else 1

        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def command(self, sql: str, *more: Any) -> None:
            self.left -= sql.startswith(at)
            if not self.left:
                raise StoreError("killed")
            engine.command(sql, *more)

    breaking: Any = Breaking()
    with pytest.raises(StoreError, match="killed"):
        Writer(breaking).rebuild([MONTH])
    assert sums(filled) == before
    assert filled.parts.writer.rebuild([MONTH]) == EVERYTHING
    assert sums(filled) == before
    assert not filled.query("SELECT name FROM system.tables WHERE name LIKE '%_rebuilt'")


def test_storing_waits_meanwhile(filled: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a row could come after its month was read and before it is replaced, and be in no rollup."""
    reached, go_on = threading.Event(), threading.Event()

    def slow(*of: Any) -> None:
        reached.set()
        assert go_on.wait(60)
        rebuild.rebuild_month(*of)

    monkeypatch.setattr("keytrail.store.writer.rebuild_month", slow)
    rebuilding = threading.Thread(target=filled.parts.writer.rebuild, args=([MONTH], ["by_api_day"]))
    storing = threading.Thread(target=filled.put_lines, args=(lines_of()[300:400],))
    rebuilding.start()
    assert reached.wait(60)
    storing.start()
    storing.join(0.5)
    assert storing.is_alive()
    assert filled.query(f"SELECT count() FROM {RAW}") == [(300,)]
    go_on.set()
    rebuilding.join(60)
    storing.join(60)
    assert filled.query(f"SELECT count() FROM {RAW}") == filled.query("SELECT sum(records) FROM by_api_day") == [(400,)]
