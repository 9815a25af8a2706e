"""What a store is made of: the frozen files, what the code says, and what the engine then has, are one and the same."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keytrail.config import Store
from keytrail.errors import SchemaError
from keytrail.record import DERIVED, FIELDS
from keytrail.store.client import EmbeddedEngine
from keytrail.store.merging import MERGING
from keytrail.store.migrate import migrate, migrations
from keytrail.store.tables import MEASURES, RAW, ROLLUPS, column_types, create_raw, create_rollup
from tests.product import product

SMALL_TABLES = {
    *("batches", "duplicates", "rejects", "identity", "heartbeats", "gaps"),
    *("consumers", "path_templates", "retained", "erased", "erased_rows", "cold_days"),
}
STATEMENTS = [statement for _, _, statements in migrations() for statement in statements]


@contextmanager
def engine_in(folder: Path) -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(folder, Store())
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    with engine_in(tmp_path) as opened:
        yield opened


def plain(statement: str) -> str:
    return re.sub(r"\s+", " ", statement).strip()


def schema(engine: EmbeddedEngine) -> list[tuple[str, str]]:
    rows = engine.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    ).rows
    return [(str(name), str(query)) for name, query in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """What a store is made of that was migrated at once."""
    with engine_in(tmp_path_factory.mktemp("whole")) as opened:
        migrate(opened)
        return schema(opened)


def columns(engine: EmbeddedEngine, table: str) -> dict[str, str]:
    rows = engine.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "ORDER BY position",
        {"table": table},
    ).rows
    return {str(name): str(kind) for name, kind in rows}


def test_the_frozen_files_make_requests_and_rollups_as_the_code_says() -> None:
    made: dict[str, str] = {}
    for statement in map(plain, STATEMENTS):
        found = re.match(r"(CREATE|DROP|ALTER) (?:TABLE|MATERIALIZED VIEW|VIEW) (\w+)", statement)
        assert found, statement
        verb, name = found.groups()
        if verb == "DROP":
            # A view that a later file makes anew.
            del made[name]
        else:
            key = name if verb == "CREATE" else statement
            assert key not in made
            made[key] = statement
    said = [create_raw(), *(statement for rollup in ROLLUPS for statement in create_rollup(rollup)), *MERGING]
    assert sorted(statement for name, statement in made.items() if name not in SMALL_TABLES) == sorted(map(plain, said))


def test_old_parts_of_rollups_are_merged(engine: EmbeddedEngine) -> None:
    """A month of days all the time, a month of quarters of an hour when it is over."""
    migrate(engine)
    made = dict(schema(engine))
    for rollup in ROLLUPS:
        found = dict(re.findall(r"(min_age_to_force_merge_\w+) = (\d+)", made[rollup.table]))
        days = rollup.table.endswith("_day")
        assert found == {
            "min_age_to_force_merge_seconds": str(3 * 86_400 if days else 86_400),
            "min_age_to_force_merge_on_partition_only": "0" if days else "1",
        }


def test_each_file_has_a_number_of_its_own() -> None:
    numbers = [number for number, _, _ in migrations()]
    assert numbers == sorted(set(numbers))


def test_a_fresh_store_has_the_columns_of_the_tables(engine: EmbeddedEngine) -> None:
    assert migrate(engine) == [f"{number:04} {name}" for number, name, _ in migrations()]
    raw = columns(engine, RAW)
    assert raw == {f.column: f.kind.clickhouse for f in FIELDS} | {d.column: d.clickhouse for d in DERIVED}
    assert list(raw) == list(column_types())
    for rollup in ROLLUPS:
        found = columns(engine, rollup.table)
        assert list(found) == [
            *rollup.family.lead,
            "bucket",
            *rollup.family.dimensions,
            *(measure.column for measure in MEASURES),
        ]
        for name in rollup.family.columns:
            assert found[name] == raw[name]
        for measure in MEASURES:
            assert found[measure.column] == f"SimpleAggregateFunction({measure.function}, {measure.type})"
    names = {name for name, _ in schema(engine) if not name.startswith(".")}
    views = {f"{rollup.table}_view" for rollup in ROLLUPS}
    assert names == {RAW, "migrations", *(rollup.table for rollup in ROLLUPS), *views, *SMALL_TABLES}


def test_migrating_twice_changes_nothing(engine: EmbeddedEngine) -> None:
    migrate(engine)
    before = schema(engine), engine.query("SELECT * FROM migrations ORDER BY version").rows
    assert migrate(engine) == []
    assert (schema(engine), engine.query("SELECT * FROM migrations ORDER BY version").rows) == before


def test_a_store_of_a_newer_version_is_refused(engine: EmbeddedEngine) -> None:
    migrate(engine)
    newer = migrations()[-1][0] + 1
    engine.command(f"INSERT INTO migrations (version, name) VALUES ({newer}, 'of tomorrow')")
    before = schema(engine)
    with pytest.raises(SchemaError, match=f"the store has migration {newer}, which this version does not know"):
        migrate(engine)
    assert schema(engine) == before


def test_a_statement_that_fails_is_named(engine: EmbeddedEngine) -> None:
    engine.command("CREATE TABLE by_key_15m (nothing UInt8) ENGINE = Memory")
    with pytest.raises(SchemaError, match="migration 0001 requests_and_rollups"):
        migrate(engine)
    assert engine.query("SELECT count() FROM migrations").rows == [(0,)]


@pytest.mark.parametrize("done", range(1, len(migrations()[0][2]) + 1, 3))
def test_a_migration_that_was_killed_goes_on(whole: list[tuple[str, str]], tmp_path: Path, done: int) -> None:
    with engine_in(tmp_path) as engine:
        for statement in STATEMENTS[:done]:
            engine.command(statement)
    with engine_in(tmp_path) as engine:
        assert migrate(engine) == [f"{number:04} {name}" for number, name, _ in migrations()]
        assert schema(engine) == whole
        assert migrate(engine) == []


def test_a_store_keeps_its_records_when_it_is_opened_again(tmp_path: Path) -> None:
    line = b'{"timestamp": "2026-03-01T00:00:00Z", "org_id": "o", "response_code": 200}'
    with product(tmp_path) as running:
        running.put_lines([line])
    with product(tmp_path) as running:
        assert running.query("SELECT count() FROM requests") == [(1,)]
        assert running.query("SELECT sum(records) FROM by_api_day") == [(1,)]
