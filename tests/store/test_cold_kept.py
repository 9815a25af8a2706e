"""Erasing reaches cold days, and a backup has them."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from keytrail.errors import FileError, StoreError
from keytrail.metrics import Metrics
from keytrail.store.backup import restore
from keytrail.store.erased import Subject
from keytrail.store.erasing import Erasing
from keytrail.store.raw_rows import cold_days
from keytrail.store.upkeep import Upkeep
from keytrail.store.verify import verify
from tests.product import ADMIN, Product
from tests.store.cold_store import (
    KEEPS,
    KEYS,
    NOW,
    OLD,
    ORG,
    OTHER,
    RECORDS,
    Breaking,
    exported,
    files,
    folder,
    pruning,
)
from tests.store.test_backup import run_apart

THEIRS = KEYS[0]
LEFT = sorted(one.name for one in RECORDS if one.record.api_key != THEIRS)


def column_of_files(store: Product, name: str) -> list[Any]:
    found: list[Any] = []
    for file in folder(store).path.glob("*.parquet"):
        found += pq.read_table(file).column(name).to_pylist()
    return found


def test_a_key_is_gone_from_cold_days(cooled: Product) -> None:
    engine, writer = cooled.parts.engine, cooled.parts.writer
    receipt = Erasing(engine, writer).erase([Subject("key", THEIRS)], keep_counts=False)
    assert (receipt.raw, receipt.left) == (len(RECORDS) - len(LEFT), [])
    assert exported(cooled, org=None) == LEFT
    assert files(cooled) == [str(day) for day in OLD], "the files that had them are gone"
    assert THEIRS not in column_of_files(cooled, "api_key")
    verified = verify(engine, writer)
    assert (verified.records, verified.differing, verified.rollups) == (len(LEFT), [], [])
    # The sums by client are those without the key, as single records tell whose they are.
    clients = sum(1 for one in RECORDS if one.record.api_key != THEIRS and one.record.oauth_id)
    assert cooled.query("SELECT sum(records) FROM by_client_day WHERE oauth_id != ''") == [(clients,)]


def test_a_day_of_which_nothing_is_left_has_no_file(cooled: Product) -> None:
    engine, writer = cooled.parts.engine, cooled.parts.writer
    everybody = [Subject("key", key, org) for org in (ORG, OTHER) for key in KEYS]
    Erasing(engine, writer).erase(everybody, keep_counts=False)
    assert (files(cooled), cold_days(engine)) == ([], [])
    assert exported(cooled, org=None) == []
    assert verify(engine, writer).missing == 0


def test_counts_stay_in_cold_days(cooled: Product) -> None:
    engine, writer = cooled.parts.engine, cooled.parts.writer
    receipt = Erasing(engine, writer).erase([Subject("key", THEIRS)], keep_counts=True)
    assert files(cooled) == [str(day) for day in OLD]
    anonymous = receipt.digests[0]["anonymous"]
    assert set(column_of_files(cooled, "api_key")) == {anonymous, KEYS[1]}
    paths = set(column_of_files(cooled, "raw_path"))
    assert paths == {one.name for one in RECORDS if one.day in OLD and one.record.api_key != THEIRS} | {""}
    verified = verify(engine, writer)
    assert (verified.records, verified.differing, verified.rollups) == (len(RECORDS), [], [])
    # In a copy that was made before, the same again.
    again = Erasing(engine, writer).again([one for one in writer.erased.all if one.anonymous])
    assert again.raw == 0


@pytest.mark.parametrize(
    "at",
    [
        pytest.param("INSERT INTO FUNCTION", marks=pytest.mark.long),
        "erased_rows",
        pytest.param("cold_days True", marks=pytest.mark.long),
    ],
)
def test_killed_while_a_cold_day_was_rewritten(cooled: Product, at: str) -> None:
    engine, writer = cooled.parts.engine, cooled.parts.writer
    for after in (False, True):
        broken: Any = Breaking(engine, at, after=after)
        with pytest.raises(StoreError, match="killed"):
            Erasing(broken, writer).erase([Subject("key", THEIRS)], keep_counts=False)
    Erasing(engine, writer).erase([Subject("key", THEIRS)], keep_counts=False)
    assert exported(cooled, org=None) == LEFT
    assert files(cooled) == [str(day) for day in OLD]
    assert THEIRS not in column_of_files(cooled, "api_key")
    verified = verify(engine, writer)
    assert (verified.records, verified.differing, verified.rollups) == (len(LEFT), [], [])


def test_who_is_erased_from_a_day_that_was_being_moved_counts_once(warm: Product) -> None:
    """Killed between the row that lets the file count and the drop: their rows are in both places."""
    engine, writer = warm.parts.engine, warm.parts.writer
    with pytest.raises(StoreError, match="killed"):
        pruning(warm, engine=Breaking(engine, "DROP PARTITION ID '20260227'", after=False)).run(NOW)
    receipt = Erasing(engine, writer).erase([Subject("key", THEIRS)], keep_counts=False)
    assert receipt.raw == len(RECORDS) - len(LEFT)
    assert exported(warm, org=None) == LEFT
    verified = verify(engine, writer)
    assert (verified.records, verified.differing, verified.rollups) == (len(LEFT), [], [])


def test_a_restored_backup_has_its_cold_days(cooled: Product, tmp_path: Path) -> None:
    upkeep = Upkeep(cooled.parts.engine, cooled.parts.writer, KEEPS, Metrics())
    pieces = upkeep.backup()
    content = next(pieces)
    # What becomes of a day while it is copied is not in the copy.
    Erasing(cooled.parts.engine, cooled.parts.writer).erase([Subject("key", THEIRS)], keep_counts=False)
    content += b"".join(pieces)
    assert files(cooled) == [str(day) for day in OLD]
    source = tmp_path / "copy.tar"
    source.write_bytes(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = [name for name in tar.getnames() if name.startswith("cold/")]
    assert [name.removeprefix("cold/")[:10] for name in names] == [str(day) for day in OLD]
    with pytest.raises(FileError, match=r"3 cold days, and store\.cold does not say where"):
        restore(source, tmp_path / "none")
    there = tmp_path / "data/cold"
    there.mkdir(parents=True)
    (there / names[0].removeprefix("cold/")).write_bytes(b"of another store")
    with pytest.raises(FileError, match="another file"):
        restore(source, tmp_path / "data", there)
    (there / names[0].removeprefix("cold/")).unlink()
    assert restore(source, tmp_path / "data", there).records == len(RECORDS)
    script = tmp_path / "look.py"
    script.write_text(LOOK, encoding="utf-8")
    assert run_apart(script, tmp_path / "data") == {"cold": 3, "missing": 0, "damaged": [], "records": len(RECORDS)}


LOOK = """
import json, sys
from pathlib import Path
from tests.product import product
with product(Path(sys.argv[1]), store__cold="cold") as store:
    found = store.parts.upkeep.verify()
    told = {"cold": found.cold, "missing": found.missing, "damaged": found.damaged, "records": found.records}
    print(json.dumps(told))
"""


def test_what_is_said_of_cold_days(cooled: Product) -> None:
    size = sum(file.stat().st_size for file in folder(cooled).path.iterdir())
    told = {"days": 3, "from": str(OLD[0]), "rows": 3 * 35, "bytes": size}
    assert cooled.get("/api/v1/pipeline", ADMIN)["upkeep"]["cold"] == told
    assert f"keytrail_cold_bytes {float(size)}" in cooled.http.get("/metrics").text
    cooled.http.post("/signin", data={"token": ADMIN}, follow_redirects=False)
    shown = cooled.http.get("/pipeline", headers={"Accept": "text/html"}).text
    assert f"Cold days: 3 since {OLD[0]}," in shown
    assert "105 records in" in shown
