"""The request log: every record once however pages and arrivals interleave, filtered as plain Python filters."""

import base64
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from keytrail.instants import zone
from keytrail.query.records import Place
from keytrail.query.request import Scope
from keytrail.query.zones import days
from keytrail.web.filters import understand
from keytrail.web.requests import message
from tests.oracle.records import SECOND, Record, to_json
from tests.product import ADMIN, Product
from tests.web.conftest import ORG, OTHER

LOGS = "logs only"
LIST = "/api/v1/requests"
AT = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * SECOND
MS = 10**6


def record(n: int, **more: Any) -> Record:
    fields = {"org_id": ORG, "api_id": f"api-{n % 2}", "api_key": f"{n % 3:08x}", "raw_path": f"/p/{n}", "path": "/p"}
    return Record(timestamp=AT - n * 600 * SECOND, **{"response_code": 200, **fields, **more})


# Hours apart, and many in one millisecond; codes, names and latencies to choose by.
RECORDS = [
    *(
        record(
            n,
            response_code=[200, 404, 500, -1, 301][n % 5],
            method=["GET", "POST"][n % 2],
            host=["a.example", "b.example"][n % 2],
            oauth_id=["", "client"][n % 2],
            latency_total=n * 7,
            latency_upstream=n * 5 * (n % 2),
            request_time=n,
            tags=[("gold",), ("gold", "eu"), ()][n % 3],
            path=["/Items/{id}", "/status", "/ünï"][n % 3],
            user_agent=f"agent {n % 4}",
            ip_address=f"192.0.2.{n % 4}",
            alias=f"name {n % 2}",
            api_name=f"API {n % 2}",
            api_version=["Non Versioned", "Not Versioned", "v1"][n % 3],
            country=["DE", "FR"][n % 2],
            track_path=n % 2 == 0,
            is_graphql=n % 7 == 0,
            is_mcp=n % 7 == 1,
            mcp_method=["", "tools/call"][n % 7 == 1],
            mcp_primitive_type=["", "tool"][n % 7 == 1],
            mcp_primitive_name=["", "add"][n % 7 == 1],
        )
        for n in range(60)
    ),
    *(replace(record(5), raw_path=f"/tie/{n}") for n in range(8)),
]
STRANGERS = [replace(each, org_id=OTHER, raw_path="/theirs") for each in RECORDS[:10]]


@pytest.fixture(scope="module", autouse=True)
def _stored(running: Product) -> None:
    running.empty()
    stored = [*RECORDS, *STRANGERS]
    for start in range(0, len(stored), 11):
        put(running, stored[start : start + 11])


def put(running: Product, records: list[Record]) -> None:
    assert running.put_lines([to_json(each).encode() for each in records]).stored == len(records)


def paths_of(answer: Any) -> list[str]:
    return [row["raw_path"] for row in answer["data"]]


def everything(running: Product, query: str = "", token: str = LOGS, between: Callable[[], object] = int) -> list[Any]:
    """The rows of all pages."""
    rows: list[Any] = []
    cursor = ""
    while True:
        answer = running.get(f"{LIST}?{query}&cursor={cursor}", token)
        rows += answer["data"]
        cursor = answer["next"]
        if not cursor:
            return rows
        between()


def newest_first(records: list[Record]) -> list[int]:
    return sorted((each.millisecond for each in records), reverse=True)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize("limit", [1, 7, 8, 1000])
def test_pages_hold_each_once_newest_first(running: Product, limit: int) -> None:
    rows = everything(running, f"limit={limit}")
    assert [ms(row["time"]) for row in rows] == newest_first(RECORDS)
    assert sorted(row["raw_path"] for row in rows) == sorted(each.raw_path for each in RECORDS)
    assert len({row["id"] for row in rows}) == len(RECORDS)


def test_pages_are_stable_while_records_arrive(running: Product) -> None:
    """New ones come before, in between, with equal times and after what was shown."""
    before = {row["id"] for row in everything(running, "limit=1000")}
    count = itertools.count()

    def arrive() -> None:
        n = next(count)
        put(running, [record(at, raw_path=f"/arrived/{n}") for at in (-n, n % 60, 5, 200)])

    try:
        rows = everything(running, "limit=9", between=arrive)
    finally:
        running.parts.engine.command("ALTER TABLE requests DELETE WHERE raw_path LIKE '/arrived/%'")
    assert next(count) > 5
    times = [ms(row["time"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert len({row["id"] for row in rows}) == len(rows) > len(RECORDS)
    assert [row["id"] for row in rows if row["id"] in before] == [
        row["id"] for row in everything(running, "limit=1000") if row["id"] in before
    ]


def code_class(each: Record) -> str:
    return "tcp" if each.response_code == -1 else f"{each.response_code // 100}xx"


CASES: dict[str, Callable[[Record], bool]] = {
    "key=00000001": lambda r: r.api_key == "00000001",
    "key=00000001&key=00000002": lambda r: r.api_key in {"00000001", "00000002"},
    "key=00000001&code=404": lambda r: r.api_key == "00000001" and r.response_code == 404,
    "key.is_not=00000001": lambda r: r.api_key != "00000001",
    "api=api-1": lambda r: r.api_id == "api-1",
    "oauth_client=": lambda r: not r.oauth_id,
    "oauth_client=client": lambda r: r.oauth_id == "client",
    "path=/status": lambda r: r.path == "/status",
    "path.prefix=/Items": lambda r: r.path.startswith("/Items"),
    f"path={quote('/ünï')}": lambda r: r.path == "/ünï",
    "raw_path.contains=/1": lambda r: "/1" in r.raw_path,
    "method=POST": lambda r: r.method == "POST",
    "version=Not+Versioned": lambda r: r.api_version in {"Non Versioned", "Not Versioned"},
    "code=-1": lambda r: r.response_code == -1,
    "code.greater=399&code.less=500": lambda r: 399 < r.response_code < 500,
    "code=404&code=500": lambda r: r.response_code in {404, 500},
    "code_class=4xx": lambda r: code_class(r) == "4xx",
    "kind=graphql": lambda r: r.kind == "graphql",
    "kind=tcp": lambda r: r.kind == "tcp",
    "error_origin=gateway": lambda r: r.response_code >= 400 and r.latency_upstream == 0,
    "tracked=true": lambda r: r.track_path,
    "alias=name+1": lambda r: r.alias == "name 1",
    "api_name=API+1": lambda r: r.api_name == "API 1",
    "country=FR": lambda r: r.country == "FR",
    "host=a.example": lambda r: r.host == "a.example",
    "ip=192.0.2.3": lambda r: r.ip_address == "192.0.2.3",
    "user_agent=agent+2": lambda r: r.user_agent == "agent 2",
    "tag=gold": lambda r: "gold" in r.tags,
    "tag=gold&tag=eu": lambda r: {"gold", "eu"} <= set(r.tags),
    "tag.is_not=eu&tag=gold": lambda r: "gold" in r.tags and "eu" not in r.tags,
    "mcp_method=tools/call": lambda r: r.mcp_method == "tools/call",
    "mcp_type=tool": lambda r: r.mcp_primitive_type == "tool",
    "mcp_name=add": lambda r: r.mcp_primitive_name == "add",
    "search=ITEMS": lambda r: "items" in (r.path + "\n" + r.raw_path).lower(),
    "search=/tie/": lambda r: "/tie/" in r.raw_path,
    f"search={quote('ÜN')}": lambda r: "ün" in r.path,
    "min_latency=100": lambda r: r.latency_total >= 100,
    "min_latency=98&max_latency=98": lambda r: r.latency_total == 98,
    "max_upstream_latency=0": lambda r: r.latency_upstream <= 0,
    "min_request_time=59": lambda r: r.request_time >= 59,
    "from=2026-11-20T10:00:00Z": lambda r: r.timestamp >= AT - 7200 * SECOND,
    "to=2026-11-20T11:00:00%2B01:00": lambda r: r.timestamp < AT - 7200 * SECOND,
    "to=2026-11-20T10:00:00Z&from=2026-11-20T09:00:00.001Z": lambda r: (
        AT - 3 * 3600 * SECOND < r.timestamp < AT - 7200 * SECOND
    ),
    "from=2026-11-20": lambda r: True,
    "from=2026-11-20&to=2026-11-20": lambda r: True,
    "to=2026-11-19": lambda r: False,
    "from=2026-11-21": lambda r: False,
    "api=' OR 1=1 --": lambda r: False,
    "search=%25": lambda r: False,
    "search='": lambda r: False,
}


@pytest.mark.parametrize("query", CASES)
def test_each_filter(running: Product, query: str) -> None:
    expected = [each for each in RECORDS if CASES[query](each)]
    rows = everything(running, f"limit=20&{query}")
    assert sorted(row["raw_path"] for row in rows) == sorted(each.raw_path for each in expected)
    assert [ms(row["time"]) for row in rows] == newest_first(expected)


def test_the_cases_choose() -> None:
    """A filter that takes all or nothing would be no test, but for those that are meant to."""
    sizes = {query: sum(map(chosen, RECORDS)) for query, chosen in CASES.items()}
    whole = {query for query, size in sizes.items() if size in {0, len(RECORDS)}}
    days = {"from=2026-11-20", "from=2026-11-20&to=2026-11-20", "to=2026-11-19", "from=2026-11-21"}
    assert whole == days | {"search=%25", "search='", "api=' OR 1=1 --"}


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("paht=/x", "unknown parameter 'paht'"),
        ("code=abc", "code: a whole number"),
        ("code=4_04", "code: a whole number"),
        ("code=+404", "code: a whole number"),
        ("code=99999999999999999999", "code: a whole number"),
        ("code=", "code: a whole number"),
        ("tracked=maybe", "tracked: true or false"),
        ("path.like=x", "path.like: no such comparison"),
        ("tag.prefix=x", "tag.prefix: "),
        ("path.has_all=x", "path.has_all: "),
        ("min_latency=1e3", "min_latency: a whole number"),
        ("from=yesterday", "from: 'yesterday' is neither a day"),
        ("to=2026-02-30", "to: '2026-02-30' is neither a day"),
        ("from=2026-11-20T10:00:00", "from: the instant '2026-11-20T10:00:00' has no offset"),
        ("from=2026-11-21&to=2026-11-19", "from: it lies after to"),
        ("limit=0", "limit: "),
        ("limit=1001", "limit: "),
        ("limit=x", "limit: "),
        ("cursor=x", "cursor: "),
        ("cursor=" + base64.urlsafe_b64encode(b'[1,"",-1,"x"]').decode(), "cursor: "),
        (f"search={'x' * 257}", "search: at most"),
        ("&".join(["key=x"] * 1001), "key: at most"),
    ],
)
def test_the_bad_parameter_is_named(running: Product, query: str, part: str) -> None:
    answer = running.http.get(f"{LIST}?{query}", headers={"Authorization": LOGS})
    assert answer.status_code == 400
    assert answer.json()["Message"].startswith(part)


def test_a_cursor_belongs_to_its_question(running: Product) -> None:
    cursor = running.get(f"{LIST}?limit=3&method=GET", LOGS)["next"]
    assert running.get(f"{LIST}?limit=5&method=GET&cursor={cursor}", LOGS)["data"]
    answer = running.http.get(f"{LIST}?method=POST&cursor={cursor}", headers={"Authorization": LOGS})
    assert (answer.status_code, answer.json()["Message"]) == (400, "cursor: it belongs to other parameters")


PLACES = st.builds(Place, st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=9), st.integers(0, 2**32 - 1))


@given(PLACES, st.lists(st.text(max_size=5), max_size=2))
def test_a_place_is_read_as_it_was_written(place: Place, more: list[str]) -> None:
    try:
        text = place.text(*more)
    except UnicodeEncodeError:
        return
    assert Place.parse(text, len(more)) == (place, more)


@settings(suppress_health_check=list(HealthCheck))
@given(st.text(max_size=30) | st.binary(max_size=30).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_no_text_breaks_the_reading_of_a_place(text: str) -> None:
    try:
        place, _ = Place.parse(text)
    except ValueError:
        return
    assert Place.parse(place.text())[0] == place


# Who sees what


def test_tenants_do_not_cross(running: Product) -> None:
    theirs = everything(running, f"org={OTHER}", ADMIN)
    assert [row["raw_path"] for row in theirs] == ["/theirs"] * len(STRANGERS)
    assert len(everything(running, "limit=1000", ADMIN)) == len(RECORDS) + len(STRANGERS)
    assert "/theirs" not in {row["raw_path"] for row in everything(running, "limit=1000")}
    for row in theirs:
        assert running.get(f"{LIST}/{row['id']}", ADMIN)["raw_path"] == "/theirs"
        answer = running.http.get(f"{LIST}/{row['id']}", headers={"Authorization": LOGS})
        assert (answer.status_code, answer.json()["Message"]) == (404, "no such request")
    # A cursor of somebody else's is a place in time and nothing more.
    cursor = running.get(f"{LIST}?limit=2", ADMIN)["next"]
    assert "/theirs" not in paths_of(running.get(f"{LIST}?limit=1000&cursor={cursor}", LOGS))
    answer = running.http.get(f"{LIST}?org={OTHER}", headers={"Authorization": LOGS})
    assert answer.status_code == 403


def test_a_token_of_one_api(running: Product) -> None:
    mine = everything(running, "limit=1000", "logs of one api")
    assert {row["api"] for row in mine} == {"api-1"}
    assert len(mine) == sum(each.api_id == "api-1" for each in RECORDS)
    other = next(row for row in everything(running) if row["api"] == "api-0")
    assert running.http.get(f"{LIST}/{other['id']}", headers={"Authorization": "logs of one api"}).status_code == 404
    assert running.http.get(f"{LIST}?api=api-0", headers={"Authorization": "logs of one api"}).status_code == 403


@pytest.mark.parametrize("operator", ["is", "in", "is_not", "not_in"])
def test_a_secret_is_compared_as_it_may_be_stored(operator: str) -> None:
    search = understand(QueryParams([(f"key.{operator}", "a secret")]), Scope(ORG), "UTC")
    values = [value for one in search.filters for value in (one.value if isinstance(one.value, list) else [one.value])]
    assert values == ["a secret", sha256(b"a secret").hexdigest()]


@pytest.mark.parametrize(("token", "status"), [("nobody", 401), ("sender", 403), ("a-token-of-the-tests", 403)])
def test_needs_logs(running: Product, token: str, status: int) -> None:
    row = everything(running)[0]["id"]
    for path in (LIST, f"{LIST}/{row}"):
        assert running.http.get(path, headers={"Authorization": token}).status_code == status


# One request


def test_one_in_full(running: Product) -> None:
    request = "POST /a?token=secret HTTP/1.1\r\nHost: a.example\r\nAuthorization: secret\r\nAccept: x:y\r\n\r\nbody"
    response = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"
    raw = {
        f"raw_{name}": base64.b64encode(text.encode()).decode()
        for name, text in (("request", request), ("response", response))
    }
    more = {"city_names": (("en", "Berlin"),), "latitude": 52.5, "latency_gateway": 3, "expire_at": AT + SECOND}
    one = record(300, **more | raw | {"raw_path": "/in/full"})
    put(running, [one])
    (row,) = everything(running, "raw_path=/in/full")
    assert not {"record", "request", "raw_request"} & row.keys()
    full = running.get(f"{LIST}/{row['id']}", LOGS)
    assert {name: value for name, value in row.items() if name in full} == {
        name: value for name, value in full.items() if name in row
    }
    assert full["request"] == {
        "line": "POST /a?token=*** HTTP/1.1", "headers": [["Host", "a.example"], ["Accept", "x:y"]], "body": ""
    }  # fmt: skip
    assert full["response"] == {"line": "HTTP/1.1 200 OK", "headers": [["Content-Type", "text/plain"]], "body": ""}
    shown = full["record"]
    assert (shown["city"], shown["latitude"], shown["gateway_latency"]) == ("Berlin", 52.5, 3)
    assert (shown["time"], shown["expire_at"]) == (row["time"], "2026-11-20T12:00:01.000Z")
    assert "secret" not in str(full)
    other = running.get(f"{LIST}/{everything(running, 'raw_path=/p/7')[0]['id']}", LOGS)
    assert (other["request"], other["response"], other["record"]["expire_at"]) == (None, None, None)


@pytest.mark.parametrize(
    "row", ["x", "%20", "W10", quote("'; DROP"), Place(0, "", 0).text(), Place(1, "x", 2).text("y")]
)
def test_there_is_no_such_request(running: Product, row: str) -> None:
    assert running.http.get(f"{LIST}/{row}", headers={"Authorization": LOGS}).status_code == 404


def test_messages_of_any_shape() -> None:
    assert message("") is None
    assert message("GET / HTTP/1.1\r\n\r\n") == {"line": "GET / HTTP/1.1", "headers": [], "body": ""}
    whole = message("HTTP/1.1 200 OK\r\nA: b: c\r\n\r\nx\r\n\r\ny")
    assert whole == {"line": "HTTP/1.1 200 OK", "headers": [["A", "b: c"]], "body": "x\r\n\r\ny"}


# Days of zones


@pytest.mark.parametrize(
    ("where", "first", "last"),
    [
        ("UTC", date(2026, 1, 1), date(2026, 1, 3)),
        ("Europe/Berlin", date(2026, 3, 29), date(2026, 3, 29)),
        ("America/St_Johns", date(2010, 11, 6), date(2010, 11, 6)),
        ("America/St_Johns", date(2010, 11, 7), date(2010, 11, 9)),
        ("America/St_Johns", date(2010, 11, 3), date(2010, 11, 7)),
        ("Pacific/Apia", date(2011, 12, 30), date(2011, 12, 30)),
        ("Pacific/Apia", date(2011, 12, 29), date(2011, 12, 30)),
        ("Pacific/Apia", date(2011, 12, 30), date(2012, 1, 1)),
    ],
)
def test_days_are_those_of_the_zone(where: str, first: date, last: date) -> None:
    asked = understand(QueryParams({"from": first.isoformat(), "to": last.isoformat()}), Scope(None), where)
    # As the sum of its days, each found by itself.
    single = [first + timedelta(n) for n in range((last - first).days + 1)]
    spans = sorted((span.start, span.end) for day in single for span in days(day, day, zone(where)))
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        meets = bool(joined) and joined[-1][1] == start
        joined.append((joined.pop()[0] if meets else start, end))
    assert [(span.start, span.end) for span in asked.spans] == joined
