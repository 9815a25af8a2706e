"""The plan of a question: which tables give its answer at the least cost, exactly.

A range is cut into whole UTC days in the middle, read from a day rollup, fine edges, read from the 15-minute
rollup of the same family or of one that knows more, and what no quarter of an hour covers, read from raw rows. So the
cost of a long range hardly grows, and a local day of any zone is exact.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from keytrail.query.catalog import DIMENSIONS, METRICS
from keytrail.query.joined import Joined
from keytrail.query.parts import PARTS
from keytrail.query.request import Filter, Query, leaves
from keytrail.query.zones import Span, Steps, merged, steps
from keytrail.store.tables import (
    BUCKET_SECONDS,
    BY_API,
    BY_CALLER,
    BY_CLIENT,
    BY_KEY,
    DAY_SECONDS,
    RAW,
    Family,
    Rollup,
)

_FINE: Final = BUCKET_SECONDS * 1000
_DAY: Final = DAY_SECONDS * 1000

LONGEST_FINE: Final = 35 * _DAY
"""A range up to this long that has fine edges is read from the 15-minute rollup alone for some keys or clients, ms.

To plan a second table costs more than to read the few more rows: 20 ms against 12 ms for a key's 30 days, of which
the engine plans for half the time.
"""

# Cheapest first: fewest rows.
_FAMILIES: Final = (BY_API, BY_CLIENT, BY_CALLER, BY_KEY)


@dataclass(frozen=True, slots=True)
class Segment:
    """Stretches of time that one table answers for.

    Attributes:
        table: Name of the table.
        raw: It is the raw table.
        spans: The stretches, in ms since the epoch, apart from each other and in order.
    """

    table: str
    raw: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question is answered.

    Attributes:
        segments: Tables and their stretches, which together are the range, each instant once.
        steps: The steps, if the question has them.
        lookup: It reads the rows of some keys or clients, which stand together in rollups.
    """

    segments: tuple[Segment, ...]
    steps: Steps | None
    lookup: bool = False


def plan(query: Query) -> Plan:
    """Choose the tables for a question."""
    cut = steps(query.spans, query.step, query.zone) if query.step else _sides(query.sides) if query.sides else None
    families = _families(query)
    if not families:
        return Plan((Segment(RAW, raw=True, spans=query.spans),) if query.spans else (), cut)
    pieces = _split(cut.pieces if cut else query.spans, query)
    raw: list[Span] = []
    fine: list[Span] = []
    day: list[Span] = []
    for piece in pieces:
        _cut(piece, raw, fine, day)
    by_quarter = next((family for family in families if BUCKET_SECONDS in family.lengths), None)
    if by_quarter is None:
        raw, fine = [*raw, *fine], []
    edges, whole = merged(fine), merged(day)
    lookup = _looks_up(query, families[0])
    if edges and lookup and sum(span.end - span.start for span in (*edges, *whole)) <= LONGEST_FINE:
        edges, whole = merged((*edges, *whole)), ()
    segments = [Segment(Rollup(families[0], DAY_SECONDS).table, raw=False, spans=whole)]
    if by_quarter:
        segments.append(Segment(Rollup(by_quarter, BUCKET_SECONDS).table, raw=False, spans=edges))
    segments.append(Segment(RAW, raw=True, spans=merged(raw)))
    return Plan(tuple(segment for segment in segments if segment.spans), cut, lookup)


def _sides(sides: Sequence[tuple[Span, ...]]) -> Steps:
    """Ranges as steps: a label has no meaning of its own, the index of a range is what tells it apart."""
    owned = sorted(((span, place) for place, spans in enumerate(sides) for span in spans), key=lambda one: one[0].start)
    return Steps((), tuple(span for span, _ in owned), tuple(place for _, place in owned))


def _families(query: Query) -> list[Family]:
    """The families of rollups that have every column that the question needs, cheapest first; none: only raw rows."""
    dimensions = [*query.dimensions, *(f.dimension for f in leaves(query.conditions))]
    joined = query.joined or Joined()
    if joined.directory.edges is None:
        return []
    having = rollups_having(dimensions, query.metrics, joined.directory.columns)
    if not query.spans or query.spans[0].start >= joined.callers_since:
        return having
    of_clients = any(
        f.dimension == "oauth_client"
        and (
            (f.operator == "is" and f.value != "")
            or (f.operator == "in" and "" not in f.value)
            or (f.operator == "is_not" and f.value == "")
        )
        for f in query.conditions
        if isinstance(f, Filter)
    )
    # A store that learnt of them later knows of the days before only what had a client.
    return [family for family in having if family not in {BY_CLIENT, BY_CALLER} or (family is BY_CLIENT and of_clients)]


def _split(pieces: Iterable[Span], query: Query) -> Iterator[Span]:
    """The pieces, cut where something came to a consumer or left it: what a bucket holds must be of one at a time."""
    edges = (query.joined.directory.edges or ()) if query.joined else ()
    for piece in pieces:
        cuts = [piece.start, *(edge for edge in edges if piece.start < edge < piece.end), piece.end]
        yield from (Span(*both) for both in pairwise(cuts))


def rollups_having(dimensions: Iterable[str], metrics: Iterable[str], also: Iterable[str] = ()) -> list[Family]:
    """The families of rollups that have every column which dimensions and metrics need, cheapest first.

    Args:
        dimensions: Names of dimensions.
        metrics: Names of metrics.
        also: More columns that are needed.
    """
    needed = {*also}
    needed |= {column for name in dimensions for column in DIMENSIONS[name].columns}
    needed |= {column for metric in metrics for part in METRICS[metric].parts for column in PARTS[part].columns}
    return [family for family in _FAMILIES if needed <= {*family.columns, "org_id"}]


def _looks_up(query: Query, family: Family) -> bool:
    """Whether the question is about some keys or clients, whose rows stand together, and not about all."""
    return any(
        isinstance(condition, Filter)
        and condition.operator in {"is", "in"}
        and DIMENSIONS[condition.dimension].columns == family.lead[-1:]
        for condition in query.conditions
    )


def _cut(piece: Span, raw: list[Span], fine: list[Span], day: list[Span]) -> None:
    first, last = -(-piece.start // _FINE) * _FINE, piece.end // _FINE * _FINE
    if first >= last:
        raw.append(piece)
        return
    raw.append(Span(piece.start, first))
    first_day, last_day = -(-first // _DAY) * _DAY, last // _DAY * _DAY
    if first_day >= last_day:
        fine.append(Span(first, last))
    else:
        fine.append(Span(first, first_day))
        day.append(Span(first_day, last_day))
        fine.append(Span(last_day, last))
    raw.append(Span(last, piece.end))
