"""Every released statement as it is on a cluster: what it says, and that the engine understands it."""

import re
from collections.abc import Iterator

import pytest

from keytrail.config import Store
from keytrail.errors import SchemaError
from keytrail.store.client import EmbeddedEngine
from keytrail.store.layout import SHARDED, Layout
from keytrail.store.migrate import migrations
from keytrail.store.tables import RAW, ROLLUPS

CLUSTER = Layout("stats", shared=True)
STATEMENTS = [statement for _, _, statements in migrations() for statement in statements]
LAID = [each for statement in STATEMENTS for each in CLUSTER.over(statement)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    opened = EmbeddedEngine(tmp_path_factory.mktemp("engine"), Store())
    yield opened
    opened.close()


def of(table: str) -> str:
    """The statement that made a table or a view last: a later file may replace a view."""
    return [each for each in LAID if re.match(rf"CREATE \w+( \w+)? IF NOT EXISTS {table} ", each)][-1]


def test_the_engine_understands_every_statement(engine: EmbeddedEngine) -> None:
    """The embedded engine can't run them on a cluster; its parser is that of a server."""
    for statement in LAID:
        assert engine.query(f"EXPLAIN AST {statement}").rows
        assert " ON CLUSTER 'stats'" in statement


def test_a_single_engine_keeps_its_statements() -> None:
    alone = [each for statement in STATEMENTS for each in Layout().over(statement)]
    assert [re.sub(" IF (NOT )?EXISTS", "", each) for each in alone] == STATEMENTS


def test_raw_rows_are_replicated_within_a_shard_and_spread_by_organisation_and_key() -> None:
    local = of("requests_local")
    assert "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/requests_local', '{replica}')" in local
    assert (
        "SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 2592000" in local
    )
    assert "non_replicated" not in local
    assert of("requests") == (
        "CREATE TABLE IF NOT EXISTS requests ON CLUSTER 'stats' AS requests_local "
        "ENGINE = Distributed('stats', currentDatabase(), 'requests_local', cityHash64(org_id, api_key))"
    )


@pytest.mark.parametrize("rollup", ROLLUPS, ids=lambda rollup: rollup.table)
def test_a_rollup_is_made_on_its_shard_from_the_rows_there(rollup: object) -> None:
    table = getattr(rollup, "table", "")
    path = f"'/clickhouse/tables/{{shard}}/{{database}}/{table}_local', '{{replica}}'"
    assert f"ENGINE = ReplicatedAggregatingMergeTree({path})" in of(f"{table}_local")
    view = of(f"{table}_view")
    assert f"{table}_view ON CLUSTER 'stats' TO {table}_local AS" in view
    assert re.search(r"\nFROM requests_local\n", view)
    spread = of(table)
    # Only these have a key, by which a query finds its shard.
    assert ("cityHash64(org_id, api_key)" in spread) == table.startswith(("by_key", "by_caller"))
    assert f"'{table}_local'" in spread


def test_small_tables_are_on_every_node() -> None:
    path = "'/clickhouse/tables/all/{database}/batches', '{shard}-{replica}'"
    assert f"ENGINE = ReplicatedMergeTree({path})" in of("batches")
    path = "'/clickhouse/tables/all/{database}/heartbeats', '{shard}-{replica}'"
    assert f"ENGINE = ReplicatedReplacingMergeTree({path}, sealed_at)" in of("heartbeats")


def test_every_table_is_laid_over() -> None:
    made = {match[1] for each in STATEMENTS if (match := re.match(r"CREATE TABLE (\w+)", each))}
    assert made >= SHARDED
    for table in made:
        assert "Replicated" in of(CLUSTER.local(table))


def test_a_new_column_goes_into_both_tables() -> None:
    assert CLUSTER.over("ALTER TABLE requests ADD COLUMN flavour String") == [
        "ALTER TABLE requests_local ON CLUSTER 'stats' ADD COLUMN IF NOT EXISTS flavour String",
        "ALTER TABLE requests ON CLUSTER 'stats' ADD COLUMN IF NOT EXISTS flavour String",
    ]
    assert CLUSTER.over("ALTER TABLE batches ADD COLUMN flavour String") == [
        "ALTER TABLE batches ON CLUSTER 'stats' ADD COLUMN IF NOT EXISTS flavour String"
    ]


def test_a_window_is_that_of_replicated_tables() -> None:
    assert CLUSTER.over("ALTER TABLE requests MODIFY SETTING non_replicated_deduplication_window = 5") == [
        "ALTER TABLE requests_local ON CLUSTER 'stats' MODIFY SETTING replicated_deduplication_window = 5, "
        "replicated_deduplication_window_seconds = 2592000"
    ]


def test_what_is_dropped_is_dropped_in_both_places() -> None:
    assert CLUSTER.over("DROP TABLE by_key_day SYNC") == [
        "DROP TABLE IF EXISTS by_key_day ON CLUSTER 'stats' SYNC",
        "DROP TABLE IF EXISTS by_key_day_local ON CLUSTER 'stats' SYNC",
    ]


def test_what_can_not_be_laid_over_is_refused() -> None:
    with pytest.raises(SchemaError, match="OPTIMIZE TABLE requests"):
        CLUSTER.over(f"OPTIMIZE TABLE {RAW}")
    with pytest.raises(SchemaError, match="no engine that can be replicated"):
        CLUSTER.over("CREATE TABLE thing (a Int8) ENGINE = Memory")


def test_what_is_made_beside_a_rollup_by_key_is_spread_like_it() -> None:
    made = CLUSTER.over("CREATE TABLE by_key_day_rebuilt (n UInt8) ENGINE = MergeTree ORDER BY n")[1]
    assert made.endswith(
        "ENGINE = Distributed('stats', currentDatabase(), 'by_key_day_rebuilt_local', cityHash64(org_id, api_key))"
    )
