from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collect.redis_servers import Server, servers


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    """A server of this test alone."""
    with servers(tmp_path / "redis") as started:
        yield started.start()
