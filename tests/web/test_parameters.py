"""Every parameter and every error of the contract, as data: `tests/cases/web/*.yaml`."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from keytrail.web.paths import split
from keytrail.web.rows import CSV_COLUMNS, neutral_cell
from tests.oracle.records import SECOND, Record, to_json
from tests.product import TOKEN, Product
from tests.web.conftest import ORG
from tests.web.raw import Answer, ask

CASES = Path(__file__).parents[1] / "cases" / "web"
KEY = "7f3c3ca87376cabe"
DAYS = "1/3/2026/2/3/2026"
# As a client knows them; unhashed ones are hashed before they are stored, however they look.
SECRETS = ("my-secret", "a/b", "//", "100%", "?#", "a+b", "..", "\N{KEY}", "\0", "k" * 10_000)


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


A = Record(
    timestamp=instant("2026-03-01T10:00"),
    org_id=ORG,
    api_id="api-1",
    api_key=KEY,
    api_version="v1",
    path="/a",
    response_code=200,
    latency_total=5,
    request_time=5,
    tags=("gold", "eu west"),
)
B = replace(
    A, timestamp=instant("2026-03-02T11:00"), path="/b", api_version="Non Versioned", latency_total=7, tags=("gold",)
)
C = replace(
    B,
    timestamp=instant("2026-03-02T12:00"),
    path="/c",
    api_id="api-2",
    api_version="Not Versioned",
    latency_total=9,
    tags=(),
)
RECORDS = (
    *(A, A, A),
    *(replace(B, response_code=500), B),
    C,
    replace(A, timestamp=instant("2024-02-29T23:59:59"), path="/leap", latency_total=1),
    replace(A, timestamp=instant("2025-12-31T00:00"), path="/new-year", latency_total=1),
    *(replace(C, api_key=secret) for secret in SECRETS),
    *(replace(C, api_key="00000000", oauth_id=client) for client in SECRETS if len(client) < 256),
)


@pytest.fixture(scope="module", autouse=True)
def _stored(running: Product) -> None:
    taken = running.put_lines([to_json(record).encode() for record in RECORDS])
    assert taken.stored == len(RECORDS)


def cases(name: str) -> list[Any]:
    found = yaml.safe_load((CASES / f"{name}.yaml").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in found]


def spelled(text: str) -> str:
    """`{x*5}` is five x, so that long texts need not stand in the cases."""
    return re.sub(r"\{([^{}*]+)\*(\d+)\}", lambda match: match[1] * int(match[2]), text)


def send(running: Product, target: str, *, method: str = "GET", token: str = TOKEN) -> Answer:
    headers = {"Authorization": token} if token else {}
    return ask(running.parts.service.app, target, method=method, headers=headers)


def check(answer: Answer, case: dict[str, Any]) -> None:
    status = case.get("status", 400 if "message" in case else 200)
    assert answer.status == status, answer.text
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if "message" in case:
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.text) == {"Status": "Error", "Message": case["message"], "Meta": None}
    if "json" in case:
        assert json.loads(answer.text) == case["json"]
    if "nothing" in case:
        assert (answer.body == b"") == case["nothing"]
    if "allow" in case:
        assert answer.headers["allow"] == case["allow"]
    if "hits" in case:
        body = json.loads(answer.text)
        assert [row["hits"] for row in body["data"]] == case["hits"]
        assert body["pages"] == case.get("pages", body["pages"])
        assert int(answer.headers["x-total-rows"]) == case.get("total", int(answer.headers["x-total-rows"]))


@pytest.mark.parametrize("case", cases("dates"))
def test_dates(running: Product, case: dict[str, Any]) -> None:
    check(send(running, f"/api/activity/keys/endpoint/{KEY}/{case['days']}"), case)


@pytest.mark.parametrize("case", cases("parameters"))
def test_parameters(running: Product, case: dict[str, Any]) -> None:
    check(send(running, f"/api/activity/keys/endpoint/{KEY}/{DAYS}?{spelled(case['query'])}"), case)


@pytest.mark.parametrize("case", cases("keys"))
def test_keys(running: Product, case: dict[str, Any]) -> None:
    check(send(running, f"/api/activity/keys/endpoint/{spelled(case['key'])}/{DAYS}"), case)


@pytest.mark.parametrize("case", cases("keys"))
def test_clients(running: Product, case: dict[str, Any]) -> None:
    """A client's id is no secret: it is stored and looked up as it is, up to 256 characters."""
    special: dict[str, list[int]] = {"a hash": [], "encoded letters": [], "10000 characters": []}
    case = case | {"hits": special.get(case["name"], case["hits"])} if "hits" in case else case
    check(send(running, f"/api/activity/oauthid/endpoint/{spelled(case['key'])}/{DAYS}"), case)


@pytest.mark.parametrize("case", cases("paths"))
def test_paths(running: Product, case: dict[str, Any]) -> None:
    check(send(running, case["target"], method=case.get("method", "GET"), token=case.get("token", TOKEN)), case)


def test_no_secret_comes_back(running: Product) -> None:
    """Neither the hash by which a key is stored nor the key stands in an answer, right or wrong."""
    for days in (DAYS, "1/13/2026/2/3/2026"):
        answer = send(running, f"/api/activity/keys/endpoint/my-secret/{days}")
        assert "my-secret" not in answer.text + str(answer.headers)


def test_series_of_steps_without_hits(running: Product) -> None:
    answer = send(running, f"/api/activity/keys/endpoint/{KEY}/28/2/2026/1/3/2026?res=day")
    empty, full = json.loads(answer.text)["data"]
    assert (empty["id"]["day"], empty["id"]["month"], empty["id"]["year"], empty["id"]["hour"]) == (28, 2, 2026, 0)
    assert (empty["hits"], empty["latency"], empty["last_hit"]) == (0, 0, "0001-01-01T00:00:00Z")
    assert (full["hits"], full["last_hit"]) == (3, "2026-03-01T10:00:00Z")


def test_links_lead_through_all_pages(running: Product) -> None:
    target = f"/api/activity/keys/endpoint/{KEY}/{DAYS}?tags=gold&res=hour&tags=eu+west"
    hours: list[int] = []
    pages = 0
    while target:
        answer = send(running, target)
        pages += 1
        body = json.loads(answer.text)
        assert (body["pages"], answer.headers["x-total-rows"]) == (5, "48")
        hours += [row["id"]["hour"] for row in body["data"]]
        link = re.fullmatch(r'<(\?.*)>; rel="next"', answer.headers.get("link", ""))
        target = f"/api/activity/keys/endpoint/{KEY}/{DAYS}{link[1]}" if link else ""
    assert pages == 5
    assert hours == [*range(24), *range(24)]


def test_all_rows_have_no_link(running: Product) -> None:
    answer = send(running, f"/api/activity/keys/endpoint/{KEY}/{DAYS}?res=hour&p=0")
    assert "link" not in answer.headers
    assert answer.headers["x-total-rows"] == "48"


EVIL = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("x")')


def test_csv(running: Product) -> None:
    evil = "4bb0299a09cd4a16b63f230664ac6c08"
    records = [replace(C, oauth_id=evil, path=path, api_id=f"{path[0]}api") for path in (*EVIL, "/fine", "a=b")]
    records.append(replace(C, oauth_id=evil, path='/"quoted", and\nmore'))
    running.put_lines([to_json(record).encode() for record in records])
    answer = send(running, f"/api/activity/oauthid/endpoint/{evil}/{DAYS}?p=-1&type=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-total-rows"] == str(len(records))
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert {row["path"] for row in rows} == {*("'" + path for path in EVIL), "/fine", "a=b", '/"quoted", and\nmore'}
    assert all(row["api_id"][0] in "'/a" for row in rows)
    assert {(row["hits"], row["success"], row["latency"], row["last_hit"]) for row in rows} == {
        ("1", "1", "9", "2026-03-02T12:00:00Z")
    }


def test_csv_of_a_page(running: Product) -> None:
    answer = send(running, f"/api/activity/keys/endpoint/{KEY}/{DAYS}?type=CSV&res=hour&p=5")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["hour"] for row in rows] == [str(hour) for hour in range(16, 24)]


def test_csv_without_rows_has_its_header(running: Product) -> None:
    answer = send(running, f"/api/activity/keys/endpoint/nobody/{DAYS}?type=csv")
    assert answer.text == ",".join(CSV_COLUMNS) + "\r\n"


def test_numbers_are_no_formulas() -> None:
    assert neutral_cell(-5) == -5
    assert neutral_cell("-5") == "'-5"


def test_segments() -> None:
    assert split(b"/a//b%2Fc/%20/") == ["a", "b\udc2fc", " "]
    assert split(b"") == split(b"/") == []
    assert split(b"HTTPS://gateway.test:8080/a/http:/b") == split(b"a/http:/b?c=http://d") == ["a", "http:", "b"]
