"""What check says of a server where something that exactly-once rests on does not hold."""

from collections.abc import Iterator
from typing import Any

import pytest

from keytrail.store.client import Rows
from keytrail.store.inspect import Seen, inspect_server
from keytrail.store.layout import Layout
from tests.cluster.conftest import product_on
from tests.cluster.front import CLUSTER, FOUR
from tests.cluster.fronts import Server
from tests.product import Product


@pytest.fixture(scope="module")
def store(server: Server) -> Iterator[Product]:
    with product_on(server, CLUSTER) as running:
        yield running


class Told:
    """The engine, with another answer to the questions that hold a text: states that the embedded one can't be in."""

    def __init__(self, store: Product, text: str, rows: list[tuple[Any, ...]], cluster: str = CLUSTER) -> None:
        self._engine = store.parts.engine
        self._text, self._rows = text, rows
        self.layout = Layout(cluster, shared=True)

    def query(self, sql: str, *more: Any) -> Rows:
        return Rows((), self._rows, 0, 0.0) if self._text in sql else self._engine.query(sql, *more)


def seen(engine: Any) -> dict[str, Seen]:
    return {one.name: one for one in inspect_server(engine)}


def test_a_good_one(store: Product) -> None:
    found = seen(store.parts.engine)
    assert list(found) == ["server", "settings of inserts", "deduplication", "cluster", "replicas"]
    assert all(one.good for one in found.values())


def test_a_window_that_is_too_short(store: Product) -> None:
    engine, table = store.parts.engine, "by_client_day_local"
    engine.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 9999")
    found = seen(engine)["deduplication"]
    engine.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 10000")
    assert (found.good, found.text) == (False, "by_client_day_local remember fewer than 10,000 tokens")
    assert seen(engine)["deduplication"].good


@pytest.mark.parametrize(
    ("version", "good"), [("23.8.16.16", False), ("24.7.9.1", False), ("24.8.1.1", True), ("25.1", True)]
)
def test_the_least_version(store: Product, version: str, good: bool) -> None:
    found = seen(Told(store, "SELECT version()", [(version,)]))["server"]
    assert (found.good, "it must be 24.8 or later" in found.text) == (good, not good)


def test_settings_that_are_unknown_or_fixed(store: Product) -> None:
    known = store.query("SELECT name, readonly FROM system.settings")
    without = [row for row in known if row[0] != "insert_quorum"]
    assert seen(Told(store, "system.settings", without))["settings of inserts"].text == (
        "the server does not know insert_quorum"
    )
    fixed = [(name, int(name == "async_insert")) for name, _ in known]
    assert seen(Told(store, "system.settings", fixed))["settings of inserts"].text == (
        "this user may not set async_insert"
    )


def test_a_cluster_that_is_not_there(store: Product) -> None:
    found = seen(Told(store, "system.clusters", []))["cluster"]
    assert (found.good, found.text) == (False, "the server knows no cluster 'kt'")


def test_shards_and_replicas(store: Product) -> None:
    found = seen(Told(store, "no question", [], FOUR))["cluster"]
    assert found.warning
    assert found.text.startswith("4 shards, of 1 or more replicas each")
    found = seen(Told(store, "system.clusters", [(1, 3), (2, 2)]))["cluster"]
    assert (found.text, found.warning) == ("2 shards, of 2 or more replicas each", False)


def test_replicas_that_are_behind_or_read_only(store: Product) -> None:
    behind = ("ch2", "requests_local", 0, 90)
    found = list(inspect_server(Told(store, "system.replicas", [behind, ("ch3", "batches", 1, 0)])))[-2:]  # type: ignore[arg-type]
    assert [(one.good, one.warning, one.text) for one in found] == [
        (True, True, "requests_local on ch2 is 90 s behind"),
        (False, False, "batches on ch3 is read-only: it has lost its Keeper"),
    ]
