"""What an embedded store is held to, on a server and on a cluster: a chunk counts once, and what was lost is mended."""

from collections.abc import Iterator

import pytest

from keytrail.store.writer import Written
from tests.cluster.conftest import product_on
from tests.cluster.front import CLUSTER
from tests.cluster.fronts import Server
from tests.product import Product
from tests.store.test_writer import (  # noqa: F401
    HAVOC,
    OTHERS,
    RECORDS,
    _neighbours,
    exact,
    test_mending_goes_on_after_a_rebuilding_that_was_killed,
    test_the_other_chunk_of_a_batch_is_left_alone,
    test_the_same_chunk_twice_counts_once,
    unconfirmed,
    write,
)


@pytest.fixture(scope="module", params=["", CLUSTER], ids=["server", "cluster"])
def store(server: Server, request: pytest.FixtureRequest) -> Iterator[Product]:
    with product_on(server, request.param) as running:
        yield running


@pytest.mark.parametrize("name", ["raw rows gone, token known", "raw partition gone", "everything at once"])
def test_a_second_attempt_mends(store: Product, name: str) -> None:
    write(store)
    HAVOC[name](store)
    unconfirmed(store)
    assert write(store, attempt=2) == Written(stored=60, rejected=1, duplicate=0)
    exact(store, RECORDS[:60] + OTHERS)
