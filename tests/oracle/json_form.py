"""Records as lines of JSON, in the snake-case names of the pump's outputs."""

import json

from tests.oracle.clock import rfc3339
from tests.oracle.record import Record

AS_NAMED = (
    "method",
    "host",
    "path",
    "raw_path",
    "original_path",
    "listen_path",
    "content_length",
    "user_agent",
    "day",
    "month",
    "year",
    "hour",
    "response_code",
    "api_key",
    "api_version",
    "api_name",
    "api_id",
    "org_id",
    "oauth_id",
    "request_time",
    "raw_request",
    "raw_response",
    "ip_address",
    "alias",
    "track_path",
    "api_schema",
)


def to_json(record: Record) -> str:
    """One line, without its line feed."""
    wire = {name: getattr(record, name) for name in AS_NAMED} | {
        "timestamp": rfc3339(record.timestamp, "UTC"),
        "expireAt": rfc3339(record.expire_at, "UTC"),
        "tags": list(record.tags),
        "geo": {
            "country": {"iso_code": record.country},
            "city": {"geoname_id": record.city_geoname_id, "names": dict(record.city_names)},
            "location": {
                "latitude": record.latitude,
                "longitude": record.longitude,
                "time_zone": record.location_time_zone,
            },
        },
        "network": {
            "open_connections": record.open_connections,
            "closed_connections": record.closed_connections,
            "bytes_in": record.bytes_in,
            "bytes_out": record.bytes_out,
        },
        "latency": {
            "total": record.latency_total,
            "upstream": record.latency_upstream,
            "gateway": record.latency_gateway,
        },
        "graphql_stats": {
            "is_graphql": record.is_graphql,
            "operation_type": record.graphql_operation,
            "root_fields": list(record.graphql_root_fields),
            "types": dict(record.graphql_types),
            "errors": [{"message": message, "path": None} for message in record.graphql_errors],
            "has_errors": record.graphql_has_errors,
            "variables": record.graphql_variables,
        },
        "mcp_stats": {
            "is_mcp": record.is_mcp,
            "jsonrpc_method": record.mcp_method,
            "primitive_type": record.mcp_primitive_type,
            "primitive_name": record.mcp_primitive_name,
        },
    }
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":"))
