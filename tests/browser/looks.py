"""What every page is held against, in whatever state: its looks at each width and theme, and its accessibility."""

from pathlib import Path
from typing import Any, Literal

import pytest

from tests.browser.conftest import SCREENSHOTS, Seen

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (360, 1280, 2560)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
MOST_SHIFT = 0.05
PHONE = {"width": 360, "height": 740}
LEAST_TARGET = 40
"""Pixels of height of what a finger has to hit."""


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


def at_hand(seen: Seen) -> None:
    """Hold a page against a phone: all is hit by a finger, nothing is off to the side, and no figure is cut short."""
    page = seen.page
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    tools = page.context.new_cdp_session(page)
    tools.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})
    try:
        assert page.evaluate("matchMedia('(pointer: coarse)').matches")
        assert overflow(seen) <= 0
        # Of what is seen: what one would hit a little above and below its middle, too. The rows of a table are alike.
        missed = page.evaluate(
            """least => [...document.querySelectorAll(
                "a:not(.skip), button:not(.vh), summary, input:not([type=hidden]), select")].filter(one => {
                if (!one.checkVisibility() || one.closest(".data:not(.shown), tbody tr:nth-child(n + 9)")) return false;
                one.scrollIntoView({ block: "center", inline: "center" });
                const box = one.getBoundingClientRect(), across = (box.left + box.right) / 2;
                return [-1, 1].some(side => {
                    const met = document.elementFromPoint(across, (box.top + box.bottom) / 2 + side * (least / 2 - 1));
                    return !(one.contains(met) || one.labels?.[0]?.contains(met));
                });
            }).map(one => one.outerHTML.slice(0, 160))""",
            LEAST_TARGET,
        )
        assert missed == [], missed
        sideways = page.evaluate(
            """() => [...document.querySelectorAll(".scroll")].filter(one =>
                one.scrollWidth > one.clientWidth && !one.closest(".data:not(.shown)")).map(one => one.ariaLabel)"""
        )
        assert sideways == [], sideways
        cut = page.evaluate(
            """() => [...document.querySelectorAll(".cards td.first")].filter(one =>
                one.scrollWidth > one.clientWidth).map(one => `${one.dataset.label}: ${one.innerText}`)"""
        )
        assert cut == [], cut
    finally:
        tools.detach()
