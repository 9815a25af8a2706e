"""Charts as a way on: what a click on a point, a bar or a legend leads to."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Seen, Tab


def at_step(seen: Seen, panel: str, step: int, steps: int) -> dict[str, float]:
    """Where in a chart one of its steps stands, in the middle of its height, as an offset in its canvas."""
    box = seen.page.locator(f"#{panel} .canvas").bounding_box()
    assert box
    # Of the canvas the axis has 44 pixels on the left, and 4 are left on the right.
    return {"x": 44 + (box["width"] - 48) * (step + 0.5) / steps, "y": box["height"] / 2}


@pytest.mark.parametrize("panel", ["p-latency", "p-p95"])
def test_a_click_at_a_line_means_its_step(tab: Tab, panel: str) -> None:
    seen = tab("/" if panel == "p-latency" else "/changes")
    page = seen.page
    rows = page.locator(f"#{panel} .data tbody tr")
    count = rows.count()
    wanted = rows.nth(7).locator("a").get_attribute("href")
    page.locator(f"#{panel} .canvas").click(position=at_step(seen, panel, 7, count))  # type: ignore[arg-type]
    page.wait_for_url("**from=*")
    seen.settled()
    assert wanted
    assert parse_qs(urlsplit(page.url).query) == parse_qs(urlsplit(wanted).query)
    assert seen.faults == []


def test_a_click_on_a_bar_filters_by_what_it_counts(tab: Tab) -> None:
    seen = tab("/?code_class=2xx")
    page = seen.page
    page.locator(".chip .drop-it").click()
    seen.settled()
    count = page.locator("#p-traffic .data tbody tr").count()
    # At the foot of a bar of the busy hours are the requests that went well.
    place = at_step(seen, "p-traffic", count - 4, count)
    box = page.locator("#p-traffic .canvas").bounding_box()
    assert box
    page.locator("#p-traffic .canvas").click(position={"x": place["x"], "y": box["height"] - 30})
    page.wait_for_url("**code_class=2xx")
    seen.settled()
    expect(page.locator(".chip")).to_contain_text("2xx")
    assert seen.faults == []


def on_axis(seen: Seen, panel: str, *values: int) -> list[str]:
    """How the value axis of a chart writes numbers."""
    found: list[str] = seen.page.evaluate(
        "([panel, values]) => values.map(echarts.getInstanceByDom(document.querySelector(`#${panel} .canvas`))"
        ".getOption().yAxis[0].axisLabel.formatter)",
        [panel, values],
    )
    return found


def painted(seen: Seen, panel: str) -> list[str]:
    """The colours of the series of a chart, but for the one of gaps, which has none of its own."""
    found: list[str] = seen.page.evaluate(
        "panel => echarts.getInstanceByDom(document.querySelector(`#${panel} .canvas`))"
        ".getOption().series.map(one => one.color).filter(Boolean)",
        panel,
    )
    return found


def test_a_legend_leads_to_what_has_most_of_it(tab: Tab) -> None:
    seen = tab("/")
    # Beside, as the page is open: an axis writes counts as the figures do, and latencies with their unit.
    assert on_axis(seen, "p-traffic", 800, 1_500, 2_000_000) == ["800", "1.5 k", "2 M"]
    assert on_axis(seen, "p-latency", 300, 1_500) == ["300 ms", "1.5 s"]
    page = seen.page
    tones = painted(seen, "p-traffic")
    assert len(set(tones)) == 5
    for panel, series, sort, column in (
        ("latency", "p99", "p99_latency", "p99"),
        ("time", "gateway", "gateway_overhead", "Gateway"),
    ):
        page.locator(f"#p-{panel} .legend a", has_text=series).click()
        page.wait_for_url(f"**/endpoints?sort=-{sort}")
        seen.settled()
        expect(page.locator("th[aria-sort=descending]")).to_have_text(column)
        page.go_back()
        seen.settled()
        # Back, the charts have the colours of their legends.
        assert painted(seen, "p-traffic") == tones
    page.locator("#p-traffic .legend a", has_text="period before").click()
    page.wait_for_url("**from=*")
    seen.settled()
    expect(page.locator("details.menu.left summary")).to_contain_text("–")
    assert seen.faults == []


def test_a_bar_of_the_histogram_leads_to_its_requests(tab: Tab, paths: dict[str, str]) -> None:
    seen = tab(paths["endpoint"])
    page = seen.page
    row = page.locator("#p-histogram .data tbody tr").nth(4)
    counted = row.locator("td").inner_text()
    wanted = row.locator("a").get_attribute("href")
    assert wanted
    page.goto(seen.address + wanted)
    seen.settled()
    query = parse_qs(urlsplit(page.url).query)
    low, high = int(query["min_latency"][0]), int(query["max_latency"][0])
    assert (low, high) == (2 ** (low.bit_length() - 1), 2 ** low.bit_length() - 1)
    times = page.locator("#p-log tbody tr td:nth-of-type(6)").all_inner_texts()
    assert times
    assert all(low <= int(text.removesuffix(" ms").replace(",", "")) <= high for text in times)
    expect(page.locator(".pager")).to_contain_text(f"{min(int(counted.replace(',', '')), 100)} requests")
    assert seen.faults == []


def test_a_figure_leads_on_within_what_the_page_is_about(tab: Tab, paths: dict[str, str]) -> None:
    key = paths["key"].rpartition("/")[2]
    seen = tab(paths["key"])
    for figure, path in (("Error rate", "/errors"), ("p95 latency", "/endpoints"), ("Gateway overhead", "/endpoints")):
        link = seen.page.locator(".figure", has_text=figure).locator("dd.value a").get_attribute("href")
        assert link
        assert urlsplit(link).path == path
        assert parse_qs(urlsplit(link).query)["key"] == [key]
    assert seen.faults == []
