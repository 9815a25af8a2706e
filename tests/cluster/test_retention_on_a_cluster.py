"""Retention, where the rows are spread."""

from collections.abc import Iterator

import pytest

from tests.cluster.clickhouse_server import CLUSTER, needs_clickhouse
from tests.cluster.conftest import product_on
from tests.cluster.shards import Shards
from tests.product import Product
from tests.store.test_retention import (  # noqa: F401
    filled,
    test_a_batch_that_is_tried_again_finds_its_rows,
    test_what_is_older_goes_in_whole_partitions,
)

pytestmark = needs_clickhouse


@pytest.fixture(scope="module")
def store(shards: Shards) -> Iterator[Product]:
    with product_on(shards, CLUSTER) as running:
        yield running
