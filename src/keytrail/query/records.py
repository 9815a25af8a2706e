"""Single requests: those that match, newest first, and one by its id.

A row's identity is its time, its batch and its place in the batch, none of which ever changes; rows are in this order,
so a page ends at a row and the next begins behind it, whatever arrives in between. The raw table is ordered by
organisation and hour: the newest rows are looked for in ever longer stretches back from the end of the range, so
that a page mostly reads a few minutes and not all there is.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from keytrail.errors import RequestError
from keytrail.instants import present
from keytrail.query.build import conditions, expression, instant, within
from keytrail.query.catalog import DIMENSIONS
from keytrail.query.join import join
from keytrail.query.joined import Joined
from keytrail.query.kept import all_kept, read_rows, stretches
from keytrail.query.request import Filter, Query, Scope
from keytrail.query.statement import Statement
from keytrail.query.zones import DAY, MINUTE, Span
from keytrail.record import DERIVED, FIELDS, Kind
from keytrail.store.client import Engine
from keytrail.store.raw_rows import RawRows

MOST_ROWS: Final = 1_000
"""Rows of a page."""

LONGEST_TEXT: Final = 256
"""Characters of a text to search for."""

NUMBERS: Final[Mapping[str, str]] = {
    "latency": "time taken in all, ms",
    "upstream_latency": "of it upstream, ms",
    "request_time": "time taken, ms",
}
"""Columns that a search may bound, and their meaning."""

_FIRST_WINDOW: Final = 15 * MINUTE
_GROWTH: Final = 4

_RAW_COLUMNS: Final = frozenset([field.column for field in FIELDS] + [derived.column for derived in DERIVED])
# What is no plain value of the row (each tag is a row of its own), or is read from the directory, is not shown.
SHOWN: Final = tuple(
    dimension
    for dimension in DIMENSIONS.values()
    if not dimension.array and dimension.columns and {*dimension.columns} <= _RAW_COLUMNS
)
"""The dimensions that a row of a page shows."""

_MORE: Final = ("tags", "request_time", "latency", "upstream_latency", "gateway_latency", "content_length")


@dataclass(frozen=True, slots=True)
class Bound:
    """A number's least and greatest value, both included; None where there is none."""

    column: str
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Which requests are meant.

    Attributes:
        scope: What the asker may see.
        spans: The range, as stretches of instants, apart from each other and in order.
        filters: Conditions on dimensions, all of which must hold.
        text: Stands in the endpoint's path or the path as asked, in upper or lower case; "" for any.
        bounds: Bounds of numbers.
        joined: What they are read with beside records (`joined` finds it); None is not yet found.
    """

    scope: Scope
    spans: tuple[Span, ...]
    filters: tuple[Filter, ...] = ()
    text: str = ""
    bounds: tuple[Bound, ...] = ()
    joined: Joined | None = None

    @property
    def query(self) -> Query:
        """The question that it is a part of."""
        return Query(self.scope, self.spans, "UTC", (), (), filters=self.filters, joined=self.joined)

    def digest(self) -> str:
        """Tells one search from another."""
        told = (self.spans, self.filters, self.text, self.bounds)
        return hashlib.sha256(repr(told).encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A row's identity, in the order of rows.

    Attributes:
        time: Its instant, ms since the epoch.
        batch_id: Its batch.
        seq: Its place in the batch.
    """

    time: int
    batch_id: str
    seq: int

    def text(self, *more: str) -> str:
        """It, and more that goes along, as an opaque text."""
        packed = msgspec.json.encode([self.time, self.batch_id, self.seq, *more])
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, more: int = 0) -> "tuple[Place, list[str]]":
        """What `text` made.

        Args:
            text: The text.
            more: How many texts went along.

        Raises:
            ValueError: It is nothing that `text` made.
        """
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            time, batch_id, seq, *rest = msgspec.json.decode(packed, type=list[int | str])
        except (binascii.Error, msgspec.DecodeError, UnicodeError, ValueError):
            raise ValueError("not a place") from None
        numbers = isinstance(time, int) and isinstance(seq, int) and abs(time) < 2**53 and 0 <= seq < 2**32
        if not numbers or not isinstance(batch_id, str) or len(rest) != more:
            raise ValueError("not a place")
        return cls(int(time), batch_id, int(seq)), [str(item) for item in rest]


@dataclass(frozen=True, slots=True)
class Row:
    """A request.

    Attributes:
        place: Its identity.
        dimensions: By the names of `SHOWN`.
        columns: Columns by their names, instants in ms since the epoch: a few in a page, all of a single request.
    """

    place: Place
    dimensions: dict[str, Any]
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first.

    Attributes:
        rows: The rows.
        following: The cursor of the next page; "" if this is the last.
    """

    rows: list[Row]
    following: str


def joined(engine: Engine, search: Search) -> Search:
    """The search with what it is read with beside records.

    Raises:
        StoreError: The engine failed.
    """
    return replace(search, joined=join(engine, search.query).joined)


def page(engine: Engine, search: Search, *, cursor: str = "", limit: int) -> Page:
    """A page of requests, newest first.

    Args:
        engine: Where they are.
        search: Which are meant.
        cursor: `following` of the page before; "" for the first.
        limit: Rows of the page, at most `MOST_ROWS`.

    Raises:
        RequestError: The cursor is none, or one of another search; rows are no longer kept.
        StoreAway: It took too long or too much memory.
    """
    before = _before(cursor, search) if cursor else None
    search = joined(engine, search)

    def read(where: RawRows) -> list[Row]:
        rows: list[Row] = []
        for window in _windows(search.spans, before):
            here = where.within(stretches(window))
            sql, parameters = _statement(search, window, here, before, limit + 1 - len(rows))
            rows.extend(_shaped(row) for row in engine.query(sql, parameters).dicts())
            if len(rows) > limit:
                break
        return rows

    with all_kept(engine, search.spans):
        rows = read_rows(engine, search.spans, read)
    return Page(rows[:limit], rows[limit - 1].place.text(search.digest()) if len(rows) > limit else "")


def find(engine: Engine, scope: Scope, row_id: str) -> Row | None:
    """One request with every column; None where there is none that may be seen.

    Args:
        engine: Where it is.
        scope: What the asker may see.
        row_id: Text of its place.
    """
    try:
        place, _ = Place.parse(row_id)
    except ValueError:
        return None
    search = joined(engine, Search(scope, (Span(place.time, place.time + 1),)))

    def read(rows: RawRows) -> list[dict[str, Any]]:
        statement = Statement()
        where = _where(search, statement)
        where.append(f"batch_id = {statement.bind(place.batch_id, 'String')}")
        where.append(f"seq = {statement.bind(place.seq, 'UInt32')}")
        columns, source = ", ".join([*_shown(search, statement), *_DETAILS]), rows.source(statement.bind_hidden)
        sql = f"SELECT {columns} FROM {source} WHERE {' AND '.join(where)} LIMIT 1"
        return engine.query(statement.raw(sql), statement.parameters).dicts()

    found = read_rows(engine, search.spans, read)
    return _shaped(found[0]) if found else None


def _before(cursor: str, search: Search) -> Place:
    try:
        place, (digest,) = Place.parse(cursor, 1)
    except ValueError:
        raise RequestError("cursor: it is not one that an answer gave") from None
    if digest != search.digest():
        raise RequestError("cursor: it belongs to other parameters")
    return place


def _windows(spans: tuple[Span, ...], before: Place | None) -> Iterator[tuple[Span, ...]]:
    """The range in stretches, as far as a page may reach."""
    end = _soon() + DAY
    return windows(spans, min(end, before.time + 1) if before else end)


def _soon() -> int:
    return present() + MINUTE


def windows(spans: tuple[Span, ...], end: int) -> Iterator[tuple[Span, ...]]:
    """A range in stretches, newest first: short ones where a page is most likely to be full.

    Args:
        spans: The range.
        end: Where it ends at the latest, ms since the epoch; not included.
    """
    if not spans:
        return
    first, now = spans[0].start, _soon()
    end = min(spans[-1].end, end)
    length = _FIRST_WINDOW
    # What gateways with a fast clock wrote comes first, and is mostly nothing.
    start = now if end > now else end - length
    while end > first:
        start = max(start, first)
        if window := tuple(
            Span(max(s.start, start), min(s.end, end)) for s in spans if s.start < end and s.end > start
        ):
            yield window
        end = start
        start -= length
        length *= _GROWTH


def _statement(
    search: Search, window: tuple[Span, ...], rows: RawRows, before: Place | None, limit: int
) -> tuple[str, dict[str, Any]]:
    statement = Statement()
    where = _where(search, statement, window)
    if before:
        then = instant(before.time, 3, statement)
        batch, seq = statement.bind(before.batch_id, "String"), statement.bind(before.seq, "UInt32")
        where.append(f"(time < {then} OR (time = {then} AND (batch_id, seq) < ({batch}, {seq})))")
    sql = (
        f"SELECT {', '.join([*_shown(search, statement), *_MORE])} FROM {rows.source(statement.bind_hidden)} "
        f"WHERE {' AND '.join(where)} "
        f"ORDER BY time DESC, batch_id DESC, seq DESC LIMIT {statement.bind(limit, 'UInt32')} "
        # The other columns are read only of the rows that are shown.
        f"SETTINGS query_plan_max_limit_for_lazy_materialization = {MOST_ROWS + 1}"
    )
    return statement.raw(sql), statement.parameters


def where_of(search: Search, statement: Statement) -> str:
    """The condition of a search on raw rows, the asker's scope in it."""
    return " AND ".join(_where(search, statement))


def _where(search: Search, statement: Statement, spans: tuple[Span, ...] = ()) -> list[str]:
    spans = spans or search.spans
    where = conditions(search.query, statement)
    where.append(f"({within(spans, 'time', 3, statement) or '0'})")
    for bound in search.bounds:
        for sign, value in ((">=", bound.least), ("<=", bound.most)):
            if value is not None:
                where.append(f"{bound.column} {sign} {statement.bind(value, 'Int64')}")
    if search.text:
        text = statement.bind(search.text, "String")
        columns = (expression(search.query, name, statement) for name in ("path", "raw_path"))
        found = (f"positionCaseInsensitiveUTF8({column}, {text}) > 0" for column in columns)
        where.append(f"({' OR '.join(found)})")
    return where


def _shown(search: Search, statement: Statement) -> list[str]:
    """A row's identity and its dimensions."""
    # Under names that no column has: the engine would take an alias for the column in the conditions.
    return [
        "toUnixTimestamp64Milli(time) AS s_time",
        "batch_id AS s_batch",
        "seq AS s_seq",
        *(f"{expression(search.query, dimension.name, statement)} AS d_{dimension.name}" for dimension in SHOWN),
    ]


_DETAILS: Final = (
    *(f"toUnixTimestamp64Milli({field.column}) AS ms_{field.column}" for field in FIELDS if field.kind is Kind.INSTANT),
    *(field.column for field in FIELDS if field.kind is not Kind.INSTANT),
    "cut",
)


def _shaped(row: dict[str, Any]) -> Row:
    place = Place(row.pop("s_time"), row.pop("s_batch"), row.pop("s_seq"))
    shown = {dimension.name: row.pop(f"d_{dimension.name}") for dimension in SHOWN}
    return Row(place, shown, {name.removeprefix("ms_"): value for name, value in row.items()})
