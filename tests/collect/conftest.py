from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keytrail.collect.redis_url import parse_redis_url
from keytrail.collect.source import Source
from tests.collect.redis_servers import Server, Servers, connect, servers

PLAIN = "analytics-tyk-system-analytics"
MakeSource = Callable[..., Source]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers(tmp_path_factory.mktemp("redis")) as started:
        yield started.start()


@pytest.fixture
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of this test alone."""
    with servers(tmp_path_factory.mktemp("servers")) as started:
        yield started


@pytest.fixture
def raw(redis_server: Server) -> Iterator[Any]:
    """A gateway's client on an empty server."""
    with redis_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def make_source(redis_server: Server, raw: Any) -> Iterator[MakeSource]:
    made: list[Source] = []
    numbers = itertools.count()

    def make(**options: Any) -> Source:
        client = connect(parse_redis_url(f"redis://127.0.0.1:{redis_server.port}"))
        settings: dict[str, Any] = {"name": "test", "store_id": "store", "owner": f"owner-{next(numbers)}"}
        source = Source(client, **settings | options)
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


@pytest.fixture
def source(make_source: MakeSource) -> Source:
    return make_source()
