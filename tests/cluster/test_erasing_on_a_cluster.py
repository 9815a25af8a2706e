"""Erasing where the rows are spread: what an embedded store is held to, and what only the servers do."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from keytrail.errors import StoreAway, StoreError
from keytrail.store import mutations
from keytrail.store.erased import Subject
from keytrail.store.erasing import Erasing
from keytrail.store.tables import RAW, ROLLUPS
from keytrail.store.turns import Turns
from tests.cluster.clickhouse_server import CLUSTER, needs_clickhouse
from tests.cluster.conftest import product_on
from tests.cluster.shards import Shards
from tests.product import Product
from tests.store.test_erasing import (  # noqa: F401
    ADDRESS,
    DAYS,
    ORG,
    THEIRS,
    Breaking,
    broken_off_and_run_again,
    counts,
    erase,
    everything,
    filled,
    prune,
    sound,
    test_a_consumer_with_all_that_belongs_to_it,
    test_a_key_is_gone,
    test_an_address_is_hidden_where_counts_stay,
    test_the_counts_stay_under_an_anonymous_key,
)

pytestmark = needs_clickhouse


@pytest.fixture(scope="module")
def store(shards: Shards) -> Iterator[Product]:
    with pytest.MonkeyPatch.context() as patch:
        # There is one process, so nobody is to be kept waiting; turns have tests of their own, which take long.
        patch.setattr(Turns, "hold", lambda _: contextlib.nullcontext())
        with product_on(shards, CLUSTER) as running:
            yield running


@pytest.mark.parametrize(
    ("at", "done"),
    [
        ("requests_local ON CLUSTER 'kt' DELETE", True),
        pytest.param("by_key_day_local ON CLUSTER 'kt' REPLACE", False, marks=pytest.mark.long),
        pytest.param("ALTER TABLE consumers ON CLUSTER 'kt'", False, marks=pytest.mark.long),
    ],
)
def test_broken_off_and_run_again(filled: Product, at: str, done: bool) -> None:  # noqa: F811
    broken_off_and_run_again(filled, at, done=done)


@pytest.mark.parametrize(
    ("at", "done"), [("INSERT INTO requests ", True), ("requests_local ON CLUSTER 'kt' DELETE", True)]
)
def test_a_key_that_moves_is_counted_once(filled: Product, at: str, done: bool) -> None:  # noqa: F811
    before = counts(filled)
    breaking: Any = Breaking(filled.parts.engine, at, done=done)
    with pytest.raises(StoreError, match="killed"):
        Erasing(breaking, filled.parts.writer).erase([Subject("key", THEIRS)], keep_counts=True)
    erase(filled, Subject("key", THEIRS), keep_counts=True)
    assert counts(filled) == before
    assert THEIRS not in everything(filled)
    sound(filled)


def test_who_waits_for_a_change_that_goes_on(
    filled: Product,  # noqa: F811
    shards: Shards,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change whose asker was killed has to end before it is counted what is left."""
    monkeypatch.setattr(mutations, "_PATIENCE", 0.1)
    monkeypatch.setattr(mutations, "_LOOK_EVERY", 0.02)
    engine = filled.parts.engine
    table = f"{engine.query('SELECT currentDatabase()').rows[0][0]}.{engine.layout.local(RAW)}"
    for node in shards.nodes:
        node.ask(f"SYSTEM STOP MERGES {table}")
    engine.command(f"{engine.layout.alter(RAW)} DELETE WHERE api_key = '{THEIRS}' SETTINGS mutations_sync = 0")
    with pytest.raises(StoreAway, match="does not end"):
        erase(filled, Subject("key", THEIRS))
    for node in shards.nodes:
        node.ask(f"SYSTEM START MERGES {table}")


def test_every_shard_is_asked_and_has_done_it(filled: Product, shards: Shards) -> None:  # noqa: F811
    """What stands where it does not belong goes, too; what belongs elsewhere under its new name goes there."""
    seen = len(shards.log)
    filled.parts.upkeep.erase([Subject("key", THEIRS, ORG, DAYS[1], DAYS[2])], keep_counts=True)
    sent = shards.log[seen:]
    looked = [
        one["parameters"] for one in sent if "_partition_id" in one["statement"] and "SELECT" in one["statement"][:9]
    ]
    assert {one["optimize_skip_unused_shards"] for one in looked} == {"0"}
    (moved,) = [one["statement"] for one in sent if one["statement"].startswith("INSERT INTO requests ")]
    assert "parallel_distributed_insert_select = 0, distributed_foreground_insert = 1" in moved
    (deleted,) = [one["statement"] for one in sent if "requests_local ON CLUSTER 'kt' DELETE" in one["statement"]]
    assert deleted.endswith("SETTINGS mutations_sync = 2")


def test_sums_without_raw_rows_go_to_their_shard(filled: Product, shards: Shards) -> None:  # noqa: F811
    prune(filled)
    seen = len(shards.log)
    erase(filled, Subject("key", THEIRS), keep_counts=True)
    carried = [one["statement"] for one in shards.log[seen:] if "bucket < toDateTime64" in one["statement"]]
    carried = [one for one in carried if one.startswith("INSERT INTO by_")]
    spread = {one.split()[2]: "parallel_distributed_insert_select = 0" in one for one in carried}
    assert spread == {
        f"{rollup.table}_rebuilt": rollup.table in {"by_key_15m", "by_key_day", "by_caller_day"} for rollup in ROLLUPS
    }
    assert ADDRESS not in everything(filled)
