from collections.abc import Iterator

import pytest

from tests.product import ADMIN, Product, product, token_entry

ORG, OTHER = "5e9d9544a1dcd60001d0ed20", "61f2b7c0a1dcd60001aa11b2"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    tokens = [
        token_entry(org=ORG),
        token_entry("of another", org=OTHER),
        token_entry("of nobody", org=""),
        token_entry(ADMIN, org="*", permissions=["admin"]),
        token_entry("admin of one", org=ORG, permissions=["admin"]),
        token_entry("one api", org=ORG, apis=["api-1"]),
        token_entry("no api", org=ORG, apis=[]),
        token_entry("logs only", org=ORG, permissions=["logs"]),
        token_entry("logs of one api", org=ORG, permissions=["logs"], apis=["api-1"]),
        token_entry("sender", org=ORG, permissions=["ingest"]),
        token_entry("sender of one api", org=ORG, permissions=["ingest"], apis=["api-1"]),
        token_entry("everybody's sender", org="*", permissions=["admin", "ingest"]),
        token_entry("expired", org=ORG, expires="2026-11-22"),
        token_entry("last day", org=ORG, expires="2026-11-23"),
        token_entry("nothing", org=ORG, permissions=[]),
    ]
    with product(tmp_path_factory.mktemp("store"), tokens=tokens) as started:
        yield started
