from collections.abc import Iterator

import pytest

from tests.product import Product, product


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with product(tmp_path_factory.mktemp("store")) as running:
        yield running
