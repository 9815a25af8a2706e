"""A record of one request, with every field that a gateway writes."""

from dataclasses import dataclass

SECOND = 10**9
# Go's zero time.Time, 0001-01-01T00:00:00Z: what a record without the field decodes to.
ZERO_TIME = -62_135_596_800 * SECOND


@dataclass(frozen=True, slots=True)
class Record:
    """Instants are nanoseconds since the epoch (UTC), latencies milliseconds, lengths bytes.

    A field that a record lacks has its zero value. Text that was not UTF-8 has U+FFFD in place of bad bytes.
    """

    timestamp: int = ZERO_TIME
    org_id: str = ""
    api_id: str = ""
    api_name: str = ""
    api_version: str = ""
    api_key: str = ""
    alias: str = ""
    oauth_id: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    raw_path: str = ""
    original_path: str = ""
    listen_path: str = ""
    response_code: int = 0
    content_length: int = 0
    user_agent: str = ""
    ip_address: str = ""
    # The date parts are in the gateway's own zone: nothing may be derived from them.
    day: int = 0
    month: int = 0
    year: int = 0
    hour: int = 0
    time_zone: str = ""
    request_time: int = 0
    latency_total: int = 0
    latency_upstream: int = 0
    latency_gateway: int = 0
    raw_request: str = ""
    raw_response: str = ""
    country: str = ""
    city_geoname_id: int = 0
    city_names: tuple[tuple[str, str], ...] = ()
    latitude: float = 0.0
    longitude: float = 0.0
    location_time_zone: str = ""
    open_connections: int = 0
    closed_connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    tags: tuple[str, ...] = ()
    track_path: bool = False
    expire_at: int = ZERO_TIME
    api_schema: str = ""
    is_graphql: bool = False
    graphql_operation: int = 0
    graphql_root_fields: tuple[str, ...] = ()
    graphql_types: tuple[tuple[str, tuple[str, ...]], ...] = ()
    graphql_errors: tuple[str, ...] = ()
    graphql_has_errors: bool = False
    graphql_variables: str = ""
    is_mcp: bool = False
    mcp_method: str = ""
    mcp_primitive_type: str = ""
    mcp_primitive_name: str = ""

    @property
    def millisecond(self) -> int:
        """The instant in ms since the epoch, cut (not rounded), as it is stored and shown."""
        return self.timestamp // 10**6

    @property
    def kind(self) -> str:
        """tcp, graphql, mcp or rest: the tag `tyk-graph-analytics` decides nothing, the flags do."""
        if self.response_code == -1:
            return "tcp"
        if self.is_graphql:
            return "graphql"
        return "mcp" if self.is_mcp else "rest"
