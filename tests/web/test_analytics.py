"""The query API over HTTP: the same by GET and POST, named faults, tenancy, and its description."""

import csv
import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from keytrail.query.catalog import DIMENSIONS, METRICS, OPERATORS
from tests.catalogue_table import FILE, markdown, page
from tests.oracle.records import SECOND, Record, to_msgpack
from tests.product import ADMIN, TOKEN, Product
from tests.web.conftest import ORG, OTHER

NOON = 1772366400  # 2026-03-01 12:00 UTC
DAY = {"from": "2026-03-01", "to": "2026-03-01"}
# What would end a text, a statement or a name, if it got into the statement.
HOSTILE = (
    "' OR 1=1 --",
    "\\' OR 1=1 --",
    "`; DROP TABLE requests; --",
    "{v0:String}",
    "\x00",
    "a' UNION ALL SELECT 1",
    "%",
)


@pytest.fixture(scope="module", autouse=True)
def stocked(running: Product) -> None:
    def hit(org: str, api: str, path: str, **fields: Any) -> bytes:
        given: dict[str, Any] = {"response_code": 200, "latency_total": 40, "tags": ("gold", "pol-p1")} | fields
        return to_msgpack(Record(timestamp=NOON * SECOND, org_id=org, api_id=api, path=path, **given))

    blobs = [
        hit(ORG, "api-1", "/a"),
        hit(ORG, "api-1", "/a", response_code=500),
        hit(ORG, "api-2", "/b", user_agent="curl"),
        hit(OTHER, "api-1", "/secret"),
    ]
    assert running.put(blobs).stored == 4


def post(running: Product, fields: Any, token: str = TOKEN, query: str = "") -> Any:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return running.http.post(f"/api/v1/query{query}", content=body, headers={"Authorization": token})


def rows(running: Product, fields: dict[str, Any], token: str = TOKEN, query: str = "") -> Any:
    answer = post(running, DAY | fields, token, query)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def test_an_answer_in_full(running: Product) -> None:
    asked = {**DAY, "metrics": ["hits", "error_rate", "bytes_out", "latency_histogram"], "dimensions": ["path"]}
    answer = post(running, asked | {"totals": True, "zone": "Asia/Kolkata", "explain": True}).json()
    explained = answer.pop("explain")
    assert answer == {
        "rows": [
            {
                "path": "/a",
                "hits": 2,
                "error_rate": 0.5,
                "bytes_out": None,
                "latency_histogram": [{"from": 40, "to": 41, "hits": 2}],
            },
            {
                "path": "/b",
                "hits": 1,
                "error_rate": 0,
                "bytes_out": None,
                "latency_histogram": [{"from": 40, "to": 41, "hits": 1}],
            },
        ],
        "total_rows": 2,
        "range": {
            "from": "2026-03-01T00:00:00.000+05:30",
            "to": "2026-03-02T00:00:00.000+05:30",
            "zone": "Asia/Kolkata",
        },
        "tables": ["by_api_15m"],
        "raw_only": False,
        "totals": {
            "hits": 3,
            "error_rate": 1 / 3,
            "bytes_out": None,
            "latency_histogram": [{"from": 40, "to": 41, "hits": 3}],
        },
        "coverage": None,
    }
    assert [one["tables"] for one in explained] == [["by_api_15m"]] * 2
    assert all(ORG in one["values"].values() and ORG not in one["sql"] for one in explained)
    assert all(one["rows_read"] >= 1 and one["ms"] > 0 for one in explained)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"metrics": ["hits", "p95_latency"], "dimensions": ["api", "path"], "order": ["-hits", "path"], "limit": 2},
        {"filter": {"not": {"dimension": "code", "operator": "greater", "value": 399}}, "totals": True},
        {"dimensions": ["policy"], "step": "hour", "zone": "Asia/Kathmandu"},
        {"compare": {"from": "2026-02-01", "to": "2026-02-28"}},
        {"compare": "previous", "offset": 1, "dimensions": ["path"]},
    ],
)
def test_get_and_post_are_equal(running: Product, fields: dict[str, Any]) -> None:
    asked = DAY | fields
    link = {
        name: ",".join(value) if isinstance(value, list) else value if isinstance(value, str) else json.dumps(value)
        for name, value in asked.items()
    }
    by_link = running.http.get("/api/v1/query", params=link, headers={"Authorization": TOKEN})
    by_body = post(running, asked)
    assert by_link.status_code == by_body.status_code == 200
    assert by_link.json() == by_body.json()
    assert by_body.json()["rows"]


def test_a_list_may_be_repeated_in_a_link(running: Product) -> None:
    link = "/api/v1/query?from=2026-03-01&to=2026-03-01&metrics=hits&metrics=error,&dimensions=path&limit=1&step="
    assert running.get(link)["rows"] == [{"path": "/a", "hits": 2, "error": 1}]


def test_the_example_of_the_page_is_understood(running: Product) -> None:
    text = FILE.read_text(encoding="utf-8")
    example = text.split("localhost:8080/api/v1/query")[1].split("-d '")[1].split("'")[0]
    answer = post(running, example.encode())
    assert answer.status_code == 200, answer.text
    assert {"rows", "totals", "compare"} <= set(answer.json())


FAULTS: list[tuple[Any, str]] = [
    (b"{", "body: is not JSON"),
    ([], "body: an object is expected"),
    ({"metric": ["hits"]}, "metric: no such field"),
    ({"metrics": ["speed"]}, "metrics: 'speed' is not one of records, hits,"),
    ({"metrics": [1]}, "metrics: a list of names"),
    ({"metrics": ["hits", "hits"]}, "metrics: a name stands there twice"),
    ({"dimensions": ["api", "path", "key", "code", "method", "country"]}, "dimensions: at most 5"),
    ({"dimensions": ["colour"]}, "dimensions: 'colour' is not one of"),
    ({"zone": "Mars/Olympus"}, "zone: 'Mars/Olympus' is no time zone"),
    ({"from": "2026-02-30"}, "from: '2026-02-30' is neither a day"),
    ({"from": "2026-03-01T12:00:00"}, "from: the instant '2026-03-01T12:00:00' has no offset"),
    ({"from": "2026-03-02"}, "to: the end 2026-03-01 lies before the start 2026-03-02"),
    ({"from": "1969-12-31"}, "from: the year 1969 is out of range"),
    ({"to": ""}, "to: is missing"),
    ({"range": "today"}, "range: not together with from and to"),
    ({"from": "", "to": "", "range": "eternity"}, "range: 'eternity' is not one of last_hour"),
    ({"step": "week"}, "step: 'week' is not one of minute, hour, day, month"),
    ({"order": ["-error"]}, "order: 'error' is not asked for"),
    ({"metrics": ["latency_histogram"], "order": ["latency_histogram"]}, "order: latency_histogram can't be sorted by"),
    (
        {"metrics": ["latency_histogram"], "dimensions": ["path"], "limit": 1001},
        "limit: a whole number from 1 to 1000 is expected",
    ),
    ({"limit": 0}, "limit: a whole number from 1 to 100000"),
    ({"limit": 1001, "step": "day", "dimensions": ["api"]}, "limit: a whole number from 1 to 1000 "),
    ({"offset": 1.5}, "offset: a whole number"),
    ({"totals": 1}, "totals: true or false"),
    ({"compare": "yesterday"}, "compare: 'previous' or an object"),
    ({"compare": {"from": "x", "to": "y"}}, "compare: from: 'x' is neither"),
    ({"filter": []}, "filter: an object is expected"),
    ({"filter": {"and": []}}, "filter.and: a list of conditions"),
    ({"filter": {"or": [{"not": {"dimension": "api"}}]}}, "filter.or[0].not: and, or, not, or dimension"),
    (
        {"filter": {"and": [{"dimension": "colour", "operator": "is", "value": ""}]}},
        "filter.and[0].dimension: 'colour' is not a dimension",
    ),
    ({"filter": {"dimension": "api", "operator": "like", "value": ""}}, "filter.operator: 'like' is not an operator"),
    ({"filter": {"dimension": "api", "operator": "less", "value": ""}}, "filter.operator: less can't be asked of api"),
    ({"filter": {"dimension": "code", "operator": "is", "value": "200"}}, "filter.value: a whole number is expected"),
    ({"filter": {"dimension": "code", "operator": "is", "value": 2**63}}, "filter.value: a whole number is expected"),
    ({"filter": {"dimension": "api", "operator": "in", "value": []}}, "filter.value: a list of 1 to 1000 values"),
    ({"filter": {"dimension": "api", "operator": "in", "value": ["a", 1]}}, "filter.value[1]: a text of at most"),
]


@pytest.mark.parametrize(("fields", "message"), FAULTS)
def test_a_fault_is_named(running: Product, fields: Any, message: str) -> None:
    answer = post(running, fields if isinstance(fields, bytes | list) else DAY | fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["Message"].startswith(message)


def test_conditions_are_bounded(running: Product) -> None:
    one: Any = {"dimension": "api", "operator": "is", "value": "a"}
    deep = one
    for _ in range(9):
        deep = {"not": deep}
    assert "8 levels deep" in post(running, DAY | {"filter": deep}).json()["Message"]
    assert "at most 100 comparisons" in post(running, DAY | {"filter": {"or": [one] * 101}}).json()["Message"]
    assert post(running, DAY | {"filter": {"or": [one] * 100}}).status_code == 200
    assert post(running, b" " * 300_000).status_code == 413


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_only_values(running: Product, text: str) -> None:
    for name, dimension in DIMENSIONS.items():
        for operator in ("is", "contains", "prefix"):
            if dimension.type == "String" and (name in {"api", "tag", "version"} or operator == "is"):
                condition = {"dimension": name, "operator": operator, "value": text}
                (row,) = rows(running, {"filter": condition})
                assert row == {"hits": 0}
    for field in ("metrics", "dimensions", "zone", "from", "to", "range", "step", "order", "compare", "limit", text):
        answer = post(running, DAY | {field: [text] if field in {"metrics", "dimensions", "order"} else text})
        assert answer.status_code == 400
    assert [row["hits"] for row in rows(running, {})] == [3]


def test_a_token_sees_its_own_only(running: Product) -> None:
    by_api = {"dimensions": ["api"], "order": ["api"], "totals": True}
    everything = {
        "or": [
            {"dimension": "org", "operator": "is_not", "value": ""},
            {"dimension": "code", "operator": "greater", "value": 0},
        ]
    }

    def seen(token: str, query: str = "") -> list[tuple[str, int]]:
        answer = post(running, DAY | by_api | {"filter": everything, "compare": "previous"}, token, query).json()
        assert answer["totals"]["hits"] == sum(row["hits"] for row in answer["rows"])
        return [(row["api"], row["hits"]) for row in answer["rows"]]

    assert seen(TOKEN) == [("api-1", 2), ("api-2", 1)]
    assert seen("of another") == [("api-1", 1)]
    assert seen("one api") == [("api-1", 2)]
    assert seen("no api") == []
    assert seen(ADMIN) == [("api-1", 3), ("api-2", 1)]
    assert seen(ADMIN, f"?org={OTHER}") == [("api-1", 1)]
    assert post(running, DAY, TOKEN, f"?org={OTHER}").status_code == 403
    for token in ("logs only", "nothing"):
        assert post(running, DAY, token).status_code == 403
        assert running.http.get("/api/v1/catalog", headers={"Authorization": token}).status_code == 403
    assert post(running, DAY, "wrong").status_code == 401


def test_the_catalogue_is_what_is_understood(running: Product) -> None:
    found = running.get("/api/v1/catalog")
    assert [one["name"] for one in found["metrics"]] == list(METRICS)
    assert [one["name"] for one in found["dimensions"]] == list(DIMENSIONS)
    assert all(one["meaning"] for kind in ("metrics", "dimensions", "operators", "fields") for one in found[kind])
    for one in found["dimensions"]:
        answer = post(running, DAY | {"dimensions": [one["name"]], "explain": True}).json()
        assert answer["raw_only"] == one["raw_only"], one
    for one in found["metrics"]:
        answer = post(running, DAY | {"metrics": [one["name"]]}).json()
        assert list(answer["rows"][0]) == [one["name"]]


def test_the_description_has_the_catalogues_names(running: Product) -> None:
    described = running.http.get("/openapi.json").json()["paths"]["/api/v1/query"]
    schema = described["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert schema["metrics"]["items"]["enum"] == list(METRICS)
    assert schema["dimensions"]["items"]["enum"] == list(DIMENSIONS)
    assert schema["filter"]["oneOf"][0]["properties"]["operator"]["enum"] == list(OPERATORS)
    assert {of["name"] for of in described["get"]["parameters"]} == {*schema, "org", "format"}


def test_as_many_dimensions_as_the_description_says(running: Product) -> None:
    schema = running.http.get("/openapi.json").json()["paths"]["/api/v1/query"]["post"]["requestBody"]
    most = schema["content"]["application/json"]["schema"]["properties"]["dimensions"]["maxItems"]
    names = list(DIMENSIONS)
    for count, status in ((most, 200), (most + 1, 400)):
        answer = post(running, DAY | {"dimensions": names[:count]}, ADMIN)
        assert answer.status_code == status, answer.text


def test_the_page_has_the_catalogue() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert markdown() in text
    assert page(text) == text


def test_rows_as_a_file(running: Product) -> None:
    formula = Record(timestamp=NOON * SECOND, org_id="of-files", path='=1+"2"', response_code=200, latency_total=40)
    plain = Record(timestamp=NOON * SECOND, org_id="of-files", path="/p", response_code=500, latency_total=50)
    assert running.put(map(to_msgpack, [formula, plain, plain])).stored == 3
    asked = {**DAY, "metrics": ["hits", "latency_histogram"], "dimensions": ["path"], "compare": "previous"}

    def file(form: str, fields: dict[str, Any] = asked) -> bytes:
        answer = post(running, fields, ADMIN, f"?org=of-files&format={form}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-disposition"] == f'attachment; filename="query.{form}"'
        return bytes(answer.content)

    table = list(csv.DictReader(io.StringIO(file("csv").decode())))
    assert [(row["path"], row["hits"], row["earlier.hits"]) for row in table] == [
        ("/p", "2", "0"),
        ('\'=1+"2"', "1", "0"),
    ]
    assert json.loads(table[0]["latency_histogram"]) == [{"from": 50, "to": 51, "hits": 2}]
    lines = [json.loads(line) for line in file("ndjson").splitlines()]
    assert lines == rows(running, asked, ADMIN, "?org=of-files")
    parquet = pq.read_table(io.BytesIO(file("parquet")))
    assert parquet.select(["path", "hits"]).to_pylist() == [{"path": "/p", "hits": 2}, {"path": '=1+"2"', "hits": 1}]
    # Without an order or a limit it is a stream of all rows, in the order of the dimensions.
    streamed = {**DAY, "metrics": ["hits", "latency_histogram"], "dimensions": ["path"]}
    assert file("csv", streamed).decode().splitlines()[1:] == [
        '"/p",2,"[{""from"":50,""to"":51,""hits"":2}]"',
        '"\'=1+""2""",1,"[{""from"":40,""to"":41,""hits"":1}]"',
    ]
    assert [json.loads(line)["path"] for line in file("ndjson", streamed).splitlines()] == ["/p", '=1+"2"']
    nothing = {"from": "2020-01-01", "to": "2020-01-01", "dimensions": ["path"]}
    assert file("csv", nothing).decode().splitlines() == ['"path","hits"']
    by_link = running.http.get(
        "/api/v1/query?org=of-files&format=csv&from=2026-03-01&to=2026-03-01", headers={"Authorization": ADMIN}
    )
    assert by_link.text.splitlines() == ['"hits"', "3"]
    assert post(running, asked, ADMIN, "?format=xml").status_code == 400
