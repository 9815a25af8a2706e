"""From `redis.url` to a client: one server, Sentinel or Cluster, with or without TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import unquote

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from keytrail.collect.redis_calls import LateCluster, RedisClient
from keytrail.errors import RedisUrlError

Kind = Literal["single", "sentinel", "cluster"]

# A command is tried four times, with jittered waits of at most 0.1, 0.2 and 0.4 s between: about 21 s at the
# worst timeouts, so that a lease of 60 s outlives a call whose outcome is unknown. Every script is safe to
# repeat. On Redis Cluster twice, and with a shorter limit: one node that hangs keeps the lists on the others
# from being sealed meanwhile, for 20 s as measured, as redis-py also asks it for the slots, and its lists die
# in 60 s.
RETRIES = 3
CLUSTER_RETRIES = 1
BACKOFF_BASE_SECONDS = 0.05
BACKOFF_CAP_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0
CLUSTER_TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 2.0

_SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_DEFAULT_PORT: dict[Kind, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True)
class Tls:
    """TLS files in PEM. `verify=False` accepts any certificate and any host name."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify: bool = True


@dataclass(frozen=True)
class RedisTarget:
    """What a URL says: where the servers are and who we are there."""

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    service: str = ""

    def __str__(self) -> str:
        """The URL without user and password, for logs and answers."""
        scheme = next(name for name, value in _SCHEMES.items() if value == (self.kind, self.tls))
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        path = {"single": f"/{self.database}", "sentinel": f"/{self.service}/{self.database}", "cluster": ""}[self.kind]
        return f"{scheme}://{hosts}{path}"


def parse_redis_url(url: str) -> RedisTarget:
    """Read a URL; user, password and service are percent-decoded.

    `redis://[user:password@]host[:port][/db]`,
    `redis+sentinel://[user:password@]h1[:p1],h2[:p2]/service[/db]`,
    `redis+cluster://[user:password@]h1[:p1],h2[:p2]`; `rediss…` is the same over TLS.

    Raises:
        RedisUrlError: names the part that is wrong.
    """
    scheme, found, rest = url.strip().partition("://")
    if not found or scheme not in _SCHEMES:
        raise RedisUrlError("scheme", f"must be one of {', '.join(_SCHEMES)}")
    kind, tls = _SCHEMES[scheme]
    if "?" in rest or "#" in rest:
        raise RedisUrlError(
            "query",
            "not understood; TLS files and timeouts are settings, and '?' or '#' in a password is written %3F or %23",
        )
    authority, _, path = rest.partition("/")
    userinfo, has_user, hosts = authority.rpartition("@")
    username, has_password, password = userinfo.partition(":")
    if has_user and not has_password and not username:
        raise RedisUrlError("user", "is empty")
    if "@" in userinfo:
        raise RedisUrlError("password", "'@' in it is written %40 (and '/' %2F)")
    places = tuple(_host_and_port(one, kind) for one in hosts.split(","))
    if kind == "single" and len(places) > 1:
        raise RedisUrlError("host", "several hosts need redis+sentinel:// or redis+cluster://")
    service, database = _path(path, kind)
    return RedisTarget(kind, tls, places, unquote(username), unquote(password), database, service)


# No error shows the text: a password with an unescaped '@', ':' or '/' may end up in any part.
def _host_and_port(text: str, kind: Kind) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise RedisUrlError("host", "is not [IPv6]:port")
        port_text = tail[1:]
        has_port = bool(tail)
    else:
        host, colon, port_text = text.partition(":")
        has_port = bool(colon)
    if not host:
        raise RedisUrlError("host", "is missing")
    if not has_port:
        return host, _DEFAULT_PORT[kind]
    if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 65536):
        raise RedisUrlError("port", "must be a number from 1 to 65535")
    return host, int(port_text)


def _path(path: str, kind: Kind) -> tuple[str, int]:
    parts = [unquote(part) for part in path.split("/")] if path else []
    service = ""
    if kind == "sentinel":
        if not parts or not parts[0]:
            raise RedisUrlError("service", "the name of Sentinel's master is missing (…/service/db)")
        service = parts.pop(0)
    text = parts.pop(0) if parts else ""
    if parts:
        raise RedisUrlError("path", "has too many parts")
    if text and not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise RedisUrlError("database", "is not a number")
    if kind == "cluster" and int(text or 0) != 0:
        raise RedisUrlError("database", "Redis Cluster has database 0 only")
    return service, int(text or 0)


def connect_later(
    target: RedisTarget, *, tls: Tls | None = None, sentinel_username: str = "", sentinel_password: str = ""
) -> RedisClient | LateCluster:
    """A client whose replies are bytes, never decoded; Redis need not be there yet: it is asked when first needed.

    Sentinel itself is asked over TLS too where the scheme says so, with its own user and password.
    """
    common = _options(target, tls)
    mine = common | _user(target.username, target.password)
    if target.kind == "cluster":
        return LateCluster(lambda: _cluster(target, mine))
    if target.kind == "sentinel":
        theirs = common | _user(sentinel_username, sentinel_password)
        sentinel: Any = Sentinel(list(target.hosts), sentinel_kwargs=theirs, **mine)  # type: ignore[no-untyped-call]
        return cast(Redis, sentinel.master_for(target.service, db=target.database))
    host, port = target.hosts[0]
    return Redis(host=host, port=port, db=target.database, **mine)


def _user(name: str, password: str) -> dict[str, Any]:
    return {"username": name or None, "password": password or None}


def _cluster(target: RedisTarget, options: dict[str, Any]) -> RedisCluster:
    # Without full coverage the lists on the nodes that are there are still collected.
    nodes = [ClusterNode(host, port) for host, port in target.hosts]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)


def _options(target: RedisTarget, tls: Tls | None) -> dict[str, Any]:
    cluster = target.kind == "cluster"
    retries = CLUSTER_RETRIES if cluster else RETRIES
    options: dict[str, Any] = {
        "socket_timeout": CLUSTER_TIMEOUT_SECONDS if cluster else TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 30,
        "retry": Retry(ExponentialWithJitterBackoff(base=BACKOFF_BASE_SECONDS, cap=BACKOFF_CAP_SECONDS), retries),
        # Redis 6.2 and Valkey both speak RESP2; one dialect is one shape of every reply.
        "protocol": 2,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if target.tls:
        files = tls or Tls()
        options |= {
            "ssl": True,
            "ssl_ca_certs": str(files.ca_file) if files.ca_file else None,
            "ssl_certfile": str(files.cert_file) if files.cert_file else None,
            "ssl_keyfile": str(files.key_file) if files.key_file else None,
            "ssl_cert_reqs": "required" if files.verify else "none",
            "ssl_check_hostname": files.verify,
        }
    return options
