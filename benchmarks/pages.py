"""Pages in a real browser while records arrive: from a click on a filter to the settled page, on the demo's data and on
10 million requests of 30 days, and how long each page takes to load.

Settled is a page that waits for nothing more of what is in sight (1,280 by 900 pixels): what only raw rows can tell is
asked for when one scrolls to it.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final

from playwright.sync_api import Page, sync_playwright

from benchmarks import scale
from benchmarks.api import LARGE, fed, served
from benchmarks.measure import at, keytrail, say

RATE: Final = 1_000
"""Records that arrive in a second beside the 10 million."""
DEMO_RATE: Final = 50
RUNS: Final = 5
RANGES: Final = ("24h", "30d")
CLICKS: Final = {
    "/": ("#p-traffic .legend a >> nth=-1", "#p-keys a.to", "#p-endpoints a.to", "#p-apis a.to", "#p-codes a.to"),
    "/errors": ("#p-codes a.to", "#p-blame .legend a"),
}
"""What is clicked on which page: the first of each, which has most behind it."""
PAGES: Final = ("/changes", "/consumers", "/keys", "/clients", "/apis", "/endpoints", "/requests", "/pipeline")

_WAITS: Final = """
const waits = () => document.querySelector("html.busy, .htmx-request, .htmx-swapping")
  || [...document.querySelectorAll("[aria-busy=true]")].some((one) => {
    const box = one.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  });
const settled = (done, began) => {
  const look = () => (waits() ? requestAnimationFrame(look) : done(performance.now() - began));
  requestAnimationFrame(look);
};
"""
"""Whether the page waits for something: what was clicked, or a panel in sight; told to a frame."""
_CLICK: Final = f"""([selector, index]) => {{ {_WAITS}
  return new Promise((done) => {{
    const began = performance.now();
    [...document.querySelectorAll(selector)].at(index).click();
    settled(done, began);
  }});
}}"""
"""Clicks, and tells after how many ms the page is settled."""
_LOAD: Final = f"() => {{ {_WAITS} return new Promise((done) => settled(done, 0)); }}"
"""Tells how many ms after it was asked for the page is settled."""


def run() -> dict[str, Any]:
    """Measure both stores."""
    figures: dict[str, Any] = {}
    with browser() as page:
        with demo() as link:
            page.goto(link)
            figures |= measured(page, "demo", link.partition("/signin")[0])
        page.context.clear_cookies()
        with fed(RATE) as (port, feed), served(LARGE, redis_url=f"redis://127.0.0.1:{port}/0") as (client, _):
            address = str(client.base_url)
            page.context.request.post(f"{address}/signin", form={"token": scale.TOKEN}, max_redirects=0)
            feed.start()
            try:
                figures |= measured(page, "10 million", address)
            finally:
                feed.stop()
    return figures


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = started.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(30_000)
        yield page
        started.close()


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """A running demo: its link to sign in."""
    command = keytrail("demo", "--port", "0", "--rate", str(DEMO_RATE))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        link = next(found[1] for line in process.stdout if (found := re.search(r"(http://\S+/signin\?code=\S+)", line)))
        subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        yield link
    finally:
        process.terminate()
        process.wait(30)


def measured(page: Page, what: str, address: str) -> dict[str, float]:
    """The figures of one store."""
    figures: dict[str, float] = {}
    for name in RANGES:
        clicks: list[float] = []
        for path, selectors in CLICKS.items():
            for selector in selectors:
                clicks += clicked(page, f"{address}{path}?range={name}", selector)
        clicks.sort()
        say(
            f"{what}, {name}: a filter click to the settled page",
            f"p50 {at(clicks, 0.5):.0f} ms, slowest {clicks[-1]:.0f} ms",
            f"{len(clicks)} clicks",
        )
        figures |= {f"{what} {name} click_p50_ms": at(clicks, 0.5), f"{what} {name} click_max_ms": clicks[-1]}
        loads = {path: loaded(page, f"{address}{path}?range={name}") for path in (*CLICKS, *PAGES)}
        for title, path in subjects(page, address, name).items():
            loads[title] = loaded(page, address + path)
        slowest = max(loads, key=lambda path: loads[path])
        listed = ", ".join(f"{path} {taken:.0f}" for path, taken in loads.items())
        say(f"{what}, {name}: a page loaded and settled", f"slowest {slowest} {loads[slowest]:.0f} ms", f"ms: {listed}")
        figures |= {f"{what} {name} {path} load_ms": taken for path, taken in loads.items()}
    return figures


def subjects(page: Page, address: str, name: str) -> dict[str, str]:
    """The page of the busiest key, client, endpoint and consumer, those that there are."""
    found = {}
    for kind in ("keys", "clients", "endpoints", "consumers"):
        page.goto(f"{address}/{kind}?range={name}")
        link = page.locator("#p-table tbody a.main").first
        if link.count():
            found[f"one of {kind}"] = str(link.get_attribute("href"))
    return found


def clicked(page: Page, url: str, selector: str) -> list[float]:
    """Milliseconds from a click on a filter to the settled page, after a first one that is not counted."""
    css, _, index = selector.partition(" >> nth=")
    taken = []
    for _ in range(RUNS + 1):
        page.goto(url)
        page.evaluate(_LOAD)
        taken.append(float(page.evaluate(_CLICK, [css, int(index or 0)])))
    return taken[1:]


def loaded(page: Page, url: str) -> float:
    """Milliseconds until a page is settled that is opened by its address, the median."""
    taken = []
    for _ in range(RUNS):
        page.goto(url)
        taken.append(float(page.evaluate(_LOAD)))
    return at(sorted(taken), 0.5)
