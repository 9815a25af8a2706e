"""Who was erased, remembered without being named, so that whatever comes later of them is erased too.

A value is remembered as its HMAC-SHA-256 under a salt of the store. The writer looks at the distinct values of each
chunk, under its lock: there is no other way in, and none around it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute

from keytrail.instants import moment_of
from keytrail.record import Kind
from keytrail.store.client import Engine
from keytrail.store.consumers import ALWAYS, FOREVER
from keytrail.store.tables import ERASED

pc: Any = pyarrow.compute

COLUMNS: Final = {"key": "api_key", "client": "oauth_id", "ip": "ip", "tag": "tags"}
"""Where each kind of value stands in a record."""
EMPTIED: Final[dict[str, Any]] = {
    "alias": "",
    "ip": "",
    "user_agent": "",
    "city": "",
    "city_id": 0,
    "latitude": 0.0,
    "longitude": 0.0,
    "raw_path": "",
    "original_path": "",
    "raw_request": "",
    "raw_response": "",
    "graphql_variables": "",
}
"""Columns of a record that stays for its counts, and what stands in them instead."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A value whose records are erased.

    Attributes:
        kind: Of `COLUMNS`.
        value: As it stands in records.
        org: The only organisation; "" for all.
        start: From when, included.
        end: Until when, not included.
    """

    kind: str
    value: str
    org: str = ""
    start: datetime = ALWAYS
    end: datetime = FOREVER


@dataclass(frozen=True, slots=True)
class Remembered:
    """A subject that was erased, without its value.

    Attributes:
        erasure: The erasure.
        kind: Of `COLUMNS`.
        salt: Key of the digest, hex.
        digest: HMAC-SHA-256 of the value, hex.
        org: The only organisation; "" for all.
        start: From when, included.
        end: Until when, not included.
        anonymous: What stands instead of the value in records that stay for their counts; "" where none stay.
    """

    erasure: str
    kind: str
    salt: str
    digest: str
    org: str
    start: datetime
    end: datetime
    anonymous: str

    def is_of(self, value: str) -> bool:
        """Whether it is this value."""
        return digest_of(self.salt, value) == self.digest

    def subject(self, value: str) -> Subject:
        """The subject, its value known."""
        return Subject(self.kind, value, self.org, self.start, self.end)


@lru_cache(maxsize=100_000)
def digest_of(salt: str, value: str) -> str:
    """HMAC-SHA-256 of a value, hex."""
    return hmac.new(bytes.fromhex(salt), value.encode(), hashlib.sha256).hexdigest()


class Erased:
    """What a store remembers of those who were erased.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._all: list[Remembered] = []
        self.read()

    @property
    def all(self) -> list[Remembered]:
        """Everybody, the first first."""
        return list(self._all)

    def read(self) -> None:
        """Read from the store what others may have remembered."""
        found = self._engine.query(
            "SELECT erasure, kind, salt, digest, org_id, toUnixTimestamp64Milli(start), toUnixTimestamp64Milli(end), "
            f"anonymous FROM {ERASED} ORDER BY erased_at, erasure, digest"
        )
        self._all = [
            Remembered(erasure, kind, salt, digest, org, moment_of(start), moment_of(end), anonymous)
            for erasure, kind, salt, digest, org, start, end, anonymous in found.rows
        ]

    def digested(self, subjects: Iterable[Subject], erasure: str, *, keep_counts: bool) -> list[Remembered]:
        """Subjects as they are remembered; a value that was erased before keeps its anonymous name."""
        salt = self._all[0].salt if self._all else secrets.token_hex(32)
        found = []
        for one in subjects:
            known = (each.anonymous for each in self._all if each.kind == one.kind and each.is_of(one.value))
            anonymous = next(known, "") or f"erased-{secrets.token_hex(8)}" if keep_counts else ""
            digest = digest_of(salt, one.value)
            found.append(Remembered(erasure, one.kind, salt, digest, one.org, one.start, one.end, anonymous))
        return found

    def remember(self, those: list[Remembered]) -> None:
        """Remember those who are erased, before anything is taken away."""
        new = [one for one in those if one not in self._all]
        if not new:
            return
        rows = pa.table(
            {
                **{name: [getattr(one, name) for one in new] for name in ("erasure", "kind", "salt", "digest")},
                "org_id": [one.org for one in new],
                "start": pa.array([one.start for one in new], Kind.INSTANT.arrow),
                "end": pa.array([one.end for one in new], Kind.INSTANT.arrow),
                "anonymous": [one.anonymous for one in new],
                "erased_at": pa.array([datetime.now(UTC)] * len(new), Kind.INSTANT.arrow),
            }
        )
        self._engine.insert(ERASED, rows, secrets.token_hex(16))
        self.read()

    def is_erased(self, kind: str, value: str, org: str) -> bool:
        """Whether a value of an organisation was erased for all time."""
        mine = (one for one in self._all if one.kind == kind and one.org in {"", org})
        return any(one.end == FOREVER and one.start == ALWAYS and one.is_of(value) for one in mine)

    def drop_erased(self, rows: pa.Table) -> tuple[pa.Table, list[int]]:
        """Take those who were erased out of rows, or their names where the counts stay.

        Args:
            rows: Rows of the raw table.

        Returns:
            The rows that stay, and `seq` of those that do not.
        """
        if self._engine.layout.shared:
            # Another process may have erased somebody since.
            self.read()
        if not self._all or not rows.num_rows:
            return rows, []
        gone: Any = None
        for kind, column in COLUMNS.items():
            mine: dict[str, dict[str, list[Remembered]]] = {}
            for one in self._all:
                if one.kind == kind:
                    mine.setdefault(one.salt, {}).setdefault(one.digest, []).append(one)
            for value in _distinct(rows, column) if mine else ():
                for one in _those(mine, value):
                    hit = _rows_of(rows, one.subject(value))
                    if one.anonymous:
                        rows = _anonymised(rows, hit, one.kind, value, one.anonymous)
                    else:
                        gone = hit if gone is None else pc.or_(gone, hit)
        if gone is None or not pc.any(gone).as_py():
            return rows, []
        places: list[Any] = rows.column("seq").filter(gone).to_pylist()
        return rows.filter(pc.invert(gone)), places


def _those(by_salt: dict[str, dict[str, list[Remembered]]], value: str) -> list[Remembered]:
    """Those who are a value, however many are remembered: one digest for each salt, of which a store mostly has one."""
    return [one for salt, by_digest in by_salt.items() for one in by_digest.get(digest_of(salt, value), ())]


def _distinct(rows: pa.Table, column: str) -> list[str]:
    values = rows.column(column)
    if column == COLUMNS["tag"]:
        values = pc.list_flatten(values)
    return [value for value in pc.unique(values).to_pylist() if value]


def _rows_of(rows: pa.Table, subject: Subject) -> Any:
    """A mask of a subject's rows."""
    values = rows.column(COLUMNS[subject.kind])
    if subject.kind == "tag":
        lists: list[Any] = values.to_pylist()
        hit: Any = pa.array([subject.value in tags for tags in lists], pa.bool_())
    else:
        hit = pc.equal(values.cast(pa.string()), subject.value)
    if subject.org:
        hit = pc.and_(hit, pc.equal(rows.column("org_id").cast(pa.string()), subject.org))
    time = rows.column("time")
    within = pc.and_(
        pc.greater_equal(time, pa.scalar(subject.start, time.type)), pc.less(time, pa.scalar(subject.end, time.type))
    )
    return pc.fill_null(pc.and_(hit, within), False)


def _anonymised(rows: pa.Table, hit: Any, kind: str, value: str, anonymous: str) -> pa.Table:
    changed: dict[str, Any] = dict(EMPTIED)
    if kind in {"key", "client"}:
        changed[COLUMNS[kind]] = anonymous
    for name, new in changed.items():
        field = rows.schema.field(name)
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        replaced = pc.if_else(hit, pa.scalar(new, plain), rows.column(name).cast(plain))
        rows = rows.set_column(rows.schema.get_field_index(name), field, replaced.cast(field.type))
    field = rows.schema.field("tags")
    lists: list[Any] = rows.column("tags").to_pylist()
    tags = [
        [tag for tag in one if value not in tag] if erased else one
        for one, erased in zip(lists, hit.to_pylist(), strict=True)
    ]
    array = pa.array(tags, pa.list_(pa.string())).cast(field.type)
    return rows.set_column(rows.schema.get_field_index("tags"), field, array)
