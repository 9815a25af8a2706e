"""Records that are sent over HTTP: in each form the same rows as by import, once under a key, of one's own only."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest
import zstandard

from keytrail.errors import StoreError
from keytrail.store.client import Handles
from keytrail.store.rebuild import differing
from keytrail.store.tables import BATCHES, RAW, ROLLUPS
from keytrail.web import ingest
from tests.oracle.records import CAPTURES, SECOND, Record, read_capture, to_json, to_msgpack, to_protobuf
from tests.product import ADMIN, Product
from tests.web.conftest import ORG, OTHER

AT = 1_780_000_000 * SECOND
RECORDS = [
    Record(timestamp=AT + n * SECOND, org_id=ORG, api_id="a", api_key=f"{n % 3:08x}", path="/", response_code=200)
    for n in range(7)
]
FOREIGN = replace(RECORDS[0], org_id=OTHER)
JSON = "application/json"


def sized(blob: bytes) -> bytes:
    """A message after its length."""
    length = len(blob)
    return bytes([length & 127 | 128, length >> 7]) + blob if length > 127 else bytes([length]) + blob


def array(records: list[Record]) -> bytes:
    return f"[{','.join(map(to_json, records))}]".encode()


def packed(records: list[Record]) -> list[Any]:
    return [msgpack.unpackb(to_msgpack(record)) for record in records]


FORMS: dict[str, tuple[str, Callable[[list[Record]], bytes]]] = {
    "ndjson": ("application/x-ndjson", lambda records: "\n".join(map(to_json, records)).encode()),
    "json": (JSON, array),
    "msgpack": ("application/msgpack", lambda records: b"".join(map(to_msgpack, records))),
    "msgpack array": ("application/msgpack", lambda records: bytes(msgpack.packb(packed(records)))),
    "protobuf": ("application/protobuf", lambda records: b"".join(sized(to_protobuf(record)) for record in records)),
}


@pytest.fixture(autouse=True)
def _empty(running: Product) -> None:
    running.empty()


def send(running: Product, body: bytes, kind: str = JSON, *, token: str = "sender", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return running.http.post(
        "/api/v1/ingest", content=body, headers={"Authorization": token, "Content-Type": kind, **named}
    )


def rows(running: Product) -> list[tuple[Any, ...]]:
    return running.query(f"SELECT * EXCEPT batch_id FROM {RAW} ORDER BY seq")


def agree(running: Product, count: int) -> None:
    """The raw rows are so many and each but once, and every rollup says the same."""
    assert running.query(f"SELECT count(), uniqExact(batch_id, seq) FROM {RAW}") == [(count, count)]
    for rollup in ROLLUPS:
        assert running.query(f"SELECT sum(records) FROM {rollup.table}") == [(count,)], rollup.table
    months = [month for (month,) in running.query(f"SELECT DISTINCT toYYYYMM(time) FROM {RAW}")]
    assert [differing(running.parts.engine, month) for month in months] == [[]] * len(months)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_rows_of_an_import(running: Product, form: str) -> None:
    """Of real records, with recorded messages, GraphQL and TCP among them."""
    records = [record for _, _, record in read_capture(next(c for c in CAPTURES if "detailed" in c.name))]
    kind, put_together = FORMS[form]
    if form == "protobuf":
        running.put(map(to_protobuf, records), "analytics-tyk-system-analytics_protobuf")
    elif form.startswith("msgpack"):
        running.put(map(to_msgpack, records))
    else:
        running.put_lines([to_json(record).encode() for record in records])
    imported = rows(running)
    running.empty()
    answer = send(running, put_together(records), kind, token="everybody's sender")
    assert answer.status_code == 200
    count = len(records)
    assert answer.json() == {
        "taken": count, "stored": count, "duplicate": 0, "rejected": 0, "reasons": {}, "rejects": []
    }  # fmt: skip
    assert rows(running) == imported
    assert len(imported) == count == 775
    agree(running, count)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_packed(running: Product, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert send(running, pack(array(RECORDS)), Content_Encoding=encoding).json()["stored"] == len(RECORDS)
    assert send(running, pack(array(RECORDS))[:-3], Content_Encoding=encoding).status_code == 400
    agree(running, len(RECORDS))


def test_each_record_has_its_own_fate(running: Product) -> None:
    lines = [to_json(RECORDS[0]), "no record", to_json(FOREIGN), to_json(replace(RECORDS[1], timestamp=0)), ""]
    lines += [to_json(RECORDS[2]), '{"api_key": 5}']
    answer = send(running, "\n".join(lines).encode(), "application/x-ndjson", Idempotency_Key="fates")
    assert answer.json() == {
        "taken": 6,
        "stored": 2,
        "duplicate": 0,
        "rejected": 4,
        "reasons": {"bad_field": 1, "bad_timestamp": 1, "foreign_org": 1, "not_a_record": 1},
        "rejects": [
            {"index": 1, "reason": "not_a_record", "detail": answer.json()["rejects"][0]["detail"]},
            {"index": 2, "reason": "foreign_org", "detail": ""},
            {"index": 3, "reason": "bad_timestamp", "detail": answer.json()["rejects"][2]["detail"]},
            {"index": 5, "reason": "bad_field", "detail": answer.json()["rejects"][3]["detail"]},
        ],
    }
    agree(running, 2)
    # The dead letters and the ledger know it as they know what came from Redis.
    shown = running.get("/api/v1/pipeline", ADMIN)
    assert (shown["totals"]["taken"], shown["totals"]["stored"]) == (6, 2)
    assert (shown["batches"][0]["source"], shown["batches"][0]["reasons"]) == ("http", answer.json()["reasons"])
    letters = [item for item in shown["rejects"] if item["batch_id"] == shown["batches"][0]["batch_id"]]
    assert sorted((item["seq"], item["reason"]) for item in letters) == [
        (item["index"], item["reason"]) for item in answer.json()["rejects"]
    ]


def test_under_a_key_it_counts_once_and_without_each_time(running: Product) -> None:
    body = array([*RECORDS, FOREIGN])
    first = send(running, body, Idempotency_Key="once")
    assert (first.json()["stored"], first.json()["reasons"]) == (7, {"foreign_org": 1})
    assert "idempotent-replayed" not in first.headers
    for again in (
        send(running, body, Idempotency_Key="once"),
        # Packed otherwise it is the same.
        send(running, gzip.compress(body), Idempotency_Key="once", Content_Encoding="gzip"),
    ):
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        assert again.content == first.content
    agree(running, 7)
    # The ledger tells each time; of what was taken, all has ended somewhere.
    shown = running.get("/api/v1/pipeline", ADMIN)
    ends = ("taken", "stored", "rejected", "duplicate")
    assert [shown["totals"][end] for end in ends] == [24, 7, 1, 16]
    found = sorted((one["attempt"], *(one[end] for end in ends)) for one in shown["batches"])
    assert found == [(1, 8, 7, 1, 0), (2, 8, 0, 0, 8), (3, 8, 0, 0, 8)]
    assert {(one["source"], one["origin"], one["batch_id"]) for one in shown["batches"]} == {
        ("http", shown["batches"][0]["origin"], shown["batches"][0]["batch_id"])
    }
    assert 'keytrail_records_duplicate_total{source="http"} ' in running.http.get("/metrics").text
    for count in (14, 21):
        assert send(running, body).json()["stored"] == 7
        agree(running, count)


def test_a_key_is_its_organisations_own(running: Product) -> None:
    body = array([RECORDS[0], FOREIGN])
    assert send(running, body, Idempotency_Key="shared").json()["stored"] == 1
    both = send(running, body, token="everybody's sender", Idempotency_Key="shared")
    assert (both.json()["stored"], "idempotent-replayed" in both.headers) == (2, False)
    agree(running, 3)


def test_a_key_is_of_one_body(running: Product) -> None:
    send(running, array(RECORDS[:3]), Idempotency_Key="one body")
    other = send(running, array(RECORDS[:4]), Idempotency_Key="one body")
    assert (other.status_code, other.json()["Message"]) == (409, "Idempotency-Key: it was used for other records")
    agree(running, 3)


def test_many_at_once_under_one_key(running: Product) -> None:
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(send(running, array(RECORDS), Idempotency_Key="at once")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.content for answer in answers} == {answers[0].content}
    assert sorted("idempotent-replayed" in answer.headers for answer in answers) == [False, *[True] * 5]
    agree(running, len(RECORDS))


@pytest.fixture
def failing(running: Product, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bool], None]]:
    """Makes the next insert into a table fail, before or after it took place."""
    real = Handles.insert
    planned: list[tuple[str, bool]] = []

    def insert(self: Handles, table: str, batch: Any, token: str) -> None:
        if planned and planned[0][0] == table:
            _, after = planned.pop()
            if after:
                real(self, table, batch, token)
            raise StoreError("the connection broke")
        real(self, table, batch, token)

    monkeypatch.setattr(Handles, "insert", insert)
    yield lambda table, after: planned.append((table, after))
    assert planned == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("table", [RAW, "rejects", BATCHES])
def test_a_first_that_broke_off(
    running: Product, failing: Callable[[str, bool], None], table: str, after: bool
) -> None:
    body = array([*RECORDS, FOREIGN])
    key = f"broke off {table} {after}"
    failing(table, after)
    assert send(running, body, Idempotency_Key=key).status_code == 500
    answer = send(running, body, Idempotency_Key=key)
    assert (answer.status_code, answer.json()["stored"], answer.json()["rejected"]) == (200, 7, 1)
    assert [item["index"] for item in answer.json()["rejects"]] == [7]
    assert send(running, body, Idempotency_Key=key).content == answer.content
    agree(running, 7)
    noted, different = running.query("SELECT count(), uniqExact(batch_id, seq) FROM rejects")[0]
    assert noted == different


def test_a_second_that_broke_off_too(
    running: Product, failing: Callable[[str, bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first left one of two days, and the second is killed where it has taken rows away, if it takes any away."""
    body = array([*RECORDS, replace(RECORDS[0], timestamp=AT + 86_400 * SECOND)])
    failing("batches", False)
    assert send(running, body, Idempotency_Key="twice").status_code == 500
    command = running.parts.engine.command
    command(f"ALTER TABLE {RAW} DELETE WHERE seq = 7 SETTINGS mutations_sync = 2")

    def killed(self: Handles, sql: str, *more: Any) -> None:
        command(sql, *more)
        if "DELETE" in sql:
            raise StoreError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Handles, "command", killed)
        send(running, body, Idempotency_Key="twice")
    assert send(running, body, Idempotency_Key="twice").json()["stored"] == 8
    agree(running, 8)


@pytest.mark.parametrize(
    ("kind", "headers", "status", "part"),
    [
        ("text/csv", {}, 415, "Content-Type"),
        ("", {}, 415, "Content-Type"),
        (JSON, {"Content_Encoding": "br"}, 415, "Content-Encoding"),
        (JSON, {"Idempotency_Key": "x" * 256}, 400, "Idempotency-Key"),
        (JSON, {}, 400, "body: not a JSON array"),
        ("application/msgpack", {}, 400, "body: record 0"),
        ("application/protobuf", {}, 400, "body: the length before record 0"),
    ],
)
def test_the_bad_part_is_named(running: Product, kind: str, headers: dict[str, str], status: int, part: str) -> None:
    answer = send(running, b"\x81", kind, **headers)
    assert (answer.status_code, answer.json()["Status"]) == (status, "Error")
    assert answer.json()["Message"].startswith(part)
    agree(running, 0)


def test_too_large(running: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "LARGEST_INGEST", 100)
    body = array(RECORDS)
    assert send(running, body).status_code == 413
    headers = {"Authorization": "sender", "Content-Type": JSON}
    pieces = (body[start : start + 50] for start in range(0, len(body), 50))
    assert running.http.post("/api/v1/ingest", content=pieces, headers=headers).status_code == 413
    monkeypatch.undo()
    assert send(running, gzip.compress(b" " * 70_000_000, 1), Content_Encoding="gzip").status_code == 413
    assert send(running, b"[" + b"{}," * 100_000 + b"{}]").status_code == 413
    agree(running, 0)


def test_a_chunk_of_too_many_lines(running: Product) -> None:
    to, headers = "/api/v1/imports/many/0", {"Authorization": "sender"}
    answer = running.http.post(to, content=b"\n" * (ingest.MOST_CHUNK_LINES + 1), headers=headers)
    assert (answer.status_code, answer.json()["Message"]) == (413, "body: at most 100000 lines")
    assert running.http.post(to, content=b"\n" * 2, headers=headers).json()["stored"] == 0


@pytest.mark.parametrize(
    ("token", "status"),
    [("nobody", 401), ("logs only", 403), ("nothing", 403), ("sender of one api", 403), ("expired", 401)],
)
def test_who_may_not_send(running: Product, token: str, status: int) -> None:
    assert send(running, array(RECORDS), token=token).status_code == status
    agree(running, 0)


def test_nothing_is_also_a_body(running: Product) -> None:
    for kind, body in ((JSON, b"[]"), ("application/x-ndjson", b"\n"), ("application/msgpack", b"")):
        assert send(running, body, kind, Idempotency_Key=kind).json()["taken"] == 0
        assert json.loads(send(running, body, kind, Idempotency_Key=kind).content)["taken"] == 0
