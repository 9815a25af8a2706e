"""Every kind of question gets the same answer from two real shards as from one real server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.test_captures import ORGS
from tests.cli.captures import lines_of
from tests.cluster.clickhouse_server import CLUSTER, ClickHouse, needs_clickhouse
from tests.cluster.conftest import product_on
from tests.cluster.shards import Shards
from tests.product import ADMIN, TOKEN, Product, token_entry

pytestmark = needs_clickhouse

DAY = "23/11/2026/23/11/2026"
SPAN = "from=2026-11-23&to=2026-11-23"
KEY = "0cf682d6a7c977da"
FILTER = '{"dimension": "code", "operator": "greater", "value": 399}'
OF_ACME = '{"dimension": "consumer", "operator": "is", "value": "acme"}'
DIRECTORY = f"consumer,kind,value,until\nacme,key,{KEY},2026-11-23T12:28:31Z\nrest,key,00000000,\n"
TEMPLATES = {"templates": [{"pattern": "/{first}"}, {"pattern": "/{first}/{second}"}]}
PATHS = [
    f"/api/activity/keys/endpoint/{KEY}/{DAY}?p=1",
    f"/api/activity/keys/{DAY}?p=-1",
    f"/api/activity/keys/{KEY}/{DAY}?res=hour",
    f"/api/activity/oauthid/{DAY}?p=-1",
    f"/api/usage/apis/{DAY}?p=-1",
    f"/api/errors/count/{DAY}",
    f"/api/usage/mcp/{DAY}",
    "/api/logs?start=1795392000&end=1795478400&p=1",
    f"/api/v1/query?{SPAN}&metrics=hits,error,p95_latency,distinct_keys,latest_alias&dimensions=api,code&limit=5",
    f"/api/v1/query?{SPAN}&metrics=hits,p50_latency&dimensions=key&step=hour&limit=20",
    f"/api/v1/query?{SPAN}&metrics=hits,p99_upstream_latency&dimensions=country,tag&compare=previous",
    f"/api/v1/query?{SPAN}&zone=Asia/Kolkata&metrics=hits&dimensions=consumer,path&filter={FILTER}",
    f"/api/v1/query?{SPAN}&metrics=hits,distinct_endpoints&filter={OF_ACME}",
    f"/api/v1/changes?{SPAN}",
    f"/api/v1/requests?{SPAN}&limit=7",
    "/api/v1/consumers",
    "/api/v1/organisations",
    "/api/v1/verify",
    "/api/v1/rebuild",
    "/api/v1/prune",
]
EMPTY = ("/api/v1/prune",)
"""What has nothing to tell about these records, but is asked all the same."""


@pytest.fixture(scope="module")
def stores(clickhouse: ClickHouse, shards: Shards) -> Iterator[dict[str, Product]]:
    """The same records on a server and on a cluster."""
    tokens = [token_entry(TOKEN, org=ORGS[0], permissions=("analytics", "logs", "admin"))]
    everything = [token_entry(ADMIN, org="*", permissions=("analytics", "logs", "admin"))]
    lines = lines_of()[::4]
    with (
        product_on(clickhouse, tokens=tokens + everything) as plain,
        product_on(shards, CLUSTER, tokens=tokens + everything) as spread,
    ):
        for store in (plain, spread):
            assert store.parts.intake.take("batch", 0, lines, following="", attempt=1, origin="", org=None).stored
            rights = {"Authorization": TOKEN}
            assert store.http.put("/api/v1/consumers", content=DIRECTORY, headers=rights).status_code == 200
            assert store.http.put("/api/v1/templates", json=TEMPLATES, headers=rights).status_code == 200
        assert spread.query("SELECT uniq(_shard_num) FROM requests") == [(2,)]
        yield {"": plain, CLUSTER: spread}


def answer(store: Product, path: str) -> Any:
    """What it answers, without what depends on the moment."""
    whole = "consumers" not in path and path.startswith("/api/v1/") and "?" not in path
    got = store.http.get(path, headers={"Authorization": ADMIN if whole else TOKEN})
    assert got.status_code == 200, got.text
    shown = got.json()
    if isinstance(shown, dict):
        for name in ("meta", "took_ms", "coverage"):
            shown.pop(name, None)
    return shown


@pytest.mark.parametrize("path", PATHS)
def test_the_same_answer(stores: dict[str, Product], path: str) -> None:
    expected = answer(stores[""], path)
    assert answer(stores[CLUSTER], path) == expected
    assert path in EMPTY or json.dumps(expected).count(":") > 1


def test_an_export_is_the_same(stores: dict[str, Product]) -> None:
    path = f"/api/v1/export?{SPAN}&format=ndjson"
    found = [
        sorted(stores[name].http.get(path, headers={"Authorization": TOKEN}).text.splitlines())
        for name in ("", CLUSTER)
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 100
