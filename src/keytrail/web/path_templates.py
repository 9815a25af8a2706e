"""Path templates over HTTP: which paths are one endpoint."""

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from keytrail.errors import Forbidden, RequestError
from keytrail.query.join import forget_templates
from keytrail.query.request import Scope
from keytrail.store.templates import MOST_TEMPLATES, Template, read_templates, replace_templates
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, require
from keytrail.web.body import read_body
from keytrail.web.fields import decoded
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.parameters import Org

LARGEST_BODY: Final = 2 * 1024 * 1024
"""Bytes of all rules."""
NARROW: Final = "path templates name endpoints of the whole organisation, and this token may only see a part of it"

_RULE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["pattern"],
    "properties": {"api": {"type": "string"}, "pattern": {"type": "string"}},
    "additionalProperties": False,
}
_RULES: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["templates"],
    "properties": {"templates": {"type": "array", "items": _RULE, "maxItems": MOST_TEMPLATES}},
    "additionalProperties": False,
}

router = APIRouter(tags=["path templates"], dependencies=WITH_TOKEN)


@router.get("/api/v1/templates", responses=problems())
def templates(request: Request, asker: Asker, org: Org = "") -> Response:
    """The path templates, in the order in which they are meant where several match. Needs `analytics`."""
    require(asker, "analytics")
    seen = _whole(asker.narrowed(org)).org
    rules = [one for one in read_templates(app_state(request).engine) if seen is None or one.org == seen]
    return answer({"data": [{"org": one.org, "api": one.api, "pattern": one.pattern} for one in rules]})


@router.put(
    "/api/v1/templates",
    responses=problems(413),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _RULES}}}},
)
async def put_templates(request: Request, asker: Asker, org: Org = "") -> Response:
    """Replace the path templates of an organisation; they count for all records, also old ones. Needs `admin`."""
    require(asker, "admin")
    body = await read_body(request, LARGEST_BODY, "path templates have at most")
    mine = _whole(asker.narrowed(org)).org
    if mine is None:
        raise RequestError("org: is missing, as the token sees several organisations")
    rules = _rules(mine, decoded("body", body))

    def put() -> None:
        engine = app_state(request).engine
        replace_templates(engine, mine, rules)
        forget_templates(engine)

    await run_in_threadpool(put)
    return answer({"org": mine, "templates": len(rules)})


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    pattern: str
    api: str = ""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    templates: list[_Rule]


def _rules(org: str, body: Any) -> list[Template]:
    try:
        rules = msgspec.convert(body, _Body).templates
    except msgspec.ValidationError as error:
        raise RequestError(f"body: {error}") from None
    return [Template(org, one.api, one.pattern) for one in rules]


def _whole(scope: Scope) -> Scope:
    """The scope, unless it is narrower than an organisation.

    Raises:
        Forbidden: It is narrower.
    """
    if scope.limited:
        raise Forbidden(NARROW)
    return scope
