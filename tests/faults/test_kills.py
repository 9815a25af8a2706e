"""Collectors are killed at random moments; afterwards every record counts once."""

import itertools
import random
import time
from pathlib import Path

import pytest

from tests.collect.redis_servers import Server
from tests.faults.process import Collecting
from tests.faults.rig import Feed, Reckoning, drain, exact, reckon, write_config

pytestmark = pytest.mark.redis


ENOUGH = 10_000
"""Records that are pushed at least."""


def random_kills(folder: Path, server: Server, kills: int, seed: int) -> tuple[Reckoning, Feed]:
    chance = random.Random(seed)
    config = write_config(folder, server.port)
    client = server.client()
    feed = Feed(client, rate=700)
    with feed.running():
        # On a fast machine, too, enough is pushed meanwhile.
        for _ in itertools.takewhile(lambda done: done < kills or len(feed.pushed) < ENOUGH, itertools.count()):
            process = Collecting(config)
            # Opening the store takes about as long as the rest of a life; some die in it.
            if chance.random() < 0.9:
                process.until_it_collects()
            time.sleep(chance.uniform(0, 0.8))
            process.kill()
            assert process.status == -9
    drain(config, client)
    return reckon(folder, feed), feed


def test_thirty_kills_at_random_moments(tmp_path: Path, valkey: Server) -> None:
    found, feed = random_kills(tmp_path, valkey, 30, seed=4)
    exact(found, feed)


def test_the_wrong_order_loses(tmp_path: Path, valkey: Server) -> None:
    client = valkey.client()
    config = write_config(tmp_path, valkey.port)
    feed = Feed(client, rate=500)
    with feed.running():
        process = Collecting(config, "wrong_order", 2)
        assert process.wait() == -9
        process.kill()
    drain(config, client)
    found = reckon(tmp_path, feed)
    assert found.lost > 0


@pytest.mark.long
def test_two_hundred_kills(tmp_path: Path, valkey: Server) -> None:
    found, feed = random_kills(tmp_path, valkey, 140, seed=5)
    exact(found, feed)
