"""Answers of the compatible family: rows by dimensions or by step, in the envelope or as CSV.

The graded rules of the contract stand here as constants and small functions; `COMPATIBILITY.md` lists them with
their grades.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from keytrail.instants import zone
from keytrail.query.catalog import DIMENSIONS
from keytrail.query.request import Filter, Order, Query, day_range
from keytrail.query.run import run
from keytrail.query.zones import Span, Step
from keytrail.web.compatible_request import Asked, Desk
from keytrail.web.coverage import HEADER
from keytrail.web.rows import METRICS, Row, rows_schema, shape, to_csv

DEFAULT_ORDER: Final = (Order("hits", descending=True),)
TIES: Final = (
    Order("last_hit", descending=True),
    *(Order(name) for name in ("path", "api", "key", "oauth_client", "code", "mcp_method", "mcp_type", "mcp_name")),
)
"""Grade I: most hits first (or what `by` says), ties by latest hit, then by path, API, key, client, code, MCP part."""

HEADERS: Final[dict[str, Any]] = {
    "X-Total-Rows": {"description": "Rows of all pages.", "schema": {"type": "integer"}},
    "Link": {"description": 'The next page, as `rel="next"`, if there is one.', "schema": {"type": "string"}},
    HEADER: {
        "description": "Until when everything is in the rows, and the intervals in which nothing was collected.",
        "schema": {"type": "string"},
    },
}
"""The headers of every answer, for the description of the API."""


def described(extra: Sequence[str] = ()) -> dict[str, Any]:
    """The answer with rows, for the description of the API.

    Args:
        extra: Parts of `id` beside the usual ones.
    """
    return {
        "description": "The rows.",
        "headers": HEADERS,
        "content": {"application/json": {"schema": rows_schema(extra)}, "text/csv": {"schema": {"type": "string"}}},
    }


@dataclass(frozen=True, slots=True)
class Rows:
    """What the rows of an endpoint are.

    Attributes:
        parts: The dimensions that make a row, and metrics that name it, each with the part of `id` that it fills.
        filters: Conditions of the endpoint itself, beside those that the asker names.
        kind: Which records count.
        extra: Parts of `id` beside the usual ones.
    """

    parts: Mapping[str, str]
    filters: tuple[Filter, ...] = ()
    # GraphQL and MCP have rows of their own; a TCP byte counter is no hit.
    kind: str = "rest"
    extra: tuple[str, ...] = ()


def table(at: Desk, asked: Asked, rows: Rows) -> Response:
    """A row for each combination of the dimensions that had a hit."""
    names = [name for name in rows.parts if name not in DIMENSIONS]
    size = asked.page_size
    question = replace(
        _question(at, asked, rows),
        dimensions=tuple(name for name in rows.parts if name in DIMENSIONS),
        metrics=(*METRICS, *names),
        limit=size if asked.page else None,
        offset=size * max(asked.page - 1, 0),
    )
    columns = {*question.dimensions, *METRICS}
    question = replace(
        question, order=_unique(o for o in (*(asked.order or DEFAULT_ORDER), *TIES) if o.column in columns)
    )
    answer = run(at.engine, question)
    total = answer.total_rows
    if not answer.rows and question.offset:
        # A page behind the last one: only a row could have carried the total.
        total = run(at.engine, replace(question, limit=1, offset=0)).total_rows
    where = zone(at.settings.timezone)
    unused = dict.fromkeys(rows.extra, "")
    shaped = [
        shape(row, where, **unused | {part: row[name] for name, part in rows.parts.items()}) for row in answer.rows
    ]
    return _respond(at, asked, question.spans, shaped, total, rows.extra)


def series(at: Desk, asked: Asked, rows: Rows) -> Response:
    """A row for each step of the range, in time order unless `by` asks for another."""
    question = replace(_question(at, asked, rows), step=asked.step)
    answer = run(at.engine, question)
    found = {row["step"]: row for row in answer.rows}
    where = zone(at.settings.timezone)
    labels = answer.plan.steps.labels if answer.plan.steps else ()
    numbers = [(label, found.get(label, {})) for label in labels]
    for order in asked.order:
        numbers.sort(key=lambda pair: pair[1].get(order.column, 0), reverse=order.descending)
    size = asked.page_size
    chosen = numbers[size * (asked.page - 1) : size * asked.page] if asked.page else numbers
    shaped = [shape(row, where, label, **dict.fromkeys(rows.extra, "")) for label, row in chosen]
    return _respond(at, asked, question.spans, shaped, len(numbers), rows.extra)


def _question(at: Desk, asked: Asked, rows: Rows) -> Query:
    return Query(
        scope=at.scope,
        # "Everything" is asked for as from 1970 on. Days of all years there are are fewer than hours of ten.
        spans=day_range(asked.first, asked.last, at.settings.timezone, unbounded=asked.step is not Step.HOUR),
        zone=at.settings.timezone,
        dimensions=(),
        metrics=METRICS,
        filters=(*rows.filters, *asked.filters, Filter("kind", "is", rows.kind)),
    )


def _unique(orders: Iterable[Order]) -> tuple[Order, ...]:
    kept: dict[str, Order] = {}
    for order in orders:
        kept.setdefault(order.column, order)
    return tuple(kept.values())


def _respond(
    at: Desk, asked: Asked, spans: Sequence[Span], rows: list[Row], total: int, extra: Sequence[str]
) -> Response:
    headers, pages = paging(at, spans, total, asked.page, asked.page_size)
    if asked.csv:
        return Response(to_csv(rows, extra), headers=headers, media_type="text/csv; charset=utf-8")
    body = msgspec.json.encode({"data": rows, "pages": pages})
    return Response(body, headers=headers, media_type="application/json")


def paging(at: Desk, spans: Sequence[Span], total: int, page: int, size: int) -> tuple[dict[str, str], int]:
    """The headers of an answer, which tell what a page leaves out, and the number of pages: 0 where all is given.

    Args:
        at: Who asks.
        spans: What the answer is about.
        total: Rows of all pages.
        page: Page from 1; 0 for all rows.
        size: Rows of a page.
    """
    pages = ceil(total / size) if page else 0
    headers = {"X-Total-Rows": str(total), **at.coverage.headers(spans)}
    if page and page < pages:
        query = urlencode([(k, v) for k, v in at.parameters.multi_items() if k != "p"] + [("p", str(page + 1))])
        headers["Link"] = f'<?{query}>; rel="next"'
    return headers, pages
