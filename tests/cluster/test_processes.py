"""Processes without a disk: several collectors on one Redis, servers that only answer, and what check says of it."""

import base64
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keytrail.cli.opening import opened
from keytrail.config import load
from keytrail.web.auth import hash_token
from tests.acceptance.test_captures import DAY, ORGS, read_expected
from tests.cli.captures import lines_of, varied
from tests.cli.command import Process, Ran, address_in, process, run
from tests.cluster.clickhouse_server import CLUSTER, PASSWORD, VERSION, ClickHouse, needs_clickhouse
from tests.cluster.shards import Shards
from tests.collect.redis_servers import Server as Redis
from tests.collect.redis_servers import Servers, servers, wait_for

LISTS = ["analytics-tyk-system-analytics", *(f"analytics-tyk-system-analytics_{number}" for number in range(4))]


@pytest.fixture(scope="module")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def redis(redis_servers: Servers) -> Redis:
    return redis_servers.start()


def configure(
    home: Path, server: ClickHouse | Shards, redis: Redis, database: str, more: str = "", cluster: str = CLUSTER
) -> None:
    """Settings, and the tables, as the first start would make them."""
    (home / "keytrail.toml").write_text(
        f"""
[store]
url = "{server.url(database)}"
cluster = "{cluster}"
[redis]
url = "redis://127.0.0.1:{redis.port}/0"
{more}
[[tokens]]
name = "all"
sha256 = "{hash_token("all")}"
org = "*"
permissions = ["admin", "analytics"]
[[tokens]]
name = "one"
sha256 = "{hash_token("one")}"
org = "{ORGS[0]}"
""",
        encoding="utf-8",
    )
    with opened(load(home / "keytrail.toml")):
        pass


def push(redis: Redis, lines: list[bytes]) -> None:
    with redis.client() as client:
        for number, line in enumerate(lines):
            client.rpush(LISTS[number % len(LISTS)], base64.b64decode(json.loads(line)["record"]))


def ask(address: str, path: str, token: str) -> Any:
    answer = httpx.get(f"{address}{path}", headers={"Authorization": token}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored(address: str) -> int:
    return sum(one["records"] for one in ask(address, "/api/v1/organisations", "all")["data"])


@needs_clickhouse
def test_two_collect_and_one_answers(shards: Shards, redis: Redis, tmp_path: Path) -> None:
    configure(tmp_path, shards, redis, "keytrail_processes")
    lines = lines_of()
    push(redis, lines)
    with (
        process("collect", "--port", 0, home=tmp_path) as first,
        process("collect", home=tmp_path) as second,
        process("serve", "--no-collect", "--port", 0, home=tmp_path) as answering,
    ):
        collecting, address = address_in(first), address_in(answering)
        second.until('"event": ?"ready"')
        assert "server.secret is not set" in answering.said
        wait_for(lambda: stored(address) == len(lines), seconds=120, what="every record")
        expected = read_expected("msgpack")["orgs"][ORGS[0]]["endpoints_by_key"]
        for key, rows in list(expected.items())[:3]:
            found = ask(address, f"/api/activity/keys/endpoint/{key}/{DAY}?p=-1", "one")
            assert found == {"data": rows, "pages": 0}
        with httpx.Client(base_url=collecting, timeout=60) as client:
            # On a slow machine a batch may have waited for so long that it says so until it looks again.
            wait_for(lambda: client.get("/readyz/collect").json()["status"] == "ok", what="good state")
            assert "keytrail_" in client.get("/metrics").text
            assert client.get("/api/v1/organisations", headers={"Authorization": "all"}).status_code == 404
        for each in (first, second, answering):
            assert each.end(signal.SIGTERM) == 0
            assert PASSWORD not in each.said
    assert stored_rows(shards, "keytrail_processes") == len(lines)
    ran = run("check", "--ledger", home=tmp_path)
    assert ran.status == 0, ran
    for line in (
        "ok   store: answers, in this process",
        f"ok   server: ClickHouse {VERSION}",
        "ok   settings of inserts: may be set",
        "ok   deduplication: 9 tables remember 10,000 tokens each",
        "warn cluster: 2 shards, of 1 or more replicas each: a disk that is lost takes its records along",
        "ok   rollups: equal to the 1,943 raw records",
    ):
        assert line in ran.out
    assert not list(tmp_path.glob("data*")), "a server's store needs no folder"


def stored_rows(server: ClickHouse | Shards, database: str, cluster: str = CLUSTER) -> int:
    with opened(load(overrides={"store.url": server.url(database), "store.cluster": cluster})) as store:
        return int(store.engine.query("SELECT count() FROM requests").rows[0][0])


@needs_clickhouse
@pytest.mark.long
def test_a_collector_that_is_killed_leaves_its_batches_to_the_others(
    shards: Shards, redis: Redis, tmp_path: Path
) -> None:
    configure(tmp_path, shards, redis, "keytrail_killed", "lease_seconds = 25")
    lines = varied(lines_of(), 20)
    with contextlib.ExitStack() as stack:
        address = address_in(stack.enter_context(process("serve", "--no-collect", "--port", 0, home=tmp_path)))
        alive: list[Process] = []
        killed = 0
        for part in range(10):
            while len(alive) < 3:
                started = stack.enter_context(process("collect", home=tmp_path))
                started.until('"event": ?"ready"')
                alive.append(started)
            push(redis, lines[part::10])
            time.sleep(0.2 * (part % 4))
            alive.pop(0).end(signal.SIGKILL)
            killed += 1
        wait_for(lambda: stored(address) == len(lines), seconds=120, what="every record")
        assert killed == 10
    assert stored_rows(shards, "keytrail_killed") == len(lines)
    assert run("check", "--ledger", home=tmp_path).status == 0


@needs_clickhouse
@pytest.mark.long
def test_a_server_that_is_killed_loses_and_doubles_nothing(
    real: tuple[ClickHouse | Shards, str], shards: Shards, redis: Redis, tmp_path: Path
) -> None:
    """Two collectors go on when it is there again, mend what it lost, and wait for each other to do so."""
    (server, cluster), database = real, "keytrail_killed_server"
    nodes, lines = shards.nodes[: 2 if cluster else 1], varied(lines_of(), 20)
    with contextlib.ExitStack() as stack:
        configure(tmp_path, server, redis, f"{database}{cluster}", cluster=cluster)
        collecting = [stack.enter_context(process("collect", home=tmp_path)) for _ in range(2)]
        for each in collecting:
            each.until('"event": ?"ready"')
        for part in range(12):
            push(redis, lines[part::12])
            time.sleep(0.3 + 0.17 * (part % 5))
            victim = nodes[part % len(nodes)]
            victim.kill()
            victim.start()
            victim.until_it_answers()
        wait_for(
            lambda: stored_rows(server, f"{database}{cluster}", cluster) >= len(lines), seconds=180, what="every record"
        )
        for each in collecting:
            assert each.end(signal.SIGTERM) == 0
        assert stored_rows(server, f"{database}{cluster}", cluster) == len(lines)
        ran = run("check", "--ledger", home=tmp_path)
        assert "FAIL" not in ran.out, ran.out


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ('[store]\nurl = "chdb:./data"\n[redis]\nurl = "redis://a.test"', "the embedded engine has one process"),
        ('[store]\nurl = "clickhouse://a.test"', "redis.url: there is nothing to collect from"),
        (
            '[store]\nurl = "clickhouse://a.test,b.test"\n[redis]\nurl = "redis://a.test"',
            "several hosts must be nodes of one cluster",
        ),
        ('[store]\ncluster = "c"', "the embedded engine has"),
    ],
)
def test_collect_says_what_it_can_not_do(tmp_path: Path, settings: str, what: str) -> None:
    (tmp_path / "keytrail.toml").write_text(settings, encoding="utf-8")
    ran = run("collect", home=tmp_path)
    assert ran.status == 1
    assert what in ran.err


def test_check_of_a_server_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "keytrail.toml").write_text('[store]\nurl = "clickhouse://ada:s3cret@127.0.0.1:1"', encoding="utf-8")
    ran: Ran = run("check", home=tmp_path)
    assert ran.status == 1
    assert "FAIL store: the server gave no answer" in ran.out
    assert "s3cret" not in ran.out + ran.err
