"""Collectors are killed at each step of the protocol; afterwards every record counts once."""

from pathlib import Path

import pytest

from tests.collect.redis_servers import Server
from tests.faults.process import POINTS, Collecting
from tests.faults.rig import Feed, Reckoning, drain, exact, reckon, write_config

pytestmark = pytest.mark.redis

# Twice in a row: what was to go in together with others is tried again under a token of its own, and dies once more.
AIMED = [point for point in POINTS for _ in range(1 + (point == "renaming"))]


def aimed_kills(folder: Path, server: Server, rounds: int) -> tuple[Reckoning, Feed, int]:
    config = write_config(folder, server.port)
    client = server.client()
    feed = Feed(client, rate=500)
    died = 0
    with feed.running():
        for number in range(rounds):
            for point in AIMED:
                process = Collecting(config, point, 1 + number % 3)
                died += process.wait(15) == -9
                process.kill()
    drain(config, client)
    return reckon(folder, feed), feed, died


def test_kills_at_each_step(tmp_path: Path, valkey: Server) -> None:
    found, feed, died = aimed_kills(tmp_path, valkey, 2)
    assert died >= 13
    assert found.duplicate > 0, "who dies between storing and letting go leaves what comes again"
    assert found.phantoms > 0 or "renaming" not in AIMED
    exact(found, feed)


@pytest.mark.long
def test_many_kills_at_each_step(tmp_path: Path, valkey: Server) -> None:
    found, feed, died = aimed_kills(tmp_path, valkey, 9)
    assert died >= 60
    exact(found, feed)
