"""Every endpoint of the compatible family, as data: stored records, a request, and the whole answer."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.oracle.clock import instant_of
from tests.oracle.records import Record, to_json
from tests.oracle.sums import COUNTERS, ID
from tests.product import TOKEN, Product
from tests.web.conftest import ORG, OTHER
from tests.web.raw import ask

CASES = Path(__file__).parents[1] / "cases" / "compatible"
FILES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CASES.glob("*.yaml"))}
NO_NUMBERS = (0, 0, 0, "0001-01-01T00:00:00Z", 0, 0, 0, 0, 0, 0, 0)
PLAIN = {
    "api": "api_id",
    "name": "api_name",
    "version": "api_version",
    "key": "api_key",
    "client": "oauth_id",
    "code": "response_code",
    "graphql": "is_graphql",
}


def to_record(given: dict[str, Any]) -> Record:
    """A record of a case."""
    given = dict(given)
    at = datetime.fromisoformat(given.pop("at")).replace(tzinfo=UTC)
    request_time, latency, upstream = given.pop("took", (0, 0, 0))
    record = Record(
        timestamp=instant_of(at),
        org_id={"own": ORG, "other": OTHER}[given.pop("org", "own")],
        method=given.pop("method", "GET"),
        request_time=request_time,
        latency_total=latency,
        latency_upstream=upstream,
        tags=tuple(given.pop("tags", ())),
        track_path=given.pop("tracked", True),
    )
    if stats := given.pop("mcp", None):
        method, kind, name = stats
        record = replace(record, is_mcp=True, mcp_method=method, mcp_primitive_type=kind, mcp_primitive_name=name)
    return replace(record, **{PLAIN.get(name, name): value for name, value in given.items()})


def to_row(case: list[Any], extra: dict[str, str]) -> dict[str, Any]:
    """A row of a case with all its keys."""
    parts, *numbers = case
    return {"id": ID | extra | parts} | dict(zip(COUNTERS, numbers or NO_NUMBERS, strict=True))


@pytest.fixture(scope="module", autouse=True)
def _stored(running: Product) -> None:
    records = [to_record(given) for file in FILES.values() for given in file["records"]]
    assert running.put_lines([to_json(record).encode() for record in records]).stored == len(records)


@pytest.mark.parametrize(
    ("case", "extra"),
    [
        pytest.param(case, file.get("extra", {}), id=f"{name}: {case['name']}")
        for name, file in FILES.items()
        for case in file["cases"]
    ],
)
def test_cases(running: Product, case: dict[str, Any], extra: dict[str, str]) -> None:
    answer = ask(running.parts.service.app, case["request"], headers={"Authorization": case.get("token", TOKEN)})
    body = json.loads(answer.text)
    if "message" in case:
        assert (answer.status, body) == (
            case.get("status", 400),
            {"Status": "Error", "Message": case["message"], "Meta": None},
        )
        return
    assert answer.status == 200
    expected = {"data": [to_row(row, extra) for row in case["rows"]], "pages": case["pages"]}
    # As text: the order of the keys and 1 for 1.0 matter too.
    assert answer.text == json.dumps(expected, separators=(",", ":"), ensure_ascii=False)
    assert int(answer.headers["x-total-rows"]) == case.get("total", len(case["rows"]))
