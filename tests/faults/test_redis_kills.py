"""Redis itself is killed while it is collected from; what it has acknowledged is stored, once."""

from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.collect.redis_servers import Servers, wait_for
from tests.collect.test_loop import again
from tests.faults.process import Collecting
from tests.faults.rig import Feed, drain, reckon, write_config

pytestmark = pytest.mark.redis


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    servers = Servers(tmp_path / "redis")
    first = server = servers.start(*durable)
    config = write_config(tmp_path, server.port)
    # Without a pause after an error: how many records are pushed must not depend on chance.
    feed = Feed(redis.Redis(port=server.port, protocol=2, retry=Retry(NoBackoff(), 0)), rate=1_000)
    try:
        process = Collecting(config)
        process.until_it_collects()
        with feed.running():
            for _ in range(5):
                pushed = len(feed.pushed)
                wait_for(lambda pushed=pushed: len(feed.pushed) >= pushed + 500, what="pushed records")  # type: ignore[misc]
                server.stop()
                server = again(servers, first, *durable)
        assert process.status is None
        process.kill()
        drain(config, server.client())
        found = reckon(tmp_path, feed)
    finally:
        servers.stop()
    # A push of unknown outcome may be stored without having been acknowledged: strange, but not lost or doubled.
    assert (found.lost, found.drift) == (0, ())
    assert found.taken == found.stored + found.rejected
