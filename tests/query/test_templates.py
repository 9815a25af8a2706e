"""Path templates: paths of one form are one endpoint in every question, and everything adds up as before."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from keytrail.errors import RequestError
from keytrail.query import join
from keytrail.query.ask import ask
from keytrail.query.join import forget_templates
from keytrail.query.question import parse
from keytrail.query.records import Search, page
from keytrail.query.request import ALL_TIME, Filter, Scope
from keytrail.store.client import Engine
from keytrail.store.templates import Template, check, read_templates, replace_templates
from tests.oracle.records import SECOND, Record
from tests.oracle.strategies import ORGS
from tests.query.shops import Shops, in_one

START = 1772323200  # 2026-03-01 00:00 UTC
CHANCE = random.Random(5)
PATHS = (
    *(f"/users/{n}" for n in range(6)),
    *(f"/users/{n}/orders/{m}" for n in range(3) for m in ("7", "x")),
    "/users/me",
    "/users/me/orders/7",
    "/users",
    "/users/",
    "/users/1/",
    "/Users/1",
    "/files/a.pdf",
    "/files/a.txt",
    "/files/.pdf",
    "/a+b/(c)/[d]",
    "/aab/(c)/[d]",
    "/aab/(c)/d",
    "/ünï/1",
    "/line\nbreak/1",
    "",
    "*",
)
RECORDS = [
    Record(
        timestamp=(START * 1000 + CHANCE.randrange(2 * 86_400_000)) * SECOND // 1000,
        org_id=CHANCE.choice((ORGS[0], ORGS[0], ORGS[1])),
        api_id=CHANCE.choice(("a", "b.c")),
        path=path,
        raw_path=path,
        api_key=CHANCE.choice(("11111111", "22222222")),
        response_code=CHANCE.choice((200, 404)),
    )
    for path in PATHS
    for _ in range(12)
]
RULES = (
    ("", "/users/{id}"),
    ("", "/users/me"),
    ("a", "/{collection}/{id}"),
    ("b.c", "/users/{user}/orders/{order}"),
    ("", "/users/me/orders/{order}"),
    ("", "/files/a.pdf"),
    ("", "/a+b/{one}/[d]"),
    ("bxc", "/users"),
    ("", "/ünï/{n}"),
)


def matches(pattern: str, path: str) -> bool:
    """Part by part, without a regular expression."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(_fits(*one) for one in zip(wanted, parts, strict=True))


def _fits(wanted: str, part: str) -> bool:
    return part != "" if wanted.startswith("{") else part == wanted


def endpoint(record: Record) -> str:
    """The most special of the rules that match: an API's own first, then whose parameters come later."""
    matching = [(api, rule) for api, rule in RULES if api in {"", record.api_id} and matches(rule, record.path)]
    special = sorted(matching, key=lambda one: (one[0] == "", ["{" in part for part in one[1].split("/")]))
    return special[0][1] if special else record.path


class World:
    def __init__(self, shops: Shops) -> None:
        self.engine, self.org = shops.product.parts.engine, shops.org
        self.mine = [record for record in RECORDS if record.org_id == ORGS[0]]

    def put(self, rules: tuple[tuple[str, str], ...], org: str = "") -> None:
        replace_templates(self.engine, org or self.org, [Template(org or self.org, *rule) for rule in rules])
        forget_templates(self.engine)

    def ask(self, scope: Scope | None = None, **fields: Any) -> Any:
        asked = {"from": "2026-03-01", "to": "2026-03-02", "limit": 1000, **fields}
        return ask(self.engine, scope or Scope(self.org), parse(asked, default_zone="Asia/Kathmandu"))

    def hits(self, record: Record) -> bool:
        """Within the two days of Nepal, 5:45 ahead."""
        return START * 1000 - 20_700_000 <= record.millisecond < START * 1000 + 2 * 86_400_000 - 20_700_000


@pytest.fixture(scope="module")
def stocked(shops: Shops) -> World:
    shops.stock(in_one(RECORDS))
    return World(shops)


@pytest.fixture
def world(stocked: World) -> Iterator[World]:
    stocked.put(RULES)
    yield stocked
    stocked.put(())


def test_paths_of_one_form_are_one_endpoint(world: World) -> None:
    mine = [record for record in world.mine if world.hits(record)]
    reply = world.ask(dimensions=["api", "path"], metrics=["hits", "distinct_endpoints"], totals=True)
    expected = Counter((record.api_id, endpoint(record)) for record in mine)
    assert {(row["api"], row["path"]): row["hits"] for row in reply.rows} == expected
    assert reply.totals == {"hits": len(mine), "distinct_endpoints": len(expected)}
    # More than one table, and each by key.
    assert len(reply.tables) > 1
    of_key = {"dimension": "key", "operator": "is", "value": "11111111"}
    for step in ("day", "hour"):
        reply = world.ask(dimensions=["path"], filter=of_key, step=step)
        found: Counter[str] = Counter()
        for row in reply.rows:
            found[row["path"]] += row["hits"]
        assert found == Counter(endpoint(record) for record in mine if record.api_key == "11111111")


def test_a_filter_means_the_endpoint(world: World) -> None:
    mine = [record for record in world.mine if world.hits(record)]
    for operator, value, holds in (
        ("is", "/users/{id}", lambda path: path == "/users/{id}"),
        ("is", "/users/3", lambda path: path == "/users/3"),
        ("in", ["/users/me", "/files/a.pdf"], lambda path: path in {"/users/me", "/files/a.pdf"}),
        ("prefix", "/users/{", lambda path: path.startswith("/users/{")),
    ):
        asked = {"dimension": "path", "operator": operator, "value": value}
        expected = sum(bool(holds(endpoint(record))) for record in mine)
        assert world.ask(filter=asked).rows[0]["hits"] == expected, value
        assert world.ask(filter={"not": asked}).rows[0]["hits"] == len(mine) - expected, value


def test_single_requests_tell_the_endpoint_and_the_path_as_asked(world: World) -> None:
    search = Search(Scope(world.org), (ALL_TIME,), (Filter("path", "is", "/users/{id}"),))
    rows = page(world.engine, search, limit=1000).rows
    expected = Counter(record.path for record in world.mine if endpoint(record) == "/users/{id}")
    assert Counter(row.dimensions["raw_path"] for row in rows) == expected
    assert {row.dimensions["path"] for row in rows} == {"/users/{id}"}
    found = page(world.engine, Search(Scope(world.org), (ALL_TIME,), text="{ID}"), limit=1000).rows
    assert {row.dimensions["path"] for row in found} == {"/users/{id}", "/{collection}/{id}"}


def test_what_is_taken_away_is_as_if_it_had_never_been(world: World) -> None:
    paths = Counter(record.path for record in world.mine if world.hits(record))
    assert {row["path"]: row["hits"] for row in world.ask(dimensions=["path"]).rows} != paths
    world.put(())
    assert {row["path"]: row["hits"] for row in world.ask(dimensions=["path"]).rows} == paths


def test_rules_that_are_changed_while_a_question_reads_them_count_for_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, changed = threading.Event(), threading.Event()

    def slowly(engine: Engine) -> list[Template]:
        found = read_templates(engine)
        read.set()
        assert changed.wait(30)
        return found

    with ThreadPoolExecutor(2) as pool, monkeypatch.context() as patch:
        forget_templates(world.engine)
        patch.setattr(join, "read_templates", slowly)
        before = pool.submit(world.ask, dimensions=["path"])
        assert read.wait(30)
        replace_templates(world.engine, world.org, [])
        # It may wait for the reading, or be quicker than that.
        forgotten = pool.submit(forget_templates, world.engine)
        wait([forgotten], timeout=0.2)
        changed.set()
        for one in (before, forgotten):
            one.result(30)
    paths = Counter(record.path for record in world.mine if world.hits(record))
    assert {row["path"]: row["hits"] for row in world.ask(dimensions=["path"]).rows} == paths


def test_each_organisation_has_its_own(world: World) -> None:
    stranger = world.org.replace(ORGS[0], ORGS[1])
    world.put((("", "/{all}"), ("", "/{all}/{more}")), stranger)
    reply = world.ask(Scope(None), dimensions=["org", "path"])
    shown = {(row["org"], row["path"]): row["hits"] for row in reply.rows}
    mine = Counter((world.org, endpoint(record)) for record in world.mine if world.hits(record))
    assert {key: hits for key, hits in shown.items() if key[0] == world.org} == mine
    theirs = [record for record in RECORDS if record.org_id == ORGS[1] and world.hits(record)]
    assert shown[stranger, "/{all}/{more}"] == sum(matches("/{all}/{more}", record.path) for record in theirs)
    world.put((), stranger)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ((("", "users/{id}"),), r"templates\[0\]\.pattern: 'users/\{id\}' does not begin with /"),
        ((("", "/a"), ("", "/{}")), r"templates\[1\]\.pattern: a parameter is a name in braces"),
        ((("", "/{a/b}"),), r"templates\[0\]\.pattern: a parameter is"),
        ((("", "/a}"),), r"templates\[0\]\.pattern: a parameter is"),
        ((("", "/a{b}"),), r"templates\[0\]\.pattern: a parameter is"),
        ((("", "/{a}" * 9),), r"templates\[0\]\.pattern: it has more than 8 parameters"),
        (
            tuple(("", "".join("/{a}" if n >> bit & 1 else "/b" for bit in range(6))) for n in range(51)),
            "templates: parameters stand in more than 50 different combinations of places",
        ),
        ((("", "/{a}"), ("x", "/{b}"), ("", "/{c}")), r"templates\[2\]: matches the same paths as templates\[0\]"),
        ((("", "/" + "a" * 512),), r"templates\[0\]: a text has at most 512 characters"),
        ((("", "/a\nb"),), r"templates\[0\]: a text has no line breaks"),
        (tuple(("", f"/{n}") for n in range(1001)), "templates: at most 1000 are taken"),
    ],
)
def test_rules_that_can_not_be(rules: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        check([Template("o", *rule) for rule in rules])


def processor_seconds(world: World) -> float:
    """What a question by path takes once the rules are known."""

    def once() -> float:
        began = time.process_time()
        world.ask(dimensions=["path"])
        return time.process_time() - began

    return min(once() for _ in range(2))


def test_as_many_rules_as_there_may_be_cost_no_more_than_their_combinations_of_places(world: World) -> None:
    masks = [n for n in range(128) if 3 <= n.bit_count() <= 4][:50]
    rules = [("", "".join("/{a}" if n >> bit & 1 else f"/b{k}" for bit in range(7))) for n in masks for k in range(20)]
    world.put(tuple(rules))
    reply = world.ask(dimensions=["path"])
    assert sum(row["hits"] for row in reply.rows) == sum(map(world.hits, world.mine))
    all_rules = processor_seconds(world)
    world.put((("", "/{a}"),))
    # Of 50 combinations it was ten times as much.
    assert all_rules < 100 * processor_seconds(world)
