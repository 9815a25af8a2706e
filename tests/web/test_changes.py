"""What changed, over HTTP: the same by GET and POST, named faults, tenancy, and its description."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from keytrail.query.changes_question import CHANGES_FIELDS
from tests.oracle.records import SECOND, Record, to_msgpack
from tests.oracle.spread import thin
from tests.product import ADMIN, TOKEN, Product
from tests.web.conftest import ORG, OTHER

NOON = 1772366400  # 2026-03-01 12:00 UTC
HOUR = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z"}
DOCS = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module", autouse=True)
def stocked(running: Product) -> None:
    def failures(org: str, api: str, since: int) -> list[bytes]:
        fields: dict[str, Any] = {"org_id": org, "api_id": api, "api_key": "aaaaaaaa", "path": "/a"}
        return [
            to_msgpack(Record(timestamp=(NOON + second) * SECOND, response_code=502, **fields))
            for second in range(since, 3600, 60)
        ]

    blobs = failures(ORG, "api-1", 600) + failures(ORG, "api-2", 1800) + failures(OTHER, "api-1", 0)
    assert running.put(blobs).stored == 50 + 30 + 60


def post(running: Product, fields: Any, token: str = TOKEN, query: str = "") -> Any:
    body = json.dumps(fields).encode()
    return running.http.post(f"/api/v1/changes{query}", content=body, headers={"Authorization": token})


def test_by_body_and_by_link(running: Product) -> None:
    condition = {"dimension": "api", "operator": "is", "value": "api-1"}
    baseline = {"from": "2026-03-01T11:00:00Z", "to": "2026-03-01T12:00:00Z"}
    fields = HOUR | {"zone": "Asia/Kolkata", "filter": condition, "baseline": baseline, "least_hits": 50}
    found = post(running, fields).json()
    assert found["range"] == {
        "from": "2026-03-01T17:30:00.000+05:30",
        "to": "2026-03-01T18:30:00.000+05:30",
        "zone": "Asia/Kolkata",
    }
    assert found["baseline"] == {"from": "2026-03-01T16:30:00.000+05:30", "to": "2026-03-01T17:30:00.000+05:30"}
    (row,) = found["errors"]["rows"]
    assert (row["key"], row["api"], row["path"], row["code_class"]) == ("aaaaaaaa", "api-1", "/a", "5xx")
    assert (row["contribution"], row["share"], row["origin"]) == (50, 1, "gateway")
    assert row["since"] == "2026-03-01T17:40:00.000+05:30"
    assert found["judged"] == {"groups": 1, "judged": 1, "least_hits": 50, "least_sigma": 3}
    # Nothing was there before.
    assert (found["latency"]["rows"], found["latency"]["change"]) == ([], None)
    parameters = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    linked = running.http.get("/api/v1/changes", params=parameters, headers={"Authorization": TOKEN})
    assert linked.json() == found


def test_the_page_tells_of_what_is_spread_thinly(running: Product) -> None:
    noon = NOON + 86_400
    assert running.put([to_msgpack(record) for record in thin(ORG, noon)]).stored == 2_000

    def page(**more: str) -> str:
        hour = {"from": "2026-03-02T12:00:00Z", "to": "2026-03-02T13:00:00Z"}
        fields = hour | {"api": "thin", "panel": "verdict"} | more
        answer = running.http.get("/changes", params=fields, headers={"Authorization": TOKEN})
        assert answer.status_code == 200
        return " ".join(re.sub(r"<[^>]*>", "", answer.text).split())

    assert "120 more errors than expected (160 instead of 40), spread so thinly" in page()
    p95 = re.search(r"slower: p95 (\d+) ms → (\d+) ms, spread so thinly", page())
    assert p95
    assert [int(ms) for ms in p95.groups()] == pytest.approx([100, 400], rel=0.02)
    # The way that nobody asked for, and errors where there was nothing before.
    assert "Nothing stands out" in page(direction="better")
    before = {"from": "2026-03-02T11:00:00Z", "to": "2026-03-02T12:00:00Z"}
    assert "Nothing to compare with" in page(**before)
    # Where nothing is any more, nothing got better either.
    after = {"from": "2026-03-02T13:00:00Z", "to": "2026-03-02T14:00:00Z"}
    assert "There is no request in this range" in page(direction="better", **after)


def test_a_token_sees_its_own_only(running: Product) -> None:
    def seen(token: str, query: str = "") -> list[tuple[str, int]]:
        answer = post(running, HOUR, token, query).json()["errors"]
        assert answer["now"] == sum(row["errors"] for row in answer["rows"])
        return [(row["api"], row["errors"]) for row in answer["rows"]]

    assert seen(TOKEN) == [("api-1", 50), ("api-2", 30)]
    assert seen("of another") == [("api-1", 60)]
    assert seen("one api") == [("api-1", 50)]
    assert seen("no api") == []
    assert seen(ADMIN, f"?org={OTHER}") == [("api-1", 60)]
    assert post(running, HOUR, TOKEN, f"?org={OTHER}").status_code == 403
    for token, status in (("logs only", 403), ("nothing", 403), ("wrong", 401)):
        assert post(running, HOUR, token).status_code == status


@pytest.mark.parametrize("fields", [[], {"baseline": 5}, {"filter": {}}, {"limit": "many"}, {"of": 1}])
def test_faults_are_named(running: Product, fields: Any) -> None:
    answer = post(running, fields)
    assert answer.status_code == 400
    assert answer.json()["Message"].startswith(f"{next(iter(fields), 'body')}: ")


def test_too_long_a_body(running: Product) -> None:
    assert post(running, {"filter": "x" * 300_000}).status_code == 413


def test_it_is_described(running: Product) -> None:
    described = running.http.get("/openapi.json").json()["paths"]["/api/v1/changes"]
    schema = described["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert list(schema) == list(CHANGES_FIELDS)
    assert {of["name"] for of in described["get"]["parameters"]} == {*schema, "org"}
    text = DOCS.read_text(encoding="utf-8")
    assert all(f"| `{name}` | {meaning} |" in text for name, meaning in CHANGES_FIELDS.items())
