"""CSV and Parquet files are imported as lines are: each row once, the bad ones named and kept."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keytrail.collect import files
from tests.cli.command import Ran

Keytrail = Callable[..., Ran]
HEADER = "time,org_id,api_id,path,code,alias\n"
ROWS = [f"2026-11-20T12:{n // 60:02}:{n % 60:02}Z,o,api-{n % 3},/p/{n},200,name\n" for n in range(500)]


@pytest.fixture
def imported(keytrail: Keytrail, tmp_path: Path) -> Callable[..., Any]:
    def take(*arguments: object, stdin: bytes = b"") -> Any:
        ran = keytrail("import", "--json", "--data", tmp_path / "data", *arguments, stdin=stdin)
        return {**ran.json(), "status": ran.status, "said": ran.err}

    return take


def file_of(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def table(rows: list[str]) -> bytes:
    return (HEADER + "".join(rows)).encode()


def test_each_row_once_in_small_chunks(
    imported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_LINES", 60)
    plain = file_of(tmp_path / "rows.csv", table(ROWS[:300]))
    assert imported(plain)["stored"] == 300
    for again in (plain, file_of(tmp_path / "rows.csv.gz", gzip.compress(table(ROWS[:300])))):
        assert (imported(again)["stored"], imported(again)["duplicate"]) == (0, 300)
    # A file that has grown counts only what is new.
    grown = imported(file_of(plain, table(ROWS)))
    assert (grown["stored"], grown["duplicate"], grown["status"]) == (200, 300, 0)


def test_a_row_that_is_still_being_written(imported: Callable[..., Any], tmp_path: Path) -> None:
    # Its last cell may be half of what it will be: it comes alone, so that the rest is known again.
    path = file_of(tmp_path / "rows.csv", table(ROWS[:20])[:-3])
    assert imported(path)["stored"] == 20
    got = imported(file_of(path, table(ROWS[:30])))
    assert (got["duplicate"], got["stored"]) == (19, 11)


def test_bad_rows_are_named_kept_and_can_be_mended(imported: Callable[..., Any], tmp_path: Path) -> None:
    bad = ["never,o,a,/,200,x\n", "2026-11-20T12:00:00Z,o,a,/,many,x\n", "2026-11-20T12:00:00Z,o,a,/,70000,x\n"]
    got = imported(file_of(tmp_path / "rows.csv", table([ROWS[0], *bad, ROWS[1]])))
    assert (got["stored"], got["status"]) == (2, 1)
    assert got["rejected"] == {"bad_field": 2, "out_of_range": 1}
    for number, reason in ((3, "bad_field"), (4, "bad_field"), (5, "out_of_range")):
        assert f"rows.csv:{number}: {reason}" in got["said"]
    kept = Path(got["rejects_file"])
    lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert [line["timestamp"] for line in lines] == ["never", *["2026-11-20T12:00:00Z"] * 2]
    kept.write_text(kept.read_text(encoding="utf-8").replace("never", "2026-11-20T12:00:00Z"), encoding="utf-8")
    assert imported(kept)["stored"] == 1


def test_a_value_that_looks_like_a_capture(imported: Callable[..., Any], tmp_path: Path) -> None:
    rows = [row.replace("name", "record") for row in ROWS[:5]]
    assert imported(file_of(tmp_path / "rows.csv", table(rows)))["stored"] == 5


def test_truncated(imported: Callable[..., Any], tmp_path: Path) -> None:
    whole = gzip.compress(table(ROWS))
    got = imported(file_of(tmp_path / "cut.gz", whole[: len(whole) // 2]))
    assert (got["rejected"], got["status"]) == ({"truncated": 1}, 1)
    assert 10 < got["stored"] < 490
    full = imported(file_of(tmp_path / "whole.gz", whole))
    assert (full["stored"], full["duplicate"]) == (500 - got["stored"], got["stored"])


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\x00\x01", b'{"timestamp": 1}\n'])
def test_no_csv(imported: Callable[..., Any], tmp_path: Path, content: bytes) -> None:
    got = imported("--format", "csv", file_of(tmp_path / "x", content))
    assert (got["stored"], got["status"]) == (0, 1)
    assert "x: the first line names no column time" in got["said"]


def parquet(path: Path, rows: int) -> Path:
    times = pa.array([1_780_000_000_000 + n for n in range(rows)], pa.timestamp("ms", "UTC"))
    columns = {"time": times, "org_id": ["o"] * rows, "path": [f"/{n}" for n in range(rows)], "code": [200] * rows}
    pq.write_table(pa.table(columns), path, row_group_size=100)
    return path


def test_parquet(imported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_LINES", 70)
    path = parquet(tmp_path / "rows.parquet", 300)
    assert (imported(path)["stored"], imported(path)["duplicate"]) == (300, 300)
    assert imported("--format", "parquet", "-", stdin=path.read_bytes())["duplicate"] == 300
    assert imported(parquet(tmp_path / "more", 350))["stored"] == 50


def test_damaged_parquet(imported: Callable[..., Any], tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet", 1000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    got = imported(file_of(path, bytes(data)))
    assert (got["rejected"], got["status"]) == ({"truncated": 1}, 1)
    assert got["stored"] % 100 == 0
    got = imported(file_of(path, bytes(data[:middle])))
    assert "rows.parquet: damaged or no Parquet file" in got["said"]
