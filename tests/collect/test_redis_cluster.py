from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis.cluster import RedisCluster
from redis.crc import key_slot

from keytrail.collect import redis_calls
from keytrail.collect.access import acl_rules, missing_commands
from keytrail.collect.frozen_batch import Rejection
from keytrail.collect.radar import inspect
from keytrail.collect.redis_calls import Argument
from keytrail.collect.redis_url import parse_redis_url
from keytrail.collect.source import Source
from keytrail.collect.source_keys import list_names
from keytrail.errors import PrefixRefused, SourceError
from tests.collect.redis_servers import Server, connect, servers, wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with servers(tmp_path_factory.mktemp("cluster")) as started:
        yield started.start_cluster(3)


@pytest.fixture
def url(cluster: list[Server]) -> str:
    for node in cluster:
        with node.client() as client:
            client.flushall()
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in cluster[:2])


@pytest.mark.parametrize(
    ("prefix", "forward"),
    [("analytics-", ""), ("{tyk}-", ""), ("a{b-", ""), ("x{t}-", "{t}pump-")],
)
def test_all_lists_of_a_cluster(url: str, prefix: str, forward: str) -> None:
    client = connect(parse_redis_url(url))
    assert isinstance(client, RedisCluster)
    source = Source(client, name="c", owner="o", store_id="s", prefix=prefix, forward_prefix=forward,
                    most_in_chunk=3, fewest_in_chunk=1)  # fmt: skip
    pushed = {name: [b"%d\xff" % number for number in range(5)] for name in list_names(prefix)}
    for name, records in pushed.items():
        client.rpush(name, *records)
    slots = {key_slot(name.encode()) for name in pushed}
    assert len(slots) == (1 if "}" in prefix else 22)
    assert {one.outcome for one in source.seal()} == {"sealed"}
    found: dict[str, list[bytes]] = {}
    while (taken := source.take()) is not None:
        batch = source.fresh_token(taken, "fresh")
        source.renew(batch)
        while True:
            records = source.read(batch)
            found.setdefault(batch.list_name, []).extend(records)
            following = source.advance(batch, len(records), [Rejection(0, "r", "d")])
            if following is None:
                break
            batch = following
    assert found == pushed
    assert len(source.backlog()) == 22
    assert sum(one.rejects for one in source.backlog()) == 44
    first = list_names(prefix)[0]
    source.retry_rejects(first, [one.id for one in source.rejects(first)])
    again = source.take()
    assert again is not None
    assert source.release(again)
    assert source.free_leases_of("s") == 0
    assert source.expire_rejects(-1) == 42
    assert source.foreign_batches() == []
    if forward:
        assert client.lrange(first.replace(prefix, forward), 0, -1) == pushed[first]
    source.close()


def test_cap_and_radar_ask_every_node(url: str, cluster: list[Server]) -> None:
    for node, limit in zip(cluster, (0, 80_000_000, 400_000_000), strict=True):
        with node.client() as client:
            client.config_set("maxmemory", limit)
    try:
        source = Source(connect(parse_redis_url(url)), name="c", owner="o", store_id="s")
        assert source.cap_bytes() == 20_000_000
        assert [one.name for one in inspect(source, watch_seconds=0)] == ["persistence"] * 3
        source.close()
    finally:
        for node in cluster:
            with node.client() as client:
                client.config_set("maxmemory", 0)


def test_forwarding_to_another_slot_is_refused(url: str) -> None:
    client = connect(parse_redis_url(url))
    with pytest.raises(PrefixRefused, match="hash tag"):
        Source(client, name="c", owner="o", store_id="s", forward_prefix="pump-")
    client.close()


def test_the_documented_access_list_is_enough(url: str, cluster: list[Server]) -> None:
    for node in cluster:
        with node.client() as admin:
            rules = acl_rules(cluster=True)
            admin.execute_command("ACL", "SETUSER", "keytrail", "reset", "on", ">pw", *rules)
    client = connect(parse_redis_url(url.replace("://", "://keytrail:pw@")))
    source = Source(client, name="c", owner="o", store_id="s")
    with connect(parse_redis_url(url)) as raw:
        for name in source.list_names():
            raw.rpush(name, b"x")
    assert missing_commands(source) == {}
    assert {one.outcome for one in source.seal()} == {"sealed"}
    seen = 0
    while (batch := source.take()) is not None:
        seen += len(source.read(batch))
        source.advance(batch, 1, [Rejection(0, "r", "d")])
    assert seen == 22
    assert source.expire_rejects(-1) == 22
    assert {one.severity for one in inspect(source, watch_seconds=0.1)} == {"info"}
    source.close()


def test_a_node_that_hangs_is_waited_for_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_calls, "_AWAY_SECONDS", 3_600.0)
    with servers(tmp_path_factory.mktemp("cluster")) as started:
        nodes = started.start_cluster(3)
        for node in nodes:
            with node.client() as admin:
                admin.config_set("cluster-require-full-coverage", "no")
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        client = connect(parse_redis_url(url), retries=0, timeout_seconds=1.0)
        source = Source(client, name="c", owner="o", store_id="s")
        for name in source.list_names():
            client.rpush(name, b"x")
        waits = 0
        ask = source.calls._group

        def counted(commands: Sequence[tuple[Argument, ...]]) -> list[Any] | SourceError:
            nonlocal waits
            replies = ask(commands)
            waits += isinstance(replies, SourceError)
            return replies

        monkeypatch.setattr(source.calls, "_group", counted)
        os.kill(nodes[2].process.pid, signal.SIGSTOP)
        first = source.seal()
        assert {one.outcome for one in first} == {"sealed", "unavailable"}
        assert all(one.outcome == "unavailable" for one in source.seal())
        assert waits == 1, "8 lists on that node, each with its own time limit"
        os.kill(nodes[2].process.pid, signal.SIGCONT)
        source.calls._away.clear()
        wait_for(lambda: source.seal() == [], what="return of the node")
        assert len(source.backlog()) == 22
        source.close()


def test_a_node_that_is_gone_does_not_stop_the_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    with servers(tmp_path_factory.mktemp("cluster")) as started:
        nodes = started.start_cluster(3)
        for node in nodes:
            with node.client() as admin:
                admin.config_set("cluster-require-full-coverage", "no")
        client = connect(
            parse_redis_url(f"redis+cluster://127.0.0.1:{nodes[0].port}"),
            retries=0,
            timeout_seconds=1,
            connect_timeout_seconds=1,
        )
        assert isinstance(client, RedisCluster)
        source = Source(client, name="c", owner="o", store_id="s")
        for name in source.list_names():
            client.rpush(name, b"x")
        alive = [
            name
            for name in source.list_names()
            if client.get_node_from_key(name).port != nodes[2].port  # type: ignore[no-untyped-call]
        ]
        assert 0 < len(alive) < 22
        nodes[2].stop()
        outcomes: dict[str, str] = {}

        def all_looked_at() -> bool:
            outcomes.update({one.list_name: one.outcome for one in source.seal()})
            return {name for name, outcome in outcomes.items() if outcome == "sealed"} == set(alive)

        wait_for(all_looked_at, what="sealing of those that can be sealed")
        assert {outcomes[name] for name in source.list_names() if name not in alive} == {"unavailable"}
        taken = set()
        while (batch := source.take()) is not None:
            taken.add(batch.list_name)
        assert taken == set(alive)
        source.close()
