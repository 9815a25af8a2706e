"""keytrail on real ClickHouse servers: the recorded answers, one and two shards, and servers that are killed."""

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from keytrail.config import Store
from keytrail.errors import StoreAway, StoreError
from keytrail.store.address import parse_address
from keytrail.store.client import ServerEngine
from keytrail.store.layout import SHARDING_KEY
from keytrail.store.mutations import wait_for_mutations
from keytrail.store.rebuild import differing
from keytrail.store.tables import RAW, ROLLUPS
from tests.acceptance.test_captures import DAY, ORGS, read_expected, token_of
from tests.cli.captures import lines_of
from tests.cluster.clickhouse_server import CLUSTER, VERSION, ClickHouse, needs_clickhouse
from tests.cluster.conftest import answered, product_on
from tests.cluster.shards import Shards
from tests.product import TOKEN, Product, token_entry

pytestmark = needs_clickhouse

on_shards = pytest.mark.parametrize("real", [CLUSTER], indirect=True, ids=["shards"], scope="module")

ORG = ORGS[0]
OF_KEY = "/api/activity/keys/endpoint/{}/1/10/2026/1/10/2026"
LINES = [
    f'{{"timestamp": "2026-10-01T10:00:00Z", "org_id": "{ORG}", "api_key": "{number % 40:016x}"}}'.encode()
    for number in range(2000)
]


@pytest.fixture(scope="module")
def store(real: tuple[ClickHouse | Shards, str]) -> Iterator[Product]:
    """A store on one server, and one on two shards."""
    tokens = [token_entry(token_of(org), org=org) for org in ORGS]
    with product_on(*real, tokens=[*tokens, token_entry(TOKEN, org=ORG)]) as running:
        yield running


def nodes_of(store: Product, shards: Shards) -> list[ClickHouse]:
    return shards.nodes if store.parts.engine.layout.cluster else shards.nodes[:1]


def counted(store: Product) -> set[int]:
    """How many records the raw table has, and each rollup: one number if they agree."""
    found = {store.query(f"SELECT sum(records) FROM {rollup.table}")[0][0] for rollup in ROLLUPS}
    return found | {store.query("SELECT count() FROM requests")[0][0]}


def test_every_answer_about_a_capture(store: Product) -> None:
    expected = read_expected("msgpack")
    taken = store.put_lines(lines_of())
    assert (taken.stored, list(taken.rejected)) == (expected["records"], [])
    for org, answers in expected["orgs"].items():
        for kind, found in (
            ("keys", answers["endpoints_by_key"]),
            ("oauthid", answers["endpoints_by_oauth_client"]),
        ):
            for value, rows in found.items():
                got = store.get(f"/api/activity/{kind}/endpoint/{value}/{DAY}?p=-1", token_of(org))
                assert got == {"data": rows, "pages": 0}
    (version,) = store.query("SELECT version()")[0]
    assert version.startswith(f"{VERSION}.")


@on_shards
def test_rows_are_where_they_belong(store: Product) -> None:
    answered(store.empty)
    assert store.put_lines(LINES).stored == len(LINES)
    for table in ("requests", "by_key_day"):
        (wrong, shards) = store.query(
            f"SELECT countIf({SHARDING_KEY} % 2 + 1 != _shard_num), uniq(_shard_num) FROM {table}"
        )[0]
        assert (wrong, shards) == (0, 2)


def test_killed_in_the_middle_of_inserts(store: Product, shards: Shards) -> None:
    """Each in turn, at one moment after another of an insert: tried again, each chunk counts once."""
    answered(store.empty)
    began = time.monotonic()
    take_surely(store, "whole")
    lasts, nodes = time.monotonic() - began, nodes_of(store, shards)
    for number, part in enumerate((0.3, 0.6, 0.9)):
        batch, victim = f"killed {number}", nodes[number % len(nodes)]
        with ThreadPoolExecutor(1) as pool:
            inserting = pool.submit(take, store, batch, attempt=1)
            time.sleep(lasts * part)
            victim.kill()
            with contextlib.suppress(StoreAway):
                inserting.result()
        victim.start()
        victim.until_it_answers()
        assert counted_after(store, batch, attempt=2) == {len(LINES) * (number + 2)}
        assert answered(lambda: differing(store.parts.engine, 202610)) == []


def take(store: Product, batch: str, *, attempt: int) -> int:
    return store.parts.intake.take(batch, 0, LINES, following="", attempt=attempt, origin="t", org=None).stored


def take_surely(store: Product, batch: str, attempt: int = 1) -> None:
    """Try a chunk until it is stored, as a collector does.

    Connections to a server that was killed fail once more, and the other may have to be started again.
    """
    attempts = itertools.count(attempt)
    answered(lambda: take(store, batch, attempt=next(attempts)))


def counted_after(store: Product, batch: str, attempt: int = 1) -> set[int]:
    """What is counted once a chunk is stored."""
    take_surely(store, batch, attempt)
    return answered(lambda: counted(store))


@on_shards
def test_a_keys_answer_needs_its_own_shard_only(store: Product, shards: Shards) -> None:
    answered(store.empty)
    assert counted_after(store, "before") == {len(LINES)}
    keys = dict(
        store.query("SELECT _shard_num, any(api_key) FROM requests WHERE _shard_num IN (1, 2) GROUP BY _shard_num")
    )

    def hits(key: str) -> int:
        answer = store.http.get(OF_KEY.format(key), headers={"Authorization": TOKEN})
        if answer.status_code == 503:
            raise StoreAway(answer.text)
        return int(answer.json()["data"][0]["hits"])

    other = shards.nodes[1]
    other.kill()
    try:
        assert answered(lambda: hits(keys[1])) == len(LINES) // 40
        for whole in (OF_KEY.format(keys[2]), "/api/usage/apis/1/10/2026/1/10/2026"):
            assert store.http.get(whole, headers={"Authorization": TOKEN}).status_code == 503
        with pytest.raises(StoreAway):
            take(store, "while one is away", attempt=1)
        # What an earlier attempt began to delete is asked of those that answer: a replica may be away for long.
        answered(lambda: wait_for_mutations(store.parts.engine, RAW, "DELETE", reachable=True))
        with pytest.raises(StoreAway):
            wait_for_mutations(store.parts.engine, RAW)
    finally:
        other.start()
        other.until_it_answers()
    assert counted_after(store, "while one is away", attempt=2) == {2 * len(LINES)}
    assert answered(lambda: hits(keys[2])) == 2 * len(LINES) // 40


def test_an_error_in_the_middle_of_an_answer(store: Product) -> None:
    """The server has begun to answer with status 200: what came is not taken for all."""
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_block_size = 65536"
    with pytest.raises(StoreError, match=r"395|gave no answer"):
        store.parts.engine.query(sql)
    with pytest.raises(StoreError):
        store.parts.engine.raw(sql, form="JSONEachRow")
    assert store.query("SELECT 1") == [(1,)]


def test_a_wrong_password(clickhouse: ClickHouse, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError, match="Authentication failed") as told:
        ServerEngine(parse_address(clickhouse.url(password="wr:ng/s3cret")), Store())
    assert not isinstance(told.value, StoreAway)
    assert "s3cret" not in str(told.value) + caplog.text


def test_a_database_that_the_user_may_not_make(clickhouse: ClickHouse) -> None:
    with pytest.raises(StoreError, match="Not enough privileges"):
        ServerEngine(parse_address(clickhouse.url("another")), Store())


def test_a_cluster_that_the_server_does_not_know(clickhouse: ClickHouse) -> None:
    with pytest.raises(StoreError):
        ServerEngine(parse_address(clickhouse.url("keytrail_nowhere")), Store(cluster=f"{CLUSTER}x"))
