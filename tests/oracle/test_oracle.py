"""The oracle, against the answers that the gateway vendor's own decoder and another database give."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from datetime import date
from functools import cache
from pathlib import Path
from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.oracle.records import CAPTURES, Record, read_capture
from tests.oracle.sums import Where, api_rows, endpoint_rows, error_code_rows, hits_by, key_rows

UNTRACKED_API = "d" * 32
UNTRACKED = ("41351a6a94094da05f75146a695a16f6", "/health")
VERSIONED_API = "9f1c2d3e4b5a69788796a5b4c3d2e1f0"
NO_KEY = "00000000"

Request = tuple[str, str, str, int]

pytestmark = pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)


@cache
def captured(path: Path) -> list[Record]:
    return [record for _, _, record in read_capture(path)]


@cache
def expected(path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(gzip.decompress((path / "expected.json.gz").read_bytes()))
    return answer


@cache
def ledger(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path / "ledger.ndjson.gz", "rt", encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    requests = [entry for entry in entries if "tcp_connections" not in entry]
    tracked = [entry for entry in requests if entry["api"] != UNTRACKED_API]
    return [entry for entry in tracked if (entry["api"], entry["path"]) != UNTRACKED]


def wheres(path: Path) -> Iterable[tuple[dict[str, Any], Where]]:
    """Each organisation's answers, and which records are theirs."""
    days = [date.fromisoformat(day) for day in expected(path)["days"]]
    for org, answers in expected(path)["orgs"].items():
        yield answers, Where(org=org, start=min(days), end=max(days), zone=expected(path)["timezone"])


def test_all_records_are_there(path: Path) -> None:
    records = captured(path)
    assert len(records) == expected(path)["records"]
    assert {record.org_id for record in records} == set(expected(path)["orgs"])


def test_endpoints_of_every_key(path: Path) -> None:
    for answers, where in wheres(path):
        keys = {record.api_key for record in captured(path) if record.org_id == where["org"]}
        rows = {key: endpoint_rows(captured(path), **(where | {"key": key})) for key in keys}
        called = {key: of_key for key, of_key in rows.items() if of_key}
        assert called == answers["endpoints_by_key"]
        assert {row["id"]["key"] for row in key_rows(captured(path), **where)} == set(called)


def test_endpoints_of_every_client(path: Path) -> None:
    for answers, where in wheres(path):
        clients = {record.oauth_id for record in captured(path) if record.org_id == where["org"]} - {""}
        rows = {client: endpoint_rows(captured(path), **(where | {"oauth": client})) for client in clients}
        assert rows == answers["endpoints_by_oauth_client"]


def test_rows_are_written_alike(path: Path) -> None:
    """Not only equal as numbers: also the order of the keys, and no `.0`."""
    for answers, where in wheres(path):
        for key, rows in answers["endpoints_by_key"].items():
            assert json.dumps(endpoint_rows(captured(path), **(where | {"key": key}))) == json.dumps(rows)


def test_apis(path: Path) -> None:
    for answers, where in wheres(path):
        assert api_rows(captured(path), **where) == answers["apis"]


def test_counts_by_dimension(path: Path) -> None:
    records = captured(path)
    for answers, where in wheres(path):
        codes = {str(row["id"]["code"]): row["hits"] for row in error_code_rows(records, **where)}
        assert codes == answers["errors_by_code"]
        assert hits_by(records, lambda record: [record.country], **where) == answers["hits_by_country"]
        assert hits_by(records, lambda record: record.tags, **where) == answers["hits_by_tag"]
        versions = hits_by(records, lambda record: [f"{record.api_id} {record.api_version}"], **where)
        assert versions == answers["hits_by_version"]
        kinds = Counter(record.kind for record in records if record.org_id == where["org"])
        assert kinds == Counter(answers["kinds"])


def test_ledger_agrees_by_request(path: Path) -> None:
    assert Counter(map(_recorded, _hits(path))) == Counter(map(_sent, ledger(path)))


def test_ledger_agrees_by_client(path: Path) -> None:
    sent = Counter((entry["oauth"], *_sent(entry)) for entry in ledger(path) if entry["oauth"])
    assert Counter((hit.oauth_id, *_recorded(hit)) for hit in _hits(path) if hit.oauth_id) == sent


def test_ledger_agrees_by_key(path: Path) -> None:
    """But for OAuth tokens, which have no hash, and unknown versions, refused before the key was seen."""
    sent = Counter((entry["hash"] or NO_KEY, *_sent(entry)) for entry in ledger(path) if not entry["oauth"])
    recorded = Counter((hit.api_key, *_recorded(hit)) for hit in _hits(path) if not hit.oauth_id)
    assert _known_versions(recorded) == _known_versions(sent)


def _hits(path: Path) -> list[Record]:
    return [record for record in captured(path) if record.kind != "tcp"]


def _recorded(record: Record) -> Request:
    # A GraphQL proxy records the path that it asked its upstream for.
    raw_path = "/" if record.kind == "graphql" else record.raw_path
    return record.api_id, record.method, raw_path, record.response_code


def _sent(entry: dict[str, Any]) -> Request:
    # The gateway cleans a path (`/slow/../items`) before it looks at it.
    raw_path = normpath(unquote(urlsplit(entry["path"]).path))
    return entry["api"], entry["method"], raw_path, entry["code"]


def _known_versions(counts: Counter[tuple[Any, ...]]) -> dict[tuple[Any, ...], int]:
    refused = (VERSIONED_API, 403)
    return {request: count for request, count in counts.items() if (request[1], request[-1]) != refused}
