"""Redis itself is killed while it is collected from; what it has acknowledged is stored, once."""

import time
from pathlib import Path

import pytest

from tests.collect.redis_servers import Servers
from tests.collect.test_loop import again
from tests.faults.process import Collecting
from tests.faults.rig import Feed, drain, reckon, write_config

pytestmark = pytest.mark.redis


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    servers = Servers(tmp_path / "redis")
    first = server = servers.start(*durable)
    config = write_config(tmp_path, server.port)
    feed = Feed(server.client(), rate=1_000)
    try:
        process = Collecting(config)
        process.until_it_collects()
        with feed.running():
            for _ in range(5):
                time.sleep(1)
                server.stop()
                server = again(servers, first, *durable)
        assert process.status is None
        process.kill()
        drain(config, server.client())
        found = reckon(tmp_path, feed)
    finally:
        servers.stop()
    assert len(feed.pushed) > 2_000
    # A push of unknown outcome may be stored without having been acknowledged: strange, but not lost or doubled.
    assert (found.lost, found.drift) == (0, ())
    assert found.taken == found.stored + found.rejected
