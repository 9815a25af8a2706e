"""The whole compatible family over records of a real gateway, against three that know better than we do.

What the client wrote down itself (the ledger), what another database made of the records (`expected.json`), and plain
sums over the records (`tests/oracle/sums.py`).
"""

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.acceptance.test_ledger import NO_KEY, VERSIONED_API, requests
from tests.oracle import sums
from tests.oracle.clock import rfc3339
from tests.oracle.record import SECOND, Record
from tests.oracle.records import read_capture, to_msgpack
from tests.product import ADMIN, Product, product, token_entry

CAPTURES = Path(__file__).parents[1] / "captures"
NAMES = ("msgpack", "msgpack-detailed-graphql-tcp", "protobuf-many-lists")
ORGS = ("5e9d9544a1dcd60001d0ed20", "61f2b7c0a1dcd60001aa11b2")
DAY = "23/11/2026/23/11/2026"
# It records the path and, where a request parses, the kind that it made of it; the client can't know.
GRAPHQL_API = "6772617068716c6170690000000000aa"
START, END = (int(datetime(2026, 11, day, tzinfo=UTC).timestamp()) for day in (23, 24))


@dataclass(frozen=True)
class Capture:
    running: Product
    expected: Any
    ledger: list[dict[str, Any]]
    records: list[Record]

    def get(self, path: str, org: str) -> Any:
        return self.running.get(path, f"token of {org}")

    def rows(self, path: str, org: str) -> Any:
        answer = self.get(f"{path}{'&' if '?' in path else '?'}p=-1", org)
        assert answer["pages"] == 0
        return answer["data"]


@pytest.fixture(scope="module", params=NAMES)
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    folder = CAPTURES / request.param
    tokens = [token_entry(f"token of {org}", org=org, permissions=["analytics", "logs"]) for org in ORGS]
    tokens.append(token_entry(ADMIN, org="*", permissions=["admin"]))
    with product(tmp_path_factory.mktemp(request.param), tokens=tokens) as running:
        running.put_lines(gzip.decompress((folder / "records.ndjson.gz").read_bytes()).splitlines())
        expected, ledger = (
            gzip.decompress((folder / name).read_bytes()) for name in ("expected.json.gz", "ledger.ndjson.gz")
        )
        yield Capture(
            running,
            json.loads(expected)["orgs"],
            [json.loads(line) for line in ledger.splitlines()],
            [record for _, _, record in read_capture(folder)],
        )


def where(org: str) -> Any:
    return {"org": org, "start": date(2026, 11, 23), "end": date(2026, 11, 23), "zone": "UTC"}


def hits(rows: Any, part: str) -> Counter[Any]:
    return Counter({row["id"][part]: row["hits"] for row in rows})


@pytest.mark.parametrize("org", ORGS)
def test_every_api(capture: Capture, org: str) -> None:
    rows = capture.rows(f"/api/usage/apis/{DAY}?by=Hits&sort=1", org)
    assert rows == capture.expected[org]["apis"]
    for row in rows:
        assert capture.rows(f"/api/usage/apis/{row['id']['api_id']}/{DAY}", org) == [row]


@pytest.mark.parametrize("org", ORGS)
def test_every_error(capture: Capture, org: str) -> None:
    rows = capture.rows(f"/api/errors/count/{DAY}", org)
    assert hits(rows, "code") == {int(code): n for code, n in capture.expected[org]["errors_by_code"].items()}
    assert rows == sums.error_code_rows(capture.records, **where(org))


@pytest.mark.parametrize("org", ORGS)
def test_every_key(capture: Capture, org: str) -> None:
    rows = capture.rows(f"/api/activity/keys/{DAY}", org)
    assert rows == sums.key_rows(capture.records, **where(org))
    assert {row["id"]["key"] for row in rows} == set(capture.expected[org]["endpoints_by_key"])
    for row in rows[:5]:
        key = row["id"]["key"]
        named = capture.rows(f"/api/activity/keys/{key}/{DAY}", org)
        assert named == sums.endpoint_rows(capture.records, api_names=True, key=key, **where(org))
        unnamed = [{**one, "id": {**one["id"], "api_name": ""}} for one in named]
        assert unnamed == capture.expected[org]["endpoints_by_key"][key]
        (month,) = capture.rows(f"/api/activity/keys/{key}/{DAY}?res=month", org)
        assert month["hits"] == row["hits"]


@pytest.mark.parametrize("org", ORGS)
def test_every_client(capture: Capture, org: str) -> None:
    rows = capture.rows(f"/api/activity/oauthid/{DAY}", org)
    assert rows == sums.client_rows(capture.records, **where(org))
    for row in rows:
        client = row["id"]["key"]
        named = capture.rows(f"/api/activity/oauthid/{client}/{DAY}", org)
        assert named == sums.endpoint_rows(capture.records, api_names=True, oauth=client, **where(org))


@pytest.mark.parametrize("org", ORGS)
@pytest.mark.parametrize("res", ["hour", "day", "month"])
def test_series(capture: Capture, org: str, res: Any) -> None:
    rows = capture.rows(f"/api/usage/{DAY}?res={res}", org)
    assert rows == sums.series_rows(capture.records, res=res, **where(org))
    keys = sorted(capture.expected[org]["endpoints_by_key"])[:3]
    together = capture.rows(f"/api/activity/keys/aggregate/{','.join(keys)},/{DAY}?res={res}", org)
    assert together == sums.series_rows(capture.records, res=res, keys=keys, **where(org))


@pytest.mark.parametrize("org", ORGS)
def test_tags(capture: Capture, org: str) -> None:
    for tag, number in list(capture.expected[org]["hits_by_tag"].items())[:6]:
        (total,) = capture.rows(f"/api/usage/{DAY}?res=month&tags={tag}", org)
        assert total["hits"] == number


# Against what the client wrote down.


def sent(capture: Capture) -> list[dict[str, Any]]:
    return [entry for entry in requests(capture.ledger) if entry["api"] != GRAPHQL_API]


def of_all(capture: Capture, path: str) -> Any:
    return capture.running.get(f"{path}{'&' if '?' in path else '?'}p=-1", ADMIN)["data"]


def test_apis_and_codes_as_the_client_counted(capture: Capture) -> None:
    apis = Counter(entry["api"] for entry in sent(capture))
    got = hits(of_all(capture, f"/api/usage/apis/{DAY}"), "api_id")
    got.pop(GRAPHQL_API, None)
    assert got == apis
    for api in apis:
        codes = Counter(entry["code"] for entry in sent(capture) if entry["api"] == api and entry["code"] >= 400)
        assert hits(of_all(capture, f"/api/errors/count/{DAY}?api_id={api}"), "code") == codes


def test_clients_as_the_client_counted(capture: Capture) -> None:
    clients = Counter(entry["oauth"] for entry in sent(capture) if entry["oauth"])
    assert hits(of_all(capture, f"/api/activity/oauthid/{DAY}"), "key") == clients
    assert clients


def test_keys_as_the_client_counted(capture: Capture) -> None:
    """Of the APIs where the client knows every hash, and the key is looked at before a request is refused."""
    known = {entry["api"] for entry in sent(capture)} - {entry["api"] for entry in sent(capture) if entry["oauth"]}
    known -= {VERSIONED_API}
    assert len(known) > 2
    for api in known:
        keys = Counter(entry["hash"] or NO_KEY for entry in sent(capture) if entry["api"] == api)
        assert hits(of_all(capture, f"/api/activity/keys/{DAY}?api_id={api}"), "key") == keys


# Single requests.


def as_logged(record: Record) -> dict[str, Any]:
    """A record as the gateway packs it, with what a log entry has in other words or in less detail."""
    wire: dict[str, Any] = msgpack.unpackb(to_msgpack(record))
    del wire["CollectionName"]
    at = datetime.fromtimestamp(record.timestamp // SECOND, UTC)
    wire |= {"Day": at.day, "Month": at.month, "Year": at.year, "Hour": at.hour}
    for name, instant in (("TimeStamp", record.timestamp), ("ExpireAt", record.expire_at)):
        wire[name] = rfc3339(instant // 10**6 * 10**6, "UTC")
    wire |= {"Tags": list(record.tags), "OriginalPath": record.original_path, "ListenPath": record.listen_path}
    names = dict(record.city_names)
    wire["Geo"]["City"]["Names"] = {"en": names["en"]} if names else {}
    # Go writes a whole number without a point.
    wire["Geo"]["Location"] |= {
        name: int(degrees) if degrees.is_integer() else degrees
        for name, degrees in (("Latitude", record.latitude), ("Longitude", record.longitude))
    }
    wire["Latency"]["Gateway"] = record.latency_gateway
    graphql = wire["GraphQLStats"]
    graphql |= {"RootFields": graphql["RootFields"] or [], "Errors": graphql["Errors"] or []}
    graphql["Types"] = {name: sorted(fields) for name, fields in record.graphql_types}
    wire["MCPStats"] = {"IsMCP": False, "JSONRPCMethod": "", "PrimitiveType": "", "PrimitiveName": ""}
    return wire


def without_recorded(entry: dict[str, Any]) -> str:
    # Credentials are taken out of a recorded request; `test_secrets.py` tells how.
    recorded = {name: bool(entry[name]) for name in ("RawRequest", "RawResponse")}
    return json.dumps(entry | recorded, sort_keys=True)


@pytest.mark.parametrize("org", ORGS)
def test_every_record(capture: Capture, org: str) -> None:
    entries = capture.rows(f"/api/logs/?start={START}&end={END}", org)
    wanted = [as_logged(record) for record in capture.records if record.org_id == org]
    assert sorted(map(without_recorded, entries)) == sorted(map(without_recorded, wanted))
    recorded = [base64.b64decode(entry["RawRequest"]) for entry in entries if entry["RawRequest"]]
    assert all(b" HTTP/1.1\r\n" in text for text in recorded)
    times = [entry["TimeStamp"] for entry in entries]
    assert times == sorted(times, key=datetime.fromisoformat, reverse=True)


def test_pages_of_records_are_all_of_them(capture: Capture) -> None:
    everything = capture.rows(f"/api/logs?start={START}&end={END}&errors=1", ORGS[0])
    wanted = [record for record in capture.records if record.org_id == ORGS[0] and record.response_code >= 400]
    assert len(everything) == len(wanted)
    paged, page, pages = [], 0, 1
    while page < min(pages, 8):
        page += 1
        answer = capture.get(f"/api/logs?start={START}&end={END}&errors=1&p={page}", ORGS[0])
        pages = answer["pages"]
        paged += answer["data"]
    assert pages == -(-len(wanted) // 10)
    assert paged == everything[: len(paged)]
    assert len(paged) >= 20
