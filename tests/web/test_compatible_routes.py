"""Every route of the compatible family: who is let in, and that nothing of another crosses, whatever is asked."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.oracle.clock import instant_of
from tests.oracle.records import Record, to_json
from tests.product import ADMIN, Product, product, token_entry
from tests.web.conftest import ORG, OTHER
from tests.web.raw import Answer, ask

BOTH = ("analytics", "logs")
TOKENS = [
    token_entry("mine", org=ORG, permissions=BOTH),
    token_entry("theirs", org=OTHER, permissions=BOTH),
    token_entry("nobody's", org="", permissions=BOTH),
    token_entry("one api", org=ORG, permissions=BOTH, apis=["api-1"]),
    token_entry("no api", org=ORG, permissions=BOTH, apis=[]),
    token_entry("expired", org=ORG, permissions=BOTH, expires="2026-11-22"),
    token_entry("numbers", org=ORG, permissions=["analytics"]),
    token_entry("logs", org=ORG, permissions=["logs"]),
    token_entry("sender", org=ORG, permissions=["ingest"]),
    token_entry(ADMIN, org="*", permissions=["admin"]),
]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINE = Record(
    timestamp=instant_of(AT),
    org_id=ORG,
    api_id="api-1",
    api_name="mine",
    api_key="7f3c3ca87376cabe",
    alias="mine",
    oauth_id="client",
    path="/mine",
    raw_path="/mine",
    # An error, so that the routes of errors count it as well.
    response_code=500,
)
REST = (
    *[MINE] * 3,
    replace(MINE, api_id="api-2", api_name="mine too", alias="mine too", path="/mine too"),
    *[replace(MINE, org_id=OTHER, api_name="theirs", alias="theirs", path="/theirs", raw_path="/theirs")] * 5,
    replace(MINE, org_id="", api_name="nobody's", alias="nobody's", path="/nobody's"),
)
MCP = tuple(
    replace(one, is_mcp=True, mcp_method=one.api_name, mcp_primitive_type="tool", mcp_primitive_name=one.api_name)
    for one in REST
)
# What each may see: hits of REST (and as many of MCP).
HITS = {"mine": 4, "theirs": 5, "nobody's": 1, "one api": 3, "no api": 0, ADMIN: 10}
FILLED = {
    **{f"{end}_{part}": value for end in ("start", "end") for part, value in (("day", "1"), ("month", "3"))},
    "start_year": "2026",
    "end_year": "2026",
    "key": MINE.api_key,
    "keys": MINE.api_key,
    "client": MINE.oauth_id,
    "api": "api-1",
}
NUMBERS = 15
"""Routes that give numbers."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with product(tmp_path_factory.mktemp("store"), tokens=TOKENS) as started:
        lines = [to_json(record).encode() for record in (*REST, *MCP)]
        assert started.put_lines(lines).stored == len(lines)
        yield started


@pytest.fixture(scope="module")
def routes(running: Product) -> list[str]:
    """Every route of the family as the API describes itself, with something for each part of its path."""
    paths = running.http.get("/openapi.json").json()["paths"]
    family = [path for path in paths if re.match(r"/api/(activity|usage|errors|logs)", path)]
    assert len(family) == NUMBERS + 1
    filled = [re.sub(r"{(\w+)}", lambda match: FILLED[match[1]], path) for path in family]
    second = int(AT.timestamp())
    return [f"{path}?start={second}&end={second}" if path == "/api/logs" else f"{path}?" for path in filled]


def send(running: Product, target: str, token: str, form: str = "{}") -> Answer:
    headers = {"Authorization": form.format(token)} if token else {}
    return ask(running.parts.service.app, target, headers=headers)


def counted(answer: Answer) -> int:
    """Hits of the rows, or records."""
    assert answer.status == 200, answer.text
    return sum(row.get("hits", 1) for row in json.loads(answer.text)["data"])


def seen(target: str, token: str) -> int:
    """What a route must give: the log has both kinds, and `api-1` of the path is only a part."""
    hits = {**HITS, "mine": 3, ADMIN: 9} if "/apis/api-1/" in target else HITS
    return hits[token] * (2 if "/logs" in target else 1)


@pytest.mark.parametrize("token", ["", "wrong", "expired", "Bearer", "mine x"])
def test_nobody_we_know(running: Product, routes: list[str], token: str) -> None:
    for target in routes:
        for asked in (target, target.replace("/1/3/", "/1/33/"), target.replace("start=", "start=x")):
            answer = send(running, asked, token)
            assert (answer.status, json.loads(answer.text)["Message"]) == (401, "Not authorised"), asked


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}"])
def test_both_forms_of_a_token(running: Product, routes: list[str], form: str) -> None:
    for target in routes:
        assert send(running, target, "mine", form).status == 200


def test_permissions(running: Product, routes: list[str]) -> None:
    for target in routes:
        needed, other = ("logs", "numbers") if "/logs" in target else ("analytics", "logs")
        for token in (other, "sender"):
            answer = send(running, target, token)
            message = f"the token lacks the permission '{needed}'"
            assert (answer.status, json.loads(answer.text)["Message"]) == (403, message), target


@pytest.mark.parametrize("more", ["&p=-1", "&p=-1&res=day", "&p=-1&api_id=", "&p=-1&group_by=mcp_primitive"])
@pytest.mark.parametrize("token", HITS)
def test_nothing_crosses(running: Product, routes: list[str], token: str, more: str) -> None:
    for target in routes:
        answer = send(running, target + more, token)
        if "/apis/api-1/" in target and token == "no api":
            assert answer.status == 403
            continue
        assert counted(answer) == seen(target, token), target
        for name in ("mine too", "theirs", "nobody's"):
            allowed = token in {ADMIN, name} or (token, name) == ("mine", "mine too")
            assert allowed or name not in answer.text, target


def test_one_organisation_of_several(running: Product, routes: list[str]) -> None:
    for target in routes:
        answer = send(running, f"{target}&p=-1&org={OTHER}", ADMIN)
        assert counted(answer) == seen(target, "theirs"), target
        assert send(running, f"{target}&org={OTHER}", "mine").status == 403, target


def test_an_api_that_may_not_be_seen(running: Product, routes: list[str]) -> None:
    refused = (403, "User does not have access to the API with ID.")
    for target in routes:
        parameter = "api" if "/logs" in target else "api_id"
        answer = send(running, f"{target}&{parameter}=api-2", "one api")
        assert (answer.status, json.loads(answer.text)["Message"]) == refused, target
    (of_api,) = (target for target in routes if "/apis/api-1/" in target)
    answer = send(running, of_api.replace("api-1", "api-2"), "one api")
    assert (answer.status, json.loads(answer.text)["Message"]) == refused


@pytest.mark.parametrize("evil", ["' OR 1=1 --", "\\", "%00"])
def test_values_are_never_a_part_of_the_statement(running: Product, routes: list[str], evil: str) -> None:
    for target in routes:
        for parameter in ("api_id", "tags", "api", "mcp_method", "limit"):
            answer = send(running, f"{target}&{parameter}={evil}", "mine")
            assert answer.status in {200, 400}, (target, parameter)
            assert "theirs" not in answer.text


def test_as_csv(running: Product, routes: list[str]) -> None:
    for target in routes:
        if "/logs" in target:
            continue
        answer = send(running, f"{target}&type=csv&p=-1", "mine")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        head, *rows = answer.text.splitlines()
        columns = head.split(",")
        assert ("mcp_primitive_name" in columns) == ("/mcp/" in target)
        at = columns.index("hits")
        assert sum(int(row.split(",")[at]) for row in rows) == seen(target, "mine")


def test_only_get(running: Product, routes: list[str]) -> None:
    for target in routes:
        answer = ask(running.parts.service.app, target, method="POST", headers={"Authorization": "mine"})
        assert (answer.status, answer.headers["allow"]) == (405, "GET"), target
