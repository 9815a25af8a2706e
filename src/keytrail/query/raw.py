"""Single requests as they are stored, latest first, page by number: what the Dashboard's log asks for (`/api/logs`).

Reading is in two parts, as a row is wide: first where the wanted rows are, by a few narrow columns, then these rows,
a bounded number at a time. So a page costs no more than its rows, and what arrives in between moves nothing. The first
pages are looked for in ever longer stretches back from the end of the range, as those of `records.py` are.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from keytrail.query.build import conditions, instant, within
from keytrail.query.join import join
from keytrail.query.kept import all_kept, read_rows
from keytrail.query.records import Place, windows
from keytrail.query.request import Query
from keytrail.query.statement import Statement
from keytrail.query.zones import Span
from keytrail.record import BY_COLUMN, Kind
from keytrail.store.client import Engine
from keytrail.store.raw_rows import RawRows

FIRST_ROWS: Final = 1_000
"""Rows that are looked for stretch by stretch; whoever wants more would read most of the range anyway."""

ROWS_AT_ONCE: Final = 500
"""Rows that one statement reads whole: a row with a recorded request and response may have 128 kB."""


def places(engine: Engine, query: Query) -> list[Place]:
    """Where the rows of a question are, latest first.

    Args:
        engine: The engine.
        query: Scope, spans, filters, limit and offset count; the rest of it does not.

    Raises:
        RequestError: It needs rows that are no longer kept; names the day.
        StoreAway: It took too long or too much memory.
        StoreError: The engine refused the statement.
    """
    if not query.spans:
        return []
    joined = join(engine, query)

    def read_from(rows: RawRows, spans: tuple[Span, ...], limit: int | None, offset: int) -> list[Place]:
        statement = Statement()
        sql = (
            f"SELECT toUnixTimestamp64Milli(time), batch_id, seq FROM {rows.source(statement.bind_hidden)} "
            f"WHERE {' AND '.join(conditions(joined, statement))} AND ({within(spans, 'time', 3, statement)}) "
            "ORDER BY time DESC, batch_id DESC, seq DESC"
        )
        if limit is not None:
            sql += f" LIMIT {statement.bind(limit, 'UInt64')} OFFSET {statement.bind(offset, 'UInt64')}"
        return [Place(*row) for row in engine.query(statement.raw(sql), statement.parameters).rows]

    def read(rows: RawRows) -> list[Place]:
        wanted = None if query.limit is None else query.offset + query.limit
        if wanted is None or wanted > FIRST_ROWS:
            return read_from(rows, query.spans, query.limit, query.offset)
        found: list[Place] = []
        for stretch in windows(query.spans, query.spans[-1].end):
            found += read_from(rows, stretch, wanted - len(found), 0)
            if len(found) == wanted:
                break
        return found[query.offset :]

    with all_kept(engine, query.spans):
        return read_rows(engine, query.spans, read)


def rows_at(
    engine: Engine, query: Query, found: Sequence[Place], columns: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    """The rows at some places in the order of these, a few hundred at a time.

    A row that retention has taken away since is left out.

    Args:
        engine: The engine.
        query: The question that the places are the answer to.
        found: The places.
        columns: The columns to read; instants come as ms since the epoch.

    Raises:
        StoreAway: It took too long or too much memory.
        StoreError: The engine refused the statement.
    """
    query = join(engine, query)
    for start in range(0, len(found), ROWS_AT_ONCE):
        chunk = found[start : start + ROWS_AT_ONCE]
        span = Span(min(chunk).time, max(chunk).time + 1)
        by_place = read_rows(engine, [span], lambda rows: _at(engine, query, chunk, columns, rows))  # noqa: B023 # at once
        yield [by_place[place] for place in chunk if place in by_place]


def _at(
    engine: Engine, query: Query, chunk: Sequence[Place], columns: Sequence[str], rows: RawRows
) -> dict[Place, dict[str, Any]]:
    read = [f"toUnixTimestamp64Milli({name})" if _is_instant(name) else name for name in columns]
    statement = Statement()
    ids = statement.bind([(place.batch_id, place.seq) for place in chunk], "Array(Tuple(String, UInt32))")
    sql = (
        f"SELECT toUnixTimestamp64Milli(time), batch_id, seq, {', '.join(read)} "
        f"FROM {rows.source(statement.bind_hidden)} WHERE {' AND '.join(conditions(query, statement))} "
        f"AND time >= {instant(min(chunk).time, 3, statement)} "
        f"AND time <= {instant(max(chunk).time, 3, statement)} "
        f"AND (batch_id, seq) IN {ids}"
    )
    return {
        Place(*row[:3]): dict(zip(columns, row[3:], strict=True))
        for row in engine.query(statement.raw(sql), statement.parameters).rows
    }


def _is_instant(column: str) -> bool:
    return column in BY_COLUMN and BY_COLUMN[column].kind is Kind.INSTANT
