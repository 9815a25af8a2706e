"""All raw rows of a search, some thousands at a time.

An open stream of the engine would hold everything and keep a reader busy for as long as its client takes. So each piece
is a statement of its own: the next rows of a cold day's file, day after day, then the next rows of the table in the
order of its primary key, which the engine reads without sorting. What arrives meanwhile is in it or not, as its place
lies; no row comes twice.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from keytrail.errors import StoreAway
from keytrail.query.build import instant
from keytrail.query.kept import stretches
from keytrail.query.records import Search, where_of
from keytrail.query.statement import Statement
from keytrail.query.zones import HOUR
from keytrail.store.client import Engine
from keytrail.store.raw_rows import ORDER, ColdDay, RawRows, raw_rows
from keytrail.store.tables import RAW

T = TypeVar("T")

PAGE_ROWS: Final = 8_000
"""Rows of a piece: fewer make the engine read more of the table twice, more take more memory."""


_READING: Final = (
    # Otherwise the engine reads ahead in every part, whatever the limit: three times the memory, a third of the speed.
    "read_in_order_use_buffering = 0, max_block_size = 2048, preferred_block_size_bytes = 262144, "
    # First the keys, then the other columns of the rows that they choose.
    "query_plan_max_limit_for_lazy_materialization = 100000"
)
_BLOCK_ROWS: Final = 1_000
"""Rows of a cold file that come together in a piece or do not."""


@dataclass(frozen=True, slots=True)
class Written:
    """How the engine is to write rows.

    Attributes:
        columns: The expressions.
        settings: Its settings.
        form: Its name of the format.
    """

    columns: list[str]
    settings: str
    form: str


@dataclass(frozen=True, slots=True)
class After:
    """The place in the primary key after which the next piece begins."""

    org_id: str
    api_key: str
    time: int
    batch_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """Some rows.

    Attributes:
        content: They themselves.
        rows: How many.
        last: The place of the last one.
    """

    content: T
    rows: int
    last: Callable[[], After]


def pages(engine: Engine, search: Search, written: Written, shape: Callable[[bytes], Piece[T]]) -> Iterator[T]:
    """Pieces of mostly `PAGE_ROWS` rows; at least one, without rows if there are none.

    Args:
        engine: Where the rows are.
        search: Which are meant.
        written: How the engine writes them.
        shape: Makes a piece of what the engine wrote.

    Raises:
        StoreAway: A day has become cold meanwhile, or a cold one was written again: what was given is no whole.
        StoreError: The engine refused it.
    """
    rows = raw_rows(engine, stretches(search.spans))

    def fetch(sql: str, statement: Statement) -> Piece[T]:
        piece = shape(engine.raw(statement.raw(sql), statement.parameters, form=written.form))
        if raw_rows(engine, stretches(search.spans)) != rows:
            raise StoreAway("days of single records have changed their place meanwhile: ask again")
        return piece

    for day in rows.cold:
        for block in _blocks(engine, search, rows, day):
            yield fetch(*_of_file(search, written, rows, block)).content
    for late in (True, False) if rows.late else (False,):
        after = None
        while True:
            piece = fetch(*_of_table(search, written, rows, after, late=late))
            yield piece.content
            if piece.rows < PAGE_ROWS:
                break
            after = piece.last()


def ahead(pieces: Iterator[T]) -> Iterator[T]:
    """Piece after piece; one is read while the one before it is written."""
    with ThreadPoolExecutor(1, "export") as pool:
        coming = pool.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = pool.submit(next, pieces, None)
            yield piece


@dataclass(frozen=True, slots=True)
class _Block:
    """Consecutive rows of a cold file, some of which are meant.

    Attributes:
        day: Whose file it is.
        first: Number of the first row.
        end: Number of the row after the last.
        rows: How many are meant.
        times: Their first and last instant, ms since the epoch.
        orgs: Their first and last organisation, in the order of texts.
    """

    day: ColdDay
    first: int
    end: int
    rows: int
    times: tuple[int, int]
    orgs: tuple[str, str]


def _blocks(engine: Engine, search: Search, rows: RawRows, day: ColdDay) -> Iterator[_Block]:
    """What to read of a cold file at a time: first it is looked at where in it the rows are."""
    statement = Statement()
    sql = (
        f"SELECT intDiv(_row_number, {_BLOCK_ROWS}) AS block, count(), min(toUnixTimestamp64Milli(time)), "
        f"max(toUnixTimestamp64Milli(time)), min(org_id), max(org_id) "
        f"FROM {rows.files_of([day], statement.bind_hidden)} WHERE {where_of(search, statement)} "
        "GROUP BY block ORDER BY block"
    )
    whole: _Block | None = None
    for number, count, first, last, least, most in engine.query(statement.raw(sql), statement.parameters).rows:
        start = number * _BLOCK_ROWS
        if whole and whole.rows + count > PAGE_ROWS:
            yield whole
            whole = None
        if whole is None:
            whole = _Block(day, start, start + _BLOCK_ROWS, count, (first, last), (least, most))
        else:
            whole = replace(
                whole,
                end=start + _BLOCK_ROWS,
                rows=whole.rows + count,
                times=(min(whole.times[0], first), max(whole.times[1], last)),
                orgs=(min(whole.orgs[0], least), max(whole.orgs[1], most)),
            )
    if whole:
        yield whole


def _of_file(search: Search, written: Written, rows: RawRows, block: _Block) -> tuple[str, Statement]:
    statement = Statement()
    first, end = (statement.bind(number, "UInt64") for number in (block.first, block.end))
    earliest, latest = (instant(time, 3, statement) for time in block.times)
    least, most = (statement.bind(org, "String") for org in block.orgs)
    # The bounds of time and organisation let the engine leave out what of the file has other rows.
    where = (
        f"{where_of(search, statement)} AND _row_number >= {first} AND _row_number < {end} "
        f"AND time >= {earliest} AND time <= {latest} AND org_id >= {least} AND org_id <= {most}"
    )
    sql = (
        f"SELECT {', '.join(written.columns)} FROM {rows.files_of([block.day], statement.bind_hidden)} WHERE {where} "
        f"ORDER BY {ORDER} SETTINGS {written.settings}"
    )
    return sql, statement


def _of_table(
    search: Search, written: Written, rows: RawRows, after: After | None, *, late: bool
) -> tuple[str, Statement]:
    statement = Statement()
    where = where_of(search, statement)
    if rows.cold:
        where += f" AND {(rows.came_late if late else rows.hot)(statement.bind_hidden)}"
    if after:
        where += f" AND {_behind(after, statement)}"
    sql = (
        f"SELECT {', '.join(written.columns)} FROM {RAW} WHERE {where} "
        f"ORDER BY {ORDER} LIMIT {PAGE_ROWS} SETTINGS {_READING}, {written.settings}"
    )
    return sql, statement


def _behind(after: After, statement: Statement) -> str:
    """The rows behind a place, said so that the engine sees what of its index that leaves out."""
    org, key = statement.bind(after.org_id, "String"), statement.bind(after.api_key, "String")
    hour = f"toDateTime({statement.bind(after.time // HOUR * HOUR // 1000, 'UInt32')}, 'UTC')"
    time = f"fromUnixTimestamp64Milli({statement.bind(after.time, 'Int64')}, 'UTC')"
    batch, seq = statement.bind(after.batch_id, "String"), statement.bind(after.seq, "UInt32")
    return (
        f"(org_id > {org} OR (org_id = {org} AND (toStartOfHour(time) > {hour} OR (toStartOfHour(time) = {hour} AND "
        f"(api_key > {key} OR (api_key = {key} AND (time > {time} OR (time = {time} AND "
        f"(batch_id > {batch} OR (batch_id = {batch} AND seq > {seq}))))))))))"
    )
