"""Every page in every state, at every width, light and dark: nothing goes wrong in it, and it is accessible."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Route, expect

from keytrail.store.tables import BATCHES, RAW, ROLLUPS
from keytrail.web.ui import render
from tests.browser.conftest import HOSTILE, NOBODY, OTHER, SCREENSHOTS, Open, Seen, Site, Tab, busiest

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (360, 1280, 2560)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TABLES = (
    "/", "/changes", "/consumers", "/keys", "/clients", "/apis", "/endpoints", "/errors", "/requests", "/pipeline",
)  # fmt: skip
WITH_CHARTS = {"overview": 3, "changes": 2, "consumer": 2, "key": 2, "client": 2, "endpoint": 2, "errors": 1}
"""How many charts over time a page has."""
PAGES = (
    *WITH_CHARTS, "consumers", "keys", "clients", "apis", "endpoints", "requests", "request", "pipeline", "components",
)  # fmt: skip
NEVER_EMPTY = ("components", "request", "consumer")
MOST_SHIFT = 0.05
MOST_WIRE = 400_000
"""Bytes of the first page with everything that it loads."""


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


def violations(seen: Seen, *rules: str, within: str = "html") -> list[str]:
    """What axe finds against the accessibility of the page, or of some of it: by all of its rules, or by some."""
    if not AXE.exists():
        pytest.skip("node_modules is missing; `make setup` fetches it")
    if not seen.page.evaluate("'axe' in window"):
        # By the debugger: the page itself may run no script but its own.
        seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {
        "resultTypes": ["violations"],
        "preload": False,
        **({"runOnly": {"type": "rule", "values": rules}} if rules else {}),
    }
    found: list[Any] = seen.page.evaluate(
        "([where, options]) => axe.run(where, options).then(it => it.violations)",
        # The rows of a table are alike.
        [{"include": [[within]], "exclude": [["tbody tr:nth-child(n + 9)"]]}, options],
    )
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"][:3]]


def overflow(seen: Seen) -> int:
    """Pixels by which the page is wider than the window."""
    return int(seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def looked_at(seen: Seen, name: str, within: str = "html") -> None:
    """Look at a page at every width in both themes, and keep pictures of it.

    Args:
        seen: The page.
        name: Of its pictures.
        within: What of it is looked at for its accessibility: what other states of the page do not have.
    """
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        # The page follows the system while it is open; the charts are drawn anew.
        seen.page.emulate_media(color_scheme=theme)
        for width in WIDTHS:
            seen.page.set_viewport_size({"width": width, "height": 900})
            seen.page.wait_for_timeout(20)
            assert overflow(seen) <= 0, (name, width, theme)
            # The format that is made in half the time will do for the states that differ little.
            ending = "png" if within == "html" else "jpeg"
            seen.page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{theme}.{ending}")
        seen.page.set_viewport_size({"width": 1280, "height": 900})
        # What the themes differ in is their colours.
        assert violations(seen, *(["color-contrast"] if theme == "dark" else []), within=within) == []
    assert seen.faults == []
    assert seen.hosts == {seen.address.removeprefix("http://")}


def shift(seen: Seen) -> float:
    """By how much what was there has moved since the page began to load."""
    return float(
        seen.page.evaluate(
            "new Promise(done => { let sum = 0; new PerformanceObserver(list => {"
            " for (const one of list.getEntries()) sum += one.value; })"
            ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 60); })"
        )
    )


@pytest.fixture(scope="module")
def paths(site: Site) -> dict[str, str]:
    """The path of each page."""
    return {name: path_of(site, name) for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_page_with_data(paths: dict[str, str], tab: Tab, name: str) -> None:
    seen = tab(paths[name])
    seen.settled()
    assert shift(seen) <= MOST_SHIFT
    assert seen.page.locator("[aria-busy]:not(#loading)").count() == 0
    if name in WITH_CHARTS:
        charts = seen.page.locator("[data-chart]:has(tr[data-from])")
        assert charts.count() == WITH_CHARTS[name]
        for chart in charts.all():
            expect(chart.locator("canvas")).to_have_count(1)
            # Where nothing was collected is marked, and named.
            assert chart.locator("tr[data-gap=down]").count() in {1, 2}
            expect(chart.locator(".legend")).to_contain_text("nothing was collected")
    looked_at(seen, name)


@pytest.mark.parametrize("name", [name for name in PAGES if name not in NEVER_EMPTY])
def test_page_without_records(paths: dict[str, str], tab: Tab, name: str) -> None:
    seen = tab(paths[name], token=NOBODY)
    seen.settled()
    # It says what there is none of, and what to do next.
    assert seen.page.locator(".empty").count() >= 1
    if name == "overview":
        expect(seen.page.locator(".empty").first).to_contain_text("keytrail import FILE")
    looked_at(seen, f"{name}-empty", ".panel:has(.empty)")


@contextlib.contextmanager
def damaged(site: Site) -> Iterator[None]:
    """A store that has lost the tables that answer about a day, as on a broken disk: the engine itself fails."""
    lost = [RAW, BATCHES, *(one.table for one in ROLLUPS if one.table.endswith("_15m"))]
    command = site.product.parts.engine.command
    for table in lost:
        command(f"RENAME TABLE {table} TO {table}_lost")
    try:
        yield
    finally:
        for table in lost:
            command(f"RENAME TABLE {table}_lost TO {table}")


@pytest.mark.parametrize("name", [name for name in PAGES if name not in NEVER_EMPTY])
def test_page_in_error(site: Site, paths: dict[str, str], tab: Tab, name: str) -> None:
    with damaged(site):
        seen = tab(paths[name])
        seen.settled()
        # In words, with the request's id.
        failed = seen.page.locator(".panel:has(.failed)")
        expect(failed.first).to_contain_text("The store could not answer this.")
        expect(failed.first.locator("small")).to_contain_text("request ")
        looked_at(seen, f"{name}-error", ".panel:has(.failed)")
    # Trying again is a click, and it is this panel that is asked for.
    before, panel = failed.count(), failed.first.get_attribute("id")
    failed.first.get_by_role("link", name="Try again").click()
    expect(seen.page.locator(f"#{panel} .failed")).to_have_count(0)
    expect(failed).to_have_count(before - 1)


@pytest.mark.parametrize("name", ["overview", "key", "endpoint"])
def test_page_while_it_loads(paths: dict[str, str], tab: Tab, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever it took the last time, it comes after the page.
    monkeypatch.setattr(render, "_WITH_THE_PAGE", 0.0)
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    seen = tab("/prefer")
    seen.page.route("**/*panel=*", hold)
    seen.goto(paths[name])
    waiting = seen.page.locator("[aria-busy=true]")
    expect(waiting.first).to_be_visible()
    assert waiting.count() == seen.page.locator(".skeleton").count()
    looked_at(seen, f"{name}-loading", "[aria-busy]")
    before = shift(seen)
    for one in late:
        one.continue_()
    expect(waiting).to_have_count(0)
    # What came has the room that was kept for it.
    assert shift(seen) - before <= MOST_SHIFT


def test_first_page_is_light_and_stands_still(opened: Open) -> None:
    seen = opened("/")
    seen.page.wait_for_timeout(200)
    assert 100_000 < seen.wire <= MOST_WIRE
    assert shift(seen) <= MOST_SHIFT
    assert seen.page.locator("[aria-busy]").count() == 0
    assert seen.faults == []


@pytest.mark.parametrize("name", PAGES)
def test_scripts_off(paths: dict[str, str], tab: Tab, name: str) -> None:
    seen = tab(paths[name], scripts=False)
    assert seen.page.locator("table:visible tbody tr").count() >= 1
    # The charts' own, too.
    for chart in seen.page.locator("[data-chart]").all():
        expect(chart.locator("table")).to_be_visible()
        expect(chart.locator(".canvas")).to_be_hidden()
    # Nothing that only a script could answer is offered.
    for control in seen.page.locator("button:visible").all():
        assert control.evaluate("one => one.type") == "submit"
    assert seen.faults == []


@pytest.mark.parametrize("path", [*TABLES[:-1], "/changes?by=endpoint&least_hits=1", "/keys/0000000000000000"])
def test_hostile_names_are_shown_and_never_run(tab: Tab, path: str) -> None:
    seen = tab(path, token=OTHER)
    if path != "/changes":
        # Each alone has too few requests there.
        assert HOSTILE[0] in seen.page.inner_text("body")
    seen.page.set_viewport_size({"width": 360, "height": 900})
    assert overflow(seen) <= 0
    if path == "/requests":
        # One of them in full.
        seen.page.locator("#p-log tbody tr th a").first.click()
        seen.page.wait_for_url("**/requests/*")
        seen.settled()
        assert overflow(seen) <= 0
    assert seen.page.title() != "run"
    assert seen.faults == []


def test_unknown_page_helps(opened: Open) -> None:
    seen = opened("/nothing-here")
    assert "There is no such page" in seen.page.inner_text("h1")
    assert seen.page.get_by_role("link", name="Overview").is_visible()
    assert violations(seen) == []


def test_an_address_that_makes_no_sense(opened: Open) -> None:
    seen = opened("/?range=forever")
    assert "range 'forever' is not one of" in seen.page.inner_text("main")
    assert "request " in seen.page.inner_text("main")
