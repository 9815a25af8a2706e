"""Records of a real gateway go in, and what they must add up to comes out, exact to the last field."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.product import Product, product, token_entry

CAPTURES = Path(__file__).parents[1] / "captures"
NAMES = ("msgpack", "msgpack-detailed-graphql-tcp", "protobuf-many-lists")
ORGS = ("5e9d9544a1dcd60001d0ed20", "61f2b7c0a1dcd60001aa11b2")
DAY = "23/11/2026/23/11/2026"


def token_of(org: str) -> str:
    return f"token of {org}"


@pytest.fixture(scope="module", params=NAMES)
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Any]]:
    name = request.param
    tokens = [token_entry(token_of(org), org=org) for org in ORGS]
    with product(tmp_path_factory.mktemp(name), tokens=tokens) as running:
        lines = gzip.decompress((CAPTURES / name / "records.ndjson.gz").read_bytes()).splitlines()
        taken = running.put_lines(lines)
        expected = read_expected(name)
        assert (taken.stored, list(taken.rejected)) == (expected["records"], [])
        yield running, expected


def read_expected(name: str) -> Any:
    return json.loads(gzip.decompress((CAPTURES / name / "expected.json.gz").read_bytes()))


def test_every_key(capture: tuple[Product, Any]) -> None:
    running, expected = capture
    for org, answers in expected["orgs"].items():
        for key, rows in answers["endpoints_by_key"].items():
            got = running.get(f"/api/activity/keys/endpoint/{key}/{DAY}?p=-1", token_of(org))
            assert got == {"data": rows, "pages": 0}


def test_every_oauth_client(capture: tuple[Product, Any]) -> None:
    running, expected = capture
    asked = 0
    for org, answers in expected["orgs"].items():
        for client, rows in answers["endpoints_by_oauth_client"].items():
            got = running.get(f"/api/activity/oauthid/endpoint/{client}/{DAY}?p=-1", token_of(org))
            assert got == {"data": rows, "pages": 0}
            asked += 1
    assert asked >= 2


def test_every_field_stands_in_its_order(capture: tuple[Product, Any]) -> None:
    running, expected = capture
    org = ORGS[0]
    key, rows = next(iter(expected["orgs"][org]["endpoints_by_key"].items()))
    text = running.http.get(f"/api/activity/keys/endpoint/{key}/{DAY}?p=-1", headers={"Authorization": token_of(org)})
    assert text.text == json.dumps({"data": rows, "pages": 0}, separators=(",", ":"), ensure_ascii=False)
