from __future__ import annotations

from typing import Any

import pytest

from keytrail.collect.access import COMMANDS, OPTIONAL_COMMANDS, acl_rules, missing_commands
from keytrail.collect.frozen_batch import Rejection
from keytrail.collect.radar import inspect
from keytrail.collect.redis_url import parse_redis_url
from keytrail.collect.source import Source
from keytrail.errors import AccessDenied, BatchDamaged, SourceError
from tests.collect.conftest import PLAIN
from tests.collect.redis_servers import Server, connect
from tests.collect.test_source_protocol import expire_leases, push, taken


def as_user(server: Server, raw: Any, rules: list[str], **options: object) -> Source:
    raw.execute_command("ACL", "SETUSER", "keytrail", "reset", "on", ">pw", *rules)
    client = connect(parse_redis_url(f"redis://keytrail:pw@127.0.0.1:{server.port}"), retries=0)
    settings: dict[str, object] = {
        "name": "t",
        "owner": "o",
        "store_id": "s",
        "most_in_chunk": 2,
        "fewest_in_chunk": 1,
    }
    return Source(client, **settings | options)  # type: ignore[arg-type]


def everything(raw: Any, source: Source) -> None:
    """Each call of the public interface at least once."""
    push(raw, 4)
    push(raw, 2, PLAIN + "_protobuf")
    raw.expire(PLAIN, 60)
    for one in source.seal():
        if one.outcome != "sealed":
            raise SourceError(one.why)
    batch = taken(source)
    expire_leases(raw, source)
    dead = Source(source.calls.client, name="t", owner="heir", store_id="s")
    push(raw, 1, PLAIN + "_1")
    assert dead.free_leases_of("s") == 0
    source.renew(batch)
    assert dead.free_leases_of("s") == 1
    batch = taken(source)
    batch = source.fresh_token(batch, "t")
    source.read(batch)
    following = source.advance(batch, 2, [Rejection(0, "r", "d"), Rejection(1, "r", "d")])
    if following is not None:
        source.release(following)
    while (one_more := source.take()) is not None:
        source.advance(one_more, one_more.next_count)
    name = batch.list_name
    letters = source.rejects(name)
    source.retry_rejects(name, [letters[0].id])
    last = taken(source)
    raw.rpop(source.keys[name].frozen(last.id))
    with pytest.raises(BatchDamaged):
        source.read(last)
    assert source.write_off(last) == (1, None)
    assert source.drop_rejects(name, [letters[1].id]) == 1
    source.expire_rejects(0)
    source.backlog()
    other = Source(source.calls.client, name="t", owner="o", store_id="other")
    assert len(other.foreign_batches()) >= 2


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("forward", ["", "pump-"])
@pytest.mark.parametrize("prefix", ["analytics-"])
def test_the_documented_list_is_enough(
    redis_server: Server, raw: Any, optional: bool, forward: str, prefix: str
) -> None:
    rules = acl_rules(prefix, forward_prefix=forward, optional=optional)
    source = as_user(redis_server, raw, rules, forward_prefix=forward)
    everything(raw, source)
    assert {name for name in missing_commands(source) if name != "MEMORY"} == set()
    # `everything` loses a record on purpose.
    findings = [one for one in inspect(source, watch_seconds=0.1) if one.name != "records_missing"]
    assert {one.severity for one in findings} <= ({"info", "warning"} if optional else {"info", "unknown", "warning"})
    assert {one.name for one in findings if one.severity == "unknown"} == (
        set() if optional else {"pump", "memory", "persistence"}
    )
    assert source.cap_bytes() == 256 * 1024 * 1024
    source.close()


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != "ping"])
def test_each_command_is_needed_and_its_lack_is_noticed(redis_server: Server, raw: Any, command: str) -> None:
    rules = [rule for rule in acl_rules() if rule != f"+{command}"]
    raw.script_flush()
    source = as_user(redis_server, raw, rules)
    with pytest.raises((SourceError, AssertionError)):
        everything(raw, source)
    errors = [one for one in inspect(source, watch_seconds=0.1) if one.severity in ("error", "unknown")]
    assert any(command.partition("|")[0] in (one.seen + one.change).lower() for one in errors), errors
    source.close()


def test_without_a_right_to_rename_nothing_is_lost(redis_server: Server, raw: Any) -> None:
    for command in ("renamenx", "hset", "zadd", "hincrby", "persist"):
        raw.flushall()
        source = as_user(redis_server, raw, [rule for rule in acl_rules() if rule != f"+{command}"])
        records = push(raw, 3)
        assert [one.outcome for one in source.seal()] == ["refused"]
        assert raw.lrange(PLAIN, 0, -1) == records
        source.close()


def test_keys_of_others_are_out_of_reach(redis_server: Server, raw: Any) -> None:
    raw.set("other", "x")
    source = as_user(redis_server, raw, acl_rules("a*b-"), prefix="a*b-")
    everything_else = ["other", "aXb-tyk-system-analytics", "analytics-tyk-system-analytics"]
    for key in everything_else:
        with pytest.raises(AccessDenied):
            source.calls.command("LLEN", key)
    raw.rpush("a*b-tyk-system-analytics", b"x")
    assert [one.outcome for one in source.seal()] == ["sealed"]
    source.close()
    wrong = as_user(redis_server, raw, acl_rules("other-"))
    assert inspect(wrong, watch_seconds=0)[0].severity == "error"
    wrong.close()


def test_optional_commands_are_no_part_of_the_least() -> None:
    assert not set(OPTIONAL_COMMANDS) & set(COMMANDS)
    assert len(set(COMMANDS)) == len(COMMANDS)
