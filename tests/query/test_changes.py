"""What changed: known culprits are found with the minute they began, and every number is that of a plain sum."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import pytest

from keytrail.errors import RequestError, TooCostly
from keytrail.query import changes as changing
from keytrail.query import join
from keytrail.query.changes import Changes, changes
from keytrail.query.changes_question import parse_changes
from keytrail.query.request import Scope
from keytrail.store.consumers import Link, replace_links
from tests.oracle.records import SECOND, Record
from tests.oracle.spread import thin
from tests.oracle.strategies import ORGS
from tests.query.shops import Shops, in_one

# As the gateway hashes keys, so that they are stored as they are.
K1, K2, K3 = "11111111", "22222222", "33333333"
NOON = 1772366400  # 2026-03-01 12:00 UTC
HOUR = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z"}
DAY = {"from": "2026-03-01", "to": "2026-03-01"}


def hit(second: int, key: str = K1, path: str = "/a", **fields: Any) -> Record:
    given: dict[str, Any] = {
        "org_id": ORGS[0],
        "api_id": "api",
        "response_code": 200,
        "latency_total": 10,
        "latency_upstream": 8,
    } | fields
    return Record(timestamp=(NOON + second) * SECOND, api_key=key, path=path, **given)


def steady(start: int, end: int, every: int = 20, **fields: Any) -> list[Record]:
    return [hit(second, **fields) for second in range(start, end, every)]


def found(shops: Shops, records: list[Record], **fields: Any) -> Changes:
    shops.stock(in_one(records))
    question = parse_changes(HOUR | fields, default_zone="UTC")
    return changes(shops.product.parts.engine, Scope(shops.org), question)


def culprits(rows: list[Any]) -> list[tuple[Any, ...]]:
    return [(row["key"], row["path"], row["code_class"], row["origin"], row["since"]) for row in rows]


def test_one_key_fails_at_the_gateway_since_a_known_minute(shops: Shops) -> None:
    calm = [one for key in (K1, K2) for path in ("/a", "/b") for one in steady(-3600, 3600, key=key, path=path)]
    # A stray error long before is not the beginning.
    stray = [hit(130, key=K2, path="/b", response_code=502)]
    failing = steady(37 * 60 + 5, 3600, 15, key=K2, path="/b", response_code=502, latency_upstream=0, alias="ACME")
    reply = found(shops, calm + stray + failing)
    assert culprits(reply.errors["rows"]) == [(K2, "/b", "5xx", "gateway", "2026-03-01T12:37:00.000Z")]
    (row,) = reply.errors["rows"]
    # 22 minutes and 55 seconds, one in 15 seconds, and the stray one, whose upstream took time.
    assert (row["errors"], row["earlier_errors"], row["contribution"]) == (93, 0, 93)
    assert (row["origins"], row["share"], row["alias"]) == ({"gateway": 92, "upstream": 1}, 1, "ACME")
    assert (row["endpoint_hits"], row["error_rate"]) == (180 + 93, 93 / 273)
    assert (reply.errors["now"], reply.errors["change"], reply.errors["rest"]) == (93, 93, 0)
    assert reply.latency["rows"] == []


@pytest.mark.parametrize("baseline", ["previous", "yesterday", "last_week"])
def test_the_minute_is_found_in_a_day_too(shops: Shops, baseline: str) -> None:
    days_before = 7 if baseline == "last_week" else 1
    calm = [one for start in (-days_before, 0) for one in steady(start * 86_400 - 43_200, start * 86_400 + 43_200, 900)]
    failing = steady(2 * 3600 + 59 * 60, 5 * 3600, 60, response_code=503)
    reply = found(shops, calm + failing, **DAY, baseline=baseline)
    assert culprits(reply.errors["rows"]) == [(K1, "/a", "5xx", "upstream", "2026-03-01T14:59:00.000Z")]
    assert reply.errors["rows"][0]["contribution"] == 121


def test_what_is_spread_over_many_is_told_of_all_together(shops: Shops) -> None:
    reply = found(shops, list(thin(ORGS[0], NOON)))
    assert (reply.errors["rows"], reply.latency["rows"], reply.judged) == ([], [], 80)
    # 160 errors instead of 40; none of the 1,000 hits was above 100 ms, and now 120 are.
    assert (reply.errors["change"], reply.errors["rest"]) == (120, 120)
    assert reply.errors["sigma"] == pytest.approx(120 / sqrt(160 + 40))
    p95 = (reply.latency["earlier_p95_latency"], reply.latency["p95_latency"])
    assert p95 == pytest.approx((100, 400), rel=0.02)
    assert reply.latency["change"] == pytest.approx(0.12)
    assert reply.latency["sigma"] == pytest.approx(0.12 / sqrt(120 / 1000**2))


def test_what_each_key_alone_has_too_little_of(shops: Shops) -> None:
    keys = [f"{number:08x}" for number in range(1, 41)]
    calm = [one for key in keys for one in steady(-3600, 3600, 720, key=key)]
    # One error of each key: none stands out, the endpoint does.
    failing = [hit(1800 + number, key=key, response_code=502) for number, key in enumerate(keys)]
    assert found(shops, calm + failing, least_hits=1).errors["rows"] == []
    reply = found(shops, calm + failing, by="endpoint")
    assert culprits(reply.errors["rows"]) == [(None, "/a", "5xx", "upstream", "2026-03-01T12:30:00.000Z")]
    (row,) = reply.errors["rows"]
    assert (row["api"], row["contribution"], row["endpoint_hits"]) == ("api", 40, 40 * 5 + 40)
    # One key on many endpoints, at the gateway.
    spread = [hit(1800 + n, path=f"/{n}", response_code=429, latency_upstream=0, alias="ACME") for n in range(30)]
    reply = found(shops, calm + spread, by="key")
    assert culprits(reply.errors["rows"]) == [(K1, None, "4xx", "gateway", "2026-03-01T12:30:00.000Z")]
    assert (reply.errors["rows"][0]["contribution"], reply.errors["rows"][0]["alias"]) == (30, "ACME")
    with pytest.raises(RequestError, match="by: one of key_endpoint, key, endpoint, consumer_"):
        parse_changes({"by": "path"}, default_zone="UTC")


def test_a_slower_upstream_and_a_slower_gateway(shops: Shops) -> None:
    calm = [one for key in (K1, K2, K3) for one in steady(-3600, 1800, key=key)] + steady(1800, 3600, key=K1)
    upstream = steady(1800, 3600, key=K2, latency_total=400, latency_upstream=398)
    gateway = steady(1800, 3600, 40, key=K3, latency_total=300, latency_upstream=8)
    reply = found(shops, calm + upstream + gateway)
    assert culprits(reply.latency["rows"]) == [
        (K2, "/a", "2xx", "upstream", "2026-03-01T12:30:00.000Z"),
        (K3, "/a", "2xx", "gateway", "2026-03-01T12:30:00.000Z"),
    ]
    hits = 180 + 90 + 90 + 90 + 45
    assert [row["contribution"] for row in reply.latency["rows"]] == pytest.approx([90 / hits, 45 / hits])
    assert reply.latency["earlier_p95_latency"] == 10
    # The bucket of 400 ms is from 400 to 415.
    assert reply.latency["p95_latency"] == 407.5
    assert reply.latency["rest"] == pytest.approx(0)
    assert reply.errors["rows"] == []


def test_names_are_the_later_ones_and_those_of_who_is_gone(shops: Shops) -> None:
    refused = {"response_code": 403, "latency_upstream": 0}
    records = [
        *steady(-3600, 0, key=K1, alias="gone", **refused),
        *steady(-3600, 0, 40, key=K2, alias="before", **refused),
        *steady(0, 3600, 200, key=K2, alias="after", **refused),
    ]
    reply = found(shops, records, direction="better")
    assert [(row["key"], row["alias"]) for row in reply.errors["rows"]] == [(K1, "gone"), (K2, "after")]


def test_errors_alone_are_the_same_errors(shops: Shops) -> None:
    calm = [one for key in (K1, K2) for one in steady(-3600, 3600, key=key)]
    failing = steady(1800, 3600, 30, key=K2, response_code=502, latency_total=400)
    whole = found(shops, calm + failing)
    question = parse_changes(HOUR, default_zone="UTC")
    alone = changes(shops.product.parts.engine, Scope(shops.org), question, errors_alone=True)
    assert alone.errors == whole.errors
    assert len(whole.errors["rows"]) == 1
    assert (len(whole.latency["rows"]), alone.latency["rows"]) == (1, [])
    assert (alone.groups, alone.judged) == (whole.groups, whole.judged)


def test_a_consumer_whose_keys_were_rotated_is_one_culprit(shops: Shops) -> None:
    calm = [one for key in (K1, K2, K3) for one in steady(-3600, 3600, key=key)]
    # Too few of each key, and two of one consumer.
    failing = [
        *steady(1200, 2400, 120, key=K1, path="/b", response_code=502),
        *steady(2400, 3600, 120, key=K2, path="/b", response_code=502),
    ]
    shops.stock(in_one(calm + failing))
    links = [Link(shops.org, "acme", "ACME", "key", K1), Link(shops.org, "acme", "ACME", "key", K2)]
    replace_links(shops.product.parts.engine, shops.org, links)
    rows = {}
    for by in ("consumer_endpoint", "consumer", "key_endpoint"):
        question = parse_changes(HOUR | {"by": by}, default_zone="UTC")
        reply = changes(shops.product.parts.engine, Scope(shops.org), question)
        rows[by] = reply.errors["rows"]
        assert reply.errors["change"] == 20
    assert rows["key_endpoint"] == []
    (row,) = rows["consumer_endpoint"]
    assert (row["consumer"], row["key"], row["path"], row["errors"]) == ("acme", None, "/b", 20)
    assert row["since"] == "2026-03-01T12:20:00.000Z"
    assert [(row["consumer"], row["path"], row["errors"]) for row in rows["consumer"]] == [("acme", None, 20)]


def test_no_group_that_is_not_shown_leaves_the_engine(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{number:08x}" for number in range(1, 301)]
    calm = [hit(second, key=key) for key in keys for second in (-3000, 3000)]
    # Of the last thirty, each has more errors and slow hits than the one before it.
    bad: dict[str, Any] = {"response_code": 502, "latency_total": 500}
    failing = [hit(1800 + n, key=key, **bad) for more, key in enumerate(keys[-30:]) for n in range(10 + more)]
    shops.stock(in_one(calm + failing))
    engine, fetched = shops.product.parts.engine, []
    query = engine.query

    def counting(*args: Any, **more: Any) -> Any:
        found = query(*args, **more)
        fetched.append(values(found.rows))
        return found

    monkeypatch.setattr(engine, "query", counting)
    question = parse_changes(HOUR | {"limit": 2, "least_hits": 1}, default_zone="UTC")
    reply = changes(engine, Scope(shops.org), question)
    assert reply.groups == 300 + 30
    for rows in (reply.errors["rows"], reply.latency["rows"]):
        assert [row["key"] for row in rows] == [keys[-1], keys[-2]]
    # The numbers of everything, and of two groups with their minutes; those of all groups would be thousands.
    assert sum(fetched) < len(keys)


def values(found: Any) -> int:
    """How many values there are in rows of rows."""
    return sum(values(one) for one in found) if isinstance(found, list | tuple) else 1


def test_each_of_both_ranges_may_take_what_one_may(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one statement; what only single requests tell must not be refused for that."""
    shops.stock(in_one(steady(-3600, 3600)))
    engine, limits = shops.product.parts.engine, []
    query = engine.query

    def noting(sql: str, parameters: Any = None, bounds: Any = None) -> Any:
        if "`d_code_class`" in sql:
            limits.append(bounds)
        return query(sql, parameters, bounds)

    monkeypatch.setattr(engine, "query", noting)
    condition = {"dimension": "country", "operator": "is", "value": ""}
    reply = changes(engine, Scope(shops.org), parse_changes(HOUR | {"filter": condition}, default_zone="UTC"))
    assert reply.groups == 1
    (ranking,) = limits
    assert (ranking["max_rows_to_read"], ranking["max_execution_time"]) == (100_000_000, 30)
    assert ranking["max_memory_usage"] == 1_000_000_000


def test_who_moved_between_the_ranges_is_no_matter(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that come and go there are none that a range has to be cut at, and of too many sums would be of no use."""
    monkeypatch.setattr(join, "MOST_EDGES", 1)
    shops.stock(in_one([*steady(-7 * 86_400, 3600 - 7 * 86_400), *steady(0, 3600, response_code=502)]))
    moved = [datetime.fromtimestamp(NOON - day * 86_400, UTC) for day in (5, 4, 3)]
    owners = ("one", "two", "three", "four")
    since, until = (None, *moved), (*moved, None)
    links = [
        Link(shops.org, owner, "", "key", K1, **{n: at for n, at in (("start", start), ("end", end)) if at})
        for owner, start, end in zip(owners, since, until, strict=True)
    ]
    replace_links(shops.product.parts.engine, shops.org, links)
    question = parse_changes(HOUR | {"baseline": "last_week", "by": "consumer"}, default_zone="UTC")
    reply = changes(shops.product.parts.engine, Scope(shops.org), question)
    assert [(row["consumer"], row["errors"]) for row in reply.errors["rows"]] == [("four", 180)]
    assert "requests" not in {segment.table for segment in reply.statements[1].plan.segments}


def test_nothing_changed(shops: Shops) -> None:
    mixed = [*steady(-3600, 3600), *steady(-3600, 3600, 60, response_code=404, latency_total=200)]
    reply = found(shops, mixed, direction="both")
    assert (reply.errors["rows"], reply.latency["rows"]) == ([], [])
    assert (reply.errors["now"], reply.errors["earlier"], reply.errors["change"]) == (60, 60, 0)
    assert (reply.groups, reply.judged) == (2, 2)


def test_too_few_hits_are_not_judged_but_counted(shops: Shops) -> None:
    few = steady(-3600, 3600) + steady(0, 190, 10, key=K2, response_code=500)
    reply = found(shops, few)
    assert (reply.errors["rows"], reply.errors["rest"], reply.groups, reply.judged) == ([], 19, 2, 1)
    assert [row["key"] for row in found(shops, few, least_hits=19).errors["rows"]] == [K2]


def test_what_became_better(shops: Shops) -> None:
    records = steady(-3600, 3600) + steady(-3600, 0, 30, response_code=500)
    assert found(shops, records).errors["rows"] == []
    (row,) = found(shops, records, direction="better").errors["rows"]
    assert (row["contribution"], row["since"], row["origin"]) == (-120, None, "upstream")


def test_a_longer_baseline_lets_expect_less(shops: Shops) -> None:
    records = (
        steady(-4 * 3600, 3600) + steady(-4 * 3600, 0, 60, response_code=500) + steady(0, 3600, 20, response_code=500)
    )
    reply = found(shops, records, baseline={"from": "2026-03-01T08:00:00Z", "to": "2026-03-01T12:00:00Z"})
    (row,) = reply.errors["rows"]
    assert (row["errors"], row["earlier_errors"], row["expected_errors"], row["contribution"]) == (180, 240, 60, 120)
    assert row["since"] == "2026-03-01T12:00:00.000Z"


def test_nothing_before_gives_no_judgement_of_latency(shops: Shops) -> None:
    reply = found(shops, steady(0, 3600, latency_total=900))
    assert (reply.latency["rows"], reply.latency["change"], reply.latency["earlier_p95_latency"]) == ([], None, None)


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_a_plain_sum(shops: Shops, seed: int) -> None:
    chance = random.Random(seed)
    keys, paths, codes = (K1, K2, K3), ("/a", "/b"), (*(200,) * 7, 301, 404, 500)

    def any_hit(second: int, worse: bool) -> Record:
        path = chance.choice(paths)
        # Up to 31 ms every latency has a bucket of its own.
        latency = chance.randrange(16) + (15 if worse and path == "/b" else 0)
        code = chance.choice((*codes, *(502,) * 8)) if worse and path == "/b" else chance.choice(codes)
        key = chance.choice(keys)
        return hit(second, key, path, response_code=code, latency_total=latency, latency_upstream=latency // 2)

    before = [any_hit(chance.randrange(-3600, 0), worse=False) for _ in range(900)]
    now = [any_hit(chance.randrange(3600), worse=second > 300) for second in range(1000)]
    # Strangers and counters of TCP, which must not count.
    others = [hit(5, response_code=502, org_id=ORGS[1]), hit(6, response_code=-1)] * 30
    reply = found(shops, before + now + others, direction="both", limit=50, least_hits=1)

    def group(record: Record) -> tuple[str, str, str]:
        return record.api_key, record.path, f"{record.response_code // 100}xx"

    errors = [Counter(group(one) for one in side if one.response_code >= 400) for side in (now, before)]
    edge = percentile(before)
    slow = [Counter(group(one) for one in side if one.latency_total > edge) for side in (now, before)]
    of_errors = ranked(
        {key: (errors[0][key] - errors[1][key], sqrt(errors[0][key] + errors[1][key])) for key in errors[0] | errors[1]}
    )
    n, m = len(now), len(before)
    of_latency = ranked(
        {
            key: (slow[0][key] / n - slow[1][key] / m, sqrt(slow[0][key] / n**2 + slow[1][key] / m**2))
            for key in slow[0] | slow[1]
        }
    )
    assert of_errors
    assert of_latency
    for rows, expected in ((reply.errors["rows"], of_errors), (reply.latency["rows"], of_latency)):
        got = [((row["key"], row["path"], row["code_class"]), row["contribution"]) for row in rows]
        assert got == [(key, pytest.approx(value, abs=1e-12)) for key, value in expected]
    assert reply.errors["change"] == errors[0].total() - errors[1].total()
    assert (reply.latency["p95_latency"], reply.latency["earlier_p95_latency"]) == (percentile(now), edge)
    assert reply.latency["change"] == pytest.approx(slow[0].total() / n - slow[1].total() / m)
    for row in reply.errors["rows"]:
        key = (row["key"], row["path"], row["code_class"])
        mine = [one for one in now if group(one) == key and one.response_code >= 400]
        reference = (errors[0][key] + errors[1][key]) / 2
        assert row["since"] == (began(mine, reference) if row["contribution"] > 0 else None)


def percentile(records: list[Record]) -> int:
    latencies = sorted(one.latency_total for one in records)
    return next(value for place, value in enumerate(latencies, 1) if place >= len(latencies) * 0.95)


def ranked(contributions: dict[Any, tuple[float, float]]) -> list[tuple[Any, float]]:
    clear = [(key, value) for key, (value, noise) in contributions.items() if abs(value) >= 3 * noise]
    return sorted(clear, key=lambda one: (-abs(one[1]), one[0]))


def began(records: list[Record], reference: float) -> str:
    """The start of the run of minutes with most above the reference, by looking at every run."""
    counts = Counter((one.timestamp // SECOND - NOON) // 60 for one in records)
    runs = {
        (start, end): sum(counts[minute] - reference / 60 for minute in range(start, end + 1))
        for start in range(60)
        for end in range(start, 60)
    }
    start, _ = max(runs, key=lambda run: (round(runs[run], 9), -run[0], -run[1]))
    moment = datetime.fromtimestamp(NOON, UTC) + timedelta(minutes=start)
    return f"{moment:%Y-%m-%dT%H:%M}:00.000Z"


def test_more_groups_than_can_be_ranked_are_refused(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "MOST_GROUPS", 3)
    with pytest.raises(TooCostly, match="more than 3 groups"):
        found(shops, [hit(0, path=f"/{n}") for n in range(4)])


def test_a_limited_scope_sees_its_apis_alone(shops: Shops) -> None:
    shops.stock(in_one(steady(0, 3600, api_id="mine", response_code=500) + steady(0, 3600, response_code=500)))
    scope = Scope(shops.org, frozenset({"mine"}))
    reply = changes(shops.product.parts.engine, scope, parse_changes(HOUR, default_zone="UTC"))
    assert [row["api"] for row in reply.errors["rows"]] == ["mine"]
    assert reply.errors["now"] == 180


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metrics": ["hits"]}, "^metrics: no such field"),
        ({"baseline": "tomorrow"}, "^baseline: one of previous, yesterday"),
        ({"baseline": {"from": "2026-03-01T12:30:00Z", "to": "2026-03-01T14:00:00Z"}}, "^baseline: it overlaps"),
        ({**DAY, "from": "2026-02-20", "baseline": "yesterday"}, "^baseline: it overlaps"),
        ({"from": "1970-01-01", "to": "1970-01-02", "baseline": "last_week"}, "^baseline: "),
        ({"direction": "up"}, "^direction: "),
        ({"least_hits": 0}, "^least_hits: "),
        ({"limit": 51}, "^limit: "),
    ],
)
def test_what_can_not_be_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_changes(HOUR | fields, default_zone="UTC")


def test_yesterday_is_by_the_clock_of_the_zone() -> None:
    fields = {"zone": "Europe/Berlin", "from": "2026-03-29T12:00:00+02:00", "to": "2026-03-29T13:00:00+02:00"}
    # The clock was put forward that night: 12:00 the day before is 11:00 UTC, not 10:00.
    assert parse_changes(fields | {"baseline": "yesterday"}, default_zone="UTC").baseline.edges == (
        "2026-03-28T12:00:00.000+01:00",
        "2026-03-28T13:00:00.000+01:00",
    )
