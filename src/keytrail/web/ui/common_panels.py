"""Panels that several pages have: figures, charts over time, rankings and tables."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import Request

from keytrail.query.zones import Span
from keytrail.web.app_state import app_state
from keytrail.web.ui import charts, figures, rankings, sheets, tables
from keytrail.web.ui.ask import Desk, Names
from keytrail.web.ui.commands import see_requests
from keytrail.web.ui.panels import Panel, asked, once


def gaps_of(request: Request, desk: Desk) -> list[tuple[Span, str]]:
    """When nothing was collected in the page's range, each with its cause in words."""
    coverage = app_state(request).coverage
    return [(gap, figures.cause(cause)) for gap, cause in coverage.gaps_in(desk.state.range.spans)]


def ranking_panel(desk: Desk, names: Names, kind: str, wide: str = "") -> Panel:
    """The panel of a ranking."""
    spec = rankings.RANKINGS[kind]
    return Panel(
        kind,
        spec.title,
        "ranking",
        partial(rankings.ranking, desk, names, kind),
        more=("All", desk.state.link(spec.page)) if spec.page and spec.page != desk.state.path else None,
        menu=see_requests(desk),
        asks=asked(
            desk.question(
                "hits", "error", "error_rate", by=spec.by, where=spec.where, order=("-hits",), limit=rankings.TOP
            )
        ),
        slow=spec.slow,
        wide=wide,
    )


def over_time(desk: Desk) -> charts.Steps:
    """What the figures and the charts of a page have in common, asked once."""
    return once(lambda: desk.series(*charts.OVER_TIME))


def figures_panel(desk: Desk, steps: charts.Steps, *, of_key: bool = False) -> Panel:
    """The strip of figures at the top of a page.

    Args:
        desk: Who asks.
        steps: What its sparklines are drawn from.
        of_key: The page is about a key, a client or a consumer.
    """
    return Panel(
        "figures",
        "Key figures",
        "figures",
        partial(charts.overview_figures, desk, steps, of_key=of_key),
        menu=see_requests(desk),
        asks=asked(charts.figures_question(desk, of_key=of_key)),
        size="figures",
    )


def chart_panels(
    request: Request, desk: Desk, steps: charts.Steps, wide: tuple[str, str] = ("w8 x6", "w4 x3")
) -> list[Panel]:
    """The panels of traffic, latency and where the time goes, over time.

    Args:
        request: The request.
        desk: Who asks.
        steps: What the charts are drawn from.
        wide: Classes of the first two.
    """

    def drawn(name: str, title: str, make: Callable[..., charts.Chart], *metrics: str, **more: Any) -> Panel:
        by = more.pop("by", ())
        asks = asked(desk.question(*metrics, by=by, step=True))
        gaps = partial(gaps_of, request, desk)
        menu = see_requests(desk)
        return Panel(name, title, "chart", lambda: make(desk, gaps()), asks=asks, menu=menu, size="chart", **more)

    return [
        drawn("traffic", "Requests over time", charts.traffic, "hits", by=("code_class",), wide=wide[0]),
        drawn(
            "latency",
            "Latency",
            partial(charts.latency, steps=steps),
            "p50_latency",
            "p95_latency",
            "p99_latency",
            wide=wide[1],
        ),
        drawn(
            "time",
            "Where the time goes",
            partial(charts.time_spent, steps=steps),
            "upstream_latency",
            "gateway_overhead",
            note="mean of a request",
            wide="w4 x3",
        ),
    ]


def table_panel(desk: Desk, names: Names, kind: str, title: str) -> Panel:
    """The panel of a table."""
    spec = tables.KINDS[kind]
    asks = asked(desk.question(*spec.metrics, by=spec.by, where=spec.where, order=("-hits",), limit=tables.PAGE_SIZE))
    make = partial(tables.table, desk, names, kind)
    saved = partial(sheets.sheet, desk, names, kind)
    return Panel("table", title, "table", make, asks=asks, menu=see_requests(desk), sheet=saved, size="table")
