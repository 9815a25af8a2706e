"""A copy that servers make of the store, and a store made from one: by the engine's own `BACKUP` and `RESTORE`."""

import uuid
from pathlib import Path

import pytest

from keytrail.config import Store
from keytrail.errors import RequestError, StoreError
from keytrail.store.address import parse_address
from keytrail.store.client import ServerEngine
from keytrail.store.server_backup import place_of, restore
from tests.cli.captures import lines_of
from tests.cli.command import run
from tests.cluster.clickhouse_server import BACKUPS, ClickHouse, needs_clickhouse
from tests.cluster.conftest import product_on
from tests.cluster.shards import Shards

pytestmark = needs_clickhouse

LINES = lines_of()[:200]
RECORDS = "SELECT count(), sum(latency) FROM requests"


@pytest.fixture
def settings(real: tuple[ClickHouse | Shards, str], tmp_path: Path) -> Path:
    """A settings file for a store of its own, and records in it."""
    (server, cluster), file, database = real, tmp_path / "keytrail.toml", f"keytrail_{uuid.uuid4().hex[:12]}"
    file.write_text(f'[store]\nurl = "{server.url(database)}"\ncluster = "{cluster}"\n', encoding="utf-8")
    with product_on(server, cluster, **{"store.url": server.url(database)}) as store:
        assert store.put_lines(LINES).stored == len(LINES)
    return file


def engine_of(settings: Path, cluster: str) -> ServerEngine:
    url = settings.read_text(encoding="utf-8").split('"')[1]
    return ServerEngine(parse_address(url), Store(cluster=cluster))


def test_what_is_restored_is_held_against_its_ledger(
    settings: Path, real: tuple[ClickHouse | Shards, str], tmp_path: Path
) -> None:
    """On shards each server copies its part to a disk of its own; a real cluster's servers share one."""
    cluster = real[1]
    place = f"disk:{BACKUPS}/{uuid.uuid4().hex}"
    made = run("backup", place, "--config", settings, home=tmp_path)
    assert (made.status, made.out.partition(": ")[0]) == (0, place), made.err
    engine = engine_of(settings, cluster)
    try:
        before = engine.query(RECORDS).rows
        with pytest.raises(StoreError, match="holds a store already"):
            restore(engine, place_of(place))
        engine.command(f"DROP DATABASE {engine.address.database}{engine.layout.on_cluster} SYNC")
    finally:
        engine.close()
    put_back = run("restore", place, "--config", settings, home=tmp_path)
    assert put_back.status == 0, put_back.out + put_back.err
    engine = engine_of(settings, cluster)
    try:
        assert engine.query(RECORDS).rows == before == [(len(LINES), before[0][1])]
        engine.command(f"{engine.layout.alter('requests')} DELETE WHERE seq < 5 SETTINGS mutations_sync = 2")
    finally:
        engine.close()
    checked = run("check", "--ledger", "--config", settings, home=tmp_path)
    assert checked.status == 1
    assert "5 rows are missing" in checked.out


@pytest.mark.parametrize("real", [""], indirect=True, ids=["server"], scope="module")
def test_a_place_that_is_taken_or_not_allowed(settings: Path, tmp_path: Path) -> None:
    place = f"disk:{BACKUPS}/{uuid.uuid4().hex}"
    assert run("backup", place, "--config", settings, home=tmp_path).status == 0
    taken = run("backup", place, "--config", settings, home=tmp_path)
    assert taken.status != 0
    assert "already exists" in taken.err
    refused = run("backup", "disk:elsewhere/x", "--config", settings, home=tmp_path)
    assert "is not allowed for backups" in refused.err
    told = run("backup", "copy.tar", "--config", settings, home=tmp_path)
    assert "give disk:NAME/PATH" in told.err


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("disk:backups/2026/november", "Disk('backups', '2026/november')"),
        ("disk:b/it's", "Disk('b', 'it\\'s')"),
        ("https://s3.example/bucket/keytrail", "S3('https://s3.example/bucket/keytrail')"),
    ],
)
def test_places(text: str, place: str) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    "text", ["copy.tar", "-", "disk:backups", "disk:/x", "s3://bucket/x", "https://h/x?key=secret"]
)
def test_no_places(text: str) -> None:
    with pytest.raises(RequestError, match="is no place"):
        place_of(text)
