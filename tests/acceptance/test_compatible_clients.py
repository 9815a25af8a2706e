"""Requests as existing clients of the Dashboard send them, byte for byte, to a server that runs."""

import gzip
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from keytrail.web.auth import hash_token
from tests.cli.command import SECONDS, run, server

CAPTURES = Path(__file__).parents[1] / "captures" / "msgpack"
ORG = "5e9d9544a1dcd60001d0ed20"
TOKEN = "7a7b140f-2480-4d5a-4e78-24049e3ba7f8"
DAY = "23/11/2026/23/11/2026"
EXPECTED = json.loads(gzip.decompress((CAPTURES / "expected.json.gz").read_bytes()))["orgs"][ORG]
KEYS = sorted(EXPECTED["endpoints_by_key"])
HITS = {key: sum(row["hits"] for row in rows) for key, rows in EXPECTED["endpoints_by_key"].items()}
CLIENTS = {key: sum(row["hits"] for row in rows) for key, rows in EXPECTED["endpoints_by_oauth_client"].items()}
APIS = [(row["id"]["api_id"], row["hits"]) for row in EXPECTED["apis"]]
BOTH = HITS[KEYS[0]] + HITS[KEYS[1]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    entry = (
        f'[[tokens]]\nname = "portal"\nsha256 = "{hash_token(TOKEN)}"\norg = "{ORG}"\n'
        'permissions = ["analytics", "logs"]\n'
    )
    with server(home / "data", home, settings=entry) as (_, url):
        imported = run("import", "--data", home / "data", CAPTURES / "records.ndjson.gz", home=home)
        assert imported.status == 0, imported
        yield url


def get(address: str, target: str, *headers: str) -> tuple[int, Any]:
    """Status and JSON of a request whose lines stand on the wire as they stand here."""
    where = urlsplit(address)
    lines = [f"GET {target} HTTP/1.1", f"Host: {where.netloc}", "Connection: close", *headers, "", ""]
    with socket.create_connection((where.hostname, where.port), SECONDS) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        pieces = []
        while body:
            size, _, body = body.partition(b"\r\n")
            pieces.append(body[: int(size, 16)])
            body = body[int(size, 16) + 2 :]
        body = b"".join(pieces)
    return int(head.split()[1]), json.loads(body)


def hits(rows: Any, part: str) -> dict[str, int]:
    return {row["id"][part]: row["hits"] for row in rows}


@pytest.mark.parametrize(
    "header",
    [
        f"authorization: {TOKEN}",
        f"Authorization: {TOKEN}",
        f"authorization:{TOKEN}",
        f"AUTHORIZATION: Bearer {TOKEN}",
        f"Authorization: bearer {TOKEN}",
    ],
)
def test_every_way_to_say_who_asks(address: str, header: str) -> None:
    status, body = get(address, f"/api/activity/keys/{DAY}?p=-1", header)
    assert (status, body["pages"]) == (200, 0)
    assert hits(body["data"], "key") == HITS


@pytest.mark.parametrize("header", ["X-Nothing: 1", "authorization:", "authorization: wrong", f"cookie: {TOKEN}"])
def test_nobody_else(address: str, header: str) -> None:
    refused = (401, {"Status": "Error", "Message": "Not authorised", "Meta": None})
    assert get(address, f"/api/usage/apis/{DAY}?by=Hits&sort=1&p=-1", header) == refused


FORMS = {
    # What is asked, and the hits that must come out, row by row; steps of the one day add up to the day.
    f"/api/activity/keys/{KEYS[0]}/{DAY}?res=day&p=-1&tags=": [HITS[KEYS[0]]],
    f"/api/activity/keys/{KEYS[0]}/{DAY}?res=month&p=-1&tags=&api_id=&api_version=": [HITS[KEYS[0]]],
    f"/api/activity/keys/aggregate/{KEYS[0]},{KEYS[1]},/{DAY}?p=-1&res=day": [BOTH],
    f"/api/activity/keys/aggregate/{KEYS[0]}%2C{KEYS[1]}/{DAY}?p=-1&res=day": [BOTH],
    f"/api/activity/keys/aggregate/{KEYS[0]},{KEYS[1]},/{DAY}?api_id=&api_version=&p=-1&res=month": [BOTH],
    f"/api/usage/apis/{DAY}?by=Hits&sort=1&p=-1": [n for _, n in APIS],
    f"/api/usage/apis/{DAY}?by=Hits&sort=1&p=0": [n for _, n in APIS],
    f"/api/usage/apis/{DAY}?by=Hits&sort=-1&p=0": sorted(n for _, n in APIS),
    f"/api/usage/apis/{DAY}": [n for _, n in APIS],
    f"/api/usage/apis/{APIS[0][0]}/{DAY}?by=Hits&sort=1&p=-1": [APIS[0][1]],
    f"/api/usage/{DAY}?res=day&p=-1": [sum(n for _, n in APIS)],
    f"/api/usage/{DAY}": [sum(n for _, n in APIS)],
    f"/api/errors/count/{DAY}?res=day&p=-1": [sum(EXPECTED["errors_by_code"].values())],
    f"/api/errors/count/{DAY}?res=day&p=-1&api_version=Non%20Versioned&api_id=nobody": [0],
    f"/api/activity/oauthid/{DAY}?p=-1": sorted(CLIENTS.values(), reverse=True),
    f"/api/activity/oauthid/{min(CLIENTS)}/{DAY}?res=day": [CLIENTS[min(CLIENTS)]],
    f"/api/activity/keys/endpoint/{KEYS[1]}/{DAY}": [row["hits"] for row in EXPECTED["endpoints_by_key"][KEYS[1]]],
}


@pytest.mark.parametrize("target", FORMS)
def test_forms_of_clients(address: str, target: str) -> None:
    path, _, query = target.partition("?")
    tidy = f"{path}?{query}"
    # As written, with a slash too many at the end or within, and without the leading one's care.
    for form in (target, f"{path}/?{query}", f"{path.replace('/', '//')}?{query}&", tidy.replace("?", "//?&")):
        status, body = get(address, form, f"authorization: {TOKEN}")
        assert status == 200, form
        assert [row["hits"] for row in body["data"]] == FORMS[target], form


@pytest.mark.parametrize("days", [DAY, "023/011/02026/23/11/2026/", "23//11/2026/23/11/2026", "22/11/2026/01/12/2026"])
def test_dates_padded_or_not(address: str, days: str) -> None:
    status, body = get(address, f"/api/activity/keys/{days}?p=-1", f"authorization: {TOKEN}")
    assert status == 200
    assert hits(body["data"], "key") == HITS


def test_records_of_a_day(address: str) -> None:
    start, end = 1795392000, 1795478399
    # The last two as of a script that waits for the records of a test, and of a client that takes us for a proxy.
    for target in (
        f"/api/logs/?start={start}&end={end}&p=-1",
        f"/api/logs?start={start}&end={end}&p=-1",
        f"//api/logs//?start={start}&end={end}&p=-1",
        f"/api/logs/?start={start}&p=-1",
        f"http://gateway.test:3000/api/logs/?start={start}&p=-1",
    ):
        status, body = get(address, target, f"authorization: {TOKEN}")
        assert (status, body["pages"]) == (200, 0)
        assert len(body["data"]) == sum(EXPECTED["kinds"].values())
    status, body = get(address, f"/api/logs/?start={start}&end={end}&p=0&errors=1", f"authorization: {TOKEN}")
    codes = [record["ResponseCode"] for record in body["data"]]
    rest = [record for record in body["data"] if not record["GraphQLStats"]["IsGraphQL"]]
    assert min(codes) >= 400
    assert len(rest) == sum(EXPECTED["errors_by_code"].values())


EXAMPLES = re.findall(
    r'^    curl -H "Authorization: \$TOKEN" "\$URL(/api/(?:activity|usage|errors|logs).*)"$',
    (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize("target", EXAMPLES)
def test_examples_of_the_documentation(address: str, target: str) -> None:
    """They give something on the capture that they are about, which has no MCP requests."""
    csv = target.replace("type=csv", "type=")
    status, body = get(address, csv, f"authorization: {TOKEN}")
    assert status == 200
    assert bool(body["data"]) != ("/mcp/" in target)


def test_every_endpoint_has_an_example(address: str) -> None:
    _, description = get(address, "/openapi.json")
    family = [path for path in description["paths"] if re.match(r"/api/(activity|usage|errors|logs)", path)]
    asked = ["/" + "/".join(filter(None, target.partition("?")[0].split("/"))) for target in EXAMPLES]
    without = [path for path in family if not any(re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), one) for one in asked)]
    assert without == []
    assert len(family) >= 16
