"""A request record: every field once.

One row of `FIELDS` says what a field is called on each wire (msgpack, protobuf, JSON), in which column it is
stored, of which type and unit it is and what it means. The decoders, the Arrow columns, the table check and
the documentation read this table, so a field of a newer gateway is one line here (and one migration that adds
its column). Wire names come from the open source code of the Tyk gateway 5.x and its pump.

What becomes of records that are sent (`Rejected`, `Taken`, `Received`) stands here too: collecting and the web both
speak of it, and neither knows the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import pyarrow as pa


class Kind(Enum):
    """What a field holds: its Arrow type, its ClickHouse type and its value where the wire has none."""

    TEXT = (pa.string(), "String", "")
    NAME = (pa.dictionary(pa.int32(), pa.string()), "LowCardinality(String)", "")
    NAMES = (pa.list_(pa.dictionary(pa.int32(), pa.string())), "Array(LowCardinality(String))", ())
    INT = (pa.int64(), "Int64", 0)
    CODE = (pa.int16(), "Int16", 0)
    FLOAT = (pa.float64(), "Float64", 0.0)
    FLAG = (pa.bool_(), "Bool", False)
    INSTANT = (pa.timestamp("ms", "UTC"), "DateTime64(3, 'UTC')", None)

    def __init__(self, arrow: pa.DataType, clickhouse: str, zero: Any) -> None:
        """Unpack the row of the table above."""
        self.arrow = arrow
        self.clickhouse = clickhouse
        self.zero = zero


class Shape(Enum):
    """How a wire value that is not simply one text, number or flag becomes a column's value."""

    PLAIN = "as it is"
    TIME = "msgpack [seconds, nanoseconds]; protobuf Timestamp; JSON RFC 3339"
    CITY = "map of language to name: the English name, else the first by language"
    TYPES = "map of GraphQL type to its fields: sorted list of Type.field"
    ERRORS = "list of GraphQL errors: their messages"
    OPERATION = "GraphQL operation as a number (0 unknown, 1 query, 2 mutation, 3 subscription)"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Attributes:
        column: Name of the column in the `requests` table.
        go: Dotted path of names in a msgpack record; "" where msgpack has no such field.
        proto: Dotted path of names in the protobuf message; "" where it has none.
        json: Dotted path of names in the pump's JSON; "" where it has none.
        kind: Type of the column.
        meaning: One line for people.
        unit: Unit of a number, else "".
        shape: How the wire value becomes the column's value.
        limit: Longest text kept, in characters; longer ones are cut and marked. 0: not a text, or no limit.
    """

    column: str
    go: str
    proto: str
    json: str
    kind: Kind
    meaning: str
    unit: str = ""
    shape: Shape = Shape.PLAIN
    limit: int = 0


_T, _N, _NS, _I = Kind.TEXT, Kind.NAME, Kind.NAMES, Kind.INT

FIELDS: Final[tuple[Field, ...]] = (
    Field("time", "TimeStamp", "TimeStamp", "timestamp", Kind.INSTANT, "end of the request", shape=Shape.TIME),
    Field("org_id", "OrgID", "OrgID", "org_id", _N, "organisation", limit=256),
    Field("api_id", "APIID", "APIID", "api_id", _N, "API", limit=256),
    Field("api_name", "APIName", "APIName", "api_name", _N, "readable name of the API", limit=1024),
    Field("api_version", "APIVersion", "APIVersion", "api_version", _N, "version of the API", limit=256),
    Field("api_key", "APIKey", "APIKey", "api_key", _N, "the key as stored: its hash", limit=256),
    Field("alias", "Alias", "Alias", "alias", _N, "readable name of the key", limit=1024),
    Field("oauth_id", "OauthID", "OauthID", "oauth_id", _N, 'OAuth client, "" for none', limit=256),
    Field("method", "Method", "Method", "method", _N, "HTTP method", limit=64),
    Field("host", "Host", "Host", "host", _N, "host asked for", limit=1024),
    Field("path", "Path", "Path", "path", _N, "the endpoint: tracked pattern, else decoded path", limit=4096),
    Field("raw_path", "RawPath", "RawPath", "raw_path", _T, "path as asked", limit=8192),
    Field("original_path", "OriginalPath", "OriginalPath", "original_path", _T, "path before rewrites", limit=8192),
    Field("listen_path", "ListenPath", "ListenPath", "listen_path", _N, "listen path of the API", limit=4096),
    Field("code", "ResponseCode", "ResponseCode", "response_code", Kind.CODE, "status; -1 is a TCP byte counter"),
    Field("request_time", "RequestTime", "RequestTime", "request_time", _I, "time taken", "ms"),
    Field("latency", "Latency.Total", "Latency.Total", "latency.total", _I, "time taken in all", "ms"),
    Field("upstream_latency", "Latency.Upstream", "Latency.Upstream", "latency.upstream", _I, "of it upstream", "ms"),
    Field("gateway_latency", "Latency.Gateway", "", "latency.gateway", _I, "of it in the gateway", "ms"),
    Field("content_length", "ContentLength", "ContentLength", "content_length", _I, "request body", "bytes"),
    Field("user_agent", "UserAgent", "UserAgent", "user_agent", _N, "user agent", limit=1024),
    Field("ip", "IPAddress", "IPAddress", "ip_address", _N, "client address", limit=256),
    Field("country", "Geo.Country.ISOCode", "Geo.Country.ISOCode", "geo.country.iso_code", _N, "country", limit=16),
    Field("city", "Geo.City.Names", "Geo.City.Names", "geo.city.names", _N, "city", "", Shape.CITY, 256),
    Field("city_id", "Geo.City.GeoNameID", "Geo.City.GeoNameID", "geo.city.geoname_id", _I, "GeoNames id of the city"),
    Field(
        "latitude",
        "Geo.Location.Latitude",
        "Geo.Location.Latitude",
        "geo.location.latitude",
        Kind.FLOAT,
        "latitude",
        "degrees",
    ),
    Field(
        "longitude",
        "Geo.Location.Longitude",
        "Geo.Location.Longitude",
        "geo.location.longitude",
        Kind.FLOAT,
        "longitude",
        "degrees",
    ),
    Field(
        "geo_zone",
        "Geo.Location.TimeZone",
        "Geo.Location.TimeZone",
        "geo.location.time_zone",
        _N,
        "zone of the client's address",
        limit=64,
    ),
    Field(
        "open_connections",
        "Network.OpenConnections",
        "Network.OpenConnections",
        "network.open_connections",
        _I,
        "TCP connections opened",
    ),
    Field(
        "closed_connections",
        "Network.ClosedConnection",
        "Network.ClosedConnections",
        "network.closed_connections",
        _I,
        "TCP connections closed",
    ),
    Field("network_bytes_in", "Network.BytesIn", "Network.BytesIn", "network.bytes_in", _I, "TCP bytes in", "bytes"),
    Field(
        "network_bytes_out", "Network.BytesOut", "Network.BytesOut", "network.bytes_out", _I, "TCP bytes out", "bytes"
    ),
    Field("tags", "Tags", "Tags", "tags", _NS, "tags of the request, its key and policy", limit=512),
    Field("track_path", "TrackPath", "TrackPath", "track_path", Kind.FLAG, "the endpoint is tracked"),
    Field("raw_request", "RawRequest", "RawRequest", "raw_request", _T, "recorded request", limit=65536),
    Field("raw_response", "RawResponse", "RawResponse", "raw_response", _T, "recorded response", limit=65536),
    Field(
        "expire_at",
        "ExpireAt",
        "ExpireAt",
        "expireAt",
        Kind.INSTANT,
        "when the gateway lets the record go",
        shape=Shape.TIME,
    ),
    # Only protobuf has it on a gateway's wire; by the other names an export is read again.
    Field("timezone", "TimeZone", "TimeZone", "timezone", _N, "zone of the gateway", limit=64),
    Field("api_schema", "ApiSchema", "ApiSchema", "api_schema", _N, "GraphQL schema, base64", limit=65536),
    Field(
        "is_graphql",
        "GraphQLStats.IsGraphQL",
        "GraphQLStats.IsGraphQL",
        "graphql_stats.is_graphql",
        Kind.FLAG,
        "a GraphQL request that parsed",
    ),
    Field(
        "graphql_operation",
        "GraphQLStats.OperationType",
        "GraphQLStats.OperationType",
        "graphql_stats.operation_type",
        _I,
        "GraphQL operation",
        "",
        Shape.OPERATION,
    ),
    Field(
        "graphql_root_fields",
        "GraphQLStats.RootFields",
        "GraphQLStats.RootFields",
        "graphql_stats.root_fields",
        _NS,
        "GraphQL root fields",
        limit=512,
    ),
    Field(
        "graphql_types",
        "GraphQLStats.Types",
        "GraphQLStats.Types",
        "graphql_stats.types",
        _NS,
        "GraphQL types and their fields",
        "",
        Shape.TYPES,
        512,
    ),
    Field(
        "graphql_errors",
        "GraphQLStats.Errors",
        "GraphQLStats.GraphErrors",
        "graphql_stats.errors",
        _NS,
        "messages of GraphQL errors",
        "",
        Shape.ERRORS,
        1024,
    ),
    Field(
        "graphql_has_errors",
        "GraphQLStats.HasErrors",
        "GraphQLStats.HasError",
        "graphql_stats.has_errors",
        Kind.FLAG,
        "GraphQL answered with errors",
    ),
    Field(
        "graphql_variables",
        "GraphQLStats.Variables",
        "GraphQLStats.Variables",
        "graphql_stats.variables",
        _T,
        "GraphQL variables, base64",
        limit=8192,
    ),
    Field("is_mcp", "MCPStats.IsMCP", "MCPStats.IsMCP", "mcp_stats.is_mcp", Kind.FLAG, "an MCP request"),
    Field(
        "mcp_method",
        "MCPStats.JSONRPCMethod",
        "MCPStats.JSONRPCMethod",
        "mcp_stats.jsonrpc_method",
        _N,
        "JSON-RPC method",
        limit=256,
    ),
    Field(
        "mcp_type",
        "MCPStats.PrimitiveType",
        "MCPStats.PrimitiveType",
        "mcp_stats.primitive_type",
        _N,
        "MCP primitive type",
        limit=256,
    ),
    Field(
        "mcp_name",
        "MCPStats.PrimitiveName",
        "MCPStats.PrimitiveName",
        "mcp_stats.primitive_name",
        _N,
        "MCP primitive name",
        limit=1024,
    ),
)
"""Every field of a record that is stored, in the order of the columns.

Not stored: `Day`, `Month`, `Year`, `Hour` (in the gateway's own zone; derived from the instant) and
`CollectionName` (means nothing here).
"""

BY_COLUMN: Final[dict[str, Field]] = {field.column: field for field in FIELDS}


@dataclass(frozen=True, slots=True)
class Derived:
    """A column that no wire carries: a step puts it there (`collect/steps.py`), or the batch does."""

    column: str
    kind: pa.DataType
    clickhouse: str
    meaning: str


_NAME_ARROW = Kind.NAME.arrow

DERIVED: Final[tuple[Derived, ...]] = (
    Derived("kind", _NAME_ARROW, "LowCardinality(String)", "rest, graphql, mcp or tcp"),
    Derived("code_class", _NAME_ARROW, "LowCardinality(String)", "1xx to 5xx, tcp for -1, other"),
    Derived("error_origin", _NAME_ARROW, "LowCardinality(String)", "gateway or upstream where it failed, else empty"),
    Derived("cut", Kind.NAMES.arrow, "Array(LowCardinality(String))", "columns whose value was cut"),
    Derived("batch_id", _NAME_ARROW, "LowCardinality(String)", "batch that brought the record"),
    Derived("seq", pa.uint32(), "UInt32", "place in the batch, from 0"),
)
"""Columns that are made on the way in, after the fields."""


class Reason(Enum):
    """Why bytes can't become a record: the closed list, counted and shown by these names."""

    NOT_A_RECORD = "not_a_record"
    """The bytes are not one whole msgpack map, protobuf message or JSON object."""
    BAD_FIELD = "bad_field"
    """A field has a type that can't be read as what it is; the detail names the field."""
    BAD_TIMESTAMP = "bad_timestamp"
    """No time stamp, or one before the year 2000 or more than a day ahead."""
    OUT_OF_RANGE = "out_of_range"
    """A whole number that its column can't hold; the detail names the column."""
    TOO_LARGE = "too_large"
    """The record is larger than a record may be."""
    BAD_LINE = "bad_line"
    """A line of a file is not JSON, or lacks what its format demands."""
    TRUNCATED = "truncated"
    """The file ends, or its compression breaks, in the middle of this line."""
    FOREIGN_ORG = "foreign_org"
    """The sender may only send records of its own organisation."""
    ERASED = "erased"
    """Whose it is has been erased; neither its bytes nor anything of it is kept."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that was not stored.

    Attributes:
        index: Place in the list of blobs that was decoded, from 0.
        reason: One of the closed list.
        detail: What was found, for people; never the record's content.
    """

    index: int
    reason: Reason
    detail: str = ""


GO_ORDER: Final = (
    *("Method", "Host", "Path", "RawPath", "OriginalPath", "ListenPath", "ContentLength", "UserAgent"),
    *("Day", "Month", "Year", "Hour"),
    *("ResponseCode", "APIKey", "TimeStamp", "APIVersion", "APIName", "APIID", "OrgID", "OauthID", "RequestTime"),
    *("RawRequest", "RawResponse", "IPAddress", "Geo", "Network", "Latency", "Tags", "Alias", "TrackPath", "ExpireAt"),
    *("ApiSchema", "GraphQLStats", "MCPStats"),
)
"""The parts of a record in the order of the gateway's struct, in which it writes them."""

MOST_ORIGIN: Final = 1024
"""Characters of a source's name that the ledger keeps: its last."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of lines: their number is the sum of the two numbers and the rejected."""

    stored: int
    duplicate: int
    rejected: Sequence[Rejected]


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a body of records: `taken` is the sum of `stored` and `rejected`.

    Attributes:
        taken: Records in the body.
        stored: Those that are rows now.
        rejected: Those that became none.
        reasons: How many were rejected for which reason.
        listed: The first of the rejected, by their place in the body.
        replayed: This is the answer to an earlier request with the same key; nothing was stored again.
    """

    taken: int
    stored: int
    rejected: int
    reasons: dict[str, int]
    listed: Sequence[Rejected]
    replayed: bool = False
