"""A store with days of single records that may become cold, and what must stand in answers about them."""

import base64
import io
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow.parquet as pq

from keytrail.config import Retention
from keytrail.errors import StoreError
from keytrail.metrics import Metrics
from keytrail.query.ask import Reply, ask
from keytrail.query.export import Form, export
from keytrail.query.question import parse
from keytrail.query.records import Search
from keytrail.query.request import ALL_TIME, Scope
from keytrail.store.chunk import Chunk
from keytrail.store.cold import Folder
from keytrail.store.kept import partitions
from keytrail.store.raw_rows import cold_days
from keytrail.store.retention import Disk, Pruning, Step
from keytrail.store.tables import COLD_DAYS, ERASED, ERASED_ROWS, RAW, RETAINED
from keytrail.store.verify import verify
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product

ORG, OTHER = "mine", "theirs"
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
KEEPS = Retention(raw_days=10, rollup_months=2, recorded_days=3)
OLD = [date(2026, 2, 27), date(2026, 3, 1), date(2026, 3, 9)]
"""Days that become cold; the last is next to the first that stays."""
NEW = [date(2026, 3, 10), date(2026, 3, 19)]
KEYS = ("7f3c3ca87376cabe", "00000000")
COUNTRIES = ("DE", "FR", "")
PER_DAY = 30


@dataclass(frozen=True)
class Made:
    """A record, and what stands of it in answers."""

    day: date
    n: int
    org: str

    @property
    def record(self) -> Record:
        instant = datetime(self.day.year, self.day.month, self.day.day, self.n * 7 % 24, self.n, tzinfo=UTC)
        return Record(
            timestamp=int(instant.timestamp()) * SECOND + self.n * 10**6,
            org_id=self.org,
            api_id=f"api-{self.n % 2}",
            api_key=KEYS[self.n % 2],
            oauth_id="client" if self.n % 3 else "",
            path="/",
            raw_path=self.name,
            user_agent="ünï \n'\"\0",
            response_code=[200, 404, -1][self.n % 3],
            latency_total=self.n,
            country=COUNTRIES[self.n % 3],
            tags=("a", f"t{self.n % 4}") if self.n % 2 else (),
            latitude=self.n / 8,
            expire_at=int(instant.timestamp()) * SECOND if self.n % 5 else 0,
        )

    @property
    def name(self) -> str:
        return f"/{self.org}/{self.day}/{self.n}"


RECORDS = [Made(day, n, ORG) for day in (*OLD, *NEW) for n in range(PER_DAY)]
RECORDS += [Made(day, n, OTHER) for day in (*OLD, *NEW) for n in range(5)]
SENT = base64.b64encode(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").decode()


def clean(store: Product) -> None:
    store.empty()
    for table in (RETAINED, COLD_DAYS, ERASED, ERASED_ROWS):
        store.parts.engine.command(f"TRUNCATE TABLE {table}")
    store.parts.writer.erased.read()
    there = store.parts.engine.cold
    assert there is not None
    for name in there.sizes():
        there.remove(name)


def folder(store: Product) -> Folder:
    assert isinstance(store.parts.engine.cold, Folder)
    return store.parts.engine.cold


def files(store: Product) -> list[str]:
    """The days that have files, one for each file."""
    return sorted(file.name[:10] for file in folder(store).path.iterdir())


def chunk_of(store: Product, those: Sequence[Made], *, attempt: int, batch: str = "a batch") -> Chunk:
    lines = [json.dumps({**json.loads(to_json(one.record)), "raw_request": SENT}).encode() for one in those]
    return store.parts.intake.prepare(batch, 0, lines, following="", attempt=attempt, origin="t")


def put(store: Product, those: Sequence[Made]) -> None:
    chunk = chunk_of(store, those, attempt=1, batch=uuid.uuid4().hex)
    assert store.parts.writer.write(chunk).stored == len(those)


class Room(Pruning):
    """Pruning on a disk of our own size."""

    room = Disk(1000, 1000)

    def disk(self) -> Disk:
        return self.room


def pruning(store: Product, keeps: Retention = KEEPS, engine: Any = None) -> Room:
    directory = folder(store).path.parent
    return Room(engine or store.parts.engine, store.parts.writer, keeps, directory, Metrics())


def run(store: Product, keeps: Retention = KEEPS, now: datetime = NOW) -> list[Step]:
    return pruning(store, keeps).run(now)


def told(steps: list[Step], what: str) -> list[str]:
    return [step.partition.id for step in steps if step.what == what and not step.waits]


def hot(store: Product) -> list[str]:
    return [one.id for one in partitions(store.parts.engine, RAW)]


def asked(store: Product, start: str, end: str, **more: Any) -> Reply:
    question = {"metrics": ["records"], "dimensions": ["country"], "from": start, "to": end, **more}
    return ask(store.parts.engine, Scope(ORG), parse(question, default_zone="UTC"))


def by_country(store: Product, start: str = "2026-02-01", end: str = "2026-03-20", **more: Any) -> dict[str, int]:
    return {row["country"]: row["records"] for row in asked(store, start, end, **more).rows}


def expected(start: date = date(2026, 2, 1), end: date = date(2026, 3, 21), org: str = ORG) -> dict[str, int]:
    return dict(Counter(one.record.country for one in RECORDS if one.org == org and start <= one.day < end))


def exported(store: Product, form: Form = Form.NDJSON, org: str | None = ORG) -> list[str]:
    """The paths of all rows of an export."""
    content = b"".join(export(store.parts.engine, Search(Scope(org), (ALL_TIME,)), form))
    if form is Form.PARQUET:
        return sorted(map(str, pq.read_table(io.BytesIO(content)).column("raw_path").to_pylist()))
    return sorted(json.loads(line)["raw_path"] for line in content.splitlines())


def names(*orgs: str) -> list[str]:
    return sorted(one.name for one in RECORDS if one.org in orgs)


def all_right(store: Product) -> None:
    """Every record is there once, in every answer, and the ledger adds up."""
    assert by_country(store) == expected()
    assert exported(store, org=None) == names(ORG, OTHER)
    verified = verify(store.parts.engine, store.parts.writer)
    assert (verified.records, verified.differing, verified.rollups) == (len(RECORDS), [], [])
    assert (verified.cold, verified.damaged) == (len(cold_days(store.parts.engine)), [])


class Breaking:
    """An engine that is gone at one statement, before it or after it."""

    def __init__(self, engine: Any, at: str, *, after: bool) -> None:
        self._engine = engine
        self._at = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def _do(self, what: str, call: Any, *given: Any) -> Any:
        if self._at in what and not self._after:
            raise StoreError("killed")
        found = call(*given)
        if self._at in what:
            raise StoreError("killed")
        return found

    def query(self, sql: str, *more: Any) -> Any:
        return self._do(sql, self._engine.query, sql, *more)

    def command(self, sql: str, *more: Any) -> Any:
        return self._do(sql, self._engine.command, sql, *more)

    def insert(self, table: str, rows: Any, token: str) -> Any:
        # Whether the row lets a file count.
        what = f"{table} {rows.column('placed')[0]}" if table == COLD_DAYS else table
        return self._do(what, self._engine.insert, table, rows, token)
