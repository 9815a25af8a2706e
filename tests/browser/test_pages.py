"""Every page, at every width, light and dark: nothing goes wrong in it, and it is accessible."""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import pytest

from tests.browser.conftest import HOSTILE, NOBODY, OTHER, SCREENSHOTS, Open, Seen, Site, busiest

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (360, 1280, 2560)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TABLES = ("/", "/changes", "/keys", "/clients", "/apis", "/endpoints", "/errors", "/requests", "/pipeline")
WITH_CHARTS = ("overview", "changes", "key", "client", "endpoint", "errors")
WITHOUT = ("keys", "clients", "apis", "endpoints", "requests", "request", "pipeline", "components")
MOST_SHIFT = 0.05
MOST_WIRE = 400_000
"""Bytes of the first page with everything that it loads."""


def path_of(site: Site, name: str) -> str:
    """The path of a page, its subject the busiest one."""
    match name:
        case "key":
            return f"/keys/{busiest(site, 'api_key')}"
        case "client":
            return f"/clients/{busiest(site, 'oauth_id')}"
        case "endpoint":
            return "/endpoint?" + urlencode({"path": busiest(site, "path"), "api": busiest(site, "api_id")})
        case "request":
            (row,) = site.product.get("/api/v1/requests?limit=1&code=429")["data"]
            return f"/requests/{row['id']}"
        case "overview" | "changes":
            # Of a day there is a period before it.
            return {"overview": "/?range=7d", "changes": "/changes"}[name]
        case _:
            return f"/{name}?range=7d"


def violations(seen: Seen, *rules: str) -> list[str]:
    """What axe finds against the accessibility of the page: by all of its rules, or by some."""
    if not AXE.exists():
        pytest.skip("node_modules is missing; `make setup` fetches it")
    # By the debugger: the page itself may run no script but its own.
    seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {
        "resultTypes": ["violations"],
        "preload": False,
        **({"runOnly": {"type": "rule", "values": rules}} if rules else {}),
    }
    found: list[Any] = seen.page.evaluate("options => axe.run(document, options).then(it => it.violations)", options)
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"][:3]]


def overflow(seen: Seen) -> int:
    """Pixels by which the page is wider than the window."""
    return int(seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize(
    "name", [*WITH_CHARTS, "keys", "clients", "apis", "endpoints", "requests", "request", "pipeline", "components"]
)
def test_page(site: Site, opened: Open, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = path_of(site, name)
    seen = opened(path)
    for theme in THEMES:
        # The page follows the system while it is open; the charts are drawn anew.
        seen.page.emulate_media(color_scheme=theme)
        for width in WIDTHS:
            seen.page.set_viewport_size({"width": width, "height": 900})
            seen.page.wait_for_timeout(40)
            assert overflow(seen) <= 0, (width, theme)
            seen.page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{theme}.png")
        seen.page.set_viewport_size({"width": 1280, "height": 900})
        # What the themes differ in is their colours.
        assert violations(seen, *(["color-contrast"] if theme == "dark" else [])) == []
    assert seen.faults == []
    assert seen.hosts == {site.address.removeprefix("http://")}
    if name in WITH_CHARTS:
        assert seen.page.locator("canvas").count() >= 1


@pytest.mark.parametrize("path", ["/", "/keys", "/errors", "/pipeline"])
def test_without_records(opened: Open, path: str) -> None:
    seen = opened(path, token=NOBODY)
    assert seen.page.locator(".empty").count() >= 1
    assert seen.faults == []
    assert violations(seen) == []


def test_first_page_is_light(opened: Open) -> None:
    seen = opened("/")
    seen.page.wait_for_timeout(200)
    assert 100_000 < seen.wire <= MOST_WIRE


def test_nothing_moves_while_a_page_loads(opened: Open) -> None:
    seen = opened("/")
    # The second time what only raw rows can tell comes after the rest.
    for path in ("/", "/?range=7d"):
        seen.goto(path)
        seen.page.wait_for_timeout(300)
        shift = seen.page.evaluate(
            "new Promise(done => { let sum = 0; new PerformanceObserver(list => {"
            " for (const one of list.getEntries()) sum += one.value; })"
            ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 100); })"
        )
        assert shift <= MOST_SHIFT
    assert seen.page.locator("[aria-busy]").count() == 0
    assert seen.faults == []


@pytest.mark.parametrize("path", TABLES)
def test_scripts_off(opened: Open, path: str) -> None:
    seen = opened(path, scripts=False)
    tables = seen.page.locator("table:visible")
    assert tables.count() >= 1
    assert seen.page.locator("table:visible tbody tr").count() >= 1
    if path == "/":
        # The charts' own.
        assert seen.page.locator("[data-chart] table:visible").count() >= 2
    assert seen.faults == []


@pytest.mark.parametrize("path", ["/", "/keys", "/clients", "/apis", "/endpoints", "/errors"])
def test_hostile_names_are_shown_and_never_run(opened: Open, path: str) -> None:
    seen = opened(path, token=OTHER, width=360)
    assert HOSTILE[0] in seen.page.inner_text("body")
    assert seen.page.title() != "run"
    assert overflow(seen) <= 0
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
