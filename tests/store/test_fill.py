"""A store of the version before knows who called once it is opened, as if it always had; or that it can't know."""

import contextlib
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keytrail.config import Retention, Store
from keytrail.errors import RequestError, SchemaError, StoreError
from keytrail.metrics import Metrics
from keytrail.query.ask import ask
from keytrail.query.question import parse
from keytrail.query.request import Scope
from keytrail.store import migrate as migrate_module
from keytrail.store.client import EmbeddedEngine
from keytrail.store.fill import FILLS
from keytrail.store.migrate import migrate, migrations
from keytrail.store.raw_rows import cold_days
from keytrail.store.retention import Pruning
from keytrail.store.verify import verify
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product, product

ORG = "o"
(NEW,) = FILLS
TODAY = datetime(2026, 4, 12, 12, tzinfo=UTC)
"""The first of the days, whose records may be gone, and the second are of one month."""
DAYS = [TODAY - timedelta(days=days) for days in (40, 12, 1, 0)]
RECORDS = [
    Record(
        timestamp=int((day + timedelta(minutes=n)).timestamp()) * SECOND,
        org_id=ORG,
        api_id="a",
        api_key=f"{n % 3:016x}",
        alias=f"name {n % 2}",
        oauth_id="c" if n % 2 else "",
        path=f"/{n}",
        response_code=(200, 404, 502)[n % 3],
        latency_total=n,
    )
    for day in DAYS
    for n in range(7)
]


@contextlib.contextmanager
def before(folder: Path) -> Iterator[Product]:
    """A store as the version before makes it; what came later still is taken away afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        # The code of this version stores nothing without the tables of later files.
        patch.setattr(migrate_module, "migrations", lambda: [one for one in migrations() if one[0] != NEW])
        with product(folder) as store:
            yield store
            for number, _, statements in migrations():
                for made in (re.match(r"CREATE TABLE (\w+)", one) for one in statements if number > NEW):
                    if made:
                        store.parts.engine.command(f"DROP TABLE {made[1]} SYNC")
            store.parts.engine.command(
                f"ALTER TABLE migrations DELETE WHERE version > {NEW} SETTINGS mutations_sync = 2"
            )


def fill(folder: Path, *, pruned: bool) -> None:
    with before(folder) as store:
        assert store.put_lines([to_json(record).encode() for record in RECORDS]).stored == len(RECORDS)
        assert store.query("SELECT sum(records) FROM by_client_day") == [(3 * len(DAYS),)]
        if pruned:
            store.came_in_time()
            Pruning(store.parts.engine, store.parts.writer, Retention(raw_days=20), None, Metrics()).run(TODAY)
            assert store.query("SELECT count() FROM requests") == [(len(RECORDS) - 7,)]


def hits(store: Product, *dimensions: str, since: datetime = DAYS[0]) -> tuple[dict[Any, int], list[str]]:
    """Hits by some dimensions from a day on, and the tables that were read."""
    fields = {"dimensions": list(dimensions), "from": f"{since.date()}", "to": f"{TODAY.date()}", "limit": 1000}
    reply = ask(store.parts.engine, Scope(ORG), parse(fields, default_zone="UTC"))
    return {tuple(row[name] for name in dimensions): row["hits"] for row in reply.rows}, reply.tables


def counted(*columns: str, since: datetime = DAYS[0]) -> dict[Any, int]:
    known = [record for record in RECORDS if record.timestamp >= since.timestamp() * SECOND]
    return Counter(tuple(getattr(record, column) for column in columns) for record in known)


def knows_callers(store: Product, *, since: datetime) -> None:
    assert hits(store, "key", since=since) == (counted("api_key", since=since), ["by_caller_day"])
    assert hits(store, "key", "oauth_client", "alias", since=since) == (
        counted("api_key", "oauth_id", "alias", since=since),
        ["by_caller_day"],
    )
    assert hits(store, "oauth_client", "path", since=since) == (
        counted("oauth_id", "path", since=since),
        ["by_client_day"],
    )
    assert verify(store.parts.engine, store.parts.writer).rollups == []


def test_what_is_there_is_made(tmp_path: Path) -> None:
    fill(tmp_path, pruned=False)
    with product(tmp_path) as store:
        knows_callers(store, since=DAYS[0])
        # What comes later comes through the views.
        store.put_lines([to_json(Record(timestamp=RECORDS[0].timestamp, org_id=ORG, api_key="f" * 16)).encode()])
        assert hits(store, "key", "oauth_client")[0]["f" * 16, ""] == 1
        assert hits(store, "oauth_client")[0][("",)] == counted("oauth_id")[("",)] + 1


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store whose first day has no single records any more."""
    folder = tmp_path_factory.mktemp("pruned")
    fill(folder, pruned=True)
    return folder


def copy_of(folder: Path, tmp_path: Path) -> Path:
    """A store like another one; its links lead to places within it."""
    return shutil.copytree(folder, tmp_path / "copy", symlinks=True)


def test_of_days_whose_records_are_gone_others_answer_or_nobody(pruned: Path, tmp_path: Path) -> None:
    tmp_path = copy_of(pruned, tmp_path)
    with product(tmp_path) as store:
        knows_callers(store, since=DAYS[1])
        assert hits(store, "key") == (counted("api_key"), ["by_key_day"])
        with pytest.raises(RequestError, match=f"single records of {DAYS[0].date()}"):
            hits(store, "oauth_client")


def test_cold_days_are_made_of_their_files(tmp_path: Path) -> None:
    with product(tmp_path, store__cold="cold") as store:
        assert store.put_lines([to_json(record).encode() for record in RECORDS]).stored == len(RECORDS)
        store.came_in_time()
        Pruning(store.parts.engine, store.parts.writer, Retention(raw_days=20), None, Metrics()).run(TODAY)
        assert [one.day for one in cold_days(store.parts.engine)] == [DAYS[0].date()]
        store.parts.engine.command(f"ALTER TABLE migrations DELETE WHERE version = {NEW} SETTINGS mutations_sync = 2")
    # Else the sums of these days would be made of nothing.
    with pytest.raises(RequestError, match=r"store\.cold does not say where"), product(tmp_path):
        pass
    with product(tmp_path, store__cold="cold") as store:
        knows_callers(store, since=DAYS[0])


class Breaking:
    """An engine that is gone at a statement."""

    def __init__(self, engine: Any, at: str) -> None:
        self._engine = engine
        self._at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def command(self, sql: str, *values: Any) -> None:
        if self._at in f"{sql} {values}":
            raise StoreError("killed")
        self._engine.command(sql, *values)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param("CREATE MATERIALIZED VIEW IF NOT EXISTS by_caller_day_view", marks=pytest.mark.long),
        pytest.param("CREATE MATERIALIZED VIEW IF NOT EXISTS by_client_15m_view", marks=pytest.mark.long),
        pytest.param("INSERT INTO by_client_15m_rebuilt", marks=pytest.mark.long),
        "ALTER TABLE by_client_day REPLACE",
        pytest.param("INSERT INTO by_caller_day_rebuilt", marks=pytest.mark.long),
        f"'version': {NEW}",
    ],
)
def test_killed_and_opened_again(pruned: Path, tmp_path: Path, at: str) -> None:
    tmp_path = copy_of(pruned, tmp_path)
    engine = EmbeddedEngine(tmp_path, Store())
    with contextlib.closing(engine):
        breaking: Any = Breaking(engine, at)
        with pytest.raises((StoreError, SchemaError), match="killed"):
            migrate(breaking)
    with product(tmp_path) as store:
        knows_callers(store, since=DAYS[1])
        # Of the first day those with a client are left, as they were.
        assert store.query("SELECT sum(records) FROM by_client_day") == [(len(RECORDS) - 7 + 3,)]
