"""Every route of the description, walked by tokens of two tenants and by tokens that see a part: nothing crosses.

Each record's texts name it alone or what it belongs to, so that any text of a record that a token may not see betrays a
leak; and where an answer counts, the count is the plain number of the records that the token may see.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pyarrow.parquet as pq
import pytest

from keytrail.query.catalog import DIMENSIONS
from tests.oracle.records import SECOND, Record, to_msgpack
from tests.product import ADMIN, Product, product, token_entry

NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())
DAYS = {
    f"{end}_{part}": value
    for end, day in (("start", "1"), ("end", "2"))
    for part, value in (("day", day), ("month", "3"), ("year", "2026"))
}
RANGE = "/" + "/".join(f"{{{name}}}" for name in DAYS)
ORGS = ("orgaa", "orgbb")
APIS = {org: [f"api-{org}-{n}" for n in (1, 2)] for org in ORGS}
SECRETS = {org: f"secret-of-{org}" for org in ORGS}
# What is shaped like a hash is kept, and a secret is hashed.
GIVEN = {org: [SECRETS[org], sha256(org.encode()).hexdigest()] for org in ORGS}
STORED = {SECRETS[org]: sha256(SECRETS[org].encode()).hexdigest() for org in ORGS}
CLIENTS = {org: [f"client-{org}-{n}" for n in (1, 2)] for org in ORGS}


def stock() -> Iterator[Record]:
    cells = [(o, a, k, c) for o in ORGS for a in APIS[o] for k in GIVEN[o] for c in CLIENTS[o]]
    for place, (org, api, key, client) in enumerate(cells):
        for nth in range(place % 5 + 4):
            mark = f"mark-{place:02}-{nth}"
            yield Record(
                timestamp=(NOON + place * 5000 + nth) * SECOND,
                org_id=org,
                api_id=api,
                api_name=f"name of {api}",
                api_key=key,
                alias=f"alias of {STORED.get(key, key)}",
                oauth_id=client,
                path=f"/{mark}",
                raw_path=f"/{mark}",
                host=f"{mark}.example",
                user_agent=f"agent {mark}",
                response_code=[200, 500][nth % 2],
                latency_total=place,
                tags=(f"tag-{mark}", f"pol-{mark}"),
                is_mcp=nth in {2, 3},
                mcp_method="tools/call" if nth in {2, 3} else "",
                mcp_primitive_type="tool" if nth in {2, 3} else "",
                mcp_primitive_name=f"tool {mark}" if nth in {2, 3} else "",
            )


RECORDS = list(stock())


def texts(record: Record) -> set[str]:
    """What names a record or what it belongs to."""
    mark = record.path.removeprefix("/")
    key = STORED.get(record.api_key, record.api_key)
    return {mark, record.org_id, record.api_id, key, record.api_key, record.oauth_id}


@dataclass(frozen=True)
class Tenant:
    """A token and what it may see."""

    token: str
    sees: Callable[[Record], bool]
    org: str = ORGS[0]
    permissions: tuple[str, ...] = ("analytics", "logs", "ingest")
    limits: tuple[tuple[str, list[str]], ...] = ()

    @property
    def records(self) -> list[Record]:
        return [record for record in RECORDS if self.sees(record)]

    @property
    def strange(self) -> set[str]:
        """Texts that no record has which it sees."""
        return set().union(*map(texts, RECORDS)) - set().union(*map(texts, self.records)) - {self.org}


A, B = ORGS
TENANTS = (
    Tenant("of a", lambda r: r.org_id == A),
    Tenant("of b", lambda r: r.org_id == B, B),
    Tenant("admin of a", lambda r: r.org_id == A, permissions=("admin",)),
    Tenant("api", lambda r: r.api_id == APIS[A][0], limits=(("apis", APIS[A][:1]),)),
    Tenant("stored", lambda r: r.api_key == SECRETS[B], B, limits=(("keys", [STORED[SECRETS[B]]]),)),
    Tenant("client", lambda r: r.oauth_id == CLIENTS[A][1], limits=(("oauth_clients", CLIENTS[A][1:]),)),
    # Beside its own, what is another organisation's.
    Tenant("foreign key", lambda r: r.api_key == GIVEN[A][1], limits=(("keys", [GIVEN[A][1], *GIVEN[B]]),)),
    Tenant(
        "all three",
        lambda r: (r.api_id, r.api_key, r.oauth_id) == (APIS[A][0], SECRETS[A], CLIENTS[A][0]),
        limits=(("apis", APIS[A][:1]), ("keys", GIVEN[A][:1]), ("oauth_clients", CLIENTS[A][:1])),
    ),
    Tenant("nothing", lambda r: False, limits=(("keys", []),)),
    Tenant(
        "admin of a key everywhere",
        lambda r: r.api_key == SECRETS[B],
        "*",
        permissions=("admin",),
        limits=(("keys", [SECRETS[B]]),),
    ),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    tokens = [token_entry(t.token, org=t.org, permissions=t.permissions, **dict(t.limits)) for t in TENANTS]
    tokens.append(token_entry(ADMIN, org="*", permissions=["admin"]))
    with product(tmp_path_factory.mktemp("store"), tokens=tokens) as started:
        # Both tenants' records in each batch.
        assert started.put(to_msgpack(record) for record in RECORDS).stored == len(RECORDS)
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
    for path in ("/api/v1/rejects", "/api/v1/rebuild"):
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


@pytest.fixture(scope="module")
def _directory(running: Product) -> None:
    """A consumer of each organisation, that has its second key."""
    for org in ORGS:
        body = f"consumer,kind,value\nconsumer-of-{org},key,{GIVEN[org][1]}\n"
        put = running.http.put(f"/api/v1/consumers?org={org}", content=body, headers={"Authorization": ADMIN})
        assert put.status_code == 200, put.text


@pytest.mark.usefixtures("_directory")
@tenants
def test_consumers(running: Product, tenant: Tenant) -> None:
    listed = ask(running, tenant, "/api/v1/consumers")
    shown = {
        org: ask(running, tenant, f"/api/v1/consumers/consumer-of-{org}?from=2026-03-01&to=2026-03-02") for org in ORGS
    }
    if tenant.limits:
        assert [each.status_code for each in (listed, *shown.values())] == [403] * 3
        return
    assert [each["id"] for each in listed.json()["data"]] == [f"consumer-of-{tenant.org}"]
    assert {org: each.status_code for org, each in shown.items()} == {
        org: 200 if org == tenant.org else 404 for org in ORGS
    }
    mine = [record for record in tenant.records if record.api_key == GIVEN[tenant.org][1]]
    assert shown[tenant.org].json()["totals"]["hits"] == len(mine)
