"""The Tyk Dashboard's analytics API as it is, on the one query path.

The graded rules of the contract stand here as constants and small functions; `COMPATIBILITY.md` lists them with
their grades.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from math import ceil
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from keytrail.config import Settings
from keytrail.errors import RequestError
from keytrail.query.request import Filter, Order, Scope, day_range
from keytrail.query.request import Query as Question
from keytrail.query.run import run
from keytrail.query.zones import Step, steps, zone
from keytrail.store.client import Engine
from keytrail.web.auth import Principal, require
from keytrail.web.coverage import HEADER, Coverage
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.paths import segment
from keytrail.web.rows import METRICS, ROWS_SCHEMA, Row, shape, to_csv

DEFAULT_PAGE: Final = 1
"""Grade I: the page where `p` is not given."""

DESCENDING: Final = {"1": True, "-1": False}
"""Grade I: the direction of `sort`."""

DEFAULT_ORDER: Final = (Order("hits", descending=True),)
TIES: Final = (
    Order("last_hit", descending=True),
    Order("path"),
    Order("api"),
    Order("key"),
    Order("code"),
)
"""Grade I: most hits first (or what `by` says), ties by latest hit, then by path, API, key and code."""

COUNTERS: Final[Mapping[str, str]] = {
    **{name.replace("_", ""): name for name in METRICS},
    "errortotal": "error",
    "lasttime": "last_hit",
}
"""Grade O: what `by` may name, in lower case: a counter's Go name or its name in a row."""

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2200
"""Years of a range: more than any record's, and less than the engine's instants (1900 to 2299) reach."""

STEPS: Final = {"hour": Step.HOUR, "day": Step.DAY, "month": Step.MONTH}

ROWS_ANSWER: Final[dict[str, Any]] = {
    "description": "The rows.",
    "headers": {
        "X-Total-Rows": {"description": "Rows of all pages.", "schema": {"type": "integer"}},
        "Link": {"description": 'The next page, as `rel="next"`, if there is one.', "schema": {"type": "string"}},
        HEADER: {
            "description": "Until when everything is in the rows, and the intervals in which nothing was collected.",
            "schema": {"type": "string"},
        },
    },
    "content": {"application/json": {"schema": ROWS_SCHEMA}, "text/csv": {"schema": {"type": "string"}}},
}

router = APIRouter(tags=["compatible"], dependencies=WITH_TOKEN, responses={200: ROWS_ANSWER, **problems()})


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters that all compatible endpoints share, understood.

    Attributes:
        first: First day, in the reporting zone.
        last: Last day, included.
        page: Page from 1; 0 for all rows.
        step: Step of a time series, if one is asked for.
        order: What to sort by; empty for the order of the endpoint.
        filters: Conditions from `tags`, `api_id`, `api_version`.
        csv: Rows as CSV.
    """

    first: date
    last: date
    page: int
    step: Step | None
    order: tuple[Order, ...]
    filters: tuple[Filter, ...]
    csv: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """What every endpoint works with."""

    engine: Engine
    settings: Settings
    principal: Principal
    scope: Scope
    parameters: QueryParams
    coverage: Coverage


def desk(request: Request) -> Desk:
    """Who asks, what they may see, and the means to answer."""
    principal: Principal = request.app.state.gate.principal(request)
    request.state.principal = principal
    scope = principal.narrowed(request.query_params.get("org", ""))
    state = request.app.state
    return Desk(state.engine, state.settings, principal, scope, request.query_params, state.coverage)


Range = "{start_day}/{start_month}/{start_year}/{end_day}/{end_month}/{end_year}"
"""The six date parts of a path."""


def days_of(
    start_day: Annotated[str, Path(description="Day of the month of the first day, in the reporting zone.")],
    start_month: Annotated[str, Path(description="Its month, from 1.")],
    start_year: Annotated[str, Path(description="Its year.")],
    end_day: Annotated[str, Path(description="Day of the month of the last day, which is included.")],
    end_month: Annotated[str, Path(description="Its month, from 1.")],
    end_year: Annotated[str, Path(description="Its year.")],
) -> tuple[date, date]:
    """First and last day of a range, both included.

    Raises:
        RequestError: A part is not a number, or there is no such day; names it.
    """
    return _day("start", start_day, start_month, start_year), _day("end", end_day, end_month, end_year)


def _day(which: str, day: str, month: str, year: str) -> date:
    numbers = {}
    for name, text in (("day", day), ("month", month), ("year", year)):
        if not (text.isascii() and text.isdigit()) or len(text) > 9:
            raise RequestError(f"the {which} {name} {text[:40]!r} is not a number")
        numbers[name] = int(text)
    if not FIRST_YEAR <= numbers["year"] <= LAST_YEAR:
        raise RequestError(f"the {which} year {numbers['year']} is out of range")
    if not 1 <= numbers["month"] <= 12:
        raise RequestError(f"the {which} month {numbers['month']} is out of range")
    try:
        return date(**numbers)
    except ValueError:
        raise RequestError(f"the {which} day {numbers['day']} does not exist in that month") from None


def understand(parameters: QueryParams, days: tuple[date, date], scope: Scope) -> Asked:
    """Read the parameters; an empty one counts as not given.

    Raises:
        RequestError: One of them can't be; names it.
        Forbidden: `api_id` names an API that may not be seen.
    """

    def given(name: str) -> str:
        return parameters.get(name, "").strip()

    filters = []
    if api_id := given("api_id"):
        scope.check_api(api_id)
        filters.append(Filter("api", "is", api_id))
    if version := given("api_version"):
        filters.append(Filter("version", "is", version))
    tags = [tag.strip() for text in parameters.getlist("tags") for tag in text.split(",") if tag.strip()]
    if tags:
        filters.append(Filter("tag", "has_all", tags))
    res = given("res").lower()
    if res and res not in STEPS:
        raise RequestError(f"res {res[:40]!r} is not one of hour, day, month")
    kind = given("type").lower()
    if kind not in {"", "csv", "json"}:
        raise RequestError(f"type {kind[:40]!r} is not csv")
    return Asked(
        *days,
        page=_page(given("p")),
        step=STEPS.get(res),
        order=_order(given("by"), given("sort")),
        filters=tuple(filters),
        csv=kind == "csv",
    )


def _page(text: str) -> int:
    if not text:
        return DEFAULT_PAGE
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise RequestError(f"p {text[:40]!r} is not a whole number")
    return max(int(text), 0)


def _order(by: str, sort: str) -> tuple[Order, ...]:
    if not by and not sort:
        return ()
    column = COUNTERS.get(by.lower().replace("_", ""), "") if by else "hits"
    if not column:
        raise RequestError(f"by {by[:40]!r} is not a counter")
    if sort and sort not in DESCENDING:
        raise RequestError(f"sort {sort[:40]!r} is neither 1 nor -1")
    return (Order(column, descending=DESCENDING[sort or "1"]),)


def common_parameters(
    p: Annotated[str | None, Query(description="Page from 1; 0 or less for all rows.")] = None,
    res: Annotated[str | None, Query(description="`hour`, `day` or `month`: one row per step.")] = None,
    by: Annotated[str | None, Query(description="Counter to sort by, such as `Hits`.")] = None,
    sort: Annotated[str | None, Query(description="`1` descending, `-1` ascending.")] = None,
    tags: Annotated[list[str] | None, Query(description="Only records with all of these tags.")] = None,
    api_id: Annotated[str | None, Query(description="Only this API.")] = None,
    api_version: Annotated[str | None, Query(description="Only this version.")] = None,
    type: Annotated[str | None, Query(description="`csv` for CSV.")] = None,
    org: Annotated[str | None, Query(description="Only this organisation, for who sees several.")] = None,
) -> None:
    """Document the parameters; they are read from the request, where an empty one can be told from none."""


Days = Annotated[tuple[date, date], Depends(days_of)]
# First in every endpoint: nobody learns what is wrong with a request before showing a token.
AtDesk = Annotated[Desk, Depends(desk)]
Key = Annotated[str, Path(description="The key as the gateway recorded it (its hash), URL-encoded; or the secret.")]
Client = Annotated[str, Path(description="The id of the OAuth client, URL-encoded.")]
_DOCUMENTED: Final = [Depends(common_parameters)]


@router.get(f"/api/activity/keys/endpoint/{{key}}/{Range}", dependencies=_DOCUMENTED)
def endpoints_of_key(at: AtDesk, key: Key, days: Days) -> Response:
    """The endpoints of all APIs that were called with a key.

    The key is the value that the gateway recorded; a secret is looked up by its SHA-256 as well.
    """
    return _endpoints(at, days, Filter("key", "in", key_forms(segment(key))))


@router.get(f"/api/activity/oauthid/endpoint/{{client}}/{Range}", dependencies=_DOCUMENTED)
def endpoints_of_client(at: AtDesk, client: Client, days: Days) -> Response:
    """The endpoints of all APIs that were called by an OAuth client."""
    return _endpoints(at, days, Filter("oauth_client", "is", segment(client)))


def key_forms(key: str) -> list[str]:
    """The values under which a key given in a path may be stored: itself, or its SHA-256 where it is a secret."""
    return [key, hashlib.sha256(key.encode()).hexdigest()]


def _endpoints(at: Desk, days: tuple[date, date], whose: Filter) -> Response:
    require(at.principal, "analytics")
    asked = understand(at.parameters, days, at.scope)
    filters = (whose, *asked.filters)
    if not at.settings.track_all_paths:
        filters = (*filters, Filter("tracked", "is", value=True))
    if asked.step:
        return _series(at, asked, filters)
    return _table(at, asked, filters, {"path": "path", "api": "api_id"})


def _question(at: Desk, asked: Asked, filters: tuple[Filter, ...], dimensions: tuple[str, ...]) -> Question:
    return Question(
        scope=at.scope,
        spans=day_range(asked.first, asked.last, at.settings.timezone),
        zone=at.settings.timezone,
        dimensions=dimensions,
        metrics=METRICS,
        # GraphQL and MCP have rows of their own; a TCP byte counter is no hit.
        filters=(*filters, Filter("kind", "is", "rest")),
        step=asked.step,
    )


def _table(at: Desk, asked: Asked, filters: tuple[Filter, ...], parts: Mapping[str, str]) -> Response:
    """Rows by dimensions.

    Args:
        at: Who asks.
        asked: What they ask.
        filters: Conditions.
        parts: The dimensions, each with the part of `id` that it fills.
    """
    dimensions = tuple(parts)
    size = at.settings.page_size
    question = replace(
        _question(at, asked, filters, dimensions),
        order=_unique(o for o in (*(asked.order or DEFAULT_ORDER), *TIES) if o.column in (*METRICS, *dimensions)),
        limit=size if asked.page else None,
        offset=size * max(asked.page - 1, 0),
    )
    answer = run(at.engine, question)
    total = answer.total_rows
    if not answer.rows and question.offset:
        # A page behind the last one: only a row could have carried the total.
        total = run(at.engine, replace(question, limit=1, offset=0)).total_rows
    where = zone(at.settings.timezone)
    rows = [shape(row, where, **{part: row[name] for name, part in parts.items()}) for row in answer.rows]
    return _respond(at, asked, rows, total)


def _series(at: Desk, asked: Asked, filters: tuple[Filter, ...]) -> Response:
    """A row for each step of the range, in time order unless `by` asks for another."""
    question = _question(at, asked, filters, ())
    answer = run(at.engine, question)
    found = {row["step"]: row for row in answer.rows}
    where = zone(at.settings.timezone)
    labels = steps(question.spans, asked.step, question.zone).labels if asked.step else ()
    numbers = [(label, found.get(label, {})) for label in labels]
    for order in asked.order:
        numbers.sort(key=lambda pair: pair[1].get(order.column, 0), reverse=order.descending)
    size = at.settings.page_size
    chosen = numbers[size * (asked.page - 1) : size * asked.page] if asked.page else numbers
    return _respond(at, asked, [shape(row, where, label) for label, row in chosen], len(numbers))


def _unique(orders: Iterable[Order]) -> tuple[Order, ...]:
    kept: dict[str, Order] = {}
    for order in orders:
        kept.setdefault(order.column, order)
    return tuple(kept.values())


def _respond(at: Desk, asked: Asked, rows: list[Row], total: int) -> Response:
    """The rows in the envelope or as CSV; headers tell what a page leaves out."""
    size = at.settings.page_size
    pages = ceil(total / size) if asked.page else 0
    spans = day_range(asked.first, asked.last, at.settings.timezone)
    headers = {"X-Total-Rows": str(total), **at.coverage.headers(spans)}
    if asked.page and asked.page < pages:
        query = urlencode([(k, v) for k, v in at.parameters.multi_items() if k != "p"] + [("p", str(asked.page + 1))])
        headers["Link"] = f'<?{query}>; rel="next"'
    if asked.csv:
        return Response(to_csv(rows), headers=headers, media_type="text/csv; charset=utf-8")
    body = msgspec.json.encode({"data": rows, "pages": pages})
    return Response(body, headers=headers, media_type="application/json")
