"""An export holds exactly the rows that are meant, each once, in every form; and nothing that a spreadsheet runs."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from keytrail.errors import StoreAway
from keytrail.query import export, pages
from keytrail.query.records import Search
from keytrail.query.request import ALL_TIME, Scope
from keytrail.store.client import Handles
from tests.oracle.records import SECOND, Record, to_json
from tests.product import ADMIN, Product
from tests.web.conftest import ORG, OTHER

LOGS = "logs only"
EXPORT = "/api/v1/export"
AT = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * SECOND
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''@x")
PLAIN = ("", "'", "'a", "a=1", 'quo"ted', "com,ma", "line\nfeed", "ünï", "1", "NULL", " =1")
# Few keys and instants, so that pages end among equals.
RECORDS = [
    Record(
        timestamp=AT + (n % 3) * 1800 * SECOND,
        org_id=ORG,
        api_id=f"api-{n % 2}",
        api_key=f"{n % 2:08x}",
        raw_path=f"/{n}",
        alias=text,
        path=text,
        user_agent=text,
        response_code=[200, 404, -1][n % 3],
        latency_total=n,
        tags=(text, "b") if n % 2 else (),
        expire_at=AT + n * SECOND if n % 2 else 0,
        latitude=n / 8,
        track_path=n % 2 == 0,
    )
    for n, text in enumerate([*FORMULAS, *PLAIN] * 2)
]
STRANGERS = [replace(each, org_id=OTHER, raw_path="/theirs") for each in RECORDS[:5]]


@pytest.fixture(scope="module", autouse=True)
def _stored(running: Product) -> None:
    running.empty()
    for some in (RECORDS[:15], RECORDS[15:], STRANGERS):
        assert running.put_lines([to_json(each).encode() for each in some]).stored == len(some)


@pytest.fixture(autouse=True, params=[4, 1000])
def rows_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pages, "PAGE_ROWS", request.param)
    return int(request.param)


def take(running: Product, form: str, query: str = "", token: str = LOGS) -> bytes:
    answer = running.http.get(f"{EXPORT}?format={form}&{query}", headers={"Authorization": token})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="requests.{form}"'
    return answer.content


def wanted(records: list[Record]) -> list[tuple[Any, ...]]:
    """What the rows must say, in their order but for equals."""
    return sorted(
        (
            each.api_key,
            each.raw_path,
            each.millisecond,
            each.alias,
            each.user_agent,
            each.response_code,
            each.latency_total,
            list(each.tags),
            each.expire_at // 10**6 or None,
            each.latitude,
            each.track_path,
        )
        for each in records
    )


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def ndjson(data: bytes) -> list[tuple[Any, ...]]:
    rows = [json.loads(line) for line in data.splitlines()]
    return [
        (
            row["api_key"],
            row["raw_path"],
            ms(row["timestamp"]),
            row["alias"],
            row["user_agent"],
            row["response_code"],
            row["latency"]["total"],
            row["tags"],
            None if row["expireAt"].startswith("0001") else ms(row["expireAt"]),
            row["geo"]["location"]["latitude"],
            row["track_path"],
        )
        for row in rows
    ]


def bare(cell: str) -> str:
    """What stood in a cell before it was made harmless."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'")[:1] in set("=+-@\t\r\n") else cell


def csv_rows(data: bytes) -> list[tuple[Any, ...]]:
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    return [
        (
            row["api_key"],
            row["raw_path"],
            ms(row["time"]),
            bare(row["alias"]),
            bare(row["user_agent"]),
            int(row["code"]),
            int(row["latency"]),
            json.loads(row["tags"]),
            ms(row["expire_at"]) if row["expire_at"] else None,
            float(row["latitude"]),
            row["track_path"] == "true",
        )
        for row in rows
    ]


def parquet(data: bytes) -> list[tuple[Any, ...]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).to_pylist()
    return [
        (
            row["api_key"],
            row["raw_path"],
            round(row["time"].timestamp() * 1000),
            row["alias"],
            row["user_agent"],
            row["code"],
            row["latency"],
            row["tags"],
            round(row["expire_at"].timestamp() * 1000) if row["expire_at"] else None,
            row["latitude"],
            row["track_path"],
        )
        for row in rows
    ]


READ = {"ndjson": ndjson, "csv": csv_rows, "parquet": parquet}


@pytest.mark.parametrize("form", READ)
def test_every_row_once_in_order(running: Product, form: str) -> None:
    rows = READ[form](take(running, form))
    assert sorted(rows) == wanted(RECORDS)
    hour = 3_600_000
    assert [(row[2] // hour, row[0], row[2]) for row in rows] == sorted(
        (row[2] // hour, row[0], row[2]) for row in rows
    )


@pytest.mark.parametrize("form", READ)
def test_only_what_is_meant(running: Product, form: str) -> None:
    chosen = [each for each in RECORDS if each.api_key == "00000001" and 3 <= each.latency_total <= 20]
    assert 0 < len(chosen) < len(RECORDS)
    assert sorted(READ[form](take(running, form, "key=00000001&min_latency=3&max_latency=20"))) == wanted(chosen)
    chosen = [each for each in RECORDS if each.timestamp > AT]
    assert sorted(READ[form](take(running, form, "from=2026-11-20T12:00:00.001Z"))) == wanted(chosen)


@pytest.mark.parametrize("form", READ)
@pytest.mark.parametrize(
    "query", ["key=nobody", "from=2026-11-21&to=2026-11-21", "from=2026-11-20T12:00:00Z&to=2026-11-20T12:00:00Z"]
)
def test_no_row_is_an_export_too(running: Product, form: str, query: str) -> None:
    data = take(running, form, query)
    assert READ[form](data) == []
    if form == "csv":
        assert data.decode().replace('"', "").strip().split(",") == list(export.COLUMNS)


def test_no_cell_is_a_formula(running: Product) -> None:
    data = take(running, "csv").decode()
    numbers = {"code", "latitude"}
    for row in csv.DictReader(io.StringIO(data, newline="")):
        risky = {name for name, cell in row.items() if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))}
        assert risky <= numbers
    assert sum(data.count(f"'{text}") for text in ("=1+1", "+1", "-1", "@SUM(A1)")) >= 8


@pytest.mark.parametrize("form", READ)
def test_tenants_do_not_cross(running: Product, form: str) -> None:
    everybody = READ[form](take(running, form, token=ADMIN))
    assert len(everybody) == len(RECORDS) + len(STRANGERS)
    theirs = READ[form](take(running, form, f"org={OTHER}", ADMIN))
    assert {row[1] for row in theirs} == {"/theirs"}
    one = READ[form](take(running, form, token="logs of one api"))
    assert sorted(one) == wanted([each for each in RECORDS if each.api_id == "api-1"])


@pytest.mark.parametrize(
    ("query", "token", "status"),
    [
        ("", "nobody", 401),
        ("", "sender", 403),
        (f"org={OTHER}", LOGS, 403),
        ("api=api-0", "logs of one api", 403),
        ("format=xml", LOGS, 400),
        ("limit=5", LOGS, 400),
    ],
)
def test_who_may_not_and_what_can_not(running: Product, query: str, token: str, status: int) -> None:
    answer = running.http.get(f"{EXPORT}?{query}", headers={"Authorization": token})
    assert (answer.status_code, answer.json()["Status"]) == (status, "Error")


def test_a_store_that_is_away_at_once_and_later(
    running: Product, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Handles.raw, []

    def raw(self: Handles, *arguments: Any, **more: Any) -> bytes:
        asked.append(arguments)
        if len(asked) > allowed:
            raise StoreAway("it took too long")
        return real(self, *arguments, **more)

    monkeypatch.setattr(Handles, "raw", raw)
    allowed = 0
    assert running.http.get(EXPORT, headers={"Authorization": LOGS}).status_code == 503
    if rows_at_once < len(RECORDS):
        asked.clear()
        allowed = 1
        # A connection that is cut off, which no client takes for the end.
        pieces = export.export(running.parts.engine, Search(Scope(ORG), (ALL_TIME,)), export.Form.NDJSON)
        assert next(pieces)
        with pytest.raises(StoreAway):
            next(pieces)
