"""Any records, however they arrive, in any zone and range give what a plain Python sum over them gives."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from keytrail.instants import zone
from keytrail.query.request import Filter, Query, Scope, day_range
from keytrail.query.run import run
from keytrail.web.rows import METRICS, shape
from tests.oracle.records import Record
from tests.oracle.strategies import APIS, CLIENTS, KEYS, ORGS, TAGS, VERSIONS, Question, questions
from tests.oracle.sums import (
    COUNTERS,
    Row,
    Step,
    Where,
    api_rows,
    client_rows,
    endpoint_rows,
    error_code_rows,
    key_rows,
    ordered,
    pages,
    series_rows,
)
from tests.query.shops import PAGE_SIZE, Arrival, Shops, arrivals, in_one

# Hypothesis tells a failing example before it has made it small.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

UNHURRIED = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


RESOLUTIONS: tuple[Step, ...] = ("hour", "day", "month")


BUSY_KEY, BUSY_CLIENT = KEYS[1], CLIENTS[1]


@st.composite
def stocked(draw: st.DrawFn) -> tuple[Question, Arrival]:
    """Records of which most are of one key, client and organisation: rows of one hit each would prove little."""
    question = draw(questions(max_size=60))
    busy = [
        replace(record, api_key=BUSY_KEY, oauth_id=BUSY_CLIENT, org_id=ORGS[0]) if n % 4 else record
        for n, record in enumerate(question.records)
    ]
    return replace(question, records=busy), draw(arrivals(busy))


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters that pick records: most often all of them."""
    parameters: dict[str, st.SearchStrategy[Any]] = {
        "api_id": st.sampled_from((*APIS, "of nobody")),
        "api_version": st.sampled_from((*filter(None, VERSIONS), "v2")),
        "tags": st.lists(st.sampled_from(TAGS), min_size=1, max_size=2),
    }
    name = draw(st.sampled_from((None, *parameters, None, None)))
    given_ones = {name: draw(parameters[name])} if name else {}
    return dict.fromkeys(parameters) | given_ones


@st.composite
def orders(draw: st.DrawFn) -> tuple[str | None, int | None]:
    """A counter as its name in a row or in Go, and a direction."""
    counter = draw(st.sampled_from(COUNTERS))
    go_name = "".join(part.title() for part in counter.split("_"))
    return draw(st.sampled_from((None, counter, go_name, go_name.lower()))), draw(st.sampled_from((None, 1, -1)))


def owners() -> st.SearchStrategy[tuple[str, str]]:
    """A seed path up to the range's dates, and whose rows it gives."""
    busy = st.sampled_from((("keys", BUSY_KEY), ("oauthid", BUSY_CLIENT)))
    others = [*(("keys", key) for key in KEYS), *(("oauthid", client) for client in CLIENTS if client)]
    return busy | busy | st.sampled_from(others)


def where(question: Question, **more: Any) -> Where:
    found: Any = {"org": question.org, "start": question.start, "end": question.end, "zone": question.zone, **more}
    result: Where = {name: value for name, value in found.items() if value is not None}  # type: ignore[assignment]
    return result


def of_owner(owner: tuple[str, str]) -> dict[str, str]:
    return {"key" if owner[0] == "keys" else "oauth": owner[1]}


def path_of(owner: tuple[str, str], question: Question) -> str:
    return f"/api/activity/{owner[0]}/endpoint/{quote(owner[1])}/{dates(question.start)}/{dates(question.end)}"


def dates(day: date) -> str:
    return f"{day.day}/{day.month}/{day.year}"


@UNHURRIED
@given(stocked(), st.data())
def test_seed_endpoints(shops: Shops, case: tuple[Question, Arrival], data: st.DataObject) -> None:
    question, arrival = case
    shops.stock(arrival)
    for res in (None, None, data.draw(st.sampled_from(RESOLUTIONS))):
        owner, picked, track_all = data.draw(owners()), data.draw(filters()), data.draw(st.booleans())
        tags = {"tags": picked["tags"] and ",".join(picked["tags"])}
        of = where(question, track_all=track_all, **of_owner(owner), **picked)
        if res:
            by, sort = None, None
            rows = series_rows(question.records, res=res, **of)
        else:
            by, sort = data.draw(orders())
            rows = endpoint_rows(question.records, by=by, sort=sort, **of)
        for page in (-1,) if res is None and sort is None else (-1, data.draw(st.integers(1, 4))):
            answer, total = shops.ask(
                path_of(owner, question),
                question.zone,
                track_all=track_all,
                **(picked | tags),
                res=res,
                by=by,
                sort=sort,
                p=page,
            )
            expected, count = pages(rows, page, PAGE_SIZE)
            assert answer == {"data": expected, "pages": count}
            assert total == len(rows)


@settings(UNHURRIED, max_examples=6)
@given(stocked(), orders())
def test_sorted_series(shops: Shops, case: tuple[Question, Arrival], order: tuple[str | None, int | None]) -> None:
    """Steps of one number stay in time order, whichever way is asked for."""
    question, arrival = case
    by, sort = order
    if by is None and sort is None:
        by = "hits"
    shops.stock(arrival)
    rows = series_rows(question.records, res="day", **where(question, key=BUSY_KEY))
    answer, _ = shops.ask(path_of(("keys", BUSY_KEY), question), question.zone, res="day", p=-1, by=by, sort=sort)
    assert answer["data"] == sorted_steps(rows, by, sort)


def sorted_steps(rows: list[Row], by: str | None, sort: int | None) -> list[Row]:
    counter = next(name for name in COUNTERS if name.replace("_", "") == (by or "hits").replace("_", "").lower())
    if counter == "last_hit":
        # As instants; `ordered` knows how, and its ties can only be steps without a hit.
        hit = [row for row in rows if row["hits"]]
        empty = [row for row in rows if not row["hits"]]
        return [*empty, *ordered(hit, by, -1)] if sort == -1 else [*ordered(hit, by, 1), *empty]
    return sorted(rows, key=lambda row: row[counter], reverse=sort != -1)


# Dimensions of the query, and the sums that must come out; among them every family of rollups, and raw rows.
GROUPS: dict[tuple[str, ...], tuple[Callable[..., list[Row]], dict[str, str]]] = {
    ("api",): (api_rows, {"api": "api_id", "latest_api_name": "api_name"}),
    ("key",): (key_rows, {"key": "key", "latest_alias": "alias"}),
    ("oauth_client",): (client_rows, {"oauth_client": "key"}),
    ("code",): (error_code_rows, {"code": "code"}),
    ("path", "api"): (endpoint_rows, {"path": "path", "api": "api_id"}),
}


@settings(UNHURRIED, max_examples=12)
@given(stocked())
@example((Question("UTC", date(2024, 2, 28), date(2024, 3, 1), []), []))
def test_every_family_of_rollups(shops: Shops, case: tuple[Question, Arrival]) -> None:
    question, arrival = case
    shops.stock(arrival)
    tables: set[str] = set()
    for dimensions, (rows_of, parts) in GROUPS.items():
        conditions = [Filter("kind", "is", "rest")]
        if "oauth_client" in dimensions:
            conditions.append(Filter("oauth_client", "is_not", ""))
        if "code" in dimensions:
            conditions.append(Filter("code", "greater", 399))
        names = tuple(name for name in parts if name.startswith("latest_"))
        answer = run(
            shops.product.parts.engine,
            Query(
                scope=Scope(shops.org),
                spans=day_range(question.start, question.end, question.zone),
                zone=question.zone,
                dimensions=dimensions,
                metrics=(*METRICS, *names),
                filters=tuple(conditions),
            ),
        )
        tables.update(segment.table for segment in answer.plan.segments)
        got = [
            shape(row, zone(question.zone), **{part: row[name] for name, part in parts.items()}) for row in answer.rows
        ]
        assert ordered(got) == rows_of(question.records, **where(question))
    if question.start < question.end:
        assert len({table.rsplit("_", 1)[0] for table in tables}) >= 3


def test_where_each_kind_of_code_begins_and_ends(shops: Shops) -> None:
    """Each code once as the quickest and slowest of an endpoint, beside two that are no errors."""
    noon = 1772366400 * 10**9
    like = Record(timestamp=noon, org_id=ORGS[0], api_id="a", api_key=BUSY_KEY, response_code=200, latency_upstream=5)
    records = []
    for code in (-1, 0, 100, 199, 200, 299, 300, 399, 400, 499, 500, 599, 600, 999):
        odd = replace(like, path=f"/{code}", response_code=code)
        records += [replace(odd, latency_total=latency, latency_upstream=latency) for latency in (1, 9)]
        records += [replace(like, path=f"/{code}", latency_total=latency) for latency in (4, 6)]
        records.append(replace(odd, path=f"/only {code}"))
    shops.stock(in_one(records))
    answer, _ = shops.ask(f"/api/activity/keys/endpoint/{BUSY_KEY}/1/3/2026/1/3/2026", "UTC", p=-1)
    day = date(2026, 3, 1)
    assert answer["data"] == endpoint_rows(records, org=ORGS[0], start=day, end=day, zone="UTC", key=BUSY_KEY)


def test_hits_of_a_skipped_day(shops: Shops) -> None:
    """Where a day never was, its range has no rows and no steps, and the days around it are whole."""
    zone_name, key = "Pacific/Apia", KEYS[0]
    change = 1325239200 * 10**9  # 2011-12-30 10:00 UTC: from the 29th to the 31st
    records = [
        Record(timestamp=change + shift, org_id=ORGS[0], api_id="a", api_key=key, path="/", response_code=200)
        for shift in (-1, 0)
    ]
    shops.stock(in_one(records))
    root = f"/api/activity/keys/endpoint/{key}"

    def hits(days: str, **parameters: Any) -> list[int]:
        return [row["hits"] for row in shops.ask(f"{root}/{days}", zone_name, p=-1, **parameters)[0]["data"]]

    assert hits("30/12/2011/30/12/2011") == []
    assert hits("30/12/2011/30/12/2011", res="day") == []
    assert hits("29/12/2011/31/12/2011", res="day") == [1, 1]
    assert hits("29/12/2011/31/12/2011") == [2]
