"""One server on one store, and one browser, for all tests here.

The server's time stands still, panels come with the page however long they took, and no page asks for anything anew by
itself: what a test sees depends neither on when it runs nor on how fast the machine is. Tests of the coming and the
refreshing say otherwise.
"""

import contextlib
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright
from starlette.types import ASGIApp

from keytrail.demo.directory import directory
from keytrail.demo.traffic import between
from keytrail.demo.world import ORG_ID, build_world
from keytrail.store.consumers import Link, replace_links
from keytrail.store.ledger import GapRow, Ledger
from keytrail.web.server import listen
from keytrail.web.ui import render
from tests.clock import standing
from tests.oracle.records import SECOND, Record, from_msgpack, to_json
from tests.product import ADMIN, TOKEN, Product, product, token_entry

NOW = datetime(2026, 9, 23, 15, 4, 5, 500_000, tzinfo=UTC)
"""The present: a Wednesday afternoon, so that there is much traffic, and no month, day or hour ends near it."""
EVERY = 10_000
"""Milliseconds between two refreshes of a page."""
_STILL = f"""const every = setInterval;
setInterval = (work, after, ...more) => after === {EVERY} ? 0 : every(work, after, ...more);"""
"""Keeps a page from refreshing itself: that comes between two looks now and then."""
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
OTHER, OTHER_ORG = "a token of the other", "61f2b7c0a1dcd60001aa11b2"
NOBODY = "a token without records"
NEWCOMER = "a token before its first record"
RECORDS = 20_000
HOSTILE = ('<script>document.title = "run"</script>', "\u202eltr\u2066 עברית", "🦊" * 40, "x" * 2_000)
"""Names that must be shown and never run, whatever their direction and length."""
EACH = 12
"""Requests of each hostile name; enough errors to be more than chance."""
WAITING = "html.js [aria-busy=true]:not(#loading)"
"""Panels that are still to come, where scripts run; the page of components has one that never does."""
TABLES = (
    "/", "/changes", "/consumers", "/keys", "/clients", "/apis", "/endpoints", "/errors", "/requests", "/pipeline",
)  # fmt: skip
WITH_CHARTS = {"overview": 3, "changes": 2, "consumer": 2, "key": 2, "client": 2, "endpoint": 2, "errors": 1}
"""How many charts over time a page has."""
PAGES = (
    *WITH_CHARTS, "consumers", "keys", "clients", "apis", "endpoints", "requests", "request", "pipeline", "components",
)  # fmt: skip
NEVER_EMPTY = ("components", "request", "consumer")
PATIENCE = 120_000
"""Milliseconds until what is waited for counts as missing: many times what it takes where nothing else runs."""
expect.set_options(timeout=PATIENCE)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Site:
    """A running server.

    Attributes:
        product: Its store and application.
        folder: Of the store.
        address: Where it answers.
        end: The instant until which there are records.
        records: The records of the first tenant.
    """

    product: Product
    folder: Path
    address: str
    end: datetime
    records: list[Record]


@dataclass
class Seen:
    """A page, and what went wrong in it.

    Attributes:
        page: The page.
        faults: Console messages, exceptions and failed requests.
        hosts: Hosts that were asked.
        wire: Bytes of the answers, as they came over the wire.
    """

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    wire: int = 0

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("requestfinished", self._finished)

    def _failed(self, request: Request) -> None:
        # Leaving a page ends what it is still loading.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url}: {request.failure}")

    def _finished(self, request: Request) -> None:
        self.hosts.add(request.url.split("/")[2])
        sizes = request.sizes()
        self.wire += sizes["responseBodySize"] + sizes["responseHeadersSize"]

    def forget(self) -> None:
        """Begin anew with what is noted."""
        self.faults.clear()
        self.hosts.clear()
        self.wire = 0

    def goto(self, path: str) -> None:
        """Open a page, and wait for what comes after it."""
        self.page.goto(self.address + path, wait_until="load")
        self.arrived()

    def settled(self) -> None:
        """Wait until a click has led somewhere and nothing is under way."""
        self.page.wait_for_timeout(50)
        self.page.wait_for_load_state("load")
        expect(self.page.locator("html.busy, .htmx-request, .htmx-swapping")).to_have_count(0)
        self.arrived()

    def arrived(self) -> None:
        """Wait for the panels that come after the page, as far as they are in sight or near it."""
        until = time.monotonic() + PATIENCE / 1000
        while self.page.evaluate(
            "waiting => [...document.querySelectorAll(waiting)].some((one) => {"
            " const box = one.getBoundingClientRect(); return box.bottom > -300 && box.top < innerHeight + 300; })",
            WAITING,
        ):
            assert time.monotonic() < until, "a panel does not come"
            self.page.wait_for_timeout(20)

    def chord(self, *keys: str) -> None:
        """Press keys one after the other, so quickly that for the page no time passes."""
        self.page.evaluate("() => { const at = performance.now(); performance.now = () => at; }")
        for key in keys:
            self.page.keyboard.press(key)
        self.page.evaluate("() => { delete performance.now; }")

    def whole(self) -> None:
        """Have all panels come, as before printing, wherever they are."""
        self.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        expect(self.page.locator(WAITING)).to_have_count(0)


Open = Callable[..., Seen]
Tab = Callable[..., Seen]


@pytest.fixture(scope="package")
def _standing() -> Iterator[None]:
    """The server's time stands still, and every panel comes with its page."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("instants", "query.kept", "web.ui.ask"):
            patch.setattr(f"keytrail.{module}.datetime", standing(NOW))
        patch.setattr(render, "_WITH_THE_PAGE", {True: math.inf, False: math.inf})
        yield


@pytest.fixture(scope="package")
def site(_standing: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tokens = [
        token_entry(TOKEN, org=ORG_ID, permissions=["analytics", "logs"]),
        token_entry(OTHER, org=OTHER_ORG, permissions=["analytics", "logs"]),
        token_entry(NOBODY, org="an empty organisation", permissions=["analytics", "logs"]),
        token_entry(NEWCOMER, org="a new organisation", permissions=["analytics", "logs"]),
        token_entry(ADMIN, org="*", permissions=["admin"]),
    ]
    end = NOW
    folder = tmp_path_factory.mktemp("store")
    with product(folder, tokens=tokens) as running:
        blobs = list(between(build_world(), start=end - timedelta(days=3), end=end, records=RECORDS))
        taken = running.put(blobs)
        assert taken.stored == RECORDS
        assert running.put_lines(_hostile(end)).stored == len(HOSTILE) * EACH
        engine = running.parts.engine
        replace_links(engine, ORG_ID, directory(build_world()))
        hostile = [Link(OTHER_ORG, name[:40], name, "key", f"{index:016x}") for index, name in enumerate(HOSTILE)]
        replace_links(engine, OTHER_ORG, hostile)
        # Half an hour in which nothing was collected, four hours ago.
        gap = GapRow("the gateway's Redis", end - timedelta(hours=4.5), end - timedelta(hours=4), "down")
        Ledger(engine).add_gap(gap)
        with served(running.parts.service.app) as address:
            yield Site(running, folder, address, end, list(map(from_msgpack, blobs)))


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The address at which an application answers."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def _hostile(end: datetime) -> list[bytes]:
    """Records of the other tenant whose every name is hostile."""
    at = int(end.timestamp()) * SECOND
    return [
        to_json(
            Record(
                timestamp=at - number * SECOND,
                org_id=OTHER_ORG,
                api_id=name[:40],
                api_name=name,
                api_key=f"{index:016x}",
                alias=name,
                oauth_id=name,
                method="GET",
                path="/" + name,
                raw_path="/" + name,
                response_code={0: 200, 1: 404}.get(number, 503),
                user_agent=name,
                country="DE",
                tags=(name,),
                track_path=True,
                request_time=12,
                latency_total=12,
                latency_upstream=10,
            )
        ).encode()
        for index, name in enumerate(HOSTILE)
        for number in range(EACH)
    ]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium; `make setup` installs it where it may")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield started
        started.close()


def signed_in(context: BrowserContext, site: Site, token: str) -> None:
    """Give a browser profile a session, without loading the page that signing in leads to."""
    context.request.post(f"{site.address}/signin", form={"token": token}, max_redirects=0)


@pytest.fixture(scope="package")
def tab(site: Site, browser: Browser) -> Iterator[Tab]:
    """Opens a page in the one tab of a token, which keeps what it has loaded: light, and of a usual width."""
    kept: dict[tuple[str, bool], Seen] = {}

    def open_page(path: str, *, token: str = TOKEN, scripts: bool = True) -> Seen:
        if (token, scripts) not in kept:
            context = browser.new_context(java_script_enabled=scripts, reduced_motion="reduce")
            context.set_default_timeout(PATIENCE)
            context.add_init_script(_STILL)
            signed_in(context, site, token)
            kept[token, scripts] = Seen(context.new_page(), site.address)
        seen = kept[token, scripts]
        seen.page.set_viewport_size({"width": 1280, "height": 900})
        seen.page.emulate_media(color_scheme="light", media="screen")
        seen.page.unroute_all()
        seen.page.goto("about:blank")
        seen.forget()
        seen.goto(path)
        return seen

    yield open_page
    for seen in kept.values():
        seen.page.context.close()


@pytest.fixture
def opened(site: Site, browser: Browser) -> Iterator[Open]:
    """Opens a page in a fresh browser profile, signed in with a token."""
    contexts: list[BrowserContext] = []

    def open_page(
        path: str = "",
        *,
        token: str = TOKEN,
        width: int = 1280,
        theme: Literal["light", "dark"] = "light",
        scripts: bool = True,
        refreshing: bool = False,
    ) -> Seen:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        if not refreshing:
            context.add_init_script(_STILL)
        contexts.append(context)
        if token:
            signed_in(context, site, token)
        seen = Seen(context.new_page(), site.address)
        if path:
            seen.goto(path)
        return seen

    yield open_page
    for context in contexts:
        context.close()


def busiest(site: Site, name: str) -> str:
    """The value of an identifying column with the most hits of the first tenant."""
    where = "org_id = {org:String} AND " + f"{name} NOT IN ('', '00000000')"
    sql = f"SELECT {name} FROM requests WHERE {where} GROUP BY 1 ORDER BY count() DESC LIMIT 1"
    rows: list[tuple[Any, ...]] = site.product.parts.engine.query(sql, {"org": ORG_ID}).rows
    return str(rows[0][0])


def path_of(site: Site, name: str) -> str:
    """The path of a page, its subject the busiest one."""
    match name:
        case "request":
            (row,) = site.product.get("/api/v1/requests?limit=1&code=429")["data"]
            return f"/requests/{row['id']}"
        case "endpoint":
            return "/endpoint?" + urlencode({"path": busiest(site, "path"), "api": busiest(site, "api_id")})
        case "key" | "client":
            column = {"key": "api_key", "client": "oauth_id"}[name]
            return f"/{name}s/{busiest(site, column)}"
        case "consumer":
            return "/consumers/pellamoor-freight"
        case _:
            return "/" if name == "overview" else f"/{name}"


@pytest.fixture(scope="package")
def paths(site: Site) -> dict[str, str]:
    """The path of each page."""
    return {name: path_of(site, name) for name in PAGES}
