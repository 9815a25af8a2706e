"""An internal page with every part of the design system in every state, for who works on it."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from keytrail.web.ui import charts, figures, tables
from keytrail.web.ui.frame import AtDesk, show
from keytrail.web.ui.panels import Panel
from keytrail.web.ui.rankings import Ranked

router = APIRouter(include_in_schema=False)

_LONG: Final = "a name that is far too long for the place that it has, as names from the field now and then are"
_VALUES: Final = (3.0, 5.0, 0.0, 8.0, 13.0, 7.0, 9.0, 2.0, 4.0, 11.0, 12.0, 6.0)


@router.get("/components")
def components(request: Request, desk: AtDesk) -> Response:
    """Figures, rankings, tables and charts with made-up values; full, empty, loading, in error."""

    def nothing() -> list[Any]:
        return []

    panels = [
        Panel("figures", "Key figures", "figures", _figures, size="figures", live=False),
        Panel("stack", "Chart: stacks, a gap, a step under way", "chart", _stack, size="chart", wide="w6", live=False),
        Panel("lines", "Chart: lines", "chart", _lines, size="chart", wide="w6", live=False),
        Panel("no-chart", "Chart: nothing to draw", "chart", _no_chart, wide="w6", live=False),
        Panel("ranks", "Ranking", "ranking", _ranks, ("All", "#ranks"), "with a note", wide="w6", live=False),
        Panel("no-ranks", "Ranking: empty", "ranking", nothing, wide="w4", live=False),
        Panel("no-causes", "Table: empty", "causes", nothing, wide="w4", live=False),
    ]
    swatches = ("bg", "raised", "sunken", "line", "text", "muted", "accent", "c2", "c3", "c4", "c5")
    return show(
        request,
        desk,
        "components.html",
        panels,
        ranged=False,
        title="Components",
        swatches=swatches,
        numbers=_numbers(desk.state.range.now),
        page_size=tables.PAGE_SIZE,
    )


def _numbers(now: int) -> list[tuple[str, Any]]:
    return [
        ("a count", figures.count(12_345)),
        ("a great count", figures.count(1_234_567)),
        ("zero", figures.count(0)),
        ("none", figures.rate(None)),
        ("not recorded", figures.size(None)),
        ("not known", figures.UNKNOWN),
        ("a rate", figures.rate(0.0123)),
        ("a small rate", figures.rate(0.0001)),
        ("a short time", figures.ms(3.42)),
        ("a long time", figures.ms(30_025)),
        ("bytes", figures.size(1_234_567)),
        ("ago", figures.ago(now - 61_000, now, "UTC")),
        ("better", figures.delta(80, 100, better="down")),
        ("worse", figures.delta(130, 100, better="down")),
        ("neither", figures.delta(130, 100)),
        ("as before", figures.delta(100, 100)),
        ("points", figures.delta(0.053, 0.012, better="down", points=True)),
        ("new", figures.delta(5, 0)),
    ]


def _figures() -> list[charts.Figure]:
    return [
        charts.Figure(
            "With everything", figures.count(14_054), figures.delta(140, 100), figures.spark(_VALUES), "a note"
        ),
        charts.Figure("Bad", figures.rate(0.064), figures.delta(0.06, 0.01, better="down", points=True)),
        charts.Figure("A link", figures.count(480), href="#figures"),
        charts.Figure("Zero", figures.count(0)),
        charts.Figure("None", figures.ms(None)),
    ]


def _chart(unit: str, series: list[charts.Series], gaps: dict[int, str] | None = None) -> charts.Chart:
    labels = [f"23 Nov {hour:02}:00" for hour in range(len(_VALUES))]
    return charts.Chart(unit, labels, [("", "")] * 12, [""] * 12, series, open=True, gaps=gaps or {})


def _stack() -> charts.Chart:
    classes = [("2xx", 9.0), ("3xx", 1.0), ("4xx", 2.0), ("5xx", 1.5)]
    series = [charts.Series(name, f"c{name[0]}", [round(v * by) for v in _VALUES]) for name, by in classes]
    return _chart(
        "", [*series, charts.Series("period before", "before", _VALUES, kind="dashed")], {5: "the source was away"}
    )


def _lines() -> charts.Chart:
    series = [
        charts.Series(name, name, [value * factor for value in _VALUES], kind="line")
        for name, factor in (("p50", 4), ("p95", 20), ("p99", 45))
    ]
    return _chart("ms", series)


def _no_chart() -> charts.Chart:
    return _chart("", [])


def _ranks() -> list[Ranked]:
    return [
        Ranked("a row", "#row", 1200, 1.0, 60, 0.05, "beside it", "#open"),
        Ranked("a row that is picked", "#row", 900, 0.75, 0, 0.0, active=True),
        Ranked(_LONG, "#row", 400, 0.33, 400, 1.0, _LONG, "#open"),
        Ranked("", "#row", 12, 0.01, 0, 0.0, empty="(none)"),
    ]
