"""Where a ClickHouse server is: the URL of the settings, taken apart."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from keytrail.errors import ConfigError

_DEFAULT_DATABASE: Final = "keytrail"
_PORT: Final = 8123
_SECURE_PORT: Final = 8443
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Address:
    """One or several servers that answer alike: the nodes of a cluster, or one.

    Attributes:
        hosts: Name and port of each; any will do.
        secure: Speak HTTPS.
        user: The user.
        password: Its password.
        database: The database.
    """

    hosts: tuple[tuple[str, int], ...]
    secure: bool
    user: str
    password: str = field(repr=False)
    database: str

    def __str__(self) -> str:
        """For people: without user and password."""
        hosts = ",".join(f"{_written(host)}:{port}" for host, port in self.hosts)
        return f"clickhouse://{hosts}/{self.database}"


def parse_address(url: str, password: str = "") -> Address:
    """Take a URL apart: `clickhouse://user:password@host:port,host:port/database?secure=true`.

    Args:
        url: The URL; a port is 8443 with `secure=true` and else 8123, the database `keytrail`.
        password: The password, where it stands apart from the URL.

    Raises:
        ConfigError: It can't be read; names the bad part and never shows the password.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong(str(error)) from None
    secure = _secure(parts)
    login, _, places = parts.netloc.rpartition("@")
    user, colon, secret = login.partition(":")
    if colon and password:
        raise _wrong("has a password, and store.password is set too")
    database = unquote(parts.path.removeprefix("/")) or _DEFAULT_DATABASE
    if not database.isidentifier() or not database.isascii():
        raise _wrong(f"the database {database!r} must be letters, digits and _")
    if parts.fragment:
        raise _wrong("has a #; in a password write it as %23")
    hosts = tuple(_host(place, _SECURE_PORT if secure else _PORT) for place in places.split(","))
    return Address(hosts, secure, unquote(user) or "default", unquote(secret) if colon else password, database)


def _secure(parts: SplitResult) -> bool:
    secure = False
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "secure":
            raise _wrong(f"the parameter {name!r} is not known; there is only secure")
        if value.lower() not in _TRUTH:
            raise _wrong(f"secure must be true or false, not {value!r}")
        secure = _TRUTH[value.lower()]
    return secure


def _host(place: str, port: int) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{place}")
        host, given = found.hostname, found.port
    except ValueError:
        raise _wrong(f"{place!r} is no host with a port from 1 to 65535") from None
    # urlsplit passes over what stands beside the brackets of an IPv6 address.
    if not host or given == 0 or place.lower().removeprefix(_written(host))[:1] not in {"", ":"}:
        raise _wrong(f"{place!r} is no host with a port from 1 to 65535")
    return host, given or port


def _written(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"settings: store.url: {what}")
