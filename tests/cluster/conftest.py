import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from keytrail.cli.wiring import assembled
from keytrail.config import load
from keytrail.errors import StoreAway
from keytrail.store import turns, writer
from tests.cluster.clickhouse_server import CLUSTER, ClickHouse
from tests.cluster.fronts import Server, front
from tests.cluster.shards import Shards, sharded
from tests.product import Product

T = TypeVar("T")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with front(tmp_path_factory.mktemp("front")) as running:
        yield running


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    """A real cluster of two shards; each test has a database of its own."""
    with sharded(tmp_path_factory.mktemp("shards")) as running:
        yield running


@pytest.fixture(scope="session")
def clickhouse(shards: Shards) -> ClickHouse:
    """A real server, asked without anything between."""
    return shards.nodes[0]


@pytest.fixture(scope="module", params=["", CLUSTER], ids=["server", "shards"])
def real(request: pytest.FixtureRequest, clickhouse: ClickHouse, shards: Shards) -> tuple[ClickHouse | Shards, str]:
    """A real server and a real cluster, with the name of the cluster for `store.cluster`."""
    return (shards if request.param else clickhouse), request.param


@contextlib.contextmanager
def product_on(server: Server | ClickHouse | Shards, cluster: str = "", **values: Any) -> Iterator[Product]:
    """A product whose store is a database of its own on a server."""
    overrides = {"store.url": server.url(f"keytrail_{uuid.uuid4().hex[:12]}"), "store.cluster": cluster, **values}
    with assembled(load(overrides=overrides)) as parts:
        running = Product(parts)
        with running.http:
            yield running


def answered(ask: Callable[[], T], seconds: float = 60.0) -> T:
    """What a server answers once it does: one that is slow, or is being started again, is away at first."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except StoreAway:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@pytest.fixture(scope="module", autouse=True)
def quick_turns() -> Iterator[None]:
    """One machine has one clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "SETTLE", 0.5)
        patch.setattr(writer, "_UNDER_WAY", 0.02)
        patch.setattr(writer, "_REPLICAS_AGREE", 0.1)
        yield
