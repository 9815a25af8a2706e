"""Collectors are killed at random moments and at each step of the protocol; afterwards every record counts once."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collect.redis_servers import Server, Servers
from tests.faults.process import POINTS
from tests.faults.rig import Feed, Reckoning, drain, kill, reckon, start, write_config

pytestmark = pytest.mark.redis


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    servers = Servers(tmp_path / "redis")
    yield servers.start()
    servers.stop()


def exact(found: Reckoning, feed: Feed) -> None:
    assert (found.lost, found.doubled, found.strange, found.drift) == (0, 0, 0, ())
    assert found.rejected == feed.poison
    assert found.stored == len(feed.pushed)
    assert found.taken == found.stored + found.rejected


def random_kills(folder: Path, client: Any, kills: int, seed: int) -> tuple[Reckoning, Feed]:
    chance = random.Random(seed)
    config = write_config(folder, client.connection_pool.connection_kwargs["port"])
    feed = Feed(client)
    with feed.running():
        for _ in range(kills):
            process = start(config)
            time.sleep(chance.uniform(0, 1.5))
            kill(process)
    drain(config, client)
    return reckon(folder, feed), feed


def aimed_kills(folder: Path, client: Any, rounds: int) -> tuple[Reckoning, Feed, int]:
    config = write_config(folder, client.connection_pool.connection_kwargs["port"])
    feed = Feed(client)
    died = 0
    with feed.running():
        for number in range(rounds):
            for point in POINTS:
                process = start(config, point, str(1 + number % 3))
                deadline = time.monotonic() + 8
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                died += process.poll() == -9
                kill(process)
    drain(config, client)
    return reckon(folder, feed), feed, died


def test_thirty_kills_at_random_moments(tmp_path: Path, valkey: Server) -> None:
    found, feed = random_kills(tmp_path, valkey.client(), 30, seed=4)
    assert len(feed.pushed) > 10_000
    exact(found, feed)


def test_kills_at_each_step(tmp_path: Path, valkey: Server) -> None:
    found, feed, died = aimed_kills(tmp_path, valkey.client(), 3)
    assert died >= 20
    exact(found, feed)


def test_the_wrong_order_loses(tmp_path: Path, valkey: Server) -> None:
    client = valkey.client()
    config = write_config(tmp_path, client.connection_pool.connection_kwargs["port"])
    feed = Feed(client)
    with feed.running():
        for _ in range(3):
            process = start(config, "wrong_order", "2")
            process.wait(30)
            kill(process)
    drain(config, client)
    found = reckon(tmp_path, feed)
    assert found.lost > 0


@pytest.mark.long
def test_two_hundred_kills(tmp_path: Path, valkey: Server) -> None:
    found, feed = random_kills(tmp_path, valkey.client(), 140, seed=5)
    exact(found, feed)


@pytest.mark.long
def test_many_kills_at_each_step(tmp_path: Path, valkey: Server) -> None:
    found, feed, died = aimed_kills(tmp_path, valkey.client(), 9)
    assert died >= 60
    exact(found, feed)
