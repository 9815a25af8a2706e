"""The embedded engine holds no more with time, and leaves nothing behind where it does not belong."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from keytrail.config import Store
from keytrail.store.client import EmbeddedEngine
from keytrail.store.client.embedded import MERGING_NICENESS
from tests.collect.redis_servers import wait_for

TASKS = Path("/proc/self/task")
LINUX = pytest.mark.skipif(not TASKS.exists(), reason="threads are listed by Linux")


def threads() -> int:
    return sum(1 for _ in TASKS.iterdir())


def test_its_caches_have_bounds(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path, Store())
    try:
        found = dict(
            engine.query(
                "SELECT name, toUInt64OrZero(value) FROM system.server_settings WHERE name LIKE '%cache_size'"
            ).rows
        )
        assert found["mark_cache_size"] == 128 << 20
        assert found["query_condition_cache_size"] == 16 << 20
        kept = engine.query("SELECT value FROM system.merge_tree_settings WHERE name = 'old_parts_lifetime'").rows
        assert kept == [("120",)]
    finally:
        engine.close()


@LINUX
def test_removing_many_parts_starts_no_threads(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path, Store())
    try:
        engine.command("CREATE TABLE many (n UInt32) ENGINE = MergeTree PARTITION BY n ORDER BY n")
        # More than the engine would remove in one thread of itself.
        engine.command("INSERT INTO many SELECT number FROM numbers(150) SETTINGS max_partitions_per_insert_block = 0")
        assert engine.query("SELECT count() FROM system.parts WHERE table = 'many' AND active").rows == [(150,)]
        before = threads()
        engine.command("TRUNCATE TABLE many")
        assert threads() < before + 20
    finally:
        engine.close()


def niceness_of_merging() -> set[int]:
    """Of the threads that merge parts, those of them that run."""
    found = set()
    for task in TASKS.iterdir():
        # A thread may have ended since it was listed.
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().strip() == "MergeMutate":
                found.add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    return found


def niceness_while_merging(engine: EmbeddedEngine) -> set[int]:
    """All that was seen; a merge may be over before anybody looks."""
    merging = Thread(target=engine.command, args=("OPTIMIZE TABLE many FINAL",))
    merging.start()
    seen: set[int] = set()
    while merging.is_alive():
        seen |= niceness_of_merging()
    merging.join()
    return seen


@LINUX
def test_merging_gives_way(tmp_path: Path) -> None:
    """Where the process may set it, as a service's unit or root may; else parts are merged all the same."""
    capabilities = re.search(r"CapEff:\s*(\S+)", Path("/proc/self/status").read_text())
    assert capabilities is not None
    may = bool(int(capabilities[1], 16) >> _CAP_SYS_NICE & 1)
    engine = EmbeddedEngine(tmp_path, Store())
    try:
        engine.command("CREATE TABLE many (n UInt64) ENGINE = MergeTree ORDER BY n")
        for _ in range(2):
            engine.command("INSERT INTO many SELECT rand64() FROM numbers(1000000)")
        if may:
            wait_for(lambda: MERGING_NICENESS in niceness_while_merging(engine), what="merging that gives way")
        else:
            assert MERGING_NICENESS not in niceness_while_merging(engine)
        assert engine.query("SELECT count() FROM system.parts WHERE table = 'many' AND active").rows == [(1,)]
    finally:
        engine.close()


_CAP_SYS_NICE = 23

_KILLED = """
import os, signal, sys
from pathlib import Path
from keytrail.config import Store
from keytrail.store.client import EmbeddedEngine, Handles
import pyarrow as pa

engine = EmbeddedEngine(Path(sys.argv[1]), Store())
engine.command("CREATE TABLE t (n UInt32) ENGINE = MergeTree ORDER BY n")
writer = engine._writer

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

# The driver has written its file, and the engine is about to read it.
writer._backend._query_locked = die
engine.insert("t", pa.table({"n": pa.array([1], pa.uint32())}), "token")
"""


def test_who_is_killed_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    system, data = tmp_path / "system", tmp_path / "data"
    system.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED, str(data)], env={**os.environ, "TMPDIR": str(system)}, check=False
    )
    assert ran.returncode == -signal.SIGKILL
    assert list(system.iterdir()) == []
    assert list((data / "tmp").iterdir()) != [], "what was to be inserted"
    EmbeddedEngine(data, Store()).close()
    assert list((data / "tmp").iterdir()) == []
