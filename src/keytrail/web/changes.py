"""What changed, over HTTP: a range against a baseline, ranked by who contributes how much."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from keytrail.query.changes import Changes, changes
from keytrail.query.changes_question import (
    BASELINES,
    CHANGES_FIELDS,
    DIRECTIONS,
    GROUPS,
    MOST_ROWS,
    ChangesQuestion,
    parse_changes,
)
from keytrail.query.changes_ranked import LEAST_SIGMA
from keytrail.query.ranges import PRESETS
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, Principal, require
from keytrail.web.fields import CONDITION_SCHEMA, EDGES_SCHEMA, fields_in_body, fields_of
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.parameters import Org

_TYPES: Final[dict[str, dict[str, Any]]] = {
    "filter": CONDITION_SCHEMA,
    "range": {"type": "string", "enum": list(PRESETS)},
    "baseline": {"oneOf": [{"type": "string", "enum": list(BASELINES)}, EDGES_SCHEMA]},
    "by": {"type": "string", "enum": list(GROUPS)},
    "direction": {"type": "string", "enum": list(DIRECTIONS)},
    "least_hits": {"type": "integer", "minimum": 1},
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS},
}
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        name: {"description": meaning, **_TYPES.get(name, {"type": "string"})}
        for name, meaning in CHANGES_FIELDS.items()
    },
    "additionalProperties": False,
}
_OBJECT: Final = {"type": "object"}
_PARTS: Final = {
    "range": _OBJECT,
    "baseline": _OBJECT,
    "errors": _OBJECT,
    "latency": _OBJECT,
    "judged": _OBJECT,
    "coverage": {"type": ["object", "null"]},
}
_ANSWER: Final[dict[str, Any]] = {
    "description": "What contributes to the change in errors and in p95 latency, most first.",
    "content": {
        "application/json": {"schema": {"type": "object", "required": list(_PARTS), "properties": _PARTS}},
    },
}

router = APIRouter(tags=["analytics"], dependencies=WITH_TOKEN)


@router.post(
    "/api/v1/changes",
    responses={200: _ANSWER, **problems(413)},
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": _SCHEMA}}}},
)
async def changes_of_body(request: Request, asker: Asker, org: Org = "") -> Response:
    """What changed against a baseline: which key and endpoint, since when, gateway or upstream. Needs `analytics`."""
    require(asker, "analytics")
    return await run_in_threadpool(_answered, request, asker, org, await fields_in_body(request))


def _documented(
    start: Annotated[str | None, Query(alias="from", description=CHANGES_FIELDS["from"])] = None,
    end: Annotated[str | None, Query(alias="to", description=CHANGES_FIELDS["to"])] = None,
    range: Annotated[str | None, Query(description=CHANGES_FIELDS["range"])] = None,
    zone: Annotated[str | None, Query(description=CHANGES_FIELDS["zone"])] = None,
    filter: Annotated[str | None, Query(description=CHANGES_FIELDS["filter"] + "; as JSON")] = None,
    baseline: Annotated[str | None, Query(description=CHANGES_FIELDS["baseline"] + "; an object as JSON")] = None,
    by: Annotated[str | None, Query(description=CHANGES_FIELDS["by"])] = None,
    direction: Annotated[str | None, Query(description=CHANGES_FIELDS["direction"])] = None,
    least_hits: Annotated[str | None, Query(description=CHANGES_FIELDS["least_hits"])] = None,
    limit: Annotated[str | None, Query(description=CHANGES_FIELDS["limit"])] = None,
) -> None:
    """Document the parameters; they are read from the request, as the same fields come as JSON."""


@router.get("/api/v1/changes", responses={200: _ANSWER, **problems()}, dependencies=[Depends(_documented)])
def changes_by_link(request: Request, asker: Asker, org: Org = "") -> Response:
    """The same by GET, so that it fits into a link: `filter` as JSON."""
    require(asker, "analytics")
    return _answered(request, asker, org, fields_of(request.query_params.multi_items(), _TYPES))


def _answered(request: Request, asker: Principal, org: str, fields: dict[str, Any]) -> Response:
    held = app_state(request)
    question = parse_changes(fields, default_zone=held.settings.timezone)
    found = changes(held.engine, asker.narrowed(org), question)
    spans = (*question.baseline.spans, *question.range.spans)
    in_order = tuple(sorted(spans, key=lambda span: span.start))
    return answer(content(question, found) | {"coverage": held.coverage.told(in_order)})


def content(question: ChangesQuestion, found: Changes) -> dict[str, Any]:
    """What changed for JSON, without its coverage."""
    edges = {
        name: dict(zip(("from", "to"), one.edges, strict=True))
        for name, one in (("range", question.range), ("baseline", question.baseline))
    }
    return {
        "range": edges["range"] | {"zone": question.range.zone},
        "baseline": edges["baseline"],
        "errors": found.errors,
        "latency": found.latency,
        "judged": {
            "groups": found.groups,
            "judged": found.judged,
            "least_hits": question.least_hits,
            "least_sigma": LEAST_SIGMA,
        },
    }
