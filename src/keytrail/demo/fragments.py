"""A gateway 5.8 record's msgpack bytes, put together from runs of fields that were encoded once.

A record is a map of 32 fields in a fixed order. Most depend on few things (what is called, by whom, from which
machine, in which hour), so each of those is a *fragment*: consecutive fields, already encoded, often with the name of
the field that follows. `assemble` joins them with the few values of the record's own: byte for byte what encoding
the whole map would give, at several times the speed.

An MCP record carries one field more, `MCPStats`, as newer gateways write it; no other record does.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from random import Random
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec

from keytrail.demo.world import ORG_ID, Api, Caller, Endpoint, Origin

_CENTURY_S: Final = 36_500 * 86_400
"""From a record's time to its `ExpireAt`, where the gateway is told no expiry."""

_encode = msgspec.msgpack.Encoder().encode
_INT: Final = [_encode(n) for n in range(65_536)]
_CODE: Final = {code: _encode(code) for code in (-1, *map(int, HTTPStatus))}
# `[seconds, nanoseconds]`, each in the shortest form of its size: seconds until 2106, nanoseconds from 65,536.
_TIME: Final = Struct(">BBIBI")
_EXPIRY: Final = Struct(">BBQBI")
LEAST_NANOSECOND: Final = 65_536
MOST_MS: Final = len(_INT) - 1

_NO_GRAPH: Final[dict[str, Any]] = {
    "Variables": "",
    "RootFields": None,
    "Types": None,
    "Errors": None,
    "OperationType": 0,
    "HasErrors": False,
    "IsGraphQL": False,
}
_SCHEMA: Final = base64.b64encode(
    b"type Query { products: [Product] product(sku: ID!): Product cart(id: ID!): Cart } "
    b"type Mutation { addToCart(sku: ID!, count: Int!): Cart } "
    b"type Product { sku: ID name: String price: Int } type Cart { id: ID items: [Product] total: Int }"
).decode()
# The gateway's number of the kind of operation (1 query, 2 mutation), root field, types, variables, text.
_OPERATIONS: Final[tuple[tuple[int, str, dict[str, list[str]], str, str], ...]] = (
    (1, "products", {"Product": ["sku", "name", "price"]}, "", "{ products { sku name price } }"),
    (1, "product", {"Product": ["sku", "name"]}, '{"s":"SKU-2"}', "query($s: ID!) { product(sku: $s) { sku name } }"),
    (1, "cart", {"Cart": ["id", "total"]}, '{"i":"c-8"}', "query($i: ID!) { cart(id: $i) { id total } }"),
    (2, "addToCart", {"Cart": ["id"]}, '{"s":"SKU-2"}', "mutation($s: ID!) { addToCart(sku: $s, count: 1) { id } }"),
)
# Method, type and name of what an MCP client asks for; what is asked for most stands more than once.
_PRIMITIVES: Final = (
    ("tools/call", "tool", "find_product"),
    ("tools/call", "tool", "find_product"),
    ("tools/call", "tool", "order_status"),
    ("tools/call", "tool", "track_shipment"),
    ("resources/read", "resource", "catalogue://seasonal"),
    ("prompts/get", "prompt", "draft_reply"),
    ("tools/list", "", ""),
    ("initialize", "", ""),
)
_REASONS: Final = {401: "Authorization field missing", 403: "Quota exceeded", 429: "Rate Limit Exceeded"}


def _fields(values: dict[str, Any], then: str = "") -> bytes:
    """Encode up to 15 fields as a run inside a larger map, and the name of the field that follows."""
    return _encode(values)[1:] + (_encode(then) if then else b"")


NOT_RECORDED: Final = _fields({"RawRequest": "", "RawResponse": ""})
_UPSTREAM: Final = _encode("Upstream")


class Call(NamedTuple):
    """One thing that is asked of an endpoint."""

    head: bytes  # the map's header, Method to ContentLength
    network: bytes  # Network, and Latency up to its first value
    track: bytes  # TrackPath
    tail: bytes  # ApiSchema to the end
    method: str
    raw_path: str
    body: str


class Source(NamedTuple):
    """One machine that calls."""

    origin: Origin
    agent: bytes  # UserAgent
    address: bytes  # IPAddress, Geo


class Holder(NamedTuple):
    """One caller on one version of an API."""

    caller: Caller
    key: bytes  # APIKey
    identity: bytes  # APIVersion to OauthID
    labels: bytes  # Tags, Alias


def call(api: Api, endpoint: Endpoint, rng: Random, *, passed: bool = True) -> Call:
    """Make up one call of an endpoint.

    Args:
        api: The endpoint's API.
        endpoint: What is called.
        rng: Where the variable parts of path and body come from.
        passed: Whether the gateway passes it on; only then it carries its protocol's statistics.
    """
    raw_path = endpoint.path.format(
        id=rng.randrange(10_000, 1_000_000),
        sku=f"SKU-{rng.randrange(1000, 30_000)}",
        city=rng.choice(("berlin", "hamburg", "köln", "leipzig", "münchen")),
    )
    graph, mcp, body = _NO_GRAPH, {}, ""
    if api.kind == "graphql":
        kind, root, types, variables, text = rng.choice(_OPERATIONS)
        body = json.dumps({"query": text, "variables": json.loads(variables or "{}")})
        failed = rng.random() < 0.03
        if passed:
            graph = {
                "Variables": base64.b64encode(variables.encode()).decode(),
                "RootFields": [root],
                "Types": types,
                "Errors": [{"Message": "price service did not answer", "Path": [root]}] if failed else None,
                "OperationType": kind,
                "HasErrors": failed,
                "IsGraphQL": True,
            }
    elif api.kind == "mcp":
        method, primitive, name = rng.choice(_PRIMITIVES)
        body = json.dumps({"jsonrpc": "2.0", "id": rng.randrange(1000), "method": method, "params": {"name": name}})
        if passed:
            stats = {"IsMCP": True, "JSONRPCMethod": method, "PrimitiveType": primitive, "PrimitiveName": name}
            mcp = {"MCPStats": stats}
    elif endpoint.method in {"POST", "PUT", "PATCH"}:
        note = "leave it at the door " * int(rng.expovariate(1 / 6))
        body = json.dumps({"sku": f"SKU-{rng.randrange(1000, 30_000)}", "note": note})
    asked = {
        "Method": endpoint.method,
        "Host": api.host,
        "Path": endpoint.path if endpoint.tracked else raw_path,
        "RawPath": raw_path,
        "ContentLength": len(body.encode()),
    }
    # A TCP proxy counts bytes and connections; for requests the gateway leaves these at zero.
    counted = [rng.randrange(4), rng.randrange(4), rng.randrange(90_000), rng.randrange(400_000)]
    names = ("OpenConnections", "ClosedConnection", "BytesIn", "BytesOut")
    network = dict(zip(names, counted if api.kind == "tcp" else (0, 0, 0, 0), strict=True))
    last = {"ApiSchema": _SCHEMA if api.kind == "graphql" else "", "GraphQLStats": graph, **mcp, "CollectionName": ""}
    return Call(
        # The header of a map of more than 15 fields: its type and 16 bits for their number.
        b"\xde" + (32 + len(mcp)).to_bytes(2) + _fields(asked),
        # A map of two follows the name of Latency, and its first name.
        _fields({"Network": network}, "Latency") + b"\x82" + _encode("Total"),
        _fields({"TrackPath": endpoint.tracked}, "ExpireAt"),
        _fields(last),
        endpoint.method,
        raw_path,
        body if api.detailed else "",
    )


def source(origin: Origin) -> Source:
    """Encode where a request comes from."""
    city = origin.city
    place = {
        "Country": {"ISOCode": city.country},
        "City": {"GeoNameID": city.geoname_id, "Names": dict(city.names) or None},
        "Location": {"Latitude": city.latitude, "Longitude": city.longitude, "TimeZone": city.time_zone},
    }
    return Source(origin, _fields({"UserAgent": origin.agent}), _fields({"IPAddress": origin.ip, "Geo": place}))


def holder(caller: Caller, api: Api, version: str) -> Holder:
    """Encode who calls which API."""
    identity = {
        "APIVersion": version,
        "APIName": api.name,
        "APIID": api.api_id,
        "OrgID": ORG_ID,
        "OauthID": caller.client,
    }
    graph = ["tyk-graph-analytics"] if api.kind == "graphql" else []
    tags = [*graph, *caller.tags, f"key-{caller.key}", f"org-{ORG_ID}", f"api-{api.api_id}"]
    return Holder(
        caller,
        _fields({"APIKey": caller.key}, "TimeStamp"),
        _fields(identity, "RequestTime"),
        _fields({"Tags": tags, "Alias": caller.alias}),
    )


def clock(second: int) -> bytes:
    """Encode the date and the hour (UTC) of a Unix time."""
    at = datetime.fromtimestamp(second, UTC)
    return _fields({"Day": at.day, "Month": at.month, "Year": at.year, "Hour": at.hour}, "ResponseCode")


def assemble(
    asked: Call,
    by: Holder,
    at: Source,
    *,
    hour: bytes,
    code: int,
    time: tuple[int, int],
    total: int,
    upstream: int,
    raw: bytes = NOT_RECORDED,
) -> bytes:
    """Put one record together.

    Args:
        asked: What was called.
        by: Who called it.
        at: From where.
        hour: `clock` of the time.
        code: The response code, or -1 for a TCP byte counter.
        time: Unix seconds, and nanoseconds from `LEAST_NANOSECOND` on.
        total: Milliseconds that the request took, at most `MOST_MS`.
        upstream: Milliseconds of these that the upstream took.
        raw: `exchange` of the request where the API records it.
    """
    second, nanosecond = time
    took = _INT[total]
    return b"".join((
        asked.head, at.agent, hour, _CODE[code], by.key, _TIME.pack(0x92, 0xCE, second, 0xCE, nanosecond),
        by.identity, took, raw, at.address, asked.network, took, _UPSTREAM, _INT[upstream], by.labels, asked.track,
        _EXPIRY.pack(0x92, 0xCF, second + _CENTURY_S, 0xCE, nanosecond), asked.tail,
    ))  # fmt: skip


def exchange(asked: Call, by: Holder, at: Source, code: int, second: int, *, passed: bool) -> bytes:
    """Encode a whole request and its answer: made up, but with all that a real one gives away.

    Args:
        asked: What was called.
        by: Who called it.
        at: From where.
        code: The response code.
        second: Unix time of the answer.
        passed: Whether the upstream answered rather than the gateway.
    """
    secret = json.dumps({"org": ORG_ID, "id": by.caller.key * 2, "h": "murmur64"}).encode()
    lines = [
        f"{asked.method} {asked.raw_path} HTTP/1.1",
        "Host: api.example.com",
        f"User-Agent: {at.origin.agent}",
        f"Content-Length: {len(asked.body.encode())}",
        "Accept: application/json",
        f"Authorization: {base64.b64encode(secret).decode()}",
        f"X-Forwarded-For: {at.origin.ip}",
    ]
    if passed:
        status, said = "HTTP/1.1", {"path": asked.raw_path, "status": "in transit" if code < 400 else "failed"}
        more = f"Date: {formatdate(second, usegmt=True)}"
    else:
        status, said, more = "HTTP/0.0", {"error": _REASONS[code]}, "X-Generator: tyk.io"
    answer = [f"{status} {code} {HTTPStatus(code).phrase}", "Content-Type: application/json", more]
    content = "" if code in {204, 304} else json.dumps(said)
    parts = ("\r\n".join((*lines, "", asked.body)), "\r\n".join((*answer, "", content)))
    request, response = (base64.b64encode(part.encode()).decode() for part in parts)
    return _fields({"RawRequest": request, "RawResponse": response})
