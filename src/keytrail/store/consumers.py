"""The directory of consumers: which key, OAuth client or tag belongs to whom, from when until when.

An organisation's directory is replaced as a whole, in one insert: each version has all of it, and the latest counts. So
it is never half old and half new, and nothing is ever changed in place.
"""

import csv
import hashlib
import io
import itertools
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pyarrow as pa

from keytrail.errors import RequestError
from keytrail.instants import moment_of
from keytrail.record import Kind
from keytrail.store.client import Engine
from keytrail.store.tables import CONSUMERS

KINDS: Final = ("key", "client", "tag")
"""What a link may be of: a key as stored, an OAuth client id, a tag of requests (such as `dev-…`)."""
COLUMNS: Final = ("consumer", "name", "kind", "value", "from", "until")
"""Columns of the CSV, which its first line names; `name`, `from` and `until` may be left out."""
MOST_LINKS: Final = 100_000
LONGEST: Final = 1_024
"""Characters of a text."""

ALWAYS: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Start of a link without one: before every record."""
FOREVER: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""End of a link without one: after every record."""

_HASH: Final = re.compile(r"(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{16}|[0-9a-fA-F]{32}|[0-9a-fA-F]{64})")
_FIELDS: Final[list[tuple[str, pa.DataType]]] = [
    ("org_id", pa.string()),
    ("version", pa.uint64()),
    ("consumer", pa.string()),
    ("name", pa.string()),
    ("kind", pa.string()),
    ("value", pa.string()),
    ("start", Kind.INSTANT.arrow),
    ("end", Kind.INSTANT.arrow),
]


@dataclass(frozen=True, slots=True)
class Link:
    """That something belongs to a consumer for a time.

    Attributes:
        org: Organisation.
        consumer: Id of the consumer.
        name: Its readable name.
        kind: One of `KINDS`.
        value: The key as stored, the client's id, or the tag.
        start: From when, included.
        end: Until when, not included.
    """

    org: str
    consumer: str
    name: str
    kind: str
    value: str
    start: datetime = ALWAYS
    end: datetime = FOREVER


def parse_csv(content: bytes, org: str, *, hash_keys: bool) -> list[Link]:
    """Read a directory.

    Args:
        content: CSV in UTF-8 with a header line; times are days (UTC, `until` not included) or RFC 3339 instants.
        org: Organisation of the links.
        hash_keys: A key that is not shaped like a hash is kept as its SHA-256, as keys of records are stored.

    Raises:
        RequestError: A line can't be, or overlaps another; the message begins with its number, from 1.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError("line 1: the file is not UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    links: list[tuple[int, Link]] = []
    try:
        names = reader.fieldnames or []
        if not {"consumer", "kind", "value"} <= set(names) or not set(names) <= set(COLUMNS):
            raise RequestError(f"line 1: the columns are {', '.join(COLUMNS)}")
        for row in reader:
            links.append((reader.line_num, _link(row, org, reader.line_num, hash_keys=hash_keys)))
            if len(links) > MOST_LINKS:
                raise RequestError(f"line {reader.line_num}: at most {MOST_LINKS} lines can be taken")
    except csv.Error as error:
        raise RequestError(f"line {max(reader.reader.line_num, 1)}: {error}") from None
    _refuse_overlaps(links)
    return [link for _, link in links]


def replace_links(engine: Engine, org: str, links: Sequence[Link]) -> None:
    """Replace an organisation's directory.

    Raises:
        StoreError: The engine refused it.
    """
    # An empty directory is a version too: one row of nobody.
    rows = links or [Link(org, "", "", "", "")]
    # After the one before it, also where another server's clock is ahead.
    before = engine.query(f"SELECT max(version) FROM {CONSUMERS} WHERE org_id = {{org:String}}", {"org": org}).rows
    version = max(time.time_ns(), int(before[0][0]) + 1)
    table = pa.table(
        {
            "org_id": [org] * len(rows),
            "version": [version] * len(rows),
            **{name: [getattr(link, name) for link in rows] for name in ("consumer", "name", "kind", "value")},
            "start": [link.start for link in rows],
            "end": [link.end for link in rows],
        },
        schema=pa.schema(_FIELDS),
    )
    engine.insert(CONSUMERS, table, uuid.uuid4().hex)


def read_links(engine: Engine, org: str | None, consumer: str | None = None) -> list[Link]:
    """The directory, by organisation, consumer and start.

    Args:
        engine: Where it is.
        org: The organisation; None for all.
        consumer: Only this one's links; None for all.
    """
    conditions = [
        "consumer != ''",
        f"(org_id, version) IN (SELECT org_id, max(version) FROM {CONSUMERS} GROUP BY org_id)",
    ]
    parameters = {}
    for column, value in (("org_id", org), ("consumer", consumer)):
        if value is not None:
            conditions.append(f"{column} = {{{column}:String}}")
            parameters[column] = value
    found = engine.query(
        "SELECT org_id, consumer, name, kind, value, toUnixTimestamp64Milli(start), toUnixTimestamp64Milli(end) "
        f"FROM {CONSUMERS} WHERE {' AND '.join(conditions)} ORDER BY org_id, consumer, start, kind, value",
        parameters,
    )
    return [Link(*row[:5], *map(moment_of, row[5:])) for row in found.rows]


def _link(row: dict[str, str | None], org: str, line: int, *, hash_keys: bool) -> Link:
    if None in row or any(value is None for value in row.values()):
        raise RequestError(f"line {line}: it has not as many cells as the first")
    cells = {name: (value or "").strip() for name, value in row.items()}
    for name in ("consumer", "value"):
        if not cells[name]:
            raise RequestError(f"line {line}: {name} is empty")
    if cells["kind"] not in KINDS:
        raise RequestError(f"line {line}: kind is one of {', '.join(KINDS)}")
    if any(len(value) > LONGEST for value in cells.values()):
        raise RequestError(f"line {line}: a text has at most {LONGEST} characters")
    start = _instant(cells.get("from", ""), "from", line) or ALWAYS
    end = _instant(cells.get("until", ""), "until", line) or FOREVER
    if not ALWAYS <= start < end <= FOREVER:
        raise RequestError(f"line {line}: until does not lie after from, or one of them not between 2000 and 2100")
    name = cells.get("name") or cells["consumer"]
    value = cells["value"]
    if hash_keys and cells["kind"] == "key" and not _HASH.fullmatch(value):
        value = hashlib.sha256(value.encode()).hexdigest()
    return Link(org, cells["consumer"], name, cells["kind"], value, start, end)


def _instant(text: str, name: str, line: int) -> datetime | None:
    if not text:
        return None
    try:
        if len(text) == len("2026-10-01"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return _to_ms(found)
    except (ValueError, OverflowError):
        pass
    raise RequestError(f"line {line}: {name} is neither a day (YYYY-MM-DD) nor an RFC 3339 instant")


def _to_ms(moment: datetime) -> datetime:
    """The instant in UTC, cut to milliseconds, as records are."""
    moment = moment.astimezone(UTC)
    return moment - timedelta(microseconds=moment.microsecond % 1000)


def _refuse_overlaps(links: Sequence[tuple[int, Link]]) -> None:
    """Refuse that something belongs to two at once, or twice to one, or that one consumer has two names."""
    names: dict[str, str] = {}
    for line, link in links:
        if names.setdefault(link.consumer, link.name) != link.name:
            raise RequestError(f"line {line}: {link.consumer!r} has another name above")
    in_order = sorted(links, key=lambda one: (one[1].kind, one[1].value, one[1].start))
    for (line, link), (other_line, other) in itertools.pairwise(in_order):
        if (link.kind, link.value) == (other.kind, other.value) and other.start < link.end:
            first, second = sorted((line, other_line))
            raise RequestError(f"line {second}: overlaps line {first}: the same {link.kind} at the same time")
