"""The one place that knows the shape of redis-py: commands, scripts, and its errors as ours."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, TypeAlias, cast

from redis import Redis, exceptions
from redis.cluster import RedisCluster

from keytrail.errors import AccessDenied, SourceError, SourceFull, SourceUnavailable

RedisClient: TypeAlias = Redis | RedisCluster
Argument = str | bytes | int

SCRIPTS = (
    "seal",
    "take",
    "renew",
    "advance",
    "release",
    "free",
    "set_token",
    "write_off",
    "drop_rejects",
    "retry_rejects",
    "probe",
)

_AWAY_SECONDS = 15.0
_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    exceptions.NoScriptError,
    exceptions.RedisClusterException,
)
# Before Redis 7 an error inside a script arrives as a plain ERR with the first one's text in it.
_AWAY_TEXTS = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
_DENIED_TEXTS = (
    "NOPERM",
    "NOAUTH",
    "WRONGPASS",
    "ACL failure",
    "no permissions",
    "can't run this command",
    "can't access at least one of the keys",
)


def is_denied(text: str) -> bool:
    """Whether an error's text says that the access-control list forbids it; it differs by version."""
    return any(part in text for part in _DENIED_TEXTS)


@contextmanager
def translate() -> Iterator[None]:
    """Raise redis-py's errors as ours, the cause kept.

    Raises:
        AccessDenied: the user, a command or a key is refused.
        SourceFull: the memory limit.
        SourceUnavailable: no connection, starting, failing over, disk error: try again later.
        SourceError: anything else.
    """
    try:
        yield
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise AccessDenied(str(error)) from error
    except exceptions.OutOfMemoryError as error:
        raise SourceFull(str(error)) from error
    except _AWAY as error:
        raise SourceUnavailable(str(error)) from error
    except exceptions.RedisError as error:
        text = str(error)
        if is_denied(text):
            raise AccessDenied(text) from error
        if "OOM " in text:
            raise SourceFull(text) from error
        if any(part in text for part in _AWAY_TEXTS):
            raise SourceUnavailable(text) from error
        raise SourceError(text) from error


def _as_ours(error: Exception) -> SourceError:
    try:
        with translate():
            raise error
    except SourceError as ours:
        return ours


class Lua:
    """A script and the digest that servers know it by."""

    def __init__(self, lua: str) -> None:
        self.text = lua
        self.sha = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()


class LateCluster:
    """A cluster that is asked for its nodes when it is first needed, and again until one of them answers.

    Redis-py asks when it makes the client; for one server or a Sentinel it does not.
    """

    def __init__(self, make: Callable[[], RedisCluster]) -> None:
        self._make = make
        self._made: RedisCluster | None = None
        self._lock = threading.Lock()

    def client(self) -> RedisCluster:
        """The client; raises redis-py's errors where no node answers."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            self._made.close()


class RedisCalls:
    """Commands and scripts on a client whose replies are bytes. Safe to use from several threads."""

    def __init__(self, client: RedisClient | LateCluster) -> None:
        self._client = client
        self.is_cluster = isinstance(client, RedisCluster | LateCluster)
        self._away: dict[str, tuple[float, SourceError | None]] = {}
        # Off after the first refusal, as each further try would stand in the server's access log.
        self.memory_usage = True
        folder = files("keytrail.collect") / "scripts"
        self._scripts = {name: Lua((folder / f"{name}.lua").read_text("utf-8")) for name in SCRIPTS}

    @property
    def client(self) -> RedisClient:
        """The client; raises redis-py's errors where a cluster is not known yet."""
        return self._client.client() if isinstance(self._client, LateCluster) else self._client

    def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> list[Any]:
        """Run a script by its digest, with its text where that server does not have it.

        Not redis-py's `register_script`: that answers NOSCRIPT with SCRIPT LOAD on every master of a cluster,
        and so fails while any one of them is away; and a failover between the load and the call would fail it
        too.

        Returns:
            The reply; its first item is the outcome, see the script's first comment.
        """
        lua = self._scripts[name]
        with translate():
            try:
                return cast(list[Any], self.client.evalsha(lua.sha, len(keys), *keys, *args))
            except exceptions.NoScriptError:
                return cast(list[Any], self.client.eval(lua.text, len(keys), *keys, *args))

    def command(self, *args: Argument) -> Any:
        """One command that names a key, or that any node may answer."""
        with translate():
            return self.client.execute_command(*args)  # type: ignore[no-untyped-call]

    def many_each(self, groups: Sequence[Sequence[tuple[Argument, ...]]]) -> list[list[Any] | SourceError]:
        """Read commands by group, a group's keys in one slot; its failure does not touch the others.

        One round trip, on Redis Cluster one for each group.

        Returns:
            For each group its replies in order, a refused command's as a SourceError; or the group's own
            failure.
        """
        try:
            with translate():
                client = self.client
        except SourceError as error:
            return [error for _ in groups]
        if isinstance(client, RedisCluster):
            return [self._group_on_its_node(client, group) for group in groups]
        flat = self._group([command for group in groups for command in group])
        if isinstance(flat, SourceError):
            return [flat for _ in groups]
        replies = iter(flat)
        return [[next(replies) for _ in group] for group in groups]

    def _group_on_its_node(
        self, client: RedisCluster, commands: Sequence[tuple[Argument, ...]]
    ) -> list[Any] | SourceError:
        """As `_group`, but a node that hung a moment ago is not waited for again.

        Each of its lists would wait out the time limits, longer than the records on the other nodes live.
        """
        try:
            with translate():
                node = client.get_node_from_key(str(commands[0][1]))  # type: ignore[no-untyped-call]
        except SourceError as error:
            return error
        name = node.name if node else ""
        until, known = self._away.get(name, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        replies = self._group(commands)
        if isinstance(replies, SourceUnavailable):
            self._away[name] = time.monotonic() + _AWAY_SECONDS, replies
        else:
            self._away.pop(name, None)
        return replies

    def _group(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any] | SourceError:
        try:
            with translate(), self.client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies = cast(list[Any], pipeline.execute(raise_on_error=False))
        except SourceError as error:
            return error
        return [_as_ours(reply) if isinstance(reply, Exception) else reply for reply in replies]

    def time_ms(self) -> int:
        """The server's clock, in milliseconds since 1970 (on Redis Cluster: one node's)."""
        with translate():
            seconds, micros = self.client.time()
        return seconds * 1000 + micros // 1000

    def info(self, section: str) -> list[dict[str, Any]]:
        """`INFO section` of each master."""
        with translate():
            client = self.client
            if isinstance(client, RedisCluster):
                answer: dict[str, Any] = client.info(section, target_nodes=RedisCluster.PRIMARIES)
                # One node's answer comes without the outer mapping by node.
                nested = all(isinstance(value, dict) for value in answer.values())
                return list(answer.values()) if nested else [answer]
            return [client.info(section)]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def text(value: bytes | str | None) -> str:
    """A reply's bytes as text; nothing is an empty text."""
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def number(value: bytes | str | int | None) -> int:
    """A reply's bytes as an integer; nothing is 0."""
    return int(value) if value else 0
