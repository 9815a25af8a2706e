"""Several processes on one server: what only one may do, and who waits for whom."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keytrail.cli.opening import open_engine
from keytrail.config import load
from keytrail.errors import StoreAway
from keytrail.store.client import Engine
from keytrail.store.ledger import Ledger
from keytrail.store.migrate import migrate, migrations
from keytrail.store.turns import Turns
from tests.cluster.front import CLUSTER
from tests.cluster.fronts import Server
from tests.collect.redis_servers import wait_for

PROCESSES = 4


@pytest.fixture
def engines(server: Server, request: pytest.FixtureRequest) -> Iterator[list[Engine]]:
    """As many processes have, on one empty database."""
    database = f"turns_{abs(hash(request.node.name)):x}"
    settings = load(overrides={"store.url": server.url(database), "store.cluster": CLUSTER})
    opened = [open_engine(settings) for _ in range(PROCESSES)]
    yield opened
    for engine in opened:
        engine.close()


def test_of_processes_that_start_at_once_one_migrates(engines: list[Engine]) -> None:
    with ThreadPoolExecutor(PROCESSES) as pool:
        done = list(pool.map(migrate, engines))
        names = list(pool.map(lambda engine: Ledger(engine).store_id(), engines))
    assert sorted(map(len, done)) == [*[0] * (PROCESSES - 1), len(migrations())]
    assert engines[0].query("SELECT version FROM migrations ORDER BY version").rows == [
        (number,) for number, _, _ in migrations()
    ]
    assert len(set(names)) == 1
    assert engines[0].query("SELECT count() FROM identity").rows == [(1,)]


def test_nobody_has_a_turn_beside_another(engines: list[Engine]) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def work(engine: Engine) -> None:
        nonlocal inside, most
        with Turns(engine).hold():
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.1)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(work, engines))
    assert most == 1


def test_writers_wait_for_a_turn_to_end(engines: list[Engine]) -> None:
    with Turns(engines[0]).hold():
        with pytest.raises(StoreAway, match="nobody may write beside"):
            Turns(engines[1], patience=0.3).wait()
        # On a slow machine it has not even asked in time.
        refused = pytest.raises(StoreAway, match=r"only one may do|too slow to agree")
        with refused, Turns(engines[1], patience=0.3).hold():
            pytest.fail("two have a turn")
    Turns(engines[1], patience=0.3).wait()


def test_a_turn_waits_for_inserts_that_had_begun(
    engines: list[Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that lasts until it was seen, as its rows come through a pipe."""
    engine, pipe = engines[0], tmp_path / "rows"
    os.mkfifo(pipe)
    engine.command("CREATE TABLE slow (n UInt8) ENGINE = Null")

    def runs() -> bool:
        return bool(engine.query("SELECT 1 FROM system.processes WHERE startsWith(query, 'INSERT INTO slow')").rows)

    def let_go() -> bool:
        """End the rows, as soon as somebody reads them."""
        with contextlib.suppress(OSError):
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            return True
        return inserting.done()

    look = Turns._inserting

    def look_and_let_go(turns: Turns) -> bool:
        found = look(turns)
        if found:
            wait_for(let_go)
        return found

    monkeypatch.setattr(Turns, "_inserting", look_and_let_go)
    with ThreadPoolExecutor(1) as pool:
        rows = f"file('{pipe}', 'TSV', 'n UInt8')"
        inserting = pool.submit(engines[1].command, f"INSERT INTO slow SELECT n FROM {rows}")
        try:
            wait_for(runs)
            with Turns(engine).hold():
                assert not runs()
        finally:
            wait_for(let_go)
        inserting.result()


def test_a_turn_of_a_process_that_died_ends_by_itself(engines: list[Engine]) -> None:
    turns = Turns(engines[0], patience=10)
    turns.wait()
    asked = "INSERT INTO turns SELECT '{}', now64(3) - INTERVAL 1 MINUTE, now64(3) {}, false"
    engines[0].command(asked.format("of one that died a while ago", "- INTERVAL 1 SECOND"))
    turns.wait()
    engines[0].command(asked.format("of one that died now", "+ INTERVAL 1 HOUR"))
    with pytest.raises(StoreAway):
        Turns(engines[1], patience=0.1).wait()
