"""What is stored of real traffic, against what the client that made the traffic wrote down for itself."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.product import Product, product

CAPTURES = Path(__file__).parents[1] / "captures"
NAMES = ("msgpack", "msgpack-detailed-graphql-tcp", "protobuf-many-lists")

# These leave no records: an API without analytics, and a path that is set not to be tracked.
UNTRACKED_API = "d" * 32
UNTRACKED = ("41351a6a94094da05f75146a695a16f6", "/health")
# Refuses a version that it does not have before it looks at the key.
VERSIONED_API = "9f1c2d3e4b5a69788796a5b4c3d2e1f0"
NO_KEY = "00000000"

# A GraphQL proxy records the path that it asked its upstream for.
REQUEST = "api_id, method, if(kind = 'graphql', '/', raw_path) AS asked, code"
HITS = "FROM requests WHERE kind != 'tcp'"

Ledger = list[dict[str, Any]]


@pytest.fixture(scope="module", params=NAMES)
def capture(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Product, Ledger]]:
    with product(tmp_path_factory.mktemp(request.param)) as running:
        folder = CAPTURES / request.param
        running.put_lines(gzip.decompress((folder / "records.ndjson.gz").read_bytes()).splitlines())
        yield running, read_ledger(request.param)


def read_ledger(name: str) -> Ledger:
    lines = gzip.decompress((CAPTURES / name / "ledger.ndjson.gz").read_bytes()).splitlines()
    return [json.loads(line) for line in lines]


def requests(ledger: Ledger) -> Ledger:
    """The requests that must have left a record."""
    sent = [entry for entry in ledger if "tcp_connections" not in entry and entry["api"] != UNTRACKED_API]
    return [entry for entry in sent if (entry["api"], entry["path"]) != UNTRACKED]


def of(entry: dict[str, Any]) -> tuple[Any, ...]:
    # The gateway cleans a path (`/slow/../items`) before it looks at it.
    return entry["api"], entry["method"], normpath(unquote(urlsplit(entry["path"]).path)), entry["code"]


def counts(rows: list[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    return Counter({row[:-1]: row[-1] for row in rows})


def test_by_api_method_path_and_code(capture: tuple[Product, Ledger]) -> None:
    running, ledger = capture
    stored = running.query(f"SELECT {REQUEST}, count() {HITS} GROUP BY ALL")
    assert counts(stored) == Counter(map(of, requests(ledger)))


def test_by_oauth_client(capture: tuple[Product, Ledger]) -> None:
    running, ledger = capture
    stored = running.query(f"SELECT oauth_id, {REQUEST}, count() {HITS} AND oauth_id != '' GROUP BY ALL")
    sent = Counter((entry["oauth"], *of(entry)) for entry in requests(ledger) if entry["oauth"])
    assert sent
    assert counts(stored) == sent


def test_by_key(capture: tuple[Product, Ledger]) -> None:
    """But for OAuth tokens, whose hash the client does not know."""
    running, ledger = capture
    refused = f"(api_id = '{VERSIONED_API}' AND code = 403)"
    stored = running.query(
        f"SELECT api_key, {REQUEST}, count() {HITS} AND oauth_id = '' AND NOT {refused} GROUP BY ALL"
    )
    sent = Counter(
        (entry["hash"] or NO_KEY, *of(entry))
        for entry in requests(ledger)
        if not entry["oauth"] and (entry["api"], entry["code"]) != (VERSIONED_API, 403)
    )
    assert len({key for key, *_ in sent}) > 5
    assert counts(stored) == sent


def test_by_rollup(capture: tuple[Product, Ledger]) -> None:
    running, ledger = capture
    sent = Counter((entry["api"], entry["method"], entry["code"]) for entry in requests(ledger))
    for table in ("by_api_15m", "by_api_day", "by_key_15m", "by_key_day"):
        stored = running.query(
            f"SELECT api_id, method, code, sum(records) FROM {table} WHERE kind != 'tcp' GROUP BY ALL"
        )
        assert counts(stored) == sent


def test_connections_are_no_requests(capture: tuple[Product, Ledger]) -> None:
    running, ledger = capture
    connected = any(entry.get("tcp_connections") for entry in ledger)
    codes = running.query("SELECT DISTINCT code FROM requests WHERE kind = 'tcp'")
    assert codes == ([(-1,)] if connected else [])
