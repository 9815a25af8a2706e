from collections.abc import Iterator

import pytest

from tests.product import ADMIN, Product, product, token_entry
from tests.store import cold_store as cold


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with product(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def with_cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A store with a place for cold days."""
    everything = token_entry(ADMIN, org="*", permissions=("admin", "analytics", "logs"))
    with product(tmp_path_factory.mktemp("store"), tokens=[everything], store__cold="cold") as running:
        yield running


@pytest.fixture
def warm(with_cold: Product) -> Iterator[Product]:
    """Some days, none of them cold."""
    cold.clean(with_cold)
    cold.put(with_cold, cold.RECORDS)
    with_cold.came_in_time()
    yield with_cold
    cold.clean(with_cold)


@pytest.fixture
def cooled(warm: Product) -> Product:
    """The same, the old days cold."""
    assert cold.told(cold.run(warm), "moved") == [f"{day:%Y%m%d}" for day in cold.OLD]
    return warm
