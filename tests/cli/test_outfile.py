from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# The kernel refuses what a file would have beyond the limit, as it does on a full disk.
WRITE = """
import resource, sys
from keytrail.cli.outfile import write_out
from keytrail.errors import FileError
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
try:
    write_out(sys.argv[1], iter([b"a" * 100] * int(sys.argv[2])))
except FileError as error:
    print(error)
"""


def write(path: Path, pieces: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", WRITE, str(path), str(pieces)], check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.mark.parametrize("pieces", [50, 500], ids=["when it is closed", "while it is written"])
def test_no_part_of_a_file_stays_where_the_disk_is_full(pieces: int, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("an older one")
    assert write(path, pieces) == f"{path}: File too large\n"
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "an older one"


def test_a_file_within_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert write(path, 40) == ""
    assert path.read_bytes() == b"a" * 4_000
    assert path.stat().st_mode & 0o777 == 0o600
