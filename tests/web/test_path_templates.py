"""Path templates over HTTP: put and read, faults named by their place, what they do to the Dashboard's endpoints."""

import json
import time
from typing import Any

import pytest

from tests.oracle.records import SECOND, Record, to_msgpack
from tests.product import ADMIN, TOKEN, Product
from tests.web.conftest import ORG, OTHER

NOON = 1772366400  # 2026-03-01 12:00 UTC
RANGE = "1/3/2026/1/3/2026"
USER = {"api": "", "pattern": "/users/{id}"}


@pytest.fixture(scope="module", autouse=True)
def stocked(running: Product) -> None:
    def hit(org: str, path: str, api: str = "api-1") -> bytes:
        fields: dict[str, Any] = {"org_id": org, "api_id": api, "api_key": "aaaaaaaa", "path": path}
        return to_msgpack(Record(timestamp=NOON * SECOND, response_code=200, latency_total=4, **fields))

    blobs = [hit(ORG, f"/users/{n}") for n in range(3)] + [hit(ORG, "/users"), hit(ORG, "/users/9", "api-2")]
    assert running.put([*blobs, hit(OTHER, "/users/1")]).stored == 6


def put(running: Product, body: Any, token: str = "admin of one", org: str = "") -> Any:
    content = body if isinstance(body, str) else json.dumps(body)
    target = f"/api/v1/templates?org={org}"
    return running.http.put(target, content=content, headers={"Authorization": token})


def endpoints(running: Product, token: str = TOKEN) -> dict[tuple[str, str], int]:
    found = running.get(f"/api/activity/keys/endpoint/aaaaaaaa/{RANGE}?p=-1", token)["data"]
    return {(row["id"]["api_id"], row["id"]["path"]): row["hits"] for row in found}


def test_the_dashboards_endpoints_have_the_template_and_lose_it_again(running: Product) -> None:
    before = endpoints(running)
    assert len(before) == 5
    assert put(running, {"templates": [USER]}).json() == {"org": ORG, "templates": 1}
    assert running.get("/api/v1/templates") == {"data": [{"org": ORG, **USER}]}
    joined = {("api-1", "/users/{id}"): 3, ("api-1", "/users"): 1, ("api-2", "/users/{id}"): 1}
    assert endpoints(running) == joined
    # Another organisation has rules of its own.
    assert endpoints(running, "of another") == {("api-1", "/users/1"): 1}
    put(running, {"templates": [{"api": "api-2", "pattern": "/users/{user}"}, USER]})
    joined["api-2", "/users/{user}"] = joined.pop(("api-2", "/users/{id}"))
    assert endpoints(running) == joined
    assert put(running, {"templates": []}).json()["templates"] == 0
    assert endpoints(running) == before


def test_the_latest_rules_count_though_a_clock_was_ahead(running: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    put(running, {"templates": [USER]})
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    put(running, {"templates": []})
    assert running.get("/api/v1/templates") == {"data": []}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("nothing", "body: is not JSON"),
        ([], "body: Expected `object`"),
        ({}, "body: Object missing required field `templates`"),
        ({"templates": [{"pattern": 1}]}, "body: Expected `str`, got `int` - at `$.templates[0].pattern`"),
        ({"templates": [{"api": "a"}]}, "body: Object missing required field `pattern` - at `$.templates[0]`"),
        ({"templates": [USER | {"method": "GET"}]}, "body: Object contains unknown field `method`"),
        ({"templates": [USER, {"pattern": "users"}]}, "templates[1].pattern: 'users' does not begin with /"),
        ({"templates": [{"pattern": "/a/{b}.pdf"}]}, "templates[0].pattern: a parameter is a name in braces"),
        ({"templates": [USER, {"pattern": "/users/{x}"}]}, "templates[1]: matches the same paths as templates[0]"),
    ],
)
def test_a_fault_is_named_and_changes_nothing(running: Product, body: Any, message: str) -> None:
    put(running, {"templates": [USER]})
    answer = put(running, body)
    assert (answer.status_code, answer.json()["Message"][: len(message)]) == (400, message)
    assert running.get("/api/v1/templates")["data"] == [{"org": ORG, **USER}]
    put(running, {"templates": []})


def test_who_may(running: Product) -> None:
    for token, status in ((TOKEN, 403), ("one api", 403), ("wrong", 401)):
        assert put(running, {"templates": []}, token).status_code == status
    assert put(running, {"templates": []}, ADMIN).json()["Message"].startswith("org: ")
    assert put(running, {"templates": []}, "admin of one", OTHER).status_code == 403
    for token in ("logs only", "one api"):
        answer = running.http.get("/api/v1/templates", headers={"Authorization": token})
        assert answer.status_code == 403
    assert put(running, " " * (2 * 1024 * 1024 + 1)).status_code == 413
