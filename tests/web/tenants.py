"""Two tenants' records, and tokens that see a part of them.

Each record's texts name it alone or what it belongs to, so that any text of a record that a token may not see betrays a
leak.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from tests.oracle.records import SECOND, Record

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
CONSUMERS = {org: f"consumer-of-{org}" for org in ORGS}
"""A consumer of each organisation, that has its second key."""
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
    consumer = CONSUMERS[record.org_id] if record.api_key == GIVEN[record.org_id][1] else ""
    return {mark, record.org_id, record.api_id, key, record.api_key, record.oauth_id, consumer} - {""}


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
    # Beside its own, what is another organisation's.
    Tenant("consumer", lambda r: r.api_key == GIVEN[A][1], limits=(("consumers", [*CONSUMERS.values()]),)),
    Tenant(
        "consumer and api",
        lambda r: (r.api_key, r.api_id) == (GIVEN[A][1], APIS[A][0]),
        limits=(("consumers", [CONSUMERS[A]]), ("apis", APIS[A][:1])),
    ),
    Tenant("a consumer that is nobody", lambda r: False, limits=(("consumers", ["nobody"]),)),
    Tenant("nothing", lambda r: False, limits=(("keys", []),)),
    Tenant(
        "admin of a key everywhere",
        lambda r: r.api_key == SECRETS[B],
        "*",
        permissions=("admin",),
        limits=(("keys", [SECRETS[B]]),),
    ),
)
