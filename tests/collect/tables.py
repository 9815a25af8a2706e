"""Tables for the steps, made without the decoders, and everything that stands in a table."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from keytrail.record import FIELDS, Kind
from tests.oracle.records import Record

Row = Mapping[str, Any]


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The columns of `FIELDS` and `seq`; what a row lacks is zero."""
    columns = {}
    for field in FIELDS:
        zero = 0 if field.kind is Kind.INSTANT else field.kind.zero
        columns[field.column] = pa.array([row.get(field.column, zero) for row in rows], field.kind.arrow)
    columns["seq"] = pa.array(range(len(rows)), pa.uint32())
    return pa.table(columns)


def row_of(record: Record) -> Row:
    """A captured record's columns, as far as the steps read them."""
    return {
        "time": record.timestamp // 10**6,
        "org_id": record.org_id,
        "api_id": record.api_id,
        "api_name": record.api_name,
        "api_key": record.api_key,
        "alias": record.alias,
        "oauth_id": record.oauth_id,
        "method": record.method,
        "path": record.path,
        "raw_path": record.raw_path,
        "code": record.response_code,
        "upstream_latency": record.latency_upstream,
        "user_agent": record.user_agent,
        "ip": record.ip_address,
        "tags": record.tags,
        "track_path": record.track_path,
        "raw_request": record.raw_request,
        "raw_response": record.raw_response,
        "api_schema": record.api_schema,
        "is_graphql": record.is_graphql,
        "graphql_variables": record.graphql_variables,
        "graphql_errors": record.graphql_errors,
        "is_mcp": record.is_mcp,
    }


def message(text: str) -> str:
    """A message as a gateway records it, from its wire form with LF for CRLF in the head."""
    head, end, body = text.partition("\n\n")
    return base64.b64encode((head + end).replace("\n", "\r\n").encode() + body.encode()).decode()


def texts_in(table: pa.Table) -> Iterator[str]:
    """Every text that a table carries, also those that only stand in a dictionary."""
    for column in table.columns:
        for chunk in column.chunks:
            array: Any = chunk
            array = array.flatten() if pa.types.is_list(array.type) else array
            array = array.dictionary if pa.types.is_dictionary(array.type) else array
            if pa.types.is_string(array.type):
                yield from (text for text in array.to_pylist() if text)


def forms_of(secret: str) -> set[str]:
    """A secret plainly, URL-encoded, and in the base64 of some texts that hold it (without what is not its own)."""
    forms = {secret, quote(secret, safe="")}
    for before in ("", "x", "xy", "Bearer ", "user:"):
        encoded = base64.b64encode((before + secret).encode()).decode().rstrip("=")
        inner = encoded[-(-len(before) * 4 // 3) + 1 : -1] if before else encoded[:-1]
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms


def leaks(table: pa.Table, secret: str) -> list[tuple[str, str]]:
    """(form, text) of every text of the table in which the secret still stands."""
    return [(form, text) for form in forms_of(secret) for text in texts_in(table) if form in text]
