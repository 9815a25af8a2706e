from __future__ import annotations

from typing import Any

import pytest
import redis

from keytrail.collect.redis_url import parse_redis_url
from keytrail.collect.source import Source
from keytrail.errors import AccessDenied, SourceError, SourceUnavailable
from tests.collect.conftest import PLAIN
from tests.collect.redis_servers import NEVER_AWAY_MS, Servers, connect, wait_for


def test_failover(own_servers: Servers) -> None:
    auth = ["--requirepass", "pw", "--masterauth", "pw", "--repl-diskless-sync-delay", "0"]
    master = own_servers.start(*auth, wait=False)
    replica = own_servers.start(*auth, "--replicaof", "127.0.0.1", str(master.port), wait=False)
    sentinel = own_servers.start_sentinel(master.port, "main", "sentinel auth-pass main pw", "requirepass spw")
    admin = redis.Redis(port=replica.port, password="pw", protocol=2)
    wait_for(lambda: admin.info("replication").get("master_link_status") == "up", what="replica")
    watch: Any = redis.Redis(port=sentinel.port, password="spw", protocol=2)
    # Through INFO, as redis-py checks the shape of Sentinel's own commands.
    wait_for(lambda: watch.info("sentinel")["master0"]["slaves"] == 1, what="sentinel")

    target = parse_redis_url(f"redis+sentinel://:pw@127.0.0.1:{sentinel.port}/main/2")
    client = connect(target, sentinel_password="spw")
    source = Source(client, name="s", owner="o", store_id="s", most_in_chunk=2, fewest_in_chunk=1)
    with pytest.raises((AccessDenied, SourceUnavailable)) as caught:
        connect(target, sentinel_password="wr0ng", retries=0)
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(SourceUnavailable):
        connect(parse_redis_url(f"redis+sentinel://:pw@127.0.0.1:{sentinel.port}/other"),
                sentinel_password="spw", retries=0)  # fmt: skip

    records = [b"%d" % number for number in range(6)]
    client.rpush(PLAIN, *records)
    source.seal()
    batch = source.take()
    assert batch is not None
    assert source.read(batch) == records[:2]
    batch = source.advance(batch, 2)
    assert batch is not None
    wait_for(lambda: client.wait(1, 1_000) == 1, what="a replica that has it all")

    master.stop()
    watch.execute_command("SENTINEL", "SET", "main", "down-after-milliseconds", "400")

    def goes_on() -> bool:
        assert batch is not None
        try:
            source.renew(batch)
        except SourceError:
            return False
        return True

    wait_for(goes_on, what="failover")
    wait_for(lambda: admin.info("replication")["role"] == "master", what="new master")
    watch.execute_command("SENTINEL", "SET", "main", "down-after-milliseconds", str(NEVER_AWAY_MS))
    assert source.read(batch) == records[2:4], "scripts are loaded again, state and lease have moved along"
    batch = source.advance(batch, 2)
    assert batch is not None
    assert source.advance(batch, 2) is None
    client.rpush(PLAIN, b"new")
    assert [one.outcome for one in source.seal()] == ["sealed"]
    source.close()
    admin.close()
    watch.close()
