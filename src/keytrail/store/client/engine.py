"""What every engine does, behind clickhouse-connect.

One handle writes and a few read, because a handle runs one statement at a time; a handle whose statement failed is
dropped, as its state is not known. Calls block: run them in threads, the engine lets go of the interpreter meanwhile.
"""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from keytrail.errors import StoreAway, StoreError, StoreFull, StoreLimited
from keytrail.store.cold import Cold
from keytrail.store.layout import Layout

DATABASE: Final = "keytrail"
ALONE: Final = Layout()
"""One engine that this process has alone."""

INSERT_SETTINGS: Final[Mapping[str, Any]] = {
    "insert_deduplicate": 1,
    # Without it a batch that is tried three times counts three times in the rollups.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "async_insert": 0,
    "max_partitions_per_insert_block": 0,
    # A view's rows are grouped already; merging them once more on the way in cost a quarter of the time.
    "optimize_on_insert": 0,
    # One thread inserts while another decodes: on two cores more threads only get in each other's way.
    "max_threads": 1,
    "max_insert_threads": 1,
}


class Code:
    """Names of the engine's error codes that are told apart."""

    ATTEMPT_TO_READ_AFTER_EOF = 32
    CANNOT_READ_ALL_DATA = 33
    TOO_MANY_ROWS = 158
    TIMEOUT_EXCEEDED = 159
    TOO_SLOW = 160
    NETWORK_ERROR = 210
    SOCKET_TIMEOUT = 209
    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    NO_ZOOKEEPER = 225
    MEMORY_LIMIT_EXCEEDED = 241
    TABLE_IS_READ_ONLY = 242
    ALL_CONNECTION_TRIES_FAILED = 279
    TOO_FEW_LIVE_REPLICAS = 285
    UNKNOWN_STATUS_OF_INSERT = 319
    KEEPER_EXCEPTION = 999
    NOT_ENOUGH_SPACE = 243
    TOO_MANY_BYTES = 307
    TOO_MANY_ROWS_OR_BYTES = 396
    CANNOT_WRITE = 75


_LIMITED: Final = {
    Code.TOO_MANY_ROWS: "rows",
    Code.TOO_MANY_BYTES: "bytes",
    Code.TOO_MANY_ROWS_OR_BYTES: "rows of the answer",
    Code.TIMEOUT_EXCEEDED: "time",
    Code.TOO_SLOW: "time",
    Code.MEMORY_LIMIT_EXCEEDED: "memory",
}
_AWAY: Final = frozenset(
    {
        Code.NETWORK_ERROR,
        Code.SOCKET_TIMEOUT,
        Code.TOO_MANY_SIMULTANEOUS_QUERIES,
        Code.NO_ZOOKEEPER,
        Code.TABLE_IS_READ_ONLY,
        Code.ALL_CONNECTION_TRIES_FAILED,
        Code.TOO_FEW_LIVE_REPLICAS,
        Code.UNKNOWN_STATUS_OF_INSERT,
        Code.KEEPER_EXCEPTION,
    }
)
_ENDED_EARLY: Final = frozenset({Code.ATTEMPT_TO_READ_AFTER_EOF, Code.CANNOT_READ_ALL_DATA})
_OF_ANOTHER_SERVER: Final = "while receiving packet from"
"""With this a shard was killed while another server waited for it; else the two codes mean a broken file."""
_ERROR_NAME: Final = re.compile(r"\(([A-Z][A-Z_]+)\)\s*$")
_NO_SPACE_TEXT: Final = "No space left on device"


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query gave.

    Attributes:
        names: The columns.
        rows: One tuple a row.
        read_rows: Rows that the engine read for it.
        seconds: Time that it took.
    """

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    read_rows: int
    seconds: float

    def dicts(self) -> list[dict[str, Any]]:
        """The rows as mappings by column."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]


class Engine(Protocol):
    """What the rest of the store needs of an engine.

    Attributes:
        layout: Where the tables are.
        cold: Where days of raw rows are that are in no table; None if all are in tables.
    """

    layout: Layout
    cold: Cold | None

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, limits: Mapping[str, Any] | None = None
    ) -> Rows:
        """Run a statement that changes no table, values bound by name (`{name:Type}`); limits are engine settings."""

    def raw(self, sql: str, parameters: Mapping[str, Any] | None = None, *, form: str) -> bytes:
        """Run a statement that only reads; its rows in one of the engine's formats."""

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that changes something, on the handle that writes."""

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        """Insert all rows or none under a deduplication token."""

    def close(self) -> None:
        """Let go of everything; safe to call twice."""


class Handles:
    """An engine as a writing handle and a few reading ones, whatever opens them.

    Args:
        open_handle: Opens one more handle on the database.
        readers: How many queries may run at the same time.
        limits: Settings of every query that reads.
        layout: Where the tables are.
        inserts: Settings of every insert, beside `INSERT_SETTINGS`.
    """

    def __init__(
        self,
        open_handle: Callable[[], Client],
        *,
        readers: int,
        limits: Mapping[str, Any],
        layout: Layout = ALONE,
        inserts: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.layout = layout
        self.cold: Cold | None = None
        self._open_handle = open_handle
        self._limits = dict(limits)
        self._inserts = {**INSERT_SETTINGS, **inserts}
        self._readers = readers
        self._closed = False
        self._write_lock = threading.Lock()
        self._writer: Client | None = open_handle()
        self._idle: queue.LifoQueue[Client | None] = queue.LifoQueue()
        # Opened at the first use: a handle costs time and memory.
        for _ in range(readers):
            self._idle.put(None)

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, limits: Mapping[str, Any] | None = None
    ) -> Rows:
        """Run a statement that changes no table.

        Args:
            sql: The statement.
            parameters: Its bound values.
            limits: Engine settings for this statement, beside those of the handle.

        Raises:
            StoreLimited: It would read or take more than the limits allow.
            StoreAway: It took too long or too much, or the engine is away.
            StoreError: The engine refused it.
        """
        began = time.perf_counter()
        with self._reader() as client, engine_errors(secretive=bool(parameters)):
            result = client.query(sql, parameters=dict(parameters or {}), settings={**self._limits, **(limits or {})})
            read = int((result.summary or {}).get("read_rows", 0))
            return Rows(
                tuple(result.column_names),
                [tuple(row) for row in result.result_rows],
                read,
                time.perf_counter() - began,
            )

    def raw(self, sql: str, parameters: Mapping[str, Any] | None = None, *, form: str) -> bytes:
        """Run a statement that only reads; its rows as the engine writes them, without a loop over them here.

        Args:
            sql: The statement; values are bound by name (`{name:Type}`).
            parameters: The values.
            form: The engine's name of a format, such as `Arrow` (the file format) or `JSONEachRow`.

        Raises:
            StoreAway: It took too long or too much, or the engine is away.
            StoreError: The engine refused it.
        """
        with self._reader() as client, engine_errors(secretive=bool(parameters)):
            return client.raw_query(sql, parameters=dict(parameters or {}), settings=self._limits, fmt=form)

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that changes something.

        Raises:
            StoreError: The engine refused it.
        """
        with self._writing() as client, engine_errors(secretive=bool(parameters)):
            client.command(sql, parameters=dict(parameters or {}))

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        """Insert all rows or none.

        Raises:
            StoreFull: There is no room.
            StoreError: The engine refused it; whether something was written is not known.
        """
        with self._writing() as client, engine_errors():
            client.insert_arrow(table, rows, settings={**self._inserts, "insert_deduplication_token": token})

    def close(self) -> None:
        """Close every handle; waits for what runs."""
        if self._closed:
            return
        self._closed = True
        with self._write_lock:
            if self._writer is not None:
                self._writer.close()
        # Each comes back when its query has ended.
        for _ in range(self._readers):
            client = self._idle.get()
            if client is not None:
                client.close()
        # Whoever asks now must learn that it is closed, not wait for a handle.
        for _ in range(self._readers):
            self._idle.put(None)

    @contextmanager
    def _reader(self) -> Iterator[Client]:
        client = self._idle.get()
        try:
            if self._closed:
                raise StoreAway("the store is closed")
            if client is None:
                with engine_errors():
                    client = self._open_handle()
            yield client
        except BaseException:
            # Also for an interruption: what the handle was doing is not known.
            _drop(client)
            client = None
            raise
        finally:
            self._idle.put(client)

    @contextmanager
    def _writing(self) -> Iterator[Client]:
        with self._write_lock:
            if self._closed:
                raise StoreAway("the store is closed")
            if self._writer is None:
                self._writer = self._open_handle()
            try:
                yield self._writer
            except BaseException:
                _drop(self._writer)
                self._writer = None
                raise


def _drop(client: Client | None) -> None:
    if client is not None:
        try:
            client.close()
        except ClickHouseError:
            return


@contextmanager
def engine_errors(*, secretive: bool = False) -> Iterator[None]:
    """Turn the driver's exceptions into ours, with the cause kept.

    Args:
        secretive: Say which error it is and no more: the engine quotes the statement with its bound values, and one
            of these may be a key.
    """
    try:
        yield
    except ClickHouseError as error:
        code = error.code if isinstance(error, DatabaseError) else None
        if code is None and isinstance(error, OperationalError):
            raise StoreAway(_no_answer(error)) from error
        text = str(error)
        away = code in _AWAY or (code in _ENDED_EARLY and _OF_ANOTHER_SERVER in text)
        full = _NO_SPACE_TEXT in text or code in {Code.NOT_ENOUGH_SPACE, Code.CANNOT_WRITE}
        if secretive:
            name = _ERROR_NAME.search(text)
            text = f"the engine's error {code}{f' ({name[1]})' if name else ''}"
        if full:
            raise StoreFull(text) from error
        if code in _LIMITED:
            raise StoreLimited(text, _LIMITED[code]) from error
        if away:
            raise StoreAway(text) from error
        raise StoreError(text) from error
    except OSError as error:
        # The driver writes a temporary file for each insert, on the same disk.
        raise StoreFull(str(error)) from error


def _no_answer(error: OperationalError) -> str:
    """Why a server gave no answer. The driver's text has the address that was asked for, and so bound values."""
    cause = error.__cause__
    reason = getattr(cause, "reason", None) or cause
    return f"the server gave no answer: {reason or 'it broke off'}"
