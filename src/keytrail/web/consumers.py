"""Consumers over HTTP: who there is, what each did, and the directory as a file."""

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from keytrail.errors import Forbidden, NotFound, RequestError
from keytrail.query.consumers import activity, edges_of
from keytrail.query.question import DEFAULT_LIMIT, MOST_ROWS, parse
from keytrail.query.ranges import PRESETS
from keytrail.query.request import Scope
from keytrail.store.consumers import COLUMNS, parse_csv, read_links, replace_links
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, require
from keytrail.web.body import read_body
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.parameters import Org, whole_number
from keytrail.web.paths import segment

LARGEST_FILE: Final = 16 * 1024 * 1024
"""Bytes of a directory."""
DEFAULT_RANGE: Final = "last_30_days"
NARROW: Final = "the directory names every consumer, and this token may only see a part of its organisation"

Entries = Annotated[str, Query(description="`true`: also each key, client and tag, as a directory's file has them.")]

router = APIRouter(tags=["consumers"], dependencies=WITH_TOKEN)


@router.get("/api/v1/consumers", responses=problems())
def consumers(request: Request, asker: Asker, org: Org = "", entries: Entries = "") -> Response:
    """The consumers, with how many keys, clients and tags each ever had. Needs `analytics`.

    A token of some consumers sees these; one that is narrower by API, key or client sees none.
    """
    require(asker, "analytics")
    if entries not in {"", "true", "false"}:
        raise RequestError("entries: true or false is expected")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    scope = _naming(asker.narrowed(org))
    for link in read_links(app_state(request).engine, scope.org):
        if scope.consumers is not None and link.consumer not in scope.consumers:
            continue
        empty = {"org": link.org, "id": link.consumer, "name": link.name, "links": 0}
        one = found.setdefault((link.org, link.consumer), empty)
        one["links"] += 1
        if entries == "true":
            start, end = edges_of(link, "UTC")
            entry = {"kind": link.kind, "value": link.value, "from": start, "until": end}
            one.setdefault("entries", []).append(entry)
    return answer({"data": list(found.values())})


@router.put(
    "/api/v1/consumers",
    responses=problems(413),
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}},
    description="Replace the directory of an organisation by a CSV file with the columns "
    + ", ".join(f"`{name}`" for name in COLUMNS)
    + ". Needs `admin`.",
)
async def put_consumers(request: Request, asker: Asker, org: Org = "") -> Response:
    """Replace the directory of an organisation."""
    require(asker, "admin")
    body = await read_body(request, LARGEST_FILE, "a directory has at most")
    scope = asker.narrowed(org)
    if scope.limited:
        raise Forbidden(NARROW)
    mine = scope.org
    if mine is None:
        raise RequestError("org: is missing, as the token sees several organisations")

    def put() -> int:
        held = app_state(request)
        links = parse_csv(body, mine, hash_keys=held.settings.privacy.keys != "keep")
        # An old file must not bring back whoever was erased.
        links = [link for link in links if not held.upkeep.is_erased(link.kind, link.value, mine)]
        replace_links(held.engine, mine, links)
        return len(links)

    return answer({"org": mine, "links": await run_in_threadpool(put)})


@router.get("/api/v1/consumers/{consumer}", responses=problems())
def consumer(
    request: Request,
    asker: Asker,
    consumer: Annotated[str, Path(description="Id of the consumer, as the directory has it.")],
    start: Annotated[str, Query(alias="from", description="First day or instant; included.")] = "",
    end: Annotated[str, Query(alias="to", description="Last day, included, or an instant, not included.")] = "",
    range: Annotated[
        str, Query(description=f"Instead of both: {', '.join(PRESETS)}; {DEFAULT_RANGE} if neither.")
    ] = "",
    zone: Annotated[str, Query(description="Time zone of days; the setting `timezone` if not given.")] = "",
    limit: Annotated[str, Query(description=f"Endpoints at most, {DEFAULT_LIMIT} if not given.")] = "",
    org: Org = "",
) -> Response:
    """What a consumer did, by endpoint, and every key, client and tag that it ever had. Needs `analytics`.

    A token of some consumers sees these; one that is narrower by API, key or client sees none.
    """
    require(asker, "analytics")
    held = app_state(request)
    if limit and whole_number(limit, MOST_ROWS, least=1) is None:
        raise RequestError(f"limit: a whole number from 1 to {MOST_ROWS} is expected")
    consumer = segment(consumer)
    fields = {
        "from": start,
        "to": end,
        "range": range or ("" if start or end else DEFAULT_RANGE),
        "zone": zone,
        "limit": int(limit) if limit else None,
    }
    question = parse(fields, default_zone=held.settings.timezone)
    scope = _naming(asker.narrowed(org))
    links = read_links(held.engine, scope.org, consumer)
    if not links or not (scope.consumers is None or consumer in scope.consumers):
        raise NotFound("no such consumer")
    if len({link.org for link in links}) > 1:
        raise RequestError("org: is missing, as several organisations have a consumer of this id")
    found = activity(held.engine, replace(scope, org=links[0].org), links, question.range, question.limit)
    edges = dict(zip(("from", "to"), question.range.edges, strict=True))
    return answer(
        {
            "org": links[0].org,
            "id": links[0].consumer,
            "name": links[0].name,
            "range": edges | {"zone": question.range.zone},
            "totals": found.totals,
            "endpoints": found.endpoints,
            "total_endpoints": found.total_endpoints,
            "links": found.links,
            "coverage": held.coverage.told(question.range.spans),
        }
    )


def _naming(scope: Scope) -> Scope:
    """The scope, unless it is narrower by more than consumers: names and keys of others must not be told.

    Raises:
        Forbidden: It is narrower.
    """
    if replace(scope, consumers=None).limited:
        raise Forbidden(NARROW)
    return scope
