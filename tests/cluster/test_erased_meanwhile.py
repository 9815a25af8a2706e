"""Somebody is erased by one process while another has their records in hand."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from keytrail.store.erased import Erased, Subject
from keytrail.store.turns import Turns
from tests.cluster.conftest import product_on
from tests.cluster.fronts import Server
from tests.product import Product

KEY = "7f3c3ca87376cabe"
LINES = [
    f'{{"timestamp": "2026-03-01T00:00:00Z", "org_id": "o", "api_key": "{key}"}}'.encode()
    for key in (KEY, "0cf682d6a7c977da")
]


@pytest.fixture(scope="module")
def store(server: Server) -> Iterator[Product]:
    with product_on(server) as running:
        yield running


def test_what_waits_for_the_turn_is_erased_too(store: Product) -> None:
    engine = store.parts.engine
    others = Erased(engine)
    with ThreadPoolExecutor(1) as pool:
        with Turns(engine).hold():
            storing = pool.submit(store.put_lines, LINES)
            time.sleep(0.3)
            assert not storing.done()
            others.remember(others.digested([Subject("key", KEY)], "erasure", keep_counts=False))
        assert storing.result().stored == 1
    assert store.query("SELECT api_key FROM requests") == [("0cf682d6a7c977da",)]
