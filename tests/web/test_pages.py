"""The pages without a browser: state in the URL, sessions, the public path, what a token may see."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from keytrail.instants import zone
from keytrail.query import changes
from keytrail.query.zones import DAY, HOUR, MINUTE
from keytrail.store.consumers import Link, replace_links
from keytrail.web.ui import frame
from keytrail.web.ui.figures import url_time
from keytrail.web.ui.log_pages import requests_around
from keytrail.web.ui.ranges import make_range
from keytrail.web.ui.rankings import key_name
from keytrail.web.ui.state import read_state
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product, product, token_entry

ORG = "5e9d9544a1dcd60001d0ed20"
HTML = {"Accept": "text/html"}
KEY = "a/key with a slash?"
# The present of the pages: neither the hour nor the day may end between two of them.
NOW = 1_795_178_096_000  # 2026-11-20 12:34:56 UTC
PAGES = (
    "/",
    "/changes",
    "/consumers",
    "/keys",
    "/clients",
    "/apis",
    "/endpoints",
    "/errors",
    "/requests",
    "/pipeline",
    "/components",
)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product that a reverse proxy serves under a path."""
    tokens = [
        token_entry("all", org=ORG, permissions=["analytics", "logs"]),
        token_entry("numbers only", org=ORG),
        token_entry("one api", org=ORG, apis=["other api"]),
        token_entry("sender", org=ORG, permissions=["ingest"]),
        token_entry("admin", org="*", permissions=["admin"]),
        token_entry("admin of one api", org="*", permissions=["admin"], apis=["other api"]),
    ]
    values = {"server__public_path": "/stats", "privacy__keys": "keep", "timezone": "Europe/Berlin"}
    records = [
        Record(
            timestamp=(NOW // 1000 - 1 - number * 60) * SECOND,
            org_id=ORG,
            api_id="an api",
            api_name="An API",
            api_key=KEY,
            alias="Its alias",
            oauth_id="a client" if number == 0 else "",
            method="GET",
            path="/a/path",
            raw_path="/a/path",
            response_code=code,
            latency_total=10,
            request_time=10,
            tags=("first",) if number == 0 else (),
        )
        for number, code in enumerate((200, 200, 404))
    ]
    with (
        product(tmp_path_factory.mktemp("store"), tokens=tokens, **values) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(frame, "present", lambda: NOW)
        running.put_lines([to_json(record).encode() for record in records])
        theirs, since = ("client", "a client"), datetime(2026, 1, 1, tzinfo=UTC)
        links = [Link(ORG, "acme", "Acme Ltd", *theirs, start=since), Link(ORG, "old", "Old Ltd", *theirs, end=since)]
        replace_links(running.parts.engine, ORG, links)
        yield running


def page(running: Product, path: str, token: str = "all") -> str:
    """A page as a signed-in browser gets it."""
    running.http.cookies.clear()
    running.http.post("/stats/signin", data={"token": token}, follow_redirects=False)
    answer = running.http.get("/stats" + path, headers=HTML, follow_redirects=False)
    assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])
    return answer.text


@pytest.mark.parametrize("path", PAGES)
def test_every_address_is_under_the_public_path(behind: Product, path: str) -> None:
    text = page(behind, path)
    addresses = re.findall(r'(?:href|src|action|hx-get|data-href|data-zoom|data-home)="([^"]*)"', text)
    assert len(addresses) > 20
    assert {address for address in addresses if address and not re.match(r"/stats(/|$)|#", address)} == set()


@pytest.mark.parametrize("path", PAGES)
def test_a_comparison_is_offered_where_there_is_one(behind: Product, path: str) -> None:
    # Of these only the overview has figures and charts that change with it; what changed has baselines of its own.
    assert ("compare=off" in page(behind, path)) == (path == "/")


def test_a_request_tells_its_times_with_their_unit(behind: Product) -> None:
    (found, *_) = re.findall(r'href="/stats(/requests/[^"?]+)', page(behind, "/requests"))
    text = page(behind, found)
    assert re.search(r"<code>request_time</code></th><td[^>]*><bdi>10 ms</bdi>", text)
    assert re.search(r"<code>method</code></th><td[^>]*><bdi>GET</bdi>", text)


def test_each_row_of_an_endpoints_errors_has_its_head(behind: Product) -> None:
    text = page(behind, "/endpoint?path=/a/path&api=an%20api")
    (panel,) = re.findall(r'<section[^>]* id="p-guilty".*?</section>', text, re.DOTALL)
    assert re.findall(r'<tr><th scope="row">.*?<bdi>(.*?)</bdi>', panel) == ["Its alias"]


def test_the_session_is_for_the_public_path_only(behind: Product) -> None:
    answer = behind.http.post("/stats/signin", data={"token": "all", "next": "/stats/keys"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/stats/keys"
    assert {"path=/stats", "httponly", "samesite=lax"} <= {
        part.strip().lower() for part in answer.headers["set-cookie"].split(";")
    }


@pytest.mark.parametrize(
    "target",
    ["//elsewhere.test/", "https://elsewhere.test/", "/stats/\\elsewhere.test", "/keys", "/stats//x\r\nA: b", "//["],
)
def test_signing_in_leads_nowhere_else(behind: Product, target: str) -> None:
    answer = behind.http.post("/stats/signin", data={"token": "all", "next": target}, follow_redirects=False)
    assert answer.headers["location"] in {"/stats/", "/stats//x"}


def test_a_key_with_a_slash_has_its_page(behind: Product) -> None:
    (href,) = set(re.findall(r'href="(/stats/keys/[^"]+)"', page(behind, "/keys")))
    assert href == "/stats/keys/a%2Fkey%20with%20a%20slash%3F"
    text = unescape(page(behind, href.removeprefix("/stats")))
    assert "<h1><bdi>Its alias</bdi></h1>" in text
    assert KEY in text
    # Its own address, in a form and in the links of the ranges.
    assert f'action="{href}"' in text


def test_the_zone_of_the_settings_goes_without_saying(behind: Product) -> None:
    text = page(behind, "/?range=7d")
    assert "<option selected>Europe/Berlin</option>" in text
    assert 'href="/stats/keys?range=7d"' in text
    there = page(behind, "/?range=7d&zone=Asia/Tokyo")
    assert 'href="/stats/keys?range=7d&amp;zone=Asia/Tokyo"' in there.replace("%2F", "/")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("range=forever", "range 'forever' is not one of"),
        ("zone=Mars/Olympus", "'Mars/Olympus' is not a known time zone"),
        ("from=yesterday", "from 'yesterday' is neither a day nor a time"),
        ("from=2026-11-02&to=2026-11-01", "the range ends before it starts"),
        ("from=2126-11-02", "the range starts in the future"),
        ("from=0001-01-01&to=0001-01-02", "from: the year 1 is out of range"),
        ("from=2026-11-02&to=9999-12-30", "to: the year 9999 is out of range"),
        ("code=many", "code 'many' is not a number"),
        ("page=0", "page '0' is not a number from 1"),
        ("panel=nothing", "there is no panel 'nothing'"),
        ("baseline=tomorrow", "baseline 'tomorrow' is not one of previous, yesterday, last_week"),
        ("least_hits=few", "least_hits 'few' is not a number"),
        ("by=path", "by: one of key_endpoint, key, endpoint, consumer_endpoint, consumer is expected"),
    ],
)
def test_what_makes_no_sense_is_named(behind: Product, query: str, says: str) -> None:
    page(behind, "/")
    path = "/stats/changes" if query.startswith(("baseline", "least", "by")) else "/stats/"
    answer = behind.http.get(f"{path}?{query}", headers=HTML)
    assert answer.status_code == 400
    assert says in unescape(answer.text)
    # A program that asks gets the API's form of it.
    assert behind.http.get(f"{path}?{query}").json()["Status"] == "Error"


def test_a_panel_says_what_to_do_where_it_costs_too_much(behind: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_GROUPS", 1)
    text = page(behind, "/changes")
    # The charts stand beside it.
    assert "There are more than 1 groups of key, api, path, code_class: narrow the range" in text
    assert "data-chart" in text


@pytest.mark.parametrize(
    ("now", "query", "gives_way"),
    [
        ("2026-03-26T12:00+01:00", "baseline=yesterday", False),
        ("2026-03-26T12:00+01:00", "baseline=yesterday&range=7d", True),
        ("2026-03-26T12:00+01:00", "baseline=last_week&range=7d", False),
        # The clock was put forward on the 29th: by the clock, a day before is 23 hours before.
        ("2026-03-29T12:00+02:00", "baseline=yesterday", True),
        ("2026-04-02T12:00+02:00", "baseline=last_week&range=7d", True),
        # It was put back on the 25th.
        ("2026-10-25T12:00+01:00", "baseline=yesterday", False),
        # A week before there was no range at all.
        ("2026-03-26T12:00+01:00", "from=1970-01-05&to=1970-01-05", False),
    ],
)
def test_a_baseline_within_the_range_gives_way(
    behind: Product, monkeypatch: pytest.MonkeyPatch, now: str, query: str, gives_way: bool
) -> None:
    at = int(datetime.fromisoformat(now).timestamp() * 1000)
    monkeypatch.setattr(frame, "present", lambda: at)
    text = page(behind, f"/changes?{query}")
    told = "lies within this range, so it is compared with the period before."
    assert (told in text) == gives_way


def test_filters_narrow_every_figure(behind: Product) -> None:
    def requests(query: str) -> str:
        text = page(behind, f"/?panel=figures&{query}")
        found = re.search(r'<dt>Requests</dt><dd class="value">(?:<[^>]*>)*([\d,]+)', text)
        assert found
        return found[1]

    assert requests("") == "3"
    assert requests("code=404") == "1"
    assert requests("code=404&code=200") == "3"
    assert requests("not.code=404") == "2"
    assert requests("tag=first") == "1"
    assert requests("not.tag=first") == "2"
    assert requests("code_class=2xx&key=a/key+with+a+slash?") == "2"
    assert requests("code=500") == "0"


@pytest.mark.parametrize("key", ["", "0" * 8, "0" * 16, "0" * 32, sha256(b"").hexdigest()])
def test_no_key_is_called_so_by_whatever_the_gateway_hashes_with(key: str) -> None:
    assert key_name(key, "")[0] == "no key"


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("404", [("code", "404")]),
        ("4XX", [("code_class", "4xx")]),
        ("2001:db8::1", [("ip", "2001:db8::1")]),
        ("a client", [("oauth_client", "a client")]),
    ],
)
def test_what_is_searched_for_among_requests_and_is_a_filter_becomes_one(
    behind: Product, text: str, filters: list[tuple[str, str]]
) -> None:
    said = behind.http.get(
        "/requests", params={"q": text, "range": "7d"}, headers={"Authorization": "all"}, follow_redirects=False
    )
    assert said.status_code == 303
    assert parse_qsl(urlsplit(said.headers["Location"]).query) == [("range", "7d"), *filters]


def test_other_text_is_searched_for_in_paths(behind: Product) -> None:
    page = behind.http.get("/requests?q=a/pa", headers={"Authorization": "all"}, follow_redirects=False)
    assert page.status_code == 200
    assert "3 requests, newest first" in page.text


def test_a_client_is_shown_with_whose_it_is(behind: Product) -> None:
    for path in ("/clients?panel=table&q=acme", "/?panel=clients", "/clients/a%20client?panel=identity"):
        assert "Acme Ltd" in behind.http.get(path, headers={"Authorization": "all"}).text
    identity = behind.http.get("/clients/a%20client?panel=identity", headers={"Authorization": "all"}).text
    assert 'href="/stats/consumers/acme"' in identity
    # Who sees but a part of the organisation does not see its directory.
    assert "Acme Ltd" not in behind.http.get("/clients?panel=table", headers={"Authorization": "one api"}).text


def test_a_preset_says_what_it_comes_to() -> None:
    # 26 November 2026, 00:06 in UTC.
    now, of = 1_795_651_564_969, "Europe/Berlin"
    assert make_range("last-month", "", "", of, now).words == "1 Oct – 31 Oct 2026"
    assert make_range("month", "", "", of, now).words == "since 1 Nov"
    assert make_range("24h", "", "", of, now).words == "since 25 Nov 02:00"
    assert make_range("last-month", "", "", of, now - 320 * DAY).words == "1 Dec – 31 Dec 2025"


def test_a_range_from_before_the_first_record_says_so(behind: Product) -> None:
    def page(**query: str) -> str:
        answer = behind.http.get("/keys", params=query, headers={"Authorization": "all"})
        assert answer.status_code == 200
        return answer.text

    assert "records from" in page(range="last-month")
    # The oldest is more than two minutes old.
    start, end = (url_time(NOW + by, zone("Europe/Berlin")) for by in (-MINUTE, HOUR))
    assert "records from" not in page(**{"from": start, "to": end})


def test_a_file_says_what_it_is_and_of_which_days(behind: Product) -> None:
    path = "/keys?from=2020-01-01&to=2020-01-31&panel=table&as=csv"
    sheet = behind.http.get(path, headers={"Authorization": "all"})
    assert 'filename="keytrail-keys-2020-01-01-2020-01-31.csv"' in sheet.headers["Content-Disposition"]
    rows = behind.http.get("/keys?panel=table&as=csv", headers={"Authorization": "all"}).text.splitlines()
    assert rows[0].removeprefix("\ufeff").startswith("key,latest_alias,hits,error,")
    assert rows[1].startswith(f"{KEY},Its alias,3,1,")


def test_every_page_tells_that_nothing_is_collected(behind: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def pipeline() -> str:
        return re.sub(r"\s+", " ", behind.http.get("/pipeline", headers={"Authorization": "all"}).text)

    # Nothing is to be collected: then there is no telling.
    assert "Nothing is collected here." in pipeline()
    assert "all the time" not in pipeline()
    assert "not collecting" not in behind.http.get("/keys", headers={"Authorization": "all"}).text

    gaps: list[Any] = [None]

    def collection(_: object, *, lists: bool) -> list[dict[str, Any]]:
        return [{"source": "redis://gateway", "gap": gap, "trouble": {}, "lists": None} for gap in gaps]

    app: Any = behind.http.app
    kind = type(app.state.held.operations)
    monkeypatch.setattr(kind, "collection", collection)
    monkeypatch.setattr(kind, "complete_through", lambda _: "2026-11-23T12:00:00.000Z")
    assert "all the time" in pipeline()
    gaps[0] = {"start": "2026-11-23T12:00:00.000Z", "cause": "source_away"}
    assert "all the time" not in pipeline()
    assert "it lasts" in pipeline()
    page = behind.http.get("/keys", headers={"Authorization": "all"}).text
    assert "not collecting" in page
    assert "since Mon 23 Nov 2026, 13:00:00.000 Europe/Berlin: Redis could not be reached" in page
    (gap,) = behind.get("/api/v1/pipeline", "all")["gaps"]
    assert gap["end"] is None
    # The latest is told first.
    gaps.insert(0, {"start": "2026-11-23T09:00:00.000Z", "cause": "down"})
    told = pipeline().partition('id="p-gaps"')[2]
    assert 0 < told.index("Redis could not be reached") < told.index("keytrail did not run")


def test_what_a_token_may_not_see_is_not_in_the_page(behind: Product) -> None:
    assert "/stats/requests" not in page(behind, "/", "numbers only")
    assert "An API" not in page(behind, "/", "one api")
    assert "Its alias" not in page(behind, "/keys/a%2Fkey%20with%20a%20slash%3F", "one api")
    behind.http.post("/stats/signin", data={"token": "numbers only"})
    assert behind.http.get("/stats/requests", headers=HTML).status_code == 403
    behind.http.post("/stats/signin", data={"token": "sender"})
    assert behind.http.get("/stats/", headers=HTML).status_code == 403


@pytest.mark.parametrize(("token", "panels"), [("admin", True), ("admin of one api", False), ("all", False)])
def test_the_pipeline_shows_the_store_to_who_sees_all_of_it(behind: Product, token: str, panels: bool) -> None:
    shown = page(behind, "/pipeline", token)
    assert [f'id="p-{name}"' in shown for name in ("figures", "batches", "gaps")] == [True] * 3
    assert [f'id="p-{name}"' in shown for name in ("sources", "rejects", "tables")] == [panels] * 3


def test_who_is_not_signed_in_comes_back_afterwards(behind: Product) -> None:
    behind.http.cookies.clear()
    answer = behind.http.get("/stats/keys?range=7d", headers=HTML, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/stats/signin?next=%2Fstats%2Fkeys%3Frange%3D7d"
    swapped = behind.http.get("/stats/keys", headers={"HX-Request": "true"}, follow_redirects=False)
    assert swapped.headers["hx-redirect"] == "/stats/signin?next=%2Fstats%2Fkeys"


def test_an_instant_of_an_hour_that_comes_twice_is_the_same_in_a_url() -> None:
    """To the millisecond: the next page of the request log is one of exactly the same range."""
    where = zone("Europe/Berlin")
    # 02:30:15.125 on 25 October 2026, in summer time and an hour later in winter time.
    first = 1_792_888_215_125
    for instant in (first, first + HOUR, first - HOUR, first + 2 * HOUR, first // MINUTE * MINUTE):
        text = url_time(instant, where)
        period = make_range("", text, url_time(instant + DAY, where), "Europe/Berlin", instant + 9 * DAY)
        assert period.start == instant, text
    assert url_time(first // MINUTE * MINUTE, where) == "2026-10-25T02:30"


def test_a_requests_key_is_quoted_in_its_links() -> None:
    now = 1_792_888_215_125
    state = read_state([("range", "7d")], root="", path="/requests/x", home_zone="UTC", cookies={}, now=now)
    link = requests_around(state, "a&range=1h#b", ["2026-10-25T02:30", "2026-10-25T02:32"])
    assert parse_qsl(urlsplit(link).query) == [
        ("from", "2026-10-25T02:30"),
        ("to", "2026-10-25T02:32"),
        ("key", "a&range=1h#b"),
    ]
