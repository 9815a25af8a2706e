"""MCP as the Tyk Dashboard's analytics API gives it: proxies, primitives, their errors, one key's calls.

The vendor's description names the paths, the parameters and the envelope, but not by which parts of a row's `id` a
primitive is told: that is ours, and stands here in one table. `COMPATIBILITY.md` lists it with its grade.
"""

from dataclasses import replace
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from keytrail.errors import RequestError
from keytrail.query.request import Filter, key_forms
from keytrail.web.auth import require
from keytrail.web.compatible import API, CODE, FAILED
from keytrail.web.compatible_answer import Rows, described, series, table
from keytrail.web.compatible_request import DOCUMENTED, RANGE, AtDesk, Days, Desk, Key, understand
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.parameters import whole_number
from keytrail.web.paths import segment

KIND: Final = "mcp"

MOST_ROWS: Final = 999_999_999
"""Rows of a page: more than there ever are."""

MCP_PARTS: Final = {
    "mcp_method": "mcp_method",
    "mcp_type": "mcp_primitive_type",
    "mcp_name": "mcp_primitive_name",
}
"""Grade I: the dimensions of MCP, each with its parameter, which is also the part of `id` that it fills."""

PRIMITIVE: Final = {name: MCP_PARTS[name] for name in ("mcp_type", "mcp_name")}
"""Grade I: what `group_by=mcp_primitive` groups by."""

CALL: Final = {**API, **MCP_PARTS}
"""Grade I: a row of primitives without `group_by`: a method of a primitive of an API."""

GROUPS: Final = {"": CALL, "mcp_primitive": PRIMITIVE}

router = APIRouter(
    tags=["compatible"],
    dependencies=WITH_TOKEN,
    responses={200: described(tuple(MCP_PARTS.values())), **problems()},
)


def mcp_parameters(
    mcp_method: Annotated[str | None, Query(description="Only this JSON-RPC method, such as `tools/call`.")] = None,
    mcp_primitive_type: Annotated[str | None, Query(description="Only `tool`, `resource` or `prompt`.")] = None,
    mcp_primitive_name: Annotated[str | None, Query(description="Only this tool, resource or prompt.")] = None,
    group_by: Annotated[str | None, Query(description="`mcp_primitive`: one row per type and name.")] = None,
    limit: Annotated[str | None, Query(description="Rows at most.")] = None,
) -> None:
    """Document the parameters; they are read from the request, where an empty one can be told from none."""


_DOCUMENTED: Final = [*DOCUMENTED, Depends(mcp_parameters)]


@router.get(f"/api/usage/mcp/{RANGE}", dependencies=_DOCUMENTED)
def proxies(at: AtDesk, days: Days) -> Response:
    """The MCP proxies that were called, each with its latest name."""
    return _answer(at, days, {"": API}, ())


@router.get(f"/api/activity/mcp/primitives/{RANGE}", dependencies=_DOCUMENTED)
def primitives(at: AtDesk, days: Days) -> Response:
    """The tools, resources and prompts that were called."""
    return _answer(at, days, GROUPS, ())


@router.get(f"/api/activity/mcp/primitives/errors/{RANGE}", dependencies=_DOCUMENTED)
def failed_primitives(at: AtDesk, days: Days) -> Response:
    """The calls of tools, resources and prompts that failed, by response code."""
    by_code = {name: {**parts, **CODE} for name, parts in GROUPS.items()}
    return _answer(at, days, by_code, (FAILED,))


@router.get(f"/api/activity/mcp/keys/{{key}}/{RANGE}", dependencies=_DOCUMENTED)
def primitives_of_key(at: AtDesk, key: Key, days: Days) -> Response:
    """The tools, resources and prompts that were called with a key."""
    return _answer(at, days, GROUPS, (Filter("key", "in", key_forms(segment(key))),))


def _answer(
    at: Desk, days: tuple[date, date], groups: dict[str, dict[str, str]], filters: tuple[Filter, ...]
) -> Response:
    require(at.principal, "analytics")
    asked = understand(at, days)
    group = at.given("group_by").lower()
    if group not in GROUPS:
        raise RequestError(f"group_by {group[:40]!r} is not mcp_primitive")
    if limit := _limit(at.given("limit")):
        asked = replace(asked, page=asked.page or 1, page_size=limit)
    wanted = [Filter(name, "is", value) for name, part in MCP_PARTS.items() if (value := at.given(part))]
    rows = Rows(
        groups.get(group, groups[""]),
        (*filters, *wanted),
        kind=KIND,
        extra=tuple(MCP_PARTS.values()),
    )
    return series(at, asked, rows) if asked.step else table(at, asked, rows)


def _limit(text: str) -> int:
    if not text:
        return 0
    if (limit := whole_number(text, MOST_ROWS, least=1)) is None:
        raise RequestError(f"limit {text[:40]!r} is not a number of rows")
    return limit
