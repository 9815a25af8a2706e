"""What the vendor's pump writes elsewhere is read as the records it had: by hand, as its source says."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from keytrail.collect.decode import Wire, decode
from keytrail.collect.flat import csv_rows
from keytrail.collect.lines import parse

CSV = (
    "Method,Host,Path,RawPath,ContentLength,UserAgent,Day,Month,Year,Hour,ResponseCode,APIKey,TimeStamp,APIVersion,"
    "APIName,APIID,OrgID,OauthID,RequestTime,RawRequest,RawResponse,IPAddress,GeoData.Country.ISOCode,"
    "GeoData.City.GeoNameID,GeoData.City.Names,GeoData.Location.Latitude,GeoData.Location.Longitude,"
    "GeoData.Location.TimeZone,NetworkStats.OpenConnections,NetworkStats.ClosedConnection,NetworkStats.BytesIn,"
    "NetworkStats.BytesOut,Latency.Total,Latency.Upstream,Tags,Alias,TrackPath,ExpireAt\n"
    'GET,api.test,/a,"/a,b",12,curl,13,October,2020,13,404,7f3c3ca87376cabe,2020-10-13 13:22:49.667 +0530 IST,v1,'
    "An API,api-1,org-1,client-1,217,,,10.0.0.1,AT,2761369,de:Wien;en:Vienna,48,18446744073709551600,Europe/Vienna,"
    '0,0,0,0,217,215,"key-7f3c3ca87376cabe;two, three",bob,true,2120-09-19 07:52:49.667 +0000 UTC\n'
    ",,,,0,,13,October,2020,13,18446744073709551615,,2020-10-13 07:52:50 +0000 UTC m=+0.1,,,api-2,org-1,,0,,,,,0,,0,0,,"
    "1,1,20,30,0,0,,,false,0001-01-01 00:00:00 +0000 UTC\n"
)
OLD_CSV = (
    "Method,Host,Path,RawPath,ContentLength,UserAgent,Day,Month,Year,Hour,ResponseCode,APIKey,TimeStamp,APIVersion,"
    "APIName,APIID,OrgID,OauthID,RequestTime,RawRequest,RawResponse,IPAddress,Geo,Network,Latency,Tags,Alias,TrackPath,"
    "ExpireAt\n"
    'GET,api.test,/a,"/a,b",12,curl,13,October,2020,13,404,7f3c3ca87376cabe,2020-10-13 13:22:49.667 +0530 IST,v1,'
    "An API,api-1,org-1,client-1,217,,,10.0.0.1,<analytics.GeoData Value>,<analytics.NetworkStats Value>,"
    '<analytics.Latency Value>,"key-7f3c3ca87376cabe;two, three",bob,<bool Value>,2120-09-19 07:52:49.667 +0000 UTC\n'
)
RECORD = {
    "method": "GET",
    "host": "api.test",
    "path": "/a",
    "raw_path": "/a,b",
    "content_length": 12,
    "user_agent": "curl",
    "code": 404,
    "api_key": "7f3c3ca87376cabe",
    "time": "2020-10-13T07:52:49.667000+00:00",
    "api_version": "v1",
    "api_name": "An API",
    "api_id": "api-1",
    "org_id": "org-1",
    "oauth_id": "client-1",
    "request_time": 217,
    "latency": 217,
    "upstream_latency": 215,
    "ip": "10.0.0.1",
    "country": "AT",
    "city": "Vienna",
    "city_id": 2761369,
    "latitude": 48.0,
    "longitude": -16.0,
    "geo_zone": "Europe/Vienna",
    "tags": ["key-7f3c3ca87376cabe", "two, three"],
    "alias": "bob",
    "track_path": True,
    "expire_at": "2120-09-19T07:52:49.667000+00:00",
}
TCP = {
    "code": -1,
    "time": "2020-10-13T07:52:50+00:00",
    "api_id": "api-2",
    "org_id": "org-1",
    "open_connections": 1,
    "closed_connections": 1,
    "network_bytes_in": 20,
    "network_bytes_out": 30,
}
SNAKE: dict[str, Any] = {
    "method": "GET",
    "host": "api.test",
    "path": "/a",
    "raw_path": "/a,b",
    "content_length": 12,
    "user_agent": "curl",
    "day": 13,
    "month": 10,
    "year": 2020,
    "hour": 13,
    "response_code": 404,
    "api_key": "7f3c3ca87376cabe",
    "timestamp": "2020-10-13T13:22:49.667+05:30",
    "api_version": "v1",
    "api_name": "An API",
    "api_id": "api-1",
    "org_id": "org-1",
    "oauth_id": "client-1",
    "request_time": 217,
    "raw_request": "",
    "raw_response": "",
    "ip_address": "10.0.0.1",
    "geo": {
        "country": {"iso_code": "AT"},
        "city": {"geoname_id": 2761369, "names": {"de": "Wien", "en": "Vienna"}},
        "location": {"latitude": 48, "longitude": -16, "time_zone": "Europe/Vienna"},
    },
    "network": {"open_connections": 0, "closed_connections": 0, "bytes_in": 0, "bytes_out": 0},
    "latency": {"total": 217, "upstream": 215},
    "tags": ["key-7f3c3ca87376cabe", "two, three"],
    "alias": "bob",
    "track_path": True,
    "expireAt": "2120-09-19T07:52:49.667Z",
}
LOGGED = {"level": "info", "msg": "", "time": "0001-01-01T00:00:00Z", "tyk-analytics-record": SNAKE}


def exported(whole: Callable[[int], Any], real: Callable[[float], Any], expires: Any) -> dict[str, Any]:
    """A document of the pump's collection as `mongoexport` writes it."""
    return {
        "_id": {"$oid": "5f855b01a1dcd60001aa11b2"},
        "method": "GET",
        "host": "api.test",
        "path": "/a",
        "rawpath": "/a,b",
        "contentlength": whole(12),
        "useragent": "curl",
        "day": whole(13),
        "month": whole(10),
        "year": whole(2020),
        "hour": whole(13),
        "responsecode": whole(404),
        "apikey": "7f3c3ca87376cabe",
        "timestamp": {"$date": "2020-10-13T07:52:49.667Z"},
        "apiversion": "v1",
        "apiname": "An API",
        "apiid": "api-1",
        "orgid": "org-1",
        "oauthid": "client-1",
        "requesttime": whole(217),
        "rawrequest": "",
        "rawresponse": "",
        "ipaddress": "10.0.0.1",
        "geo": {
            "country": {"isocode": "AT"},
            "city": {"geonameid": whole(2761369), "names": {"de": "Wien", "en": "Vienna"}},
            "location": {"latitude": real(48.0), "longitude": real(-16.0), "timezone": "Europe/Vienna"},
        },
        "network": {
            "openconnections": whole(0),
            "closedconnection": whole(0),
            "bytesin": whole(0),
            "bytesout": whole(0),
        },
        "latency": {"total": whole(217), "upstream": whole(215)},
        "tags": ["key-7f3c3ca87376cabe", "two, three"],
        "alias": "bob",
        "trackpath": True,
        "expireAt": expires,
    }


RELAXED = exported(lambda number: number, lambda number: number, {"$date": "2120-09-19T07:52:49.667Z"})
CANONICAL = exported(
    lambda number: {"$numberInt": str(number)},
    lambda number: {"$numberDouble": str(number)},
    {"$date": {"$numberLong": "4756175569667"}},
)
SQL = (
    "method,host,path,rawpath,contentlength,useragent,responsecode,apikey,timestamp,apiversion,apiname,apiid,orgid,"
    "oauthid,requesttime,ipaddress,alias,trackpath\n"
    'GET,api.test,/a,"/a,b",12,curl,404,7f3c3ca87376cabe,2020-10-13 07:52:49.667+00,v1,An API,api-1,org-1,client-1,217,'
    "10.0.0.1,bob,t\n"
)
KAFKA = {key: value for key, value in SNAKE.items() if not isinstance(value, dict) and key != "request_time"}
KAFKA["request_time_ms"] = 217


def stored(lines: list[bytes]) -> list[dict[str, Any]]:
    """Rows that lines become, without zero values."""
    decoded = decode(parse(lines).blobs[Wire.JSON][0], Wire.JSON)
    assert decoded.rejected == []
    rows = []
    for row in decoded.table.to_pylist():
        for name in ("time", "expire_at"):
            row[name] = row[name].isoformat() if row[name].timestamp() else None
        rows.append({name: value for name, value in row.items() if value})
    return rows


def from_csv(text: str) -> list[dict[str, Any]]:
    return stored([line for _, line in csv_rows(iter(text.splitlines(keepends=True)), "x")])


def test_csv() -> None:
    assert from_csv(CSV) == [RECORD, TCP]


def test_csv_of_older_pumps() -> None:
    absent = {
        "latency",
        "upstream_latency",
        "country",
        "city",
        "city_id",
        "latitude",
        "longitude",
        "geo_zone",
        "track_path",
    }
    assert from_csv(OLD_CSV) == [{name: value for name, value in RECORD.items() if name not in absent}]


@pytest.mark.parametrize("document", [SNAKE, LOGGED, RELAXED, CANONICAL], ids=["http", "stdout", "mongo", "canonical"])
def test_json(document: dict[str, Any]) -> None:
    assert stored([json.dumps(document).encode()]) == [RECORD]


def test_sql() -> None:
    absent = {"latency", "upstream_latency", "country", "tags", "expire_at"}
    absent |= {name for name in RECORD if name.startswith(("city", "lat", "long", "geo"))}
    assert from_csv(SQL) == [{name: value for name, value in RECORD.items() if name not in absent}]


def test_kafka() -> None:
    (row,) = stored([json.dumps(KAFKA).encode()])
    assert (row["request_time"], row["api_key"], row["code"]) == (217, "7f3c3ca87376cabe", 404)


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"timestamp": {"$date": {"$numberLong": "x"}}}, "timestamp: not an RFC 3339 time"),
        ({"timestamp": {"$date": {"$numberLong": "9" * 30}}}, "timestamp: not an RFC 3339 time"),
        ({"responsecode": {"$numberInt": None}}, "response_code: not a whole number"),
        ({"timestamp": None}, "no time stamp"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], detail: str) -> None:
    line = json.dumps({**RELAXED, **changed}).encode()
    (rejected,) = decode(parse([line]).blobs[Wire.JSON][0], Wire.JSON).rejected
    assert rejected.detail == detail


@pytest.mark.parametrize("line", [b'{"responsecode":', b'{"tyk-analytics-record":1}', b'{"tyk-analytics-record":'])
def test_broken_lines_are_rejected(line: bytes) -> None:
    blobs = parse([line]).blobs[Wire.JSON][0]
    assert len(decode(blobs, Wire.JSON).rejected) == 1
