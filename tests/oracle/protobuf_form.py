"""Records as protobuf, by a message class that is made here, from the documented field numbers."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.oracle.record import SECOND, ZERO_TIME, Record

# message -> "number name type" per field; a capital letter begins another message's name, `*` marks a
# repeated field. Text is `bytes`, as a gateway passes on whatever its client sent; the wire is the same as a
# string's. So is that of an enum and an int32, and of a map and its repeated entries.
MESSAGES = {
    "Time": "1 seconds int64, 2 nanos int32",
    "Pair": "1 key bytes, 2 value bytes",
    "Fields": "1 fields bytes*",
    "Type": "1 key bytes, 2 value Fields",
    "Latency": "1 Total int64, 2 Upstream int64",
    "Country": "1 ISOCode bytes",
    "City": "1 Names Pair*, 2 GeoNameID uint32",
    "Location": "1 Latitude double, 2 Longitude double, 3 TimeZone bytes",
    "Geo": "1 Country Country, 2 City City, 3 Location Location",
    "Network": "1 OpenConnections int64, 2 ClosedConnections int64, 3 BytesIn int64, 4 BytesOut int64",
    "GraphQL": (
        "1 IsGraphQL bool, 2 Types Type*, 3 OperationType int32, 4 Variables bytes, 5 RootFields bytes*, "
        "6 HasError bool, 7 GraphErrors bytes*"
    ),
    "MCP": "1 IsMCP bool, 2 JSONRPCMethod bytes, 3 PrimitiveType bytes, 4 PrimitiveName bytes",
    "Record": (
        "1 Host bytes, 2 Method bytes, 3 Path bytes, 4 RawPath bytes, 5 ContentLength int64, "
        "6 UserAgent bytes, 7 Day int32, 8 Month int32, 9 Year int32, 10 Hour int32, 11 ResponseCode int32, "
        "12 APIKey bytes, 13 TimeStamp Time, 14 APIVersion bytes, 15 APIName bytes, 16 APIID bytes, "
        "17 OrgID bytes, 18 RequestTime int64, 19 Latency Latency, 20 RawRequest bytes, "
        "21 RawResponse bytes, 22 IPAddress bytes, 23 Geo Geo, 24 Network Network, 25 Tags bytes*, "
        "26 Alias bytes, 27 TrackPath bool, 28 ExpireAt Time, 29 OauthID bytes, 30 TimeZone bytes, "
        "31 ApiSchema bytes, 32 GraphQL GraphQL, 33 MCP MCP, 34 OriginalPath bytes, 35 ListenPath bytes"
    ),
}
PACKAGE = "oracle"

# where in the message -> ((its name, ours), ...), for all fields that are neither a time nor repeated.
PLAIN = {
    "": (
        ("Host", "host"),
        ("Method", "method"),
        ("Path", "path"),
        ("RawPath", "raw_path"),
        ("ContentLength", "content_length"),
        ("UserAgent", "user_agent"),
        ("Day", "day"),
        ("Month", "month"),
        ("Year", "year"),
        ("Hour", "hour"),
        ("ResponseCode", "response_code"),
        ("APIKey", "api_key"),
        ("APIVersion", "api_version"),
        ("APIName", "api_name"),
        ("APIID", "api_id"),
        ("OrgID", "org_id"),
        ("RequestTime", "request_time"),
        ("RawRequest", "raw_request"),
        ("RawResponse", "raw_response"),
        ("IPAddress", "ip_address"),
        ("Alias", "alias"),
        ("TrackPath", "track_path"),
        ("OauthID", "oauth_id"),
        ("TimeZone", "time_zone"),
        ("ApiSchema", "api_schema"),
        ("OriginalPath", "original_path"),
        ("ListenPath", "listen_path"),
    ),
    "Latency": (("Total", "latency_total"), ("Upstream", "latency_upstream")),
    "Geo.Country": (("ISOCode", "country"),),
    "Geo.City": (("GeoNameID", "city_geoname_id"),),
    "Geo.Location": (
        ("Latitude", "latitude"),
        ("Longitude", "longitude"),
        ("TimeZone", "location_time_zone"),
    ),
    "Network": (
        ("OpenConnections", "open_connections"),
        ("ClosedConnections", "closed_connections"),
        ("BytesIn", "bytes_in"),
        ("BytesOut", "bytes_out"),
    ),
    "GraphQL": (
        ("IsGraphQL", "is_graphql"),
        ("OperationType", "graphql_operation"),
        ("Variables", "graphql_variables"),
        ("HasError", "graphql_has_errors"),
    ),
    "MCP": (
        ("IsMCP", "is_mcp"),
        ("JSONRPCMethod", "mcp_method"),
        ("PrimitiveType", "mcp_primitive_type"),
        ("PrimitiveName", "mcp_primitive_name"),
    ),
}


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in fields.split(", "):
            number, field_name, kind = line.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            if kind in MESSAGES:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    # A pool of its own: the product's messages live in the default one.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Record"))


Message = _message_class()


def from_protobuf(data: bytes) -> Record:
    wire = Message.FromString(data)
    plain: dict[str, Any] = {
        ours: _text(value) if isinstance(value, bytes) else value
        for where, names in PLAIN.items()
        for theirs, ours in names
        for value in [getattr(_part(wire, where), theirs)]
    }
    graphql = wire.GraphQL
    return Record(
        **plain,
        timestamp=_instant(wire, "TimeStamp"),
        expire_at=_instant(wire, "ExpireAt"),
        # Of a map's entries with one key, the last counts.
        city_names=tuple({_text(name.key): _text(name.value) for name in wire.Geo.City.Names}.items()),
        tags=tuple(map(_text, wire.Tags)),
        graphql_root_fields=tuple(map(_text, graphql.RootFields)),
        graphql_types=tuple({_text(t.key): tuple(map(_text, t.value.fields)) for t in graphql.Types}.items()),
        graphql_errors=tuple(map(_text, graphql.GraphErrors)),
    )


def to_protobuf(record: Record) -> bytes:
    """The format has no place for `latency_gateway`: it is left out."""
    wire = Message()
    # A gateway sends these parts empty rather than not at all.
    for part in (wire.Latency, wire.Network, wire.Geo.Country, wire.Geo.City, wire.Geo.Location):
        part.SetInParent()
    for where, names in PLAIN.items():
        for theirs, ours in names:
            value = getattr(record, ours)
            if value:
                setattr(_part(wire, where), theirs, value.encode() if isinstance(value, str) else value)
    wire.TimeStamp.seconds, wire.TimeStamp.nanos = divmod(record.timestamp, SECOND)
    wire.ExpireAt.seconds, wire.ExpireAt.nanos = divmod(record.expire_at, SECOND)
    wire.Tags.extend(tag.encode() for tag in record.tags)
    for language, name in record.city_names:
        wire.Geo.City.Names.add(key=language.encode(), value=name.encode())
    for name, fields in record.graphql_types:
        wire.GraphQL.Types.add(key=name.encode()).value.fields.extend(field.encode() for field in fields)
    # Even an empty `extend` would make the part present.
    if record.graphql_root_fields:
        wire.GraphQL.RootFields.extend(field.encode() for field in record.graphql_root_fields)
    if record.graphql_errors:
        wire.GraphQL.GraphErrors.extend(error.encode() for error in record.graphql_errors)
    data: bytes = wire.SerializeToString()
    return data


def _part(wire: Any, where: str) -> Any:
    for name in where.split(".") if where else ():
        wire = getattr(wire, name)
    return wire


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _instant(wire: Any, name: str) -> int:
    if not wire.HasField(name):
        return ZERO_TIME
    time = getattr(wire, name)
    return int(time.seconds) * SECOND + int(time.nanos)
