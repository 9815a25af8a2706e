"""What a consumer did, and what ever belonged to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keytrail.errors import TooCostly
from keytrail.instants import to_instant
from keytrail.query.ask import ask, bounded
from keytrail.query.question import Question
from keytrail.query.ranges import Range, text
from keytrail.query.request import ALL_TIME, DIMENSION_OF, Filter, Query, Scope
from keytrail.query.zones import Span
from keytrail.store.client import Engine
from keytrail.store.consumers import MOST_LINKS, Link

METRICS: Final = (
    "hits",
    "success",
    "error",
    "error_rate",
    "latency",
    "upstream_latency",
    "p95_latency",
    "first_hit",
    "last_hit",
)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Activity:
    """What a consumer did.

    Attributes:
        totals: Its numbers, ready for JSON.
        endpoints: The same by `api` and `path`, most hits first, up to the limit.
        total_endpoints: Endpoints without the limit.
        links: What ever belonged to it, with `hits`, `first_seen` and `last_seen` in the time in which it did; these
            are None where telling would take too many single requests (of tags).
    """

    totals: Row
    endpoints: list[Row]
    total_endpoints: int
    links: list[Row]


def activity(engine: Engine, scope: Scope, links: Sequence[Link], asked: Range, limit: int) -> Activity:
    """What the consumer of some links did.

    Args:
        engine: Where the answer comes from.
        scope: What the asker may see; of the links' organisation.
        links: All links of one consumer, as the store has them.
        asked: The range.
        limit: Endpoints at most.

    Raises:
        TooCostly: It would take more rows, memory or time than a question may.
        StoreError: The engine failed.
    """
    question = Question(
        range=asked,
        metrics=METRICS,
        dimensions=("api", "path"),
        filters=(Filter("consumer", "is", links[0].consumer),),
        limit=limit,
        totals=True,
    )
    found = ask(engine, scope, question)
    return Activity(found.totals or {}, found.rows, found.total_rows, seen_links(engine, scope, links, asked.zone))


def seen_links(engine: Engine, scope: Scope, links: Sequence[Link], zone: str) -> list[Row]:
    """Each link with its hits in the time in which it is the consumer's, ready for JSON.

    Args:
        engine: Where the answer comes from.
        scope: What the asker may see.
        links: The links; those of one kind and time are asked for together.
        zone: Zone of the instants.
    """
    together: dict[tuple[str, Span], list[str]] = {}
    for link in links:
        together.setdefault((link.kind, _span(link)), []).append(link.value)
    seen: dict[tuple[str, Span, str], Mapping[str, Any]] = {}
    unknown: set[tuple[str, Span]] = set()
    for (kind, span), values in together.items():
        name = DIMENSION_OF[kind]
        query = Query(
            scope,
            (span,),
            "UTC",
            (name,),
            ("hits", "first_hit", "last_hit"),
            (Filter(name, "in", sorted(values)),),
            limit=MOST_LINKS,
        )
        try:
            seen |= {(kind, span, row[name]): row for row in bounded(engine, query).rows}
        except TooCostly:
            unknown.add((kind, span))
    rows = []
    for link in links:
        place = (link.kind, _span(link))
        row = seen.get((*place, link.value))
        start, end = edges_of(link, zone)
        rows.append(
            {
                "kind": link.kind,
                "value": link.value,
                "from": start,
                "until": end,
                "hits": None if place in unknown else int(row["hits"]) if row else 0,
                "first_seen": text(row["first_hit"], zone) if row else None,
                "last_seen": text(row["last_hit"], zone) if row else None,
            }
        )
    return rows


def _span(link: Link) -> Span:
    return Span(to_instant(link.start), to_instant(link.end))


def edges_of(link: Link, zone: str) -> tuple[str | None, str | None]:
    """The start and the end of a link, RFC 3339 in the zone; None where it has none."""
    span = _span(link)
    start = None if span.start <= ALL_TIME.start else text(span.start, zone)
    return start, None if span.end >= ALL_TIME.end else text(span.end, zone)
