"""The pages: each is its state, its panels and a template."""

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from keytrail.query.zones import Span, to_moment, zone
from keytrail.web.auth import asker_of, require
from keytrail.web.coverage import Coverage
from keytrail.web.paths import segment
from keytrail.web.ui import blame, charts, rankings, sheets, tables
from keytrail.web.ui.ask import Desk, Names
from keytrail.web.ui.commands import QUERY, csv_url, curl, explain_url, see_failed, see_requests
from keytrail.web.ui.panels import Panel, asked, once
from keytrail.web.ui.ranges import PRESETS
from keytrail.web.ui.render import page, panel_page
from keytrail.web.ui.session import remember_zone
from keytrail.web.ui.state import FILTERS, State, read_state

router = APIRouter(include_in_schema=False)

ZONES: Final = (
    "UTC", "Europe/London", "Europe/Berlin", "Europe/Athens", "America/New_York", "America/Chicago",
    "America/Los_Angeles", "America/Sao_Paulo", "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo",
    "Australia/Sydney",
)  # fmt: skip
"""Offered beside the zone of the settings; any other may stand in the URL."""


def at_desk(request: Request) -> Desk:
    """Who asks, and the state in the URL.

    Raises:
        NotAuthorised: Nobody whom we know; the answer leads to the sign-in form.
        Forbidden: They may not see numbers.
        RequestError: The URL can't be understood.
    """
    principal = asker_of(request)
    require(principal, "analytics")
    state = read_state(
        request.query_params.multi_items(),
        root=request.scope.get("root_path", ""),
        path="/".join(quote(segment(part), safe="") for part in request.scope["path"].split("/")),
        home_zone=request.app.state.settings.timezone,
        cookies=request.cookies,
        now=time.time_ns() // 1_000_000,
    )
    return Desk(request.app.state.engine, principal, principal.scope, state)


AtDesk = Annotated[Desk, Depends(at_desk)]


def show(
    request: Request,
    desk: Desk,
    template: str,
    panels: list[Panel],
    *,
    ranged: bool = True,
    compares: bool = True,
    **values: Any,
) -> Response:
    """A page with the header's values.

    Args:
        request: The request.
        desk: Who asks.
        template: The page's template.
        panels: Its panels.
        ranged: It is about a range and can be filtered.
        compares: The period before can be shown beside the range, or not.
        values: What its template uses beside that.
    """
    names: Names = request.app.state.names
    state = desk.state
    here = state.link(page=state.page)
    if request.query_params.get("panel") == "age":
        return page("age.html", request, state=state, newest=names.newest(desk), panel_url=partial(_panel_url, here))
    response = panel_page(
        template,
        request,
        panels,
        # Of a page about one thing, whichever: the route's own path.
        (desk.scope, state.range.name, request.scope["route"].path),
        state=state,
        desk=desk,
        chips=_chips(desk, names),
        newest=names.newest(desk),
        presets=PRESETS,
        local_start=_local(state, state.range.start),
        local_end=_local(state, min(state.range.end, state.range.now)),
        panel_url=partial(_panel_url, here),
        ranged=ranged,
        compares=compares,
        query_api=QUERY,
        curl=partial(curl, str(request.base_url).rstrip("/")),
        explain_url=partial(explain_url, state.root),
        csv_url=partial(csv_url, state.root),
        zoom_url=state.zoom("FROM", "TO"),
        zones=list(dict.fromkeys((desk.state.range.zone, request.app.state.settings.timezone, *ZONES))),
        **values,
    )
    remember_zone(request, response)
    return response


def _panel_url(here: str, panel: str) -> str:
    return f"{here}{'&' if '?' in here else '?'}panel={panel}"


def _local(state: State, instant: int) -> str:
    """An instant as a field of a form has it."""
    return f"{to_moment(instant, zone(state.range.zone)):%Y-%m-%dT%H:%M}"


def _chips(desk: Desk, names: Names) -> list[dict[str, str]]:
    """The filters, with names for people, and where each leads."""
    state, found = desk.state, []
    for one in state.picked:
        text, target = one.value, ""
        match one.dimension:
            case "api":
                text = names.apis(desk).get(one.value) or one.value
            case "key":
                text = rankings.key_name(one.value, names.alias(desk, one.value))[0]
                target = state.without("key").link(rankings.key_path(one.value))
            case "consumer":
                text = names.consumer(desk, one.value)
                target = state.without("consumer").link(rankings.consumer_path(one.value))
            case "oauth_client":
                target = state.without("oauth_client").link(rankings.client_path(one.value))
        rest = tuple(it for it in state.picked if it != one)
        found.append(
            {
                "title": FILTERS[one.dimension],
                "text": text or "(empty)",
                "wanted": "is" if one.wanted else "is not",
                "remove": state.link(picked=rest),
                "open": target,
                "turn": ""
                if one.dimension == "tag"
                else state.link(picked=(*rest, type(one)(one.dimension, one.value, not one.wanted))),
            }
        )
    return found


def gaps_of(request: Request, desk: Desk) -> list[tuple[Span, str]]:
    """When nothing was collected in the page's range, each with its cause."""
    coverage: Coverage = request.app.state.coverage
    return coverage.gaps_in(desk.state.range.spans)


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
    metrics = [column.name for column in spec.columns if column.name not in {"spark", "endpoints"}]
    asks = asked(desk.question(*metrics, by=spec.by, where=spec.where, order=("-hits",), limit=tables.PAGE_SIZE))
    make = partial(tables.table, desk, names, kind)
    saved = partial(sheets.sheet, desk, names, kind)
    return Panel("table", title, "table", make, asks=asks, menu=see_requests(desk), sheet=saved, size="table")


@router.get("/")
def overview(request: Request, desk: AtDesk) -> Response:
    """The overview."""
    names: Names = request.app.state.names
    kinds = ["keys", "endpoints", "apis", "clients", "codes", "countries", "tags", "methods", "versions"]
    if desk.scope.org is None:
        kinds.append("orgs")
    steps = over_time(desk)
    panels = [
        figures_panel(desk, steps),
        *chart_panels(request, desk, steps),
        Panel(
            "guilty",
            "Where errors come from",
            "causes",
            partial(blame.causes, desk, names),
            ("All errors", desk.state.link("/errors")),
            menu=see_failed(desk),
            asks=blame.questions(desk),
            size="table",
            wide="w8 x12",
        ),
        *(ranking_panel(desk, names, kind) for kind in kinds),
    ]
    return show(request, desk, "overview.html", panels, kinds=kinds, title="Overview")


def _table_page(request: Request, desk: Desk, kind: str, title: str, searches: str) -> Response:
    names: Names = request.app.state.names
    panels = [table_panel(desk, names, kind, title)]
    return show(request, desk, "table_page.html", panels, compares=False, title=title, searches=searches)


@router.get("/keys")
def keys(request: Request, desk: AtDesk) -> Response:
    """All keys."""
    return _table_page(request, desk, "keys", "Keys", "Name or hash")


@router.get("/clients")
def clients(request: Request, desk: AtDesk) -> Response:
    """All OAuth clients."""
    return _table_page(request, desk, "clients", "OAuth clients", "Client id")


@router.get("/apis")
def apis(request: Request, desk: AtDesk) -> Response:
    """All APIs."""
    return _table_page(request, desk, "apis", "APIs", "Name or id")


@router.get("/endpoints")
def endpoints(request: Request, desk: AtDesk) -> Response:
    """All endpoints."""
    return _table_page(request, desk, "endpoints", "Endpoints", "Path or API")


@router.get("/errors")
def errors(request: Request, desk: AtDesk) -> Response:
    """All errors: code, endpoint and key."""
    names: Names = request.app.state.names
    panels = [
        Panel(
            "blame",
            "Gateway or upstream",
            "chart",
            lambda: charts.blame(desk, gaps_of(request, desk)),
            menu=see_failed(desk),
            asks=asked(desk.question("hits", by=("error_origin",), where=(rankings.FAILED,), step=True)),
            size="chart",
            wide="w8 x6",
        ),
        ranking_panel(desk, names, "codes", wide="w4 x6"),
        table_panel(desk, names, "errors", "Errors"),
    ]
    searches = "Path, key, API or code"
    return show(request, desk, "errors.html", panels, compares=False, title="Errors", searches=searches)


@router.get("/docs")
def documentation(request: Request) -> Response:
    """Every endpoint of the API, from its OpenAPI description."""
    schema = request.app.openapi()
    operations = [
        {
            "description": "",
            "parameters": [],
            **operation,
            "path": path,
            "method": method.upper(),
            # A link to one endpoint: `/docs#get-api-v1-catalog`.
            "anchor": f"{method}-{path.strip('/').replace('/', '-')}",
        }
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return page("docs.html", request, operations=operations)
