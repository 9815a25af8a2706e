"""What an embedded store is held to, on a server and on a cluster: a chunk counts once, and what was lost is mended."""

from collections.abc import Iterator

import pytest

from keytrail.store.chunk import Written
from tests.cluster.clickhouse_server import ClickHouse, needs_clickhouse
from tests.cluster.conftest import product_on
from tests.cluster.shards import Shards
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

pytestmark = needs_clickhouse


@pytest.fixture(scope="module")
def store(real: tuple[ClickHouse | Shards, str]) -> Iterator[Product]:
    with product_on(*real) as running:
        yield running


@pytest.mark.parametrize("name", ["raw rows gone, token known", "raw partition gone", "everything at once"])
def test_a_second_attempt_mends(store: Product, name: str) -> None:
    write(store)
    HAVOC[name](store)
    unconfirmed(store)
    assert write(store, attempt=2) == Written(stored=60, rejected=1, duplicate=0)
    exact(store, RECORDS[:60] + OTHERS)
