"""What the protocol relies on of the engine, so that an upgrade that changes it is noticed: see delivery.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pytest

from keytrail.store.client import INSERT_SETTINGS
from keytrail.store.tables import DEDUPLICATION_WINDOW, RAW, ROLLUPS
from tests.product import Product, product
from tests.store.test_writer import RECORDS, ROUND, exact, unconfirmed, write

SAFE: dict[str, Any] = dict(INSERT_SETTINGS)


class Facts:
    """A raw table with a view on it, in an engine of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open()

    def open(self) -> None:
        self.client = clickhouse_connect.get_client(interface="chdb", path=str(self.folder))

    def ask(self, sql: str) -> Any:
        return self.client.query(sql).result_rows[0][0]

    def make(self, *, raw_window: int = 100, target_window: int = 100) -> None:
        for statement in (
            "DROP TABLE IF EXISTS v",
            "DROP TABLE IF EXISTS t",
            "DROP TABLE IF EXISTS r",
            "CREATE TABLE r (d Date, n UInt32) ENGINE = MergeTree PARTITION BY toYYYYMM(d) ORDER BY n "
            f"SETTINGS non_replicated_deduplication_window = {raw_window}",
            "CREATE TABLE t (d Date, c UInt64) ENGINE = SummingMergeTree PARTITION BY toYYYYMM(d) ORDER BY d "
            f"SETTINGS non_replicated_deduplication_window = {target_window}",
            "CREATE MATERIALIZED VIEW v TO t AS SELECT d, count() AS c FROM r GROUP BY d",
        ):
            self.client.command(statement)

    def insert(self, token: str, **settings: Any) -> None:
        rows = pa.table({"d": pa.array([20_000] * 10, pa.uint16()), "n": pa.array(range(10), pa.uint32())})
        self.client.insert_arrow("r", rows, settings={**SAFE, "insert_deduplication_token": token, **settings})

    def counts(self) -> tuple[int, int]:
        return self.ask("SELECT count() FROM r"), self.ask("SELECT sum(c) FROM t")

    @property
    def version(self) -> str:
        return f"engine {self.ask('SELECT version()')}"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    facts = Facts(tmp_path_factory.mktemp("facts"))
    yield facts
    facts.client.close()


@pytest.fixture
def facts(opened: Facts) -> Facts:
    opened.make()
    return opened


def test_a_token_counts_once_in_raw_and_in_views(facts: Facts) -> None:
    for _ in range(3):
        facts.insert("a")
    assert facts.counts() == (10, 10), facts.version
    facts.insert("b")
    assert facts.counts() == (20, 20), facts.version


def test_without_the_setting_for_views_they_count_each_try(facts: Facts) -> None:
    for _ in range(3):
        facts.insert("a", deduplicate_blocks_in_dependent_materialized_views=0)
    raw, view = facts.counts()
    assert raw == 10, facts.version
    assert view == 30, f"{facts.version}: the setting may no longer be needed"


@pytest.mark.parametrize(("raw", "target", "expected"), [(0, 100, (20, 10)), (100, 0, (10, 20))])
def test_each_table_needs_a_window(facts: Facts, raw: int, target: int, expected: tuple[int, int]) -> None:
    facts.make(raw_window=raw, target_window=target)
    facts.insert("a")
    facts.insert("a")
    assert facts.counts() == expected, facts.version


def test_a_token_outlives_the_process(facts: Facts) -> None:
    facts.insert("a")
    facts.client.close()
    facts.open()
    facts.insert("a")
    assert facts.counts() == (10, 10), facts.version


def test_async_insert_is_on_unless_told_otherwise(facts: Facts) -> None:
    default = facts.ask("SELECT default FROM system.settings WHERE name = 'async_insert'")
    assert default == "1", f"{facts.version}: async_insert was on by default"
    assert INSERT_SETTINGS["async_insert"] == 0


def test_the_default_of_partitions_in_an_insert_is_too_small(facts: Facts) -> None:
    default = facts.ask("SELECT default FROM system.settings WHERE name = 'max_partitions_per_insert_block'")
    assert default == "100", facts.version
    assert INSERT_SETTINGS["max_partitions_per_insert_block"] == 0


def test_a_logged_token_without_its_rows_makes_a_plain_retry_lose(facts: Facts) -> None:
    facts.insert("a")
    facts.client.command("ALTER TABLE r DELETE WHERE 1 SETTINGS mutations_sync = 2")
    facts.insert("a")
    raw, _ = facts.counts()
    assert raw == 0, f"{facts.version}: a token is forgotten with its rows; the check after a retry must still be right"


def test_a_partition_that_is_dropped_takes_its_tokens_along(facts: Facts) -> None:
    """Raw retention drops whole partitions: a batch of that time that is tried again then counts anew."""
    facts.insert("a")
    facts.client.command("ALTER TABLE r DROP PARTITION ID '202410'")
    facts.insert("a")
    assert facts.counts()[0] == 10, facts.version


def test_our_tables_have_their_windows_and_our_writer_mends_a_phantom(opened: Facts, tmp_path: Path) -> None:
    opened.client.close()  # one folder in a process
    try:
        with product(tmp_path) as store:
            version = store.query("SELECT version()")[0][0]
            made = dict(store.query("SELECT name, create_table_query FROM system.tables WHERE database = 'keytrail'"))
            for table in (RAW, *(rollup.table for rollup in ROLLUPS)):
                assert f"non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}" in made[table], version
            _mended(store)
    finally:
        opened.open()


def _mended(store: Product) -> None:
    ROUND[store] = 1
    write(store)
    store.parts.engine.command("ALTER TABLE requests DELETE WHERE 1 SETTINGS mutations_sync = 2")
    unconfirmed(store)
    assert store.query("SELECT count() FROM requests") == [(0,)]
    written = write(store, attempt=2)
    assert written.phantom
    exact(store, RECORDS[:60])
