"""Every route of the description, walked by tokens of two tenants and by tokens that see a part: nothing crosses.

Where an answer counts, the count is the plain number of the records that the token may see.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from keytrail.query.catalog import DIMENSIONS
from tests.oracle.records import Record, to_msgpack
from tests.product import ADMIN, Product, product, token_entry
from tests.web.tenants import (
    APIS,
    CLIENTS,
    CONSUMERS,
    DAYS,
    GIVEN,
    NOON,
    ORGS,
    RANGE,
    RECORDS,
    SECRETS,
    STORED,
    TENANTS,
    A,
    B,
    Tenant,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    tokens = [token_entry(t.token, org=t.org, permissions=t.permissions, **dict(t.limits)) for t in TENANTS]
    tokens.append(token_entry(ADMIN, org="*", permissions=["admin"]))
    with product(tmp_path_factory.mktemp("store"), tokens=tokens) as started:
        # Both tenants' records in each batch.
        assert started.put(to_msgpack(record) for record in RECORDS).stored == len(RECORDS)
        for org, consumer in CONSUMERS.items():
            body = f"consumer,kind,value\n{consumer},key,{GIVEN[org][1]}\n"
            put = started.http.put(f"/api/v1/consumers?org={org}", content=body, headers={"Authorization": ADMIN})
            assert put.status_code == 200, put.text
        yield started


@pytest.fixture(scope="module")
def rows(running: Product) -> dict[str, str]:
    """The ids of requests and the marks of their records."""
    found = running.get("/api/v1/requests?limit=1000", ADMIN)["data"]
    return {row["id"]: row["path"].removeprefix("/") for row in found}


def rest(record: Record) -> bool:
    return not record.is_mcp


def mcp(record: Record) -> bool:
    return record.is_mcp


def failed(record: Record) -> bool:
    return record.response_code >= 400


Counted = Callable[[Record], bool]

# Which of the records that a token sees the hits of an answer count; by the parts of the path that name one.
COMPATIBLE: dict[str, tuple[Counted, ...]] = {
    "/api/activity/keys/endpoint/{key}": (rest,),
    "/api/activity/oauthid/endpoint/{client}": (rest,),
    "/api/activity/keys/aggregate/{keys}": (rest,),
    "/api/activity/keys/{key}": (rest,),
    "/api/activity/oauthid/{client}": (rest,),
    "/api/activity/keys": (rest,),
    "/api/activity/oauthid": (rest,),
    "/api/usage": (rest,),
    "/api/usage/apis": (rest,),
    "/api/usage/apis/{api}": (rest,),
    "/api/errors/count": (rest, failed),
    "/api/usage/mcp": (mcp,),
    "/api/activity/mcp/primitives": (mcp,),
    "/api/activity/mcp/primitives/errors": (mcp, failed),
    "/api/activity/mcp/keys/{key}": (mcp,),
}
# For whom there is nothing to see but in the tests below, or nothing of records at all.
CLOSED = {
    "/api/v1/rejects",
    "/api/v1/rejects/retry",
    "/api/v1/rebuild",
    "/api/v1/backup",
    "/api/v1/verify",
    "/api/v1/prune",
    "/api/v1/erase",
    "/api/v1/imports/{batch}/{offset}",
    "/api/v1/ingest",
}
OPEN = {"/api/v1/catalog", "/readyz/collect", "/metrics", "/healthz", "/readyz"}
OWN = {
    "/api/logs",
    "/api/v1/query",
    "/api/v1/requests",
    "/api/v1/requests/{row}",
    "/api/v1/export",
    "/api/v1/pipeline",
    "/api/v1/organisations",
    "/api/v1/changes",
    "/api/v1/consumers",
    "/api/v1/consumers/{consumer}",
    "/api/v1/templates",
}


def test_every_route_is_walked(running: Product) -> None:
    described = {path.removesuffix(RANGE) for path in running.http.get("/openapi.json").json()["paths"]}
    assert described == {*COMPATIBLE, *CLOSED, *OPEN, *OWN}


def ask(running: Product, tenant: Tenant, path: str, method: str = "GET", **more: Any) -> Any:
    """An answer, after a look for what the tenant may not see; what was asked for may stand in it."""
    answer = running.http.request(method, path, headers={"Authorization": tenant.token}, **more)
    assert answer.status_code < 500, (tenant.token, path, answer.text)
    told = answer.content
    if answer.headers.get("content-type", "") == "application/vnd.apache.parquet":
        told = json.dumps(pq.read_table(io.BytesIO(told)).to_pylist(), default=str).encode()
    said = told.decode() + str(dict(answer.headers))
    # `explain` shows the values of a statement: what was asked for, and what the token itself is limited to.
    asked = path + str(more) + str([[value, STORED.get(value)] for _, values in tenant.limits for value in values])
    leaked = [text for text in tenant.strange if text in said and text not in asked]
    assert not leaked, (tenant.token, method, path, leaked)
    return answer


def of(name: str, value: str) -> Counted:
    """The records that a part of a path names."""
    values = value.split(",")
    match name:
        case "key" | "keys":
            return lambda r: bool({r.api_key, STORED.get(r.api_key)} & {*values})
        case "client":
            return lambda r: r.oauth_id == value
        case _:
            assert name == "api"
            return lambda r: r.api_id == value


VALUES = {
    "key": [*GIVEN[A], STORED[SECRETS[B]], GIVEN[B][1]],
    "keys": [",".join([*GIVEN[A], *GIVEN[B]])],
    "client": [CLIENTS[A][0], CLIENTS[A][1], CLIENTS[B][0]],
    "api": [APIS[A][0], APIS[A][1], APIS[B][0]],
}

tenants = pytest.mark.parametrize("tenant", TENANTS, ids=lambda tenant: tenant.token)


@tenants
def test_the_compatible_endpoints(running: Product, tenant: Tenant) -> None:
    for path, conditions in COMPATIBLE.items():
        (name,) = re.findall(r"{(\w+)}", path) or [""]
        for value in VALUES.get(name, [""]):
            wanted = [*conditions, *([of(name, value)] if name else [])]
            expected = sum(all(condition(record) for condition in wanted) for record in tenant.records)
            target = (path + RANGE).format(**DAYS, **({name: value} if name else {}))
            for parameters in ("?p=-1", "?p=-1&res=day"):
                answer = ask(running, tenant, target + parameters)
                if answer.status_code == 403:
                    assert (name, expected) == ("api", 0)
                else:
                    assert answer.status_code == 200, answer.text
                    assert sum(row["hits"] for row in answer.json()["data"]) == expected, (path, value)


@tenants
def test_filters_and_organisations(running: Product, tenant: Tenant) -> None:
    target = ("/api/usage/apis" + RANGE).format(**DAYS)
    for api in VALUES["api"]:
        expected = sum(rest(r) and r.api_id == api for r in tenant.records)
        answer = ask(running, tenant, f"{target}?p=-1&api_id={api}")
        assert answer.status_code == 200 or (answer.status_code, expected) == (403, 0)
        assert sum(row["hits"] for row in answer.json().get("data", [])) == expected
    for org in ORGS:
        for path in (target, "/api/v1/query", "/api/v1/requests", "/api/v1/export"):
            answer = ask(running, tenant, f"{path}?org={org}")
            assert answer.status_code == (200 if tenant.org in {org, "*"} else 403)


@tenants
def test_any_question(running: Product, tenant: Tenant) -> None:
    question = {
        "from": "2026-03-01",
        "to": "2026-03-02",
        "metrics": ["hits", "distinct_keys", "distinct_clients", "latest_alias", "latest_api_name"],
        "limit": 1000,
        "totals": True,
    }
    expected = len(tenant.records)
    for dimension in DIMENSIONS:
        asked = {**question, "dimensions": [dimension]}
        answer = ask(running, tenant, "/api/v1/query", "POST", json=asked).json()
        # Each record has two tags, of which one is a policy's.
        times = 2 if dimension == "tag" else 1
        assert sum(row["hits"] for row in answer["rows"]) == times * expected, dimension
        assert answer["totals"]["hits"] == expected
        assert answer["totals"]["distinct_keys"] == len({r.api_key for r in tenant.records})
        assert answer["totals"]["distinct_clients"] == len({r.oauth_id for r in tenant.records})
    for metrics in (["hits"], ["hits", "distinct_keys"], ["hits", "distinct_endpoints", "p95_latency"]):
        asked = {**question, "metrics": metrics, "step": "day", "explain": True, "compare": "previous"}
        answer = ask(running, tenant, "/api/v1/query", "POST", json=asked).json()
        assert sum(row["hits"] for row in answer["rows"]) == expected
    lines = ask(running, tenant, "/api/v1/query?format=ndjson", "POST", json={**question, "dimensions": ["path"]}).text
    assert sum(json.loads(line)["hits"] for line in lines.splitlines()) == expected
    # What an `or` beside the scope would let through, if it did not stand in brackets.
    any_key = {"or": [{"dimension": "key", "operator": "is_not", "value": "x"}, *[_is(key) for key in GIVEN[B]]]}
    answer = ask(running, tenant, "/api/v1/query", "POST", json={**question, "filter": any_key}).json()
    assert answer["totals"]["hits"] == expected


def _is(key: str) -> dict[str, str]:
    return {"dimension": "key", "operator": "is", "value": key}


@tenants
def test_what_a_consumer_is_tells_nothing_of_others(running: Product, tenant: Tenant) -> None:
    """Neither by what is found nor by the values that `explain` shows."""
    for org, consumer in CONSUMERS.items():
        mine = [r for r in tenant.records if r.org_id == org and r.api_key == GIVEN[org][1]]
        of_it = {"dimension": "consumer", "operator": "is", "value": consumer}
        asked = {"from": "2026-03-01", "to": "2026-03-02", "filter": of_it, "explain": True, "dimensions": ["path"]}
        answer = ask(running, tenant, "/api/v1/query", "POST", json=asked).json()
        assert sum(row["hits"] for row in answer["rows"]) == len(mine)
        found = ask(running, tenant, f"/api/v1/requests?limit=1000&consumer={consumer}").json()["data"]
        assert len(found) == len(mine)
        lines = ask(running, tenant, f"/api/v1/export?format=ndjson&consumer={consumer}").text.splitlines()
        assert len(lines) == len(mine)


@tenants
def test_single_requests(running: Product, tenant: Tenant, rows: dict[str, str]) -> None:
    seen = {record.path.removeprefix("/") for record in tenant.records}
    found = ask(running, tenant, "/api/v1/requests?limit=1000").json()["data"]
    assert sorted(row["path"].removeprefix("/") for row in found) == sorted(seen)
    for row, mark in list(rows.items())[::4]:
        assert ask(running, tenant, f"/api/v1/requests/{row}").status_code == (200 if mark in seen else 404)
    logs = ask(running, tenant, f"/api/logs?start={NOON}&end={NOON + 200_000}&p=-1").json()["data"]
    assert sorted(row["Path"].removeprefix("/") for row in logs) == sorted(seen)
    logs = ask(running, tenant, f"/api/logs?start={NOON}&end={NOON + 200_000}&p=1&errors=1")
    assert int(logs.headers["X-Total-Rows"]) == sum(failed(record) for record in tenant.records)
    assert len(ask(running, tenant, "/api/v1/export?format=ndjson").text.splitlines()) == len(seen)
    assert len(ask(running, tenant, "/api/v1/export?format=csv").text.splitlines()) == len(seen) + 1
    parquet = ask(running, tenant, "/api/v1/export?format=parquet").content
    assert pq.read_table(io.BytesIO(parquet)).num_rows == len(seen)


@tenants
def test_operations(running: Product, tenant: Tenant) -> None:
    pipeline = ask(running, tenant, "/api/v1/pipeline").json()
    assert pipeline["totals"] == {"stored": len(tenant.records)}
    assert sum(batch["stored"] for batch in pipeline["batches"]) == (0 if tenant.limits else len(tenant.records))
    assert not {"sources", "rejects", "tables"} & {*pipeline}
    organisations = ask(running, tenant, "/api/v1/organisations")
    if "admin" in tenant.permissions:
        counts: dict[str, int] = {}
        for record in tenant.records:
            counts[record.org_id] = counts.get(record.org_id, 0) + 1
        assert organisations.json()["data"] == [{"org": org, "records": n} for org, n in sorted(counts.items())]
    else:
        assert organisations.status_code == 403
    for path in ("/api/v1/rejects", "/api/v1/rebuild", "/api/v1/verify", "/api/v1/backup"):
        assert ask(running, tenant, path).status_code == 403
    for path in ("/api/v1/rejects/retry", "/api/v1/rebuild"):
        assert ask(running, tenant, path, "POST").status_code == 403
    for path in OPEN:
        assert ask(running, tenant, path).status_code == 200
    if tenant.limits:
        assert ask(running, tenant, "/api/v1/imports/b/0").status_code == 403
        for path in ("/api/v1/imports/b/0", "/api/v1/ingest"):
            assert ask(running, tenant, path, "POST").status_code == 403


@tenants
def test_what_is_sent(running: Product, tenant: Tenant) -> None:
    """Nothing is taken of another organisation, and what another tenant sent can't be learnt of."""
    if tenant.limits:
        return
    other = B if tenant.org == A else A
    body = [{"timestamp": "2026-03-01T12:00:00Z", "org_id": other, "path": "/x", "response_code": 200}]
    answer = ask(running, tenant, "/api/v1/ingest", "POST", json=body)
    assert answer.json()["stored"] == 0
    assert answer.json()["reasons"] == {"foreign_org": 1}


@tenants
def test_changes(running: Product, tenant: Tenant) -> None:
    answer = ask(running, tenant, "/api/v1/changes?from=2026-03-01&to=2026-03-02&least_hits=1")
    assert answer.status_code == 200
    assert answer.json()["errors"]["now"] == len(list(filter(failed, tenant.records)))
    answer = ask(running, tenant, "/api/v1/changes?from=2026-03-01&to=2026-03-02&least_hits=1&by=consumer_endpoint")
    assert answer.json()["errors"]["now"] == len(list(filter(failed, tenant.records)))


@tenants
def test_path_templates(running: Product, tenant: Tenant) -> None:
    rules = {org: {"templates": [{"pattern": f"/{APIS[org][0]}/{{id}}"}]} for org in ORGS}
    for org, body in rules.items():
        put = running.http.put(f"/api/v1/templates?org={org}", json=body, headers={"Authorization": ADMIN})
        assert put.status_code == 200, put.text
    listed = ask(running, tenant, "/api/v1/templates")
    put = ask(running, tenant, "/api/v1/templates", "PUT", json=rules[tenant.org if tenant.org in rules else A])
    if tenant.limits:
        assert [listed.status_code, put.status_code] == [403, 403]
        return
    assert [one["pattern"] for one in listed.json()["data"]] == [f"/{APIS[tenant.org][0]}/{{id}}"]
    assert put.status_code == (200 if "admin" in tenant.permissions else 403)
    # The rules are in the values of a statement, which must not tell of them.
    asked = {"from": "2026-03-01", "to": "2026-03-02", "dimensions": ["path"], "explain": True}
    answer = ask(running, tenant, "/api/v1/query", "POST", json=asked).json()
    assert "not shown" in answer["explain"][0]["values"].values()


@tenants
def test_consumers(running: Product, tenant: Tenant) -> None:
    listed = ask(running, tenant, "/api/v1/consumers")
    shown = {
        org: ask(running, tenant, f"/api/v1/consumers/{CONSUMERS[org]}?from=2026-03-01&to=2026-03-02") for org in ORGS
    }
    if {name for name, _ in tenant.limits} - {"consumers"}:
        assert [each.status_code for each in (listed, *shown.values())] == [403] * 3
        return
    seen = {CONSUMERS[tenant.org]} & {*dict(tenant.limits).get("consumers", CONSUMERS.values())}
    assert {each["id"] for each in listed.json()["data"]} == seen
    assert {org: each.status_code for org, each in shown.items()} == {
        org: 200 if CONSUMERS[org] in seen else 404 for org in ORGS
    }
    if not seen:
        return
    mine = [record for record in tenant.records if record.api_key == GIVEN[tenant.org][1]]
    assert shown[tenant.org].json()["totals"]["hits"] == len(mine)


NARROW = ("api", "stored", "client", "consumer and api", "admin of a key everywhere")
PAGES = ("/", "/keys", "/consumers", "/requests", "/pipeline", f"/keys/{GIVEN[B][1]}")


@pytest.mark.parametrize("tenant", [each for each in TENANTS if each.token in NARROW], ids=lambda each: each.token)
def test_pages_show_who_sees_a_part_no_more_than_that(running: Product, tenant: Tenant) -> None:
    answers = {path: ask(running, tenant, f"{path}?from=2026-02-28&to=2026-03-03") for path in PAGES}
    refused = {path for path, answer in answers.items() if answer.status_code != 200}
    # The directory names everybody: only who is limited by consumers alone may see a part of it.
    assert (refused, {answers[path].status_code for path in refused}) == ({"/consumers"}, {403})
    assert {record.api_name for record in tenant.records} <= set(re.findall(r"name of [\w-]+", answers["/"].text))
