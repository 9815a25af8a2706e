"""Collectors are killed at each step of the protocol; afterwards every record counts once."""

from pathlib import Path

import pytest

from tests.collect.redis_servers import Server
from tests.faults.process import POINTS, Collecting
from tests.faults.rig import Feed, Reckoning, drain, exact, reckon, write_config

pytestmark = pytest.mark.redis

# Twice in a row: what was to go in together with others is tried again under a token of its own, and dies once more.
AIMED = [point for point in POINTS for _ in range(1 + (point == "renaming"))]


def aimed_kills(folder: Path, server: Server, rounds: int) -> tuple[Reckoning, Feed]:
    config = write_config(folder, server.port)
    client = server.client()
    feed = Feed(client, rate=500)
    with feed.running():
        for number in range(rounds):
            for point in AIMED:
                process = Collecting(config, point, 1 + number % 3)
                # Each gets there, however slow the machine is.
                try:
                    assert process.wait() == -9, point
                finally:
                    process.kill()
    drain(config, client)
    return reckon(folder, feed), feed


def test_kills_at_each_step(tmp_path: Path, valkey: Server) -> None:
    found, feed = aimed_kills(tmp_path, valkey, 2)
    assert found.duplicate > 0, "who dies between storing and letting go leaves what comes again"
    assert found.phantoms > 0 or "renaming" not in AIMED
    exact(found, feed)


@pytest.mark.long
def test_many_kills_at_each_step(tmp_path: Path, valkey: Server) -> None:
    found, feed = aimed_kills(tmp_path, valkey, 9)
    exact(found, feed)
