"""Several processes on one server: what only one may do, and who waits for whom."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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
        with pytest.raises(StoreAway, match="only one may do"), Turns(engines[1], patience=0.3).hold():
            pytest.fail("two have a turn")
    Turns(engines[1], patience=0.3).wait()


def test_a_turn_waits_for_inserts_that_had_begun(engines: list[Engine], server: Server) -> None:
    engine = engines[0]
    engine.command("CREATE TABLE slow (n UInt8) ENGINE = Null")
    with ThreadPoolExecutor(1) as pool:
        inserting = pool.submit(
            engines[1].command, "INSERT INTO slow SELECT sleepEachRow(0.5) FROM numbers(4) SETTINGS max_block_size = 1"
        )
        while not engine.query("SELECT 1 FROM system.processes WHERE startsWith(query, 'INSERT INTO slow')").rows:
            time.sleep(0.02)
        with Turns(engine).hold():
            assert inserting.done()


def test_a_turn_of_a_process_that_died_ends_by_itself(engines: list[Engine]) -> None:
    turns = Turns(engines[0], patience=10)
    turns.wait()
    engines[0].command("INSERT INTO turns SELECT 'dead', now64(3), now64(3) + INTERVAL 1 SECOND, false")
    with pytest.raises(StoreAway):
        Turns(engines[1], patience=0.1).wait()
    turns.wait()
