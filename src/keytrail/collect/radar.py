"""The loss radar: what in this Redis will lose records, before it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from keytrail.collect.access import missing_commands
from keytrail.collect.redis_calls import text
from keytrail.collect.source import Source
from keytrail.errors import AccessDenied, SourceError, SourceUnavailable

Severity = Literal["error", "warning", "info", "unknown"]

# A list that we seal every second never gets this near to its end.
TTL_NEAR_MS = 20_000
TTL_SHORT_MS = 30_000
CLOCK_WARNING_MS = 1_000
CLOCK_ERROR_MS = 30_000
MEMORY_WARNING = 0.80
MEMORY_ERROR = 0.95
PUMP_KEY = "version-check-pump"


@dataclass(frozen=True, slots=True)
class Finding:
    """One danger: `name` is stable, `seen` says what was seen, `change` what to do about it.

    `unknown` where Redis forbids looking: then `change` names the command to allow.
    """

    severity: Severity
    name: str
    seen: str
    change: str


def inspect(source: Source, *, watch_seconds: float = 1.0, now_ms: Callable[[], float] | None = None) -> list[Finding]:
    """Look at one Redis; takes `watch_seconds` longer than its round trips. Nothing found is an empty list.

    Args:
        source: its Redis; the collector may be running on it.
        watch_seconds: how long lists are watched for another reader, 0 not at all.
        now_ms: our clock, in ms since 1970.

    Raises:
        SourceUnavailable: Redis is away.
    """
    checks: list[tuple[str, str, Callable[[], Iterator[Finding]]]] = [
        ("access", "evalsha and eval", lambda: _access(source)),
        ("list_ttl", "the commands of the access-control list", lambda: _lists(source)),
        ("competing_reader", "hgetall and zcard", lambda: _foreign(source)),
        ("competing_reader", "llen and hget", lambda: _watch(source, watch_seconds)),
        ("pump", "get, with the key version-check-pump", lambda: _pump(source)),
        ("memory", "info", lambda: _memory(source)),
        ("persistence", "info", lambda: _persistence(source)),
        ("clock", "time", lambda: _clock(source, now_ms or (lambda: time.time() * 1000))),
    ]
    findings: list[Finding] = []
    for name, needs, check in checks:
        try:
            findings += check()
        except SourceUnavailable:
            raise
        except AccessDenied as error:
            findings.append(Finding("unknown", name, f"Redis forbids looking: {error}", f"allow our user {needs}"))
        except SourceError as error:
            findings.append(Finding("unknown", name, f"Redis did not say: {error}", f"needs {needs}"))
    order: dict[Severity, int] = {"error": 0, "warning": 1, "unknown": 2, "info": 3}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _access(source: Source) -> Iterator[Finding]:
    rules = "give our user the rules of `keytrail check --acl`"
    try:
        missing = missing_commands(source)
    except AccessDenied as error:
        yield Finding("error", "access", f"Redis refuses eval or evalsha, or the lists' keys: {error}", rules)
        return
    for command, words in sorted(missing.items()):
        if command == "MEMORY":
            yield Finding(
                "info",
                "access",
                "MEMORY USAGE is not allowed: sizes are estimated from the first ten records",
                "allow memory|usage for exact sizes",
            )
        else:
            yield Finding("error", "access", f"Redis refuses {command}: {words}", rules)


def _lists(source: Source) -> Iterator[Finding]:
    for one in source.backlog():
        if one.length and 0 <= one.ttl_ms < TTL_NEAR_MS:
            yield Finding(
                "error",
                "list_ttl",
                f"Redis will delete {one.length} records of {one.list_name} in {one.ttl_ms / 1000:.0f} s",
                "see that a collector runs and is not at its cap; a longer storage_expiration_time buys time",
            )
        seen = one.ttl_ms if one.ttl_ms >= 0 else one.sealed_ttl_ms
        if 0 <= seen < TTL_SHORT_MS and not (one.length and 0 <= one.ttl_ms < TTL_NEAR_MS):
            yield Finding(
                "warning",
                "list_ttl_short",
                f"{one.list_name} had {seen / 1000:.0f} s to live when it was last sealed",
                "set analytics_config.storage_expiration_time of the gateway to 60 s or more",
            )
        if one.missing:
            yield Finding(
                "error",
                "records_missing",
                f"{one.missing} sealed records of {one.list_name} vanished from Redis",
                "find what deletes keytrail:* keys: an evicting policy, a flush, a person",
            )
        if one.forward_dropped:
            yield Finding(
                "warning",
                "forward_dropped",
                f"{one.forward_dropped} records of {one.list_name} fell out of the pump's full list",
                "see that the pump runs with redis_key_prefix = redis.forward_prefix, or unset the latter",
            )
    held = source.held
    if held is not None and held.full:
        yield Finding(
            "error",
            "cap",
            f"sealing has stopped: of {held.cap} bytes {held.sealed} are sealed, {held.rejected} rejected, "
            f"{held.forwarded} forwarded",
            "see why the store does not accept batches; expire rejected records; raise the cap",
        )


def _foreign(source: Source) -> Iterator[Finding]:
    for one in source.foreign_batches():
        yield Finding(
            "warning",
            "competing_reader",
            f"the store {one.store_id} also takes {one.list_name}, last at {_utc(one.last_seal_ms)}, and "
            f"holds {one.batches} batches: each record goes to one of the two stores",
            "let one store collect from this Redis, or give the gateways different prefixes",
        )


def _watch(source: Source, seconds: float) -> Iterator[Finding]:
    """A list that gets shorter, though no keytrail sealed it and it did not expire, has another reader."""
    if seconds <= 0:
        return
    steps = max(2, round(seconds / 0.1))
    suspects: set[str] = set()
    before = _lengths(source)
    for _ in range(steps):
        time.sleep(seconds / steps)
        after = _lengths(source)
        for name, (seals, length, ttl_ms) in before.items():
            still_alive = ttl_ms == -1 or ttl_ms > 2_000 + seconds * 1000
            if after[name][0] == seals and after[name][1] < length and still_alive:
                suspects.add(name)
        before = after
    for name in sorted(suspects):
        yield Finding(
            "error",
            "competing_reader",
            f"{name} gets shorter though no keytrail sealed it: something else reads and deletes it",
            "stop the pump, or give it redis.forward_prefix; gateways of analytics type rpc purge too",
        )


def _lengths(source: Source) -> dict[str, tuple[Any, int, int]]:
    """By list: what was sealed so far (asked before **and** after the length), the length, the TTL in ms."""
    groups = [
        [("HGETALL", keys.stores), ("LLEN", keys.source), ("PTTL", keys.source), ("HGETALL", keys.stores)]
        for keys in source.keys.values()
    ]
    found: dict[str, tuple[Any, int, int]] = {}
    for name, look in zip(source.keys, source.calls.many_each(groups), strict=True):
        if isinstance(look, SourceError):
            raise look
        for reply in look:
            if isinstance(reply, SourceError):
                raise reply
        seals, length, ttl_ms, seals_after = look
        # A seal in between: a length of 0 can't be fewer than it seems.
        found[name] = (seals if seals == seals_after else object(), length, ttl_ms)
    return found


def _pump(source: Source) -> Iterator[Finding]:
    version = source.calls.command("GET", PUMP_KEY)
    if version is not None:
        yield Finding(
            "warning",
            "pump",
            f"a pump (version {text(version)}) has used this Redis; if it still runs, it takes records",
            "stop it, or let it read redis.forward_prefix; then delete the key version-check-pump",
        )


def _memory(source: Source) -> Iterator[Finding]:
    for info in source.calls.info("memory"):
        limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
        if "maxmemory_policy" not in info:
            yield Finding("unknown", "memory", "Redis does not say its memory limit and policy", "ask its operator")
            continue
        policy = str(info["maxmemory_policy"])
        if policy != "noeviction":
            near = "" if limit else "; there is no limit yet"
            yield Finding(
                "error" if limit and policy.startswith("allkeys") else "warning",
                "eviction",
                f"maxmemory-policy is {policy}: Redis deletes records when memory runs short{near}",
                "set maxmemory-policy noeviction",
            )
        if limit and used > MEMORY_WARNING * limit:
            yield Finding(
                "error" if used > MEMORY_ERROR * limit else "warning",
                "memory",
                f"Redis uses {used / limit:.0%} of its limit of {limit} bytes; at it gateways can't push",
                "raise maxmemory, or see why records are not taken away",
            )


def _persistence(source: Source) -> Iterator[Finding]:
    for info in source.calls.info("persistence"):
        if not int(info.get("aof_enabled", 0)):
            yield Finding(
                "info",
                "persistence",
                "the append-only file is off: a crash of Redis loses the records that it held",
                "set appendonly yes where that matters",
            )


def _clock(source: Source, now_ms: Callable[[], float]) -> Iterator[Finding]:
    before = now_ms()
    theirs = source.calls.time_ms()
    after = now_ms()
    # Their reading lies between our two.
    skew = max(before - theirs, theirs - after, 0.0)
    if skew > CLOCK_WARNING_MS:
        yield Finding(
            "error" if skew > CLOCK_ERROR_MS else "warning",
            "clock",
            f"the clocks of Redis and of this machine differ by {skew / 1000:.1f} s",
            "let both follow the same time service: ages shown and the day of a record depend on it",
        )


def _utc(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms / 1000))
