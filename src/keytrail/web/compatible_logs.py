"""Single requests as the Tyk Dashboard's log gives them: the gateway's own record, by its Go names.

The graded rules of the contract stand here as constants and small functions; `COMPATIBILITY.md` lists them with
their grades.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from keytrail.errors import RequestError
from keytrail.query.raw import places, rows_at
from keytrail.query.request import Filter
from keytrail.query.request import Query as StoreQuery
from keytrail.query.run import run
from keytrail.query.zones import Span, to_moment
from keytrail.record import FIELDS, GO_ORDER, Field, Kind, Shape
from keytrail.web.auth import require
from keytrail.web.compatible import FAILED
from keytrail.web.compatible_answer import HEADERS, paging
from keytrail.web.compatible_request import AtDesk, Desk, page
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.parameters import whole_number
from keytrail.web.rows import NO_HIT, number, rfc3339
from keytrail.web.streamed import Streamed

MOST_RECORDS: Final = 100_000
"""Grade I: records of one answer. More than that is refused and not cut, as a script that asks for all would not see
what is missing."""

LATEST_SECOND: Final = 7_258_118_400
"""The year 2200, in seconds since 1970: greater numbers are no seconds.

Grade O: also the end where none is given. Scripts that wait for the records of a test give a start alone.
"""

DATE_PARTS: Final = ("Day", "Month", "Year", "Hour")
"""Grade I: of the time stamp in UTC. A gateway writes them in its own zone, which a record does not tell."""

_WRITTEN: Final = tuple(
    field
    for name in GO_ORDER
    for field in FIELDS
    # The zone of the gateway is a field of protobuf's; the struct has none.
    if field.go.split(".")[0] == name
)
_RECORDED: Final = frozenset({"raw_request", "raw_response"})
_COLUMNS: Final = tuple(field.column for field in _WRITTEN)

_ANSWER: Final[dict[str, Any]] = {
    "description": "The records.",
    "headers": HEADERS,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["data", "pages"],
                "properties": {
                    "data": {"type": "array", "items": {"type": "object", "required": list(GO_ORDER)}},
                    "pages": {"type": "integer", "minimum": 0},
                },
            }
        }
    },
}

router = APIRouter(tags=["compatible"], dependencies=WITH_TOKEN, responses={200: _ANSWER, **problems()})


@router.get("/api/logs")
def logs(
    request: Request,
    at: AtDesk,
    start: Annotated[str | None, Query(description="First instant, in seconds since 1970.")] = None,
    end: Annotated[str | None, Query(description="Last instant, likewise; included. Without it, no end.")] = None,
    p: Annotated[str | None, Query(description="Page from 1; 0 or less for all records.")] = None,
    api: Annotated[str | None, Query(description="Only this API.")] = None,
    errors: Annotated[str | None, Query(description="`1` for only the requests that failed.")] = None,
    org: Annotated[str | None, Query(description="Only this organisation, for who sees several.")] = None,
) -> Response:
    """Single requests, latest first, as the gateway recorded them; needs the permission `logs`.

    Recorded requests have no credentials and no values of the query any more, and times are of milliseconds.
    """
    require(at.principal, "logs")
    wanted = page(at.given("p"))
    size = at.settings.page_size
    question = StoreQuery(
        scope=at.scope,
        spans=(_span(at),),
        zone="UTC",
        dimensions=(),
        metrics=("records",),
        filters=_filters(at),
        having_hits=False,
        limit=size if wanted else MOST_RECORDS,
        offset=size * max(wanted - 1, 0),
    )
    total = _total(at, question)
    if not wanted and total > MOST_RECORDS:
        raise RequestError(f"{total} records are more than {MOST_RECORDS} at once: ask for less time, or page by page")
    headers, pages = paging(at, question.spans, total, wanted, size)
    chunks = rows_at(at.engine, question, places(at.engine, question), _COLUMNS)
    return Streamed(
        _body(chunks, pages),
        what="logs",
        request_id=request.state.request_id,
        headers=headers,
        media_type="application/json",
    )


def _total(at: Desk, question: StoreQuery) -> int:
    return int(run(at.engine, replace(question, limit=None, offset=0)).rows[0]["records"])


def _span(at: Desk) -> Span:
    """The stretch of time that `start` and `end` name, both included.

    Raises:
        RequestError: There is no start, one is no number of seconds, or they are the wrong way round.
    """
    start = _second(at, "start")
    end = _second(at, "end") if at.given("end") else LATEST_SECOND
    if end < start:
        raise RequestError(f"the end {end} lies before the start {start}")
    return Span(start * 1000, end * 1000 + 1)


def _second(at: Desk, name: str) -> int:
    text = at.given(name)
    if not text:
        raise RequestError(f"{name} is missing: seconds since 1970")
    if (second := whole_number(text, LATEST_SECOND)) is None:
        raise RequestError(f"{name} {text[:40]!r} is not a number of seconds since 1970")
    return second


def _filters(at: Desk) -> tuple[Filter, ...]:
    filters = []
    if api := at.given("api"):
        at.scope.check_api(api)
        filters.append(Filter("api", "is", api))
    if at.given("errors") == "1":
        filters.append(FAILED)
    return tuple(filters)


def _body(chunks: Iterable[list[dict[str, Any]]], pages: int) -> Iterator[bytes]:
    # A piece is a chunk: what is yielded goes through the event loop, which costs more than to make a record.
    begin = b'{"data":['
    for chunk in chunks:
        if chunk:
            yield begin + b",".join(msgspec.json.encode(as_recorded(row)) for row in chunk)
            begin = b","
    yield (b"" if begin == b"," else begin) + b'],"pages":%d}' % pages


def as_recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stored row as the gateway's record, by its Go names.

    What is stored in less detail comes in that detail: a city has its one name, times are of milliseconds.

    Args:
        row: Values by column; instants in ms since the epoch.
    """
    record: dict[str, Any] = dict.fromkeys(GO_ORDER)
    moment = to_moment(row["time"], UTC)
    record.update(zip(DATE_PARTS, (moment.day, moment.month, moment.year, moment.hour), strict=True))
    for field in _WRITTEN:
        inner = record
        *outer, last = field.go.split(".")
        for name in outer:
            if inner.get(name) is None:
                inner[name] = {}
            inner = inner[name]
        inner[last] = _value(field, row[field.column])
    return record


def _value(field: Field, value: Any) -> Any:
    match field.shape:
        case Shape.TIME:
            # A record without an expiry has the epoch in the store, and Go's zero time on the wire.
            return rfc3339(value, UTC) if value else NO_HIT
        case Shape.CITY:
            return {"en": value} if value else {}
        case Shape.TYPES:
            types: dict[str, list[str]] = {}
            for name in value:
                kind, _, part = name.partition(".")
                types.setdefault(kind, []).append(part)
            return types
        case Shape.ERRORS:
            return [{"Message": message, "Path": None} for message in value]
        case _ if field.kind is Kind.FLOAT:
            return number(value)
        case _:
            # Kept as text, of which the gateway writes the base64.
            return b64encode(value.encode()).decode() if field.column in _RECORDED else value
