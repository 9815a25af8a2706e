"""Which shards a question asks, by the plan of the real engine on a cluster whose four shards are all the same node."""

from collections.abc import Iterator

import httpx
import pytest

from keytrail.query.request import key_forms
from keytrail.store.layout import SHARDED, SHARDING_KEY
from tests.cluster.conftest import product_on
from tests.cluster.front import FOUR, PASSWORD, USER
from tests.cluster.fronts import Server
from tests.product import TOKEN, Product, token_entry

ORG = "5e9d9544a1dcd60001d0ed20"
CLIENT = "4bb0299a09cd4a16b63f230664ac6c08"
DAYS = "1/10/2026/30/10/2026"
LINES = [
    f'{{"timestamp": "2026-10-01T10:00:00Z", "org_id": "{ORG}", "oauth_id": "{CLIENT}", "api_key": "{key}"}}'.encode()
    for key in range(20)
]


@pytest.fixture(scope="module")
def four(server: Server) -> Iterator[Product]:
    """Its shards are all one table, so an insert that is spread over them needs to be without a token's memory."""
    with product_on(server, FOUR, tokens=[token_entry(TOKEN, org=ORG)]) as running:
        for table in SHARDED:
            running.parts.engine.command(
                f"ALTER TABLE {table}_local MODIFY SETTING non_replicated_deduplication_window = 0"
            )
        running.put_lines(LINES)
        yield running


def shards_read(store: Product, server: Server, path: str) -> int:
    """Of how many shards the plan of a request's statement reads the table."""
    store.get(path)
    sent = next(
        one
        for one in reversed(server.log("SELECT"))
        if any(f"FROM {table} WHERE" in one["statement"] for table in SHARDED)
    )
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/",
        params={**sent["parameters"], "enable_http_compression": "0"},
        content=f"EXPLAIN {sent['statement'].replace('FORMAT Native', 'FORMAT TabSeparated')}",
        auth=(USER, PASSWORD),
    )
    assert answer.status_code == 200, answer.text
    return answer.text.count("ReadFromMergeTree")


@pytest.mark.parametrize("key", ["7f3c3ca87376cabe", "0cf682d6a7c977da", "00000000", "a secret"])
def test_a_keys_query_asks_its_shard_alone(four: Product, server: Server, key: str) -> None:
    """Of a key that is given as a secret the hash may be stored, so its shard is asked as well."""
    found = four.parts.engine.query(
        f"SELECT uniqExact({SHARDING_KEY} % 4) FROM (SELECT {{org:String}} AS org_id, "
        "arrayJoin({keys:Array(String)}) AS api_key)",
        {"org": ORG, "keys": key_forms(key)},
    )
    assert shards_read(four, server, f"/api/activity/keys/endpoint/{key}/{DAYS}") == found.rows[0][0] <= 2


def test_a_clients_query_asks_every_shard(four: Product, server: Server) -> None:
    assert shards_read(four, server, f"/api/activity/oauthid/endpoint/{CLIENT}/{DAYS}") == 4


def test_every_shard_is_asked_while_rows_are_moved(server: Server) -> None:
    settings = {"store.one_shard": False}
    with product_on(server, FOUR, tokens=[token_entry(TOKEN, org=ORG)], **settings) as running:
        running.put_lines(LINES[:1])
        assert shards_read(running, server, f"/api/activity/keys/endpoint/7f3c3ca87376cabe/{DAYS}") == 4


def test_each_shards_part_of_an_insert_has_the_token(four: Product) -> None:
    """Here all shards are one table, so of a chunk that is spread only the first part is new to it."""
    engine = four.parts.engine
    engine.command("ALTER TABLE requests_local MODIFY SETTING non_replicated_deduplication_window = 100")
    lines = [
        f'{{"timestamp": "2026-11-01T10:00:00Z", "org_id": "{ORG}", "api_key": "{number:016x}"}}'.encode()
        for number in range(100)
    ]
    four.put_lines(lines)
    found = engine.query(
        f"SELECT uniqExact({SHARDING_KEY} % 4), count() FROM requests_local WHERE time >= '2026-11-01'"
    ).rows[0]
    assert found[0] == 1
    assert 10 < found[1] < 50
