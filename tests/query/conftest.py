from collections.abc import Iterator

import pytest

from tests.product import product
from tests.query.shops import Shops


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    directory = tmp_path_factory.mktemp("store")
    with product(directory) as running:
        yield Shops(running, directory)
