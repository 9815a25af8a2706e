"""An import that is killed, and run again, counts each record once: in the raw rows and in every rollup."""

import random
import signal
import time
from pathlib import Path

import pytest

from keytrail.store.rebuild import differing
from keytrail.store.tables import RAW, ROLLUPS
from tests.cli.captures import lines_of, text, varied
from tests.cli.command import process
from tests.product import product

# Small chunks and a line for each, so that there is much to be killed in.
MANY_CHUNKS = """
from keytrail.cli import progress
from keytrail.collect import files
files.CHUNK_LINES, progress.LINE_EVERY = 1500, 0.0
"""
COPIES = 10
CHUNKS = 13
"""Of these lines."""
# A while after the n-th of them it kills itself: a test that does so from outside may find it done. A thread that has
# been started is waited for at the end, so that none gets away.
DIE = """
import os, signal, threading
told, chunks = progress._Plain.__call__, iter(range(1, {chunks} + 1))
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def counted(self, summary):
    told(self, summary)
    if next(chunks) == {number}:
        threading.Timer({seconds}, die).start()
progress._Plain.__call__ = counted
"""
# Tells when it begins to wait.
TELL = """
from keytrail.collect.stop import Stop
leave = Stop.leave
def told(self, work):
    print("it waits", flush=True)
    return leave(self, work)
Stop.leave = told
"""


@pytest.mark.parametrize(("seed", "kills"), [(1, 2), pytest.param(2, 25, marks=pytest.mark.long)], ids=["few", "many"])
def test_killed_import(seed: int, kills: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    lines = varied(lines_of(), COPIES)
    path = tmp_path / "lines"
    path.write_bytes(text(lines))
    data = tmp_path / "data"
    for _ in range(kills):
        die = DIE.format(chunks=CHUNKS, number=chance.randrange(1, CHUNKS), seconds=chance.uniform(0, 0.1))
        with process("import", "--data", data, path, home=tmp_path, code=MANY_CHUNKS + die) as running:
            assert running.end() == -signal.SIGKILL, running.said
    with process("import", "--json", "--data", data, path, home=tmp_path, code=MANY_CHUNKS) as running:
        assert running.end() == 0, running.said
    with product(data) as found:
        assert found.query(f"SELECT count(), uniqExact(batch_id, seq) FROM {RAW}") == [(len(lines), len(lines))]
        # Every copy is there whole: it has ids of its own.
        (copies,) = {
            count
            for _, count in found.query(
                f"SELECT api_id, count() FROM {RAW} WHERE api_id < '{COPIES:032x}' GROUP BY api_id"
            )
        }
        assert copies * COPIES == found.query(f"SELECT count() FROM {RAW} WHERE api_id < '{COPIES:032x}'")[0][0]
        for rollup in ROLLUPS:
            raw = found.query(f"SELECT count(), sum(latency), sum(request_time) FROM {RAW}")
            sums = "sum(records), sum(latency_sum), sum(request_time_sum)"
            assert found.query(f"SELECT {sums} FROM {rollup.table}") == raw, rollup.table
        months = [month for (month,) in found.query(f"SELECT DISTINCT toYYYYMM(time) FROM {RAW}")]
        assert [differing(found.parts.engine, month) for month in months] == [[]] * len(months)
        assert found.query("SELECT sum(taken), sum(stored) FROM batches") == [(len(lines), len(lines))]


def test_told_to_stop_while_it_waits_for_input(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with process("import", "--json", "--data", data, "-", home=tmp_path, code=TELL) as running:
        running.write(text(lines_of()[:200]))
        running.until("it waits")
        # Mostly it reads by now; before that it is to end no worse.
        time.sleep(0.1)
        running.send(signal.SIGTERM)
        running.until('"interrupted":true')
        assert running.end() == 130
    assert "Traceback" not in running.said
