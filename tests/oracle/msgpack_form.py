"""Records as msgpack: a map from the Go field's name to its value."""

from collections.abc import Mapping
from typing import Any

import msgpack

from tests.oracle.record import SECOND, ZERO_TIME, Record

# (the gateway's name, ours), in the order of the gateway's struct.
HEAD = (
    ("Method", "method"),
    ("Host", "host"),
    ("Path", "path"),
    ("RawPath", "raw_path"),
)
# Newer gateways only. Written where a record has one of them, so that older records keep their exact bytes.
PATHS = (("OriginalPath", "original_path"), ("ListenPath", "listen_path"))
REQUEST = (
    ("ContentLength", "content_length"),
    ("UserAgent", "user_agent"),
    ("Day", "day"),
    ("Month", "month"),
    ("Year", "year"),
    ("Hour", "hour"),
    ("ResponseCode", "response_code"),
    ("APIKey", "api_key"),
)
ACCOUNT = (
    ("APIVersion", "api_version"),
    ("APIName", "api_name"),
    ("APIID", "api_id"),
    ("OrgID", "org_id"),
    ("OauthID", "oauth_id"),
    ("RequestTime", "request_time"),
    ("RawRequest", "raw_request"),
    ("RawResponse", "raw_response"),
    ("IPAddress", "ip_address"),
)
NETWORK = (
    ("OpenConnections", "open_connections"),
    ("ClosedConnection", "closed_connections"),
    ("BytesIn", "bytes_in"),
    ("BytesOut", "bytes_out"),
)
LATENCY = (("Total", "latency_total"), ("Upstream", "latency_upstream"), ("Gateway", "latency_gateway"))
LOCATION = (("Latitude", "latitude"), ("Longitude", "longitude"), ("TimeZone", "location_time_zone"))
TAIL = (("Alias", "alias"), ("TrackPath", "track_path"), ("ApiSchema", "api_schema"))
MCP = (
    ("IsMCP", "is_mcp"),
    ("JSONRPCMethod", "mcp_method"),
    ("PrimitiveType", "mcp_primitive_type"),
    ("PrimitiveName", "mcp_primitive_name"),
)
GRAPHQL = (
    ("OperationType", "graphql_operation"),
    ("HasErrors", "graphql_has_errors"),
    ("IsGraphQL", "is_graphql"),
    ("Variables", "graphql_variables"),
)


def from_msgpack(data: bytes) -> Record:
    wire: dict[str, Any] = msgpack.unpackb(data, unicode_errors="replace")
    geo = _map(wire, "Geo")
    city = _map(geo, "City")
    graphql = _map(wire, "GraphQLStats")
    return Record(
        **_taken(wire, HEAD + PATHS + REQUEST + ACCOUNT + TAIL),
        **_taken(_map(wire, "Network"), NETWORK),
        **_taken(_map(wire, "Latency"), LATENCY),
        **_taken(_map(geo, "Location"), LOCATION),
        **_taken(graphql, GRAPHQL),
        **_taken(_map(wire, "MCPStats"), MCP),
        timestamp=_instant(wire.get("TimeStamp")),
        expire_at=_instant(wire.get("ExpireAt")),
        country=_map(geo, "Country").get("ISOCode") or "",
        city_geoname_id=city.get("GeoNameID") or 0,
        city_names=tuple(_map(city, "Names").items()),
        tags=tuple(wire.get("Tags") or ()),
        graphql_root_fields=tuple(graphql.get("RootFields") or ()),
        graphql_types=tuple((name, tuple(fields or ())) for name, fields in _map(graphql, "Types").items()),
        graphql_errors=tuple(error.get("Message") or "" for error in graphql.get("Errors") or ()),
    )


def to_msgpack(record: Record) -> bytes:
    wire: dict[str, Any] = _given(record, HEAD)
    if record.original_path or record.listen_path:
        wire |= _given(record, PATHS)
    wire |= _given(record, REQUEST)
    wire["TimeStamp"] = divmod(record.timestamp, SECOND)
    wire |= _given(record, ACCOUNT)
    wire["Geo"] = {
        "Country": {"ISOCode": record.country},
        "City": {"GeoNameID": record.city_geoname_id, "Names": dict(record.city_names) or None},
        "Location": _given(record, LOCATION),
    }
    wire["Network"] = _given(record, NETWORK)
    wire["Latency"] = _given(record, LATENCY if record.latency_gateway else LATENCY[:2])
    wire["Tags"] = list(record.tags) or None
    wire["Alias"] = record.alias
    wire["TrackPath"] = record.track_path
    wire["ExpireAt"] = divmod(record.expire_at, SECOND)
    wire["ApiSchema"] = record.api_schema
    wire["GraphQLStats"] = {
        "Variables": record.graphql_variables,
        "RootFields": list(record.graphql_root_fields) or None,
        "Types": dict(record.graphql_types) or None,
        "Errors": [{"Message": message, "Path": None} for message in record.graphql_errors] or None,
        "OperationType": record.graphql_operation,
        "HasErrors": record.graphql_has_errors,
        "IsGraphQL": record.is_graphql,
    }
    mcp = _given(record, MCP)
    if any(mcp.values()):
        wire["MCPStats"] = mcp
    wire["CollectionName"] = ""
    packed: bytes = msgpack.packb(wire)
    return packed


def _map(wire: Mapping[str, Any], name: str) -> dict[str, Any]:
    return wire.get(name) or {}


def _taken(wire: Mapping[str, Any], names: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return {ours: wire[theirs] for theirs, ours in names if wire.get(theirs) is not None}


def _given(record: Record, names: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return {theirs: getattr(record, ours) for theirs, ours in names}


def _instant(time: list[int] | None) -> int:
    return ZERO_TIME if time is None else time[0] * SECOND + time[1]
