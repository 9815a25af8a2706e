"""The overview, the pages of all keys, clients, APIs, endpoints and errors, and that of the API."""

from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from keytrail.web.app_state import app_state
from keytrail.web.ui import blame, charts, rankings
from keytrail.web.ui.ask import Desk
from keytrail.web.ui.commands import see_failed
from keytrail.web.ui.common_panels import chart_panels, figures_panel, gaps_of, over_time, ranking_panel, table_panel
from keytrail.web.ui.frame import AtDesk, show
from keytrail.web.ui.panels import Panel, asked
from keytrail.web.ui.render import page

router = APIRouter(include_in_schema=False)


@router.get("/")
def overview(request: Request, desk: AtDesk) -> Response:
    """The overview."""
    names = app_state(request).names
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
    names = app_state(request).names
    panels = [table_panel(desk, names, kind, title)]
    return show(request, desk, "table_page.html", panels, compares=False, title=title, searches=searches)


@router.get("/keys")
def keys(request: Request, desk: AtDesk) -> Response:
    """All keys."""
    return _table_page(request, desk, "keys", "Keys", "Name or hash")


@router.get("/clients")
def clients(request: Request, desk: AtDesk) -> Response:
    """All OAuth clients."""
    return _table_page(request, desk, "clients", "OAuth clients", "Client id or consumer")


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
    names = app_state(request).names
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
