"""Collection begins by itself when a Redis is there that was not at the start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keytrail.cli.collecting import collecting
from keytrail.collect.redis_url import parse_redis_url
from tests.collect.conftest import PLAIN
from tests.collect.redis_servers import Server, Servers, connect, wait_for, wait_for_cluster
from tests.collect.test_loop import push, ready, stored
from tests.ports import free_port
from tests.product import product

pytestmark = pytest.mark.redis


def one_server(started: Servers) -> tuple[str, Callable[[], Any]]:
    port = free_port()

    def come() -> Any:
        return started.start(port=port).client()

    return f"redis://127.0.0.1:{port}/0", come


def sentinel(started: Servers) -> tuple[str, Callable[[], Any]]:
    master = started.start()
    watch = started.start_sentinel(master.port, "tyk")
    watch.stop()

    def come() -> Any:
        started.start_sentinel(master.port, "tyk", port=watch.port)
        return master.client()

    return f"redis+sentinel://127.0.0.1:{watch.port}/tyk/0", come


def cluster(started: Servers) -> tuple[str, Callable[[], Any]]:
    nodes = started.start_cluster(3)
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    for node in nodes:
        node.stop()

    def again(node: Server) -> Server:
        # Each knows the others from its file, and keeps away for as long as its timeout.
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--dir", str(node.log.parent))
        return started.start(*options, port=node.port)

    def come() -> Any:
        wait_for_cluster([again(node) for node in nodes])
        return connect(parse_redis_url(url))

    return url, come


@pytest.mark.parametrize("kind", [one_server, sentinel, cluster])
def test_redis_is_away_at_the_start(
    kind: Callable[[Servers], tuple[str, Callable[[], Any]]], own_servers: Servers, tmp_path: Path
) -> None:
    url, come = kind(own_servers)
    with product(tmp_path, redis__url=url) as running, collecting(running.parts.collectors):
        wait_for(lambda: "seal" in running.parts.collectors[0].state.trouble, what="trouble")
        assert ready(running)[0] == 503
        assert running.http.get("/readyz").status_code == 200
        push(come(), 0, 100, PLAIN)
        wait_for(lambda: stored(running) == 100, what="records")
        wait_for(lambda: ready(running)[0] == 200, what="readiness")
