from collections.abc import Iterator

import pytest

from keytrail.query import plan
from tests.product import product
from tests.query.shops import Shops


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    directory = tmp_path_factory.mktemp("store")
    with product(directory) as running:
        yield Shops(running, directory)


@pytest.fixture(autouse=True, scope="module")
def both_ways_of_cutting() -> Iterator[None]:
    """Short ranges, too, are read from two rollups: those of the tests are short, and merging must be right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "LONGEST_FINE", 2 * 24 * 3600 * 1000)
        yield
