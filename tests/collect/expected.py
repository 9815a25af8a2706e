"""What a row must hold, from the oracle's record, and the helpers of the tests of the decoders."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from keytrail.collect.columns import SCHEMA
from keytrail.collect.decode import Decoded, Wire, decode
from keytrail.record import Reason
from tests.oracle.record import Record

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = datetime(2000, 1, 1, tzinfo=UTC)

RENAMED = {
    "code": "response_code",
    "latency": "latency_total",
    "upstream_latency": "latency_upstream",
    "gateway_latency": "latency_gateway",
    "ip": "ip_address",
    "city_id": "city_geoname_id",
    "geo_zone": "location_time_zone",
    "network_bytes_in": "bytes_in",
    "network_bytes_out": "bytes_out",
    "timezone": "time_zone",
    "mcp_type": "mcp_primitive_type",
    "mcp_name": "mcp_primitive_name",
}
LISTS = ("tags", "graphql_root_fields", "graphql_errors")
MADE = ("time", "expire_at", "city", "graphql_types", *LISTS)


def row_of(record: Record) -> dict[str, Any]:
    """The row of a record that has one."""
    row = {name: getattr(record, RENAMED.get(name, name)) for name in SCHEMA.names if name not in MADE}
    names = dict(record.city_names)
    return row | {
        "time": at(record.timestamp),
        "expire_at": at(record.expire_at) if 1900 <= at(record.expire_at).year < 2300 else EPOCH,
        "city": names["en"] if "en" in names else names[min(names)] if names else "",
        "graphql_types": sorted(f"{name}.{part}" for name, parts in record.graphql_types for part in parts),
        **{name: list(getattr(record, name)) for name in LISTS},
    }


def reason_of(record: Record) -> Reason | None:
    """Why a record has no row."""
    if not FIRST <= at(record.timestamp) < NOW + timedelta(days=1):
        return Reason.BAD_TIMESTAMP
    if not -(2**15) <= record.response_code < 2**15:
        return Reason.OUT_OF_RANGE
    return None


def at(instant: int) -> datetime:
    """Nanoseconds since the epoch, cut to the ms."""
    return EPOCH + timedelta(milliseconds=instant // 10**6)


def decode_all(blobs: Sequence[bytes], wire: Wire) -> Decoded:
    """Decode at a fixed present, and check all that holds for any blobs."""
    found = decode(blobs, wire, now=NOW)
    assert found.table.schema == SCHEMA
    found.table.validate(full=True)
    for column in found.table.columns:
        assert column.num_chunks == 1
        assert column.null_count == 0
    positions = found.positions.to_pylist()
    indexes = [rejected.index for rejected in found.rejected]
    assert len(positions) == found.table.num_rows
    assert positions == sorted(positions)
    assert indexes == sorted(indexes)
    assert sorted(positions + indexes) == list(range(len(blobs)))
    assert [rejected for rejected in found.rejected if rejected.detail.startswith("unexpected")] == []
    return found


def rows(blobs: Sequence[bytes], wire: Wire) -> list[dict[str, Any]]:
    """Rows of blobs that all have one."""
    found = decode_all(blobs, wire)
    assert found.rejected == []
    listed: list[dict[str, Any]] = found.table.to_pylist()
    return listed


def differences(row: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Columns that differ, as (found, expected): an assertion on rows of fifty columns says little."""
    return {
        name: (row.get(name), expected.get(name)) for name in {**row, **expected} if row.get(name) != expected.get(name)
    }
