"""Raw rows to take away: CSV, NDJSON or Parquet, streamed."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from keytrail.errors import RequestError
from keytrail.query.export import Form, export
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, require
from keytrail.web.filters import FILTERS, understand
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.streamed import Streamed

MEDIA_TYPES: Final = {
    Form.CSV: "text/csv",
    Form.NDJSON: "application/x-ndjson",
    Form.PARQUET: "application/vnd.apache.parquet",
}

router = APIRouter(tags=["requests"], dependencies=WITH_TOKEN, responses=problems())


_ROWS: Final[dict[str, Any]] = {
    "description": "The rows.",
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
}


@router.get(
    "/api/v1/export",
    response_class=StreamingResponse,
    responses={200: _ROWS},
    openapi_extra={
        "parameters": [
            *FILTERS,
            {
                "name": "format",
                "in": "query",
                "description": "Form of the rows; ndjson if not given.",
                "schema": {"type": "string", "enum": [form.value for form in Form]},
            },
        ]
    },
)
def raw_rows(request: Request, asker: Asker) -> Response:
    """Raw rows, each with every column, by organisation, hour, key and time. Needs `logs`.

    NDJSON has the names of the gateway's pump, CSV and Parquet those of the columns; each can be imported again. In CSV
    a text that a spreadsheet would run as a formula has an apostrophe in front. An answer that ends without its end
    (the connection breaks off) is not whole.
    """
    require(asker, "logs")
    parameters, held = request.query_params, app_state(request)
    scope = asker.narrowed(parameters.get("org", ""))
    search = understand(parameters, scope, held.settings.timezone, also=("format",))
    try:
        form = Form(parameters.get("format", "") or Form.NDJSON.value)
    except ValueError:
        raise RequestError(f"format: one of {', '.join(form.value for form in Form)}") from None
    return Streamed(
        export(held.engine, search, form),
        what="export",
        request_id=request.state.request_id,
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="requests.{form.value}"',
            **held.coverage.headers(search.spans),
        },
    )
