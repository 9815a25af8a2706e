"""The own query API: any metric by any dimensions, and the catalogue of what can be asked."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from keytrail.errors import RequestError
from keytrail.query.ask import Reply, ask, pages
from keytrail.query.catalog import DIMENSIONS, METRICS
from keytrail.query.describe import catalogue
from keytrail.query.export import Form
from keytrail.query.question import FIELDS, MOST_DIMENSIONS, MOST_METRICS, Question, parse
from keytrail.query.ranges import PRESETS
from keytrail.query.run import Answer
from keytrail.query.sheet import sheet, sheets
from keytrail.query.statement import HIDDEN
from keytrail.query.zones import Step
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, Principal, require
from keytrail.web.export import MEDIA_TYPES
from keytrail.web.fields import CONDITION_SCHEMA, EDGES_SCHEMA, fields_in_body, fields_of
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.parameters import Org
from keytrail.web.streamed import Streamed

_NAMES: Final = {"type": "array", "items": {"type": "string"}}
_BOUNDED: Final = ("limit", "offset", "order", "step", "compare")
"""Fields with which a file is not streamed: its rows are in an order, or have parts, that only all of them give."""

_TYPES: Final[dict[str, dict[str, Any]]] = {
    "metrics": {"type": "array", "items": {"type": "string", "enum": list(METRICS)}, "maxItems": MOST_METRICS},
    "dimensions": {"type": "array", "items": {"type": "string", "enum": list(DIMENSIONS)}, "maxItems": MOST_DIMENSIONS},
    "filter": CONDITION_SCHEMA,
    "range": {"type": "string", "enum": list(PRESETS)},
    "step": {"type": "string", "enum": [step.value for step in Step]},
    "order": _NAMES,
    "limit": {"type": "integer", "minimum": 1},
    "offset": {"type": "integer", "minimum": 0},
    "totals": {"type": "boolean"},
    "compare": {"oneOf": [{"type": "string", "enum": ["previous"]}, EDGES_SCHEMA]},
    "explain": {"type": "boolean"},
}
QUESTION_SCHEMA: Final = {
    "type": "object",
    "properties": {
        name: {"description": meaning, **_TYPES.get(name, {"type": "string"})} for name, meaning in FIELDS.items()
    },
    "additionalProperties": False,
}
"""A question as a JSON schema, from the catalogue."""

_ROW: Final = {"type": "object"}
_ANSWER: Final[dict[str, Any]] = {
    "description": "The rows.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["rows", "total_rows", "range", "tables", "raw_only", "coverage"],
                "properties": {
                    "rows": {"type": "array", "items": _ROW},
                    "total_rows": {"type": "integer", "minimum": 0},
                    "totals": _ROW,
                    "range": _ROW,
                    "compare": _ROW,
                    "tables": _NAMES,
                    "raw_only": {"type": "boolean"},
                    "coverage": {"type": ["object", "null"]},
                    "explain": {"type": "array", "items": _ROW},
                },
            }
        },
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
    },
}

router = APIRouter(tags=["analytics"], dependencies=WITH_TOKEN)

Format = Annotated[str, Query(description="`json`, or `csv`, `ndjson` or `parquet` for the rows alone, as a file.")]


@router.get("/api/v1/catalog", responses=problems())
def catalog(asker: Asker) -> Response:
    """What a question can name: metrics, dimensions, operators, steps, ranges and fields, with meaning and unit."""
    require(asker, "analytics")
    return answer(catalogue())


@router.post(
    "/api/v1/query",
    responses={200: _ANSWER, **problems(413)},
    # The body is read as it comes: an unknown field or operator is told in our words.
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": QUESTION_SCHEMA}}}},
)
async def query(request: Request, asker: Asker, org: Org = "", format: Format = "") -> Response:
    """Any metrics by up to five dimensions, over any range in any zone. Needs `analytics`."""
    require(asker, "analytics")
    return await run_in_threadpool(_answered, request, asker, org, format, await fields_in_body(request))


def _documented(
    metrics: Annotated[str | None, Query(description=FIELDS["metrics"] + "; a comma list")] = None,
    dimensions: Annotated[str | None, Query(description=FIELDS["dimensions"] + "; a comma list")] = None,
    filter: Annotated[str | None, Query(description=FIELDS["filter"] + "; as JSON")] = None,
    start: Annotated[str | None, Query(alias="from", description=FIELDS["from"])] = None,
    end: Annotated[str | None, Query(alias="to", description=FIELDS["to"])] = None,
    range: Annotated[str | None, Query(description=FIELDS["range"])] = None,
    zone: Annotated[str | None, Query(description=FIELDS["zone"])] = None,
    step: Annotated[str | None, Query(description=FIELDS["step"])] = None,
    order: Annotated[str | None, Query(description=FIELDS["order"] + "; a comma list")] = None,
    limit: Annotated[str | None, Query(description=FIELDS["limit"])] = None,
    offset: Annotated[str | None, Query(description=FIELDS["offset"])] = None,
    totals: Annotated[str | None, Query(description=FIELDS["totals"])] = None,
    compare: Annotated[str | None, Query(description=FIELDS["compare"] + "; an object as JSON")] = None,
    explain: Annotated[str | None, Query(description=FIELDS["explain"])] = None,
) -> None:
    """Document the parameters; they are read from the request, as the same fields come as JSON."""


@router.get("/api/v1/query", responses={200: _ANSWER, **problems()}, dependencies=[Depends(_documented)])
def query_by_link(request: Request, asker: Asker, org: Org = "", format: Format = "") -> Response:
    """The same by GET, so that a question fits into a link: lists as comma lists, `filter` as JSON."""
    require(asker, "analytics")
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "format"]
    return _answered(request, asker, org, format, fields_of(given, _TYPES))


def _answered(request: Request, asker: Principal, org: str, format: str, fields: dict[str, Any]) -> Response:
    held = app_state(request)
    question, form = parse(fields, default_zone=held.settings.timezone), _form(format)
    scope, spans = asker.narrowed(org), question.range.spans
    if form is None:
        reply = ask(held.engine, scope, question)
        return answer(content(question, reply) | {"coverage": held.coverage.told(spans)})
    columns = [*question.dimensions, *question.metrics]
    as_file = {"Content-Disposition": f'attachment; filename="query.{form.value}"'}
    if question.dimensions and not any(fields.get(name) for name in _BOUNDED):
        return Streamed(
            sheets(pages(held.engine, scope, question), columns, form),
            what="a question",
            request_id=request.state.request_id,
            media_type=MEDIA_TYPES[form],
            headers=as_file | held.coverage.headers(spans),
        )
    reply = ask(held.engine, scope, question)
    rows = sheet(reply.rows, [*(["step"] if question.step else []), *columns], form)
    headers = as_file | {"X-Total-Rows": str(reply.total_rows)} | held.coverage.headers(spans)
    return Response(rows, 200, headers, MEDIA_TYPES[form])


def _form(text: str) -> Form | None:
    """The form of a file that a request asks for; None for the whole answer as JSON.

    Raises:
        RequestError: There is no such form.
    """
    if text in {"", "json"}:
        return None
    try:
        return Form(text)
    except ValueError:
        raise RequestError(f"format: one of json, {', '.join(form.value for form in Form)}") from None


def content(question: Question, reply: Reply) -> dict[str, Any]:
    """An answer for JSON, without its coverage."""
    shown: dict[str, Any] = {
        "rows": reply.rows,
        "total_rows": reply.total_rows,
        "range": _edges(question.range.edges) | {"zone": question.range.zone},
        "tables": reply.tables,
        "raw_only": reply.raw_only,
    }
    if reply.totals is not None:
        shown["totals"] = reply.totals
    if question.compare is not None:
        shown["compare"] = _edges(question.compare.edges)
    if question.explain:
        shown["explain"] = [_explained(statement) for statement in reply.statements]
    return shown


def _edges(edges: tuple[str, str]) -> dict[str, str]:
    return dict(zip(("from", "to"), edges, strict=True))


def _explained(statement: Answer) -> dict[str, Any]:
    return {
        "sql": statement.sql,
        "values": {
            name: HIDDEN if name in statement.statement.hidden else value
            for name, value in statement.statement.parameters.items()
        },
        "tables": [segment.table for segment in statement.plan.segments],
        "rows_read": statement.read_rows,
        "ms": round(statement.seconds * 1000, 3),
    }
