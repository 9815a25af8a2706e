"""The smallest access-control list that suffices, and whether we have it."""

from __future__ import annotations

from keytrail.collect.redis_calls import is_denied, text
from keytrail.collect.source import Source
from keytrail.collect.source_keys import DEFAULT_PREFIX

# By our own scripts and calls. A test removes each in turn and expects it to be missed.
COMMANDS: tuple[str, ...] = (
    "evalsha",
    "eval",
    "exists",
    "type",
    "pttl",
    "persist",
    "pexpire",
    "renamenx",
    "unlink",
    "llen",
    "lrange",
    "ltrim",
    "rpush",
    "hset",
    "hget",
    "hmget",
    "hgetall",
    "hincrby",
    "hdel",
    "zadd",
    "zrem",
    "zscore",
    "zcard",
    "zrangebyscore",
    "xadd",
    "xrange",
    "xdel",
    "time",
    "ping",
)
# On Redis Cluster the client has to learn where the slots are.
CLUSTER_COMMANDS: tuple[str, ...] = ("cluster|slots", "command")
# Where the URL names another database than 0.
DATABASE_COMMANDS: tuple[str, ...] = ("select",)
# Without these: sizes are estimated from ten records, the radar says "unknown", the cap is 256 MB.
OPTIONAL_COMMANDS: tuple[str, ...] = ("memory|usage", "info", "get")


def acl_rules(
    prefix: str = DEFAULT_PREFIX,
    *,
    forward_prefix: str = "",
    cluster: bool = False,
    database: int = 0,
    optional: bool = True,
) -> list[str]:
    """The rules of a user for keytrail: what follows `ACL SETUSER name on >password`."""
    rules = ["resetkeys", "resetchannels", "-@all", f"~{_glob(prefix)}tyk-system-analytics*", "~keytrail:*"]
    if forward_prefix:
        rules.append(f"~{_glob(forward_prefix)}tyk-system-analytics*")
    if optional:
        rules.append("~version-check-pump")
    commands = COMMANDS + (CLUSTER_COMMANDS if cluster else ()) + (DATABASE_COMMANDS if database else ())
    commands += OPTIONAL_COMMANDS if optional else ()
    return [*rules, *(f"+{command}" for command in commands)]


def acl_command(
    prefix: str = DEFAULT_PREFIX, *, forward_prefix: str = "", cluster: bool = False, database: int = 0
) -> str:
    """The command that makes such a user; `PASSWORD` stands for one that the reader chooses."""
    rules = acl_rules(prefix, forward_prefix=forward_prefix, cluster=cluster, database=database)
    return " ".join(["ACL SETUSER keytrail on >PASSWORD", *rules])


def _glob(prefix: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in prefix)


def missing_commands(source: Source) -> dict[str, str]:
    """Commands that our scripts need and Redis refuses, each with Redis's words. Changes nothing.

    Raises:
        AccessDenied: scripts can't be run at all.
        SourceUnavailable: Redis is away.
    """
    refused: dict[str, str] = {}
    for keys in source.keys.values():
        names = [keys.frozen("probe"), keys.source]
        reply = source.calls.script("probe", [*names, keys.forward] if keys.forward else names, [])
        for command, error in zip(reply[::2], reply[1::2], strict=True):
            if is_denied(text(error)):
                refused.setdefault(text(command), text(error))
    return refused
