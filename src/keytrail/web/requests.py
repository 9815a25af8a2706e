"""The request log: which requests there were, newest first, and one of them in full."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from keytrail.errors import NotFound, RequestError
from keytrail.instants import moment_of, text_of
from keytrail.query.records import MOST_ROWS, SHOWN, Row, find, page
from keytrail.record import BY_COLUMN, Kind
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, require
from keytrail.web.filters import FILTERS, understand
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.parameters import whole_number
from keytrail.web.paths import segment

DEFAULT_ROWS: Final = 100

router = APIRouter(tags=["requests"], dependencies=WITH_TOKEN, responses=problems())


_ROW: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "time", *(dimension.name for dimension in SHOWN)],
    "properties": {"id": {"type": "string"}, "time": {"type": "string", "format": "date-time"}},
}
_ROWS: Final[dict[str, Any]] = {
    "description": "The requests.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["data", "next"],
                "properties": {
                    "data": {"type": "array", "items": _ROW},
                    "next": {"type": ["string", "null"], "description": "`cursor` of the next page."},
                },
            }
        }
    },
}


@router.get(
    "/api/v1/requests",
    responses={200: _ROWS},
    openapi_extra={
        "parameters": [
            *FILTERS,
            {
                "name": "limit",
                "in": "query",
                "description": f"How many at most, up to {MOST_ROWS}; {DEFAULT_ROWS} if not given.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS},
            },
            {
                "name": "cursor",
                "in": "query",
                "description": "`next` of the page before, with the same other parameters.",
                "schema": {"type": "string"},
            },
        ]
    },
)
def requests(request: Request, asker: Asker) -> Response:
    """Single requests, newest first. Needs `logs`.

    Pages are stable while records arrive: what was there at the first page comes once, in one of them.
    """
    require(asker, "logs")
    parameters, held = request.query_params, app_state(request)
    scope = asker.narrowed(parameters.get("org", ""))
    search = understand(parameters, scope, held.settings.timezone, also=("limit", "cursor"))
    limit = whole_number(parameters.get("limit", "") or str(DEFAULT_ROWS), MOST_ROWS, least=1)
    if limit is None:
        raise RequestError(f"limit: a whole number from 1 to {MOST_ROWS}")
    found = page(held.engine, search, cursor=parameters.get("cursor", ""), limit=limit)
    shown = answer({"data": [_row(row) for row in found.rows], "next": found.following or None})
    shown.headers.update(held.coverage.headers(search.spans))
    return shown


@router.get("/api/v1/requests/{row}")
def one_request(
    request: Request, asker: Asker, row: Annotated[str, Path(description="`id` of a row of the request log.")]
) -> Response:
    """One request with everything that is stored of it, its recorded messages taken apart. Needs `logs`.

    What the settings keep out of the store (credentials, bodies, values of query strings) is not there either.
    """
    require(asker, "logs")
    found = find(app_state(request).engine, asker.scope, segment(row))
    if found is None:
        raise NotFound("no such request")
    columns = {name: _shown(name, value) for name, value in found.columns.items()}
    messages = {name: message(columns.pop(f"raw_{name}")) for name in ("request", "response")}
    return answer({**_row(Row(found.place, found.dimensions, {})), **messages, "record": columns})


def _row(row: Row) -> dict[str, Any]:
    return {"id": row.place.text(), "time": _instant(row.place.time), **row.dimensions, **row.columns}


def _shown(name: str, value: Any) -> Any:
    field = BY_COLUMN.get(name)
    # The epoch stands for none.
    return (_instant(value) if value else None) if field and field.kind is Kind.INSTANT else value


def _instant(milliseconds: int) -> str:
    return text_of(moment_of(milliseconds))


def message(text: str) -> dict[str, Any] | None:
    """A recorded HTTP message taken apart: `line`, `headers` as pairs in their order, `body`; None where there is none.

    Args:
        text: The message as it is stored: lines end with CRLF, an empty one stands before the body.
    """
    if not text:
        return None
    head, _, body = text.partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    headers = [[name, value.strip()] for name, _, value in (field.partition(":") for field in fields)]
    return {"line": line, "headers": headers, "body": body}
