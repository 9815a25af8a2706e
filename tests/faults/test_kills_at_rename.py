"""A process is killed between the engine's note of a token and the part that belongs to it.

The engine writes the token down and then gives the part its name. A retry under that token alone would lose the part's
rows in silence; the writer counts them.
"""

import os
import tempfile
from pathlib import Path

import pytest

from keytrail.store.erased import Subject
from keytrail.store.tables import RAW, ROLLUPS
from tests.faults.process import FORKING, LINUX, LONGEST, count_down, die_at_rename, die_before_rename
from tests.product import product
from tests.store.test_writer import RECORDS, ROUND, counted, exact, write
from tests.store.test_writer import chunk as chunk_of

pytestmark = pytest.mark.skipif(not LINUX, reason="the engine's call can't be replaced here")

COUNT = 60
# The chunk begins on 27 February, with a record every hour. Raw rows have a part for each day, rollups for each month.
DAYS, MONTHS = 3, 2
PARTS = DAYS + MONTHS * len(ROLLUPS)
"""Of one insert: the raw table's first."""
LEFT = {1: COUNT - 24, DAYS: COUNT - 12}
"""Raw rows after a plain retry, where it is the part of the first day or of the last that has a token and no rows."""


def write_and_die(data: Path, number: int, system: Path) -> None:
    """Store a chunk; killed when the `number`-th of its parts is to be put in place.

    Args:
        data: The data directory.
        number: See above.
        system: Where the system's temporary files are.
    """
    tempfile.tempdir = os.environ["TMPDIR"] = str(system)
    with product(data) as store:
        ROUND[store] = 1
        die_at_rename(count_down(number))
        write(store)


@pytest.mark.parametrize("number", [1, DAYS, DAYS + 1, PARTS])
def test_a_token_without_its_part(number: int, tmp_path: Path) -> None:
    data, system = tmp_path / "data", tmp_path / "system"
    system.mkdir()
    process = FORKING.Process(target=write_and_die, args=(data, number, system))
    process.start()
    process.join(LONGEST)
    assert process.exitcode == -9, "the engine does not rename each part once"
    assert list(system.iterdir()) == [], "what a killed process leaves is for nobody else to read"
    with product(data) as store:
        ROUND[store] = 1
        version = store.query("SELECT version()")[0][0]
        chunk = chunk_of(store)
        store.parts.engine.insert(RAW, chunk.rows, f"{chunk.batch_id}:0")
        found = counted(store)
        left = found.pop(RAW)
        assert left == LEFT.get(number, COUNT), f"engine {version}: a plain retry no longer loses; see what it does"
        if number > DAYS:
            # All raw rows are there, so the retry repairs the views, but the one whose token was noted.
            assert len([table for table, count in found.items() if count != COUNT]) == 1, version
        written = write(store, attempt=2)
        assert (written.stored, written.phantom) == (COUNT, number <= DAYS)
        assert written.rebuilt > 0
        exact(store, RECORDS[:COUNT])


def erase_and_die(data: Path) -> None:
    """Store a chunk and erase a client; killed when a day without them is in place and the day with them is, too."""
    with product(data) as store:
        ROUND[store] = 1
        write(store)
        # What the engine takes away it replaces by an empty part.
        die_before_rename(lambda old: b"/tmp_empty_" in old)
        store.parts.upkeep.erase([Subject("client", "c")], keep_counts=False)


def test_a_day_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    process = FORKING.Process(target=erase_and_die, args=(tmp_path,))
    process.start()
    process.join(LONGEST)
    assert process.exitcode == -9, "the engine takes a partition away in another way"
    with product(tmp_path) as store:
        # Of the first day are those left who are not theirs; the next days are as they were.
        assert store.query(f"SELECT count(), uniqExact(seq) FROM {RAW}") == [(COUNT - 18, COUNT - 18)]
        assert store.query("SELECT name FROM system.tables WHERE name LIKE '%replacing'") == []
        store.parts.upkeep.erase([Subject("client", "c")], keep_counts=False)
        exact(store, [record for record in RECORDS[:COUNT] if not record.oauth_id])
        found = store.parts.upkeep.verify()
        assert (found.missing, found.surplus, found.rollups) == (0, 0, [])
