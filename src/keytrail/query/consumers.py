"""What a consumer did: the requests of its keys, clients and tags, each in the time in which it was the consumer's.

A range is cut where one of them came or went. Within a piece they are fixed, so that each piece is one question, which
rollups answer as far as its edges allow; a request that has two of them counts once. The pieces' sums are added up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from keytrail.errors import TooCostly
from keytrail.query.ask import bounded
from keytrail.query.question import MOST_ROWS
from keytrail.query.ranges import Range, text
from keytrail.query.request import ALL_TIME, AnyOf, Condition, Filter, Query, Scope
from keytrail.query.zones import Span, to_instant
from keytrail.store.client import Engine
from keytrail.store.consumers import Link
from keytrail.store.tables import histogram_range

DIMENSION_OF: Final = {"key": "key", "client": "oauth_client", "tag": "tag"}
"""What a link of each kind is compared with."""

_METRICS: Final = (
    "hits",
    "success",
    "error",
    "latency",
    "upstream_latency",
    "latency_histogram",
    "first_hit",
    "last_hit",
)
Row = dict[str, Any]


@dataclass(slots=True)
class Sums:
    """What some requests add up to; latencies in ms, instants in ms since the epoch."""

    hits: int = 0
    success: int = 0
    error: int = 0
    latency: int = 0
    upstream: int = 0
    histogram: dict[int, int] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row of the engine in."""
        hits = int(row["hits"])
        if not hits:
            return
        self.hits += hits
        self.success += int(row["success"])
        self.error += int(row["error"])
        # Means of whole numbers: times the hits, the whole number again.
        self.latency += round(row["latency"] * hits)
        self.upstream += round(row["upstream_latency"] * hits)
        for bucket, count in row["latency_histogram"].items():
            self.histogram[int(bucket)] = self.histogram.get(int(bucket), 0) + int(count)
        self.first = row["first_hit"] if self.first is None else min(self.first, row["first_hit"])
        self.last = row["last_hit"] if self.last is None else max(self.last, row["last_hit"])

    def shown(self, zone: str) -> Row:
        """Ready for JSON: what is not known is None."""
        hits = self.hits
        return {
            "hits": hits,
            "success": self.success,
            "error": self.error,
            "error_rate": self.error / hits if hits else None,
            "latency": self.latency / hits if hits else None,
            "upstream_latency": self.upstream / hits if hits else None,
            "p95_latency": self._p95(),
            "first_hit": None if self.first is None else text(self.first, zone),
            "last_hit": None if self.last is None else text(self.last, zone),
        }

    def _p95(self) -> float | None:
        reached = 0
        for bucket in sorted(self.histogram):
            reached += self.histogram[bucket]
            if reached >= self.hits * 0.95:
                return sum(histogram_range(bucket)) / 2
        return None


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
        links: All links of one consumer.
        asked: The range.
        limit: Endpoints at most.

    Raises:
        TooCostly: It would take more rows, memory or time than a question may.
        StoreError: The engine failed.
    """
    totals, endpoints = Sums(), dict[tuple[str, str], Sums]()
    for spans, condition in pieces(links, asked.spans):
        answer = bounded(engine, _query(scope, spans, ("api", "path"), _METRICS, condition))
        if answer.total_rows > MOST_ROWS:
            raise TooCostly(f"there are more than {MOST_ROWS} endpoints: narrow the range", 400)
        for row in answer.rows:
            totals.add(row)
            endpoints.setdefault((row["api"], row["path"]), Sums()).add(row)
    in_order = sorted(endpoints.items(), key=lambda one: (-one[1].hits, one[0]))
    rows = [{"api": api, "path": path} | sums.shown(asked.zone) for (api, path), sums in in_order[:limit]]
    return Activity(totals.shown(asked.zone), rows, len(endpoints), _seen(engine, scope, links, asked.zone))


def pieces(links: Sequence[Link], spans: Sequence[Span]) -> list[tuple[tuple[Span, ...], Condition]]:
    """The stretches in which the same links hold, each with the condition that a request is of one of them."""
    held = [(link, Span(to_instant(link.start), to_instant(link.end))) for link in links]
    edges = sorted({edge for _, span in held for edge in (span.start, span.end)})
    found: dict[tuple[Link, ...], list[Span]] = {}
    for span in spans:
        cuts = [span.start, *(edge for edge in edges if span.start < edge < span.end), span.end]
        for start, end in pairwise(cuts):
            holding = tuple(link for link, of in held if of.start <= start < of.end)
            if holding:
                found.setdefault(holding, []).append(Span(start, end))
    return [(tuple(stretches), _of_any(holding)) for holding, stretches in found.items()]


def _of_any(links: Sequence[Link]) -> Condition:
    values: dict[str, list[str]] = {}
    for link in links:
        values.setdefault(DIMENSION_OF[link.kind], []).append(link.value)
    conditions = tuple(Filter(dimension, "in", sorted(some)) for dimension, some in sorted(values.items()))
    return conditions[0] if len(conditions) == 1 else AnyOf(conditions)


def _query(
    scope: Scope, spans: tuple[Span, ...], dimensions: tuple[str, ...], metrics: tuple[str, ...], condition: Condition
) -> Query:
    return Query(scope, spans, "UTC", dimensions, metrics, (condition,), limit=MOST_ROWS)


def _seen(engine: Engine, scope: Scope, links: Sequence[Link], zone: str) -> list[Row]:
    """Each link with its hits; those of one kind and time are asked for together."""
    together: dict[tuple[str, Span], list[str]] = {}
    for link in links:
        together.setdefault((link.kind, _span(link)), []).append(link.value)
    seen: dict[tuple[str, Span, str], Mapping[str, Any]] = {}
    unknown: set[tuple[str, Span]] = set()
    for (kind, span), values in together.items():
        name = DIMENSION_OF[kind]
        query = _query(scope, (span,), (name,), ("hits", "first_hit", "last_hit"), Filter(name, "in", sorted(values)))
        try:
            seen |= {(kind, span, row[name]): row for row in bounded(engine, query).rows}
        except TooCostly:
            unknown.add((kind, span))
    rows = []
    for link in links:
        place = (link.kind, _span(link))
        row = seen.get((*place, link.value))
        rows.append(
            {
                "kind": link.kind,
                "value": link.value,
                "from": _edge(link, zone, end=False),
                "until": _edge(link, zone, end=True),
                "hits": None if place in unknown else int(row["hits"]) if row else 0,
                "first_seen": text(row["first_hit"], zone) if row else None,
                "last_seen": text(row["last_hit"], zone) if row else None,
            }
        )
    return rows


def _span(link: Link) -> Span:
    return Span(to_instant(link.start), to_instant(link.end))


def _edge(link: Link, zone: str, *, end: bool) -> str | None:
    """The start or the end of a link; None where it has none."""
    span = _span(link)
    if end:
        return None if span.end >= ALL_TIME.end else text(span.end, zone)
    return None if span.start <= ALL_TIME.start else text(span.start, zone)
