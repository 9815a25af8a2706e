"""Single requests as the Dashboard's log gives them."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from keytrail.query import raw
from keytrail.web import compatible_logs
from tests.oracle.clock import instant_of
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product
from tests.web.conftest import ORG, OTHER
from tests.web.raw import Answer, ask

CASES = Path(__file__).parents[1] / "cases" / "web" / "logs.yaml"
LOGS = "logs only"
A = Record(
    timestamp=instant_of(datetime(2026, 3, 1, 12, tzinfo=UTC)),
    org_id=ORG,
    api_id="api-1",
    api_key="7f3c3ca87376cabe",
    path="/a",
    response_code=200,
)
MANY = replace(A, timestamp=instant_of(datetime(2025, 6, 1, tzinfo=UTC)))
RECORDS = (
    A,
    # On both sides of what is an error.
    replace(A, timestamp=A.timestamp + SECOND // 1000, path="/b", response_code=399),
    replace(A, timestamp=A.timestamp + SECOND, path="/c", api_id="api-2", response_code=400),
    replace(A, timestamp=A.timestamp + 2 * SECOND, path="/graphql", is_graphql=True),
    replace(A, timestamp=A.timestamp + 3 * SECOND, path="/tcp", response_code=-1),
    replace(A, timestamp=A.timestamp + SECOND, path="/theirs", org_id=OTHER),
)
# Several in a ms, so that the order must not rest on the time alone.
CROWD = tuple(replace(MANY, timestamp=MANY.timestamp + n // 7 * 10**6, path=f"/{n}") for n in range(1203))


@pytest.fixture(scope="module", autouse=True)
def _stored(running: Product) -> None:
    lines = [to_json(record).encode() for record in (*RECORDS, *CROWD)]
    assert running.put_lines(lines).stored == len(lines)


def send(running: Product, query: str, token: str = LOGS) -> Answer:
    return ask(running.parts.service.app, f"/api/logs/?{query}", headers={"Authorization": token})


def paths(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    return [record["Path"] for record in json.loads(answer.text)["data"]]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case["name"]) for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))],
)
def test_parameters(running: Product, case: dict[str, Any]) -> None:
    answer = send(running, case["query"])
    body = json.loads(answer.text)
    if "message" in case:
        assert (answer.status, body) == (400, {"Status": "Error", "Message": case["message"], "Meta": None})
        return
    assert paths(answer) == case["paths"]
    assert body["pages"] == case.get("pages", body["pages"])
    assert int(answer.headers["x-total-rows"]) == case.get("total", len(case["paths"]))
    assert answer.headers["content-type"] == "application/json"


def test_a_whole_record(running: Product) -> None:
    """By hand, from the gateway's struct."""
    at = instant_of(datetime(2025, 4, 5, 23, 59, 59, 123000, tzinfo=UTC))
    record = Record(
        timestamp=at + 456_789,
        org_id=ORG,
        api_id="api-9",
        api_name="Nine",
        api_version="v1",
        api_key="7f3c3ca87376cabe",
        alias="Ann",
        oauth_id="client",
        method="POST",
        host="gateway.test",
        path="/items/{id}",
        raw_path="/items/7",
        original_path="/nine/items/7",
        listen_path="/nine/",
        response_code=201,
        content_length=12,
        user_agent="curl/8.5",
        ip_address="192.0.2.7",
        # The gateway's own, in its zone.
        day=6,
        month=4,
        year=2025,
        hour=5,
        request_time=30,
        latency_total=30,
        latency_upstream=20,
        latency_gateway=10,
        country="SE",
        city_geoname_id=2694762,
        city_names=(("de", "Linköping (de)"), ("en", "Linköping")),
        latitude=58.5,
        longitude=15.0,
        location_time_zone="Europe/Stockholm",
        open_connections=1,
        closed_connections=2,
        bytes_in=3,
        bytes_out=4,
        tags=("gold", "eu west"),
        track_path=True,
        expire_at=at + SECOND,
        api_schema="eA==",
        is_mcp=True,
        mcp_method="tools/call",
        mcp_primitive_type="tool",
        mcp_primitive_name="forecast",
    )
    running.put_lines([to_json(record).encode()])
    second = at // SECOND
    answer = send(running, f"start={second}&end={second + 1}")
    wanted = {
        "Method": "POST",
        "Host": "gateway.test",
        "Path": "/items/{id}",
        "RawPath": "/items/7",
        "OriginalPath": "/nine/items/7",
        "ListenPath": "/nine/",
        "ContentLength": 12,
        "UserAgent": "curl/8.5",
        "Day": 5,
        "Month": 4,
        "Year": 2025,
        "Hour": 23,
        "ResponseCode": 201,
        "APIKey": "7f3c3ca87376cabe",
        "TimeStamp": "2025-04-05T23:59:59.123Z",
        "APIVersion": "v1",
        "APIName": "Nine",
        "APIID": "api-9",
        "OrgID": ORG,
        "OauthID": "client",
        "RequestTime": 30,
        "RawRequest": "",
        "RawResponse": "",
        "IPAddress": "192.0.2.7",
        "Geo": {
            "Country": {"ISOCode": "SE"},
            "City": {"Names": {"en": "Linköping"}, "GeoNameID": 2694762},
            "Location": {"Latitude": 58.5, "Longitude": 15, "TimeZone": "Europe/Stockholm"},
        },
        "Network": {"OpenConnections": 1, "ClosedConnection": 2, "BytesIn": 3, "BytesOut": 4},
        "Latency": {"Total": 30, "Upstream": 20, "Gateway": 10},
        "Tags": ["gold", "eu west"],
        "Alias": "Ann",
        "TrackPath": True,
        "ExpireAt": "2025-04-06T00:00:00.123Z",
        "ApiSchema": "eA==",
        "GraphQLStats": {
            "IsGraphQL": False,
            "OperationType": 0,
            "RootFields": [],
            "Types": {},
            "Errors": [],
            "HasErrors": False,
            "Variables": "",
        },
        "MCPStats": {
            "IsMCP": True,
            "JSONRPCMethod": "tools/call",
            "PrimitiveType": "tool",
            "PrimitiveName": "forecast",
        },
    }
    assert json.loads(answer.text) == {"data": [wanted], "pages": 1}
    assert list(json.loads(answer.text)["data"][0]) == list(wanted)
    assert '"Location":{"Latitude":58.5,"Longitude":15,' in answer.text


def test_a_record_without_an_expiry(running: Product) -> None:
    entry = json.loads(send(running, "start=1772366400&end=1772366400").text)["data"][0]
    assert (entry["ExpireAt"], entry["TimeStamp"]) == ("0001-01-01T00:00:00Z", "2026-03-01T12:00:00Z")


CROWDED = f"start={MANY.timestamp // SECOND}&end={MANY.timestamp // SECOND + 1}"


def test_many_records_are_given_whole_and_in_order(running: Product) -> None:
    assert len(CROWD) > 2 * raw.ROWS_AT_ONCE
    got = paths(send(running, f"{CROWDED}&p=-1"))
    assert sorted(got) == sorted(record.path for record in CROWD)
    # Latest first, and the later of a ms in its place too: `n` of a batch is its place.
    assert got == [record.path for record in reversed(CROWD)]


def test_links_lead_through_the_pages(running: Product) -> None:
    answer = send(running, f"{CROWDED}&p=119&api=api-1")
    assert (json.loads(answer.text)["pages"], answer.headers["x-total-rows"]) == (121, "1203")
    assert answer.headers["link"] == f'<?{CROWDED}&api=api-1&p=120>; rel="next"'
    assert paths(answer) == [record.path for record in CROWD[13:23]][::-1]
    last = send(running, f"{CROWDED}&p=121")
    assert "link" not in last.headers
    assert paths(last) == ["/2", "/1", "/0"]


def test_too_many_records_are_refused_and_not_cut(running: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatible_logs, "MOST_RECORDS", 1202)
    answer = send(running, f"{CROWDED}&p=-1")
    message = "1203 records are more than 1202 at once: ask for less time, or page by page"
    assert (answer.status, json.loads(answer.text)["Message"]) == (400, message)
    assert len(paths(send(running, CROWDED))) == 10
    monkeypatch.setattr(compatible_logs, "MOST_RECORDS", 1203)
    assert len(paths(send(running, f"{CROWDED}&p=-1"))) == 1203
