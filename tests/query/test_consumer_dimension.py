"""`consumer` in any question is what a plain sum over the records says, each matched by its own time stamp."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from keytrail.query import join as join_module
from keytrail.query.ask import ask
from keytrail.query.question import parse
from keytrail.query.request import Scope
from keytrail.store.consumers import KINDS, Link, replace_links
from tests.oracle.records import SECOND, Record
from tests.oracle.strategies import ORGS
from tests.query.shops import Shops, in_one
from tests.query.test_consumers import KEYS, ROTATED, START, at, some_records

DAY = 86_400
RECORDS = [
    *some_records(7),
    # At the very instants at which a key was rotated: the later link has them.
    *(
        Record(timestamp=(START * 1000 + ms) * SECOND // 1000, org_id=ORGS[0], api_id="a", api_key=key, path="/x")
        for ms in (40_017_122, 40_017_123, DAY * 1000 - 1, DAY * 1000, 2 * DAY * 1000 + 4_999, 2 * DAY * 1000 + 5_000)
        for key in KEYS
    ),
]
TWICE_ROTATED = tuple(("acme", "key", key, start, end) for key, start, end in ROTATED)
DIRECTORIES = {
    "of keys": (*TWICE_ROTATED, ("beta", "key", KEYS[0], DAY, 5 * DAY)),
    "of all kinds": (
        *TWICE_ROTATED,
        ("beta", "client", "client", 900, 200_000),
        ("acme", "tag", "dev-2", 50_000, 90_000.5),
        ("gamma", "tag", "dev-1", 0, 2 * DAY),
    ),
    "of clients": (("beta", "client", "client", 900.001, 200_000),),
    "of nobody": (),
}


class World:
    """A store with a directory, and what a plain look at records and links says."""

    def __init__(self, shops: Shops, given: Sequence[tuple[str, str, str, float, float]]) -> None:
        self.engine = shops.product.parts.engine
        self.scope = Scope(shops.org)
        self.links = [Link(shops.org, who, who, kind, value, at(a), at(b)) for who, kind, value, a, b in given]
        replace_links(self.engine, shops.org, self.links)

    def owner(self, record: Record) -> str:
        """By the key, else the client, else the first tag that has one."""
        moment = at(record.millisecond / 1000 - START)
        values = {"key": [record.api_key], "client": [record.oauth_id], "tag": record.tags}
        for kind in KINDS:
            for value in values[kind]:
                for link in self.links:
                    if (link.kind, link.value) == (kind, value) and link.start <= moment < link.end:
                        return link.consumer
        return ""

    def mine(self, wanted: Callable[[str], bool] = lambda _: True) -> list[Record]:
        """The hits of the organisation whose consumer is wanted."""
        own = (r for r in RECORDS if r.org_id == ORGS[0] and r.response_code != -1)
        return [record for record in own if wanted(self.owner(record))]

    def ask(self, scope: Scope | None = None, **fields: Any) -> Any:
        fields = {"from": "2026-03-01", "to": "2026-03-03", **fields}
        return ask(self.engine, scope or self.scope, parse(fields, default_zone="UTC"))


@pytest.fixture(scope="module")
def stocked(shops: Shops) -> Shops:
    shops.stock(in_one(RECORDS))
    return shops


@pytest.fixture(scope="module", params=DIRECTORIES)
def world(stocked: Shops, request: pytest.FixtureRequest) -> World:
    return World(stocked, DIRECTORIES[request.param])


def test_by_consumer(world: World) -> None:
    reply = world.ask(dimensions=["consumer"], metrics=["hits", "error"], totals=True)
    hits = Counter(world.owner(record) for record in world.mine())
    errors = Counter(world.owner(record) for record in world.mine() if record.response_code >= 400)
    assert {row["consumer"]: (row["hits"], row["error"]) for row in reply.rows} == {
        who: (n, errors[who]) for who, n in hits.items()
    }
    assert reply.totals["hits"] == len(world.mine())


def test_by_consumer_and_what_else(world: World) -> None:
    for name, column in {"path": "path", "code": "response_code", "key": "api_key"}.items():
        reply = world.ask(dimensions=[name, "consumer"], metrics=["hits"])
        expected = Counter((getattr(record, column), world.owner(record)) for record in world.mine())
        assert {(row[name], row["consumer"]): row["hits"] for row in reply.rows} == expected


FILTERS: dict[str, tuple[Any, Callable[[str], bool]]] = {
    "is": (("is", "acme"), lambda who: who == "acme"),
    "is_not": (("is_not", "acme"), lambda who: who != "acme"),
    "in": (("in", ["beta", "gamma"]), lambda who: who in {"beta", "gamma"}),
    "not_in": (("not_in", ["acme", "beta"]), lambda who: who not in {"acme", "beta"}),
    "nobody": (("is", ""), lambda who: who == ""),
    "somebody": (("is_not", ""), lambda who: who != ""),
    "or nobody": (("in", ["beta", ""]), lambda who: who in {"beta", ""}),
    "prefix": (("prefix", "ac"), lambda who: who.startswith("ac")),
    "contains": (("contains", "a"), lambda who: "a" in who),
    "stranger": (("is", "nobody we know"), lambda _: False),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters(world: World, name: str) -> None:
    (operator, value), wanted = FILTERS[name]
    asked = {"dimension": "consumer", "operator": operator, "value": value}
    of_key = {"dimension": "key", "operator": "is", "value": KEYS[1]}
    assert world.ask(filter=asked).rows[0]["hits"] == len(world.mine(wanted))
    assert world.ask(filter={"not": asked}).rows[0]["hits"] == len(world.mine(lambda who: not wanted(who)))
    either = [r for r in world.mine() if wanted(world.owner(r)) or r.api_key == KEYS[1]]
    assert world.ask(filter={"or": [asked, of_key]}).rows[0]["hits"] == len(either)


def test_steps_and_the_period_before(world: World) -> None:
    day: dict[str, Any] = {"from": "2026-03-02", "to": "2026-03-02"}
    reply = world.ask(**day, dimensions=["consumer"], step="hour", compare="previous")
    now, before = (Counter[tuple[str, int]]() for _ in range(2))
    for record in world.mine():
        nth, hour = divmod(record.millisecond // 1000 - START, DAY)
        if nth < 2:
            (before, now)[nth][world.owner(record), hour // 3600] += 1
    shown = [(row["consumer"], int(row["step"][11:13]), row["hits"], row["earlier"]["hits"]) for row in reply.rows]
    present = {who for who, _ in now}
    assert sorted(shown) == sorted((w, h, now[w, h], before[w, h]) for w in present for h in range(24))


def test_a_scope_of_consumers(world: World) -> None:
    scope = Scope(world.scope.org, consumers=frozenset({"acme"}))
    mine = world.mine(lambda who: who == "acme")
    assert world.ask(scope, totals=True).totals["hits"] == len(mine)
    others = {"dimension": "consumer", "operator": "is_not", "value": "acme"}
    assert world.ask(scope, filter=others).rows[0]["hits"] == 0
    reply = world.ask(scope, dimensions=["consumer"], metrics=["hits"])
    assert [(row["consumer"], row["hits"]) for row in reply.rows] == [("acme", len(mine))] * bool(mine)


def test_rollups_answer_where_they_can(stocked: Shops) -> None:
    world = World(stocked, DIRECTORIES["of keys"])
    assert {"by_caller_day", "by_key_15m"} <= {*world.ask(dimensions=["consumer"]).tables}
    assert not world.ask(dimensions=["consumer"]).raw_only
    of_acme = {"dimension": "consumer", "operator": "is", "value": "acme"}
    assert not world.ask(filter=of_acme).raw_only
    world = World(stocked, DIRECTORIES["of clients"])
    of_beta = {"dimension": "consumer", "operator": "is", "value": "beta"}
    assert {"by_client_day", "by_client_15m"} <= {*world.ask(filter=of_beta).tables}
    both = [one for one in DIRECTORIES["of all kinds"] if one[1] != "tag"]
    assert "by_caller_day" in World(stocked, both).ask(dimensions=["consumer"]).tables
    world = World(stocked, DIRECTORIES["of all kinds"])
    assert world.ask(dimensions=["consumer"]).raw_only
    # Whoever has only keys is found by them, whatever others have.
    keys_alone = [one for one in DIRECTORIES["of all kinds"] if one[:2] != ("acme", "tag")]
    assert not World(stocked, keys_alone).ask(filter=of_acme).raw_only


def test_too_many_edges_are_read_from_single_requests(stocked: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_module, "MOST_EDGES", 1)
    world = World(stocked, DIRECTORIES["of keys"])
    reply = world.ask(dimensions=["consumer"])
    assert reply.raw_only
    expected = Counter(world.owner(record) for record in world.mine())
    assert {row["consumer"]: row["hits"] for row in reply.rows} == expected


def test_of_all_organisations_each_has_its_own_directory(stocked: Shops) -> None:
    world = World(stocked, DIRECTORIES["of keys"])
    stranger = world.links[0].org.replace(ORGS[0], ORGS[1])
    replace_links(world.engine, stranger, [Link(stranger, "of another", "", "key", KEYS[1])])
    reply = world.ask(Scope(None), dimensions=["org", "consumer"], metrics=["hits"])
    shown = {(row["org"], row["consumer"]): row["hits"] for row in reply.rows}
    mine = {(world.scope.org, who): n for who, n in Counter(world.owner(record) for record in world.mine()).items()}
    assert {key: n for key, n in shown.items() if key[0] == world.scope.org} == mine
    others = [r for r in RECORDS if r.org_id == ORGS[1] and r.response_code != -1]
    assert shown[stranger, "of another"] == sum(record.api_key == KEYS[1] for record in others)
    assert shown[stranger, ""] == sum(record.api_key != KEYS[1] for record in others)
