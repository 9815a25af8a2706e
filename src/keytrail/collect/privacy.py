"""What `[privacy]` asks for, as rules on single texts: keys, query values, user information, client addresses.

`steps.py` applies them to columns, `recorded.py` to recorded HTTP messages.
"""

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from keytrail.config import NEVER_KEPT

MASK: Final = "***"
"""Stands where a value was taken away."""

NO_KEY: Final = "00000000"
"""What a gateway writes as the key of a request without one; no secret, so never hashed."""

FORWARDING: Final = frozenset(
    {
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "client-ip",
        "do-connecting-ip",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "forwarded-for",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded",
        "x-forwarded-for",
        "x-original-forwarded-for",
        "x-real-ip",
        "x-remote-addr",
        "x-remote-ip",
    }
)
"""Header names, lower case, in which a proxy names the client's address."""

HASH_SHAPE: Final = r"^(?:[0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64})$"
"""murmur32, murmur64, murmur128 or SHA-256 as a gateway writes them: always in lower case."""

_HASH = re.compile(HASH_SHAPE[1:-1])
_QUERY_VALUE = re.compile(r"=[^&]+")
_USER_INFORMATION = re.compile(r"://[^/?#\s]*@")
_FORWARDED_FOR = re.compile(r"""\bfor\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)

KeyMode = Literal["auto", "hash", "keep"]
Keep = Literal["drop", "keep"]


@dataclass(frozen=True, slots=True)
class Privacy:
    """What of a record may be stored.

    Attributes:
        keys: auto: a key that is not shaped like a gateway's hash is replaced by its SHA-256; hash: every key
            is (for gateways without `hash_keys` whose keys look like hashes); keep: none is.
        headers: Names of the headers kept of recorded messages, in any case; never one of `NEVER_KEPT`.
        bodies: Whether bodies of recorded messages, GraphQL variables and error messages are kept.
        body_limit: Bytes of a recorded body that are kept, as UTF-8.
        query_values: Whether values in query strings are masked; names always stay.
        client_ip: truncate keeps the /24 of an IPv4 and the /48 of an IPv6 address.
    """

    keys: KeyMode = "auto"
    headers: tuple[str, ...] = (
        "host",
        "content-type",
        "content-length",
        "user-agent",
        "accept",
        "x-request-id",
    )
    bodies: Keep = "drop"
    body_limit: int = 4096
    query_values: Literal["mask", "keep"] = "mask"
    client_ip: Literal["keep", "truncate", "drop"] = "keep"

    def kept_headers(self) -> frozenset[str]:
        """The allow-list in lower case. A credential's header is left out even if it was listed."""
        return frozenset(name.lower() for name in self.headers) - NEVER_KEPT


def stored_key(value: str, mode: KeyMode) -> str:
    """A key as it is stored: itself, or its SHA-256 in hex.

    In `auto` a stored key maps to itself, so a look-up may pass the secret or what is stored. In `hash` it does
    not: there a look-up tries the value as it is, too.
    """
    if mode == "keep" or value in ("", NO_KEY) or (mode == "auto" and _HASH.fullmatch(value)):
        return value
    return hashlib.sha256(value.encode()).hexdigest()


def mask_query(text: str) -> str:
    """`/p?a=1&b=&c` becomes `/p?a=***&b=&c`. All up to the next `&` is the value, be it `=`, `;` or `#`."""
    path, mark, query = text.partition("?")
    return path + mark + _QUERY_VALUE.sub("=" + MASK, query)


def mask_user_information(text: str) -> str:
    """`http://user:password@host/` becomes `http://***@host/`."""
    return _USER_INFORMATION.sub(f"://{MASK}@", text)


def truncate_address(text: str) -> str:
    """The network of an address: `192.0.2.17` becomes `192.0.2.0`, `2001:db8:1:2::3` becomes `2001:db8:1::`.

    An IPv4 address inside an IPv6 one (mapped, 6to4) counts as the IPv4 address, because the first 48 bits of a
    6to4 address hold all of it. A port and a zone are left away.

    Returns:
        The first address of the network; "" for what is no address, since nothing is known of its parts.
    """
    address = _address(text.strip())
    if address is None:
        return ""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None:
            return str(IPv6Address(int(address) >> 80 << 80))
        address = inner
    return str(IPv4Address(int(address) >> 8 << 8))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def truncate_forwarding(name: str, value: str) -> str:
    """The value of a header of `FORWARDING` with every address truncated.

    Args:
        name: The header's name in lower case: `forwarded` has a form of its own (RFC 7239), of which only the
            `for` parts are kept; the others are lists of addresses.
        value: The header's value.

    Returns:
        The list, with `unknown` (RFC 7239, 6.2) in place of what is no address.
    """
    if name != "forwarded":
        return ", ".join(truncate_address(item) or "unknown" for item in value.split(","))
    nodes = [truncate_address(quoted or token) or "unknown" for quoted, token in _FORWARDED_FOR.findall(value)]
    return ", ".join(f'for="[{node}]"' if ":" in node else f"for={node}" for node in nodes)
