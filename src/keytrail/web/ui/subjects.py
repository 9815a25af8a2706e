"""The pages about one thing: a key, an OAuth client, an endpoint."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from keytrail.query.request import ALL_TIME, Filter
from keytrail.web.app_state import app_state
from keytrail.web.paths import segment
from keytrail.web.ui import blame, charts, figures, rankings
from keytrail.web.ui.ask import Desk, Names
from keytrail.web.ui.commands import see_failed, see_requests
from keytrail.web.ui.common_panels import chart_panels, figures_panel, over_time, ranking_panel, table_panel
from keytrail.web.ui.frame import AtDesk, show
from keytrail.web.ui.panels import Panel, asked
from keytrail.web.ui.rankings import FAILED, TOP

router = APIRouter(include_in_schema=False)


@router.get("/keys/{key}")
def one_key(request: Request, desk: AtDesk, key: str) -> Response:
    """One key: every endpoint that was called with it."""
    key = segment(key)
    names = app_state(request).names
    subject = desk.about(Filter("key", "is", key))
    alias = names.alias(desk, key)
    return subject_page(
        request,
        subject,
        rankings.key_name(key, alias)[0],
        kind="Key",
        value=key,
        kinds=("all-codes", "countries", "tags", "agents"),
    )


@router.get("/clients/{client}")
def one_client(request: Request, desk: AtDesk, client: str) -> Response:
    """One OAuth client: every endpoint that it called."""
    client = segment(client)
    subject = desk.about(Filter("oauth_client", "is", client))
    kinds = ("all-codes", "client-keys", "countries", "tags", "agents")
    return subject_page(request, subject, client, kind="OAuth client", value=client, kinds=kinds)


def subject_page(
    request: Request,
    desk: Desk,
    title: str,
    *,
    kind: str,
    value: str,
    kinds: tuple[str, ...],
    identity: Callable[[], Any] | None = None,
    more: Iterable[Panel] = (),
) -> Response:
    """The page about a key, an OAuth client or a consumer.

    Args:
        request: The request.
        desk: Who asks, with the subject.
        title: Its name.
        kind: What it is.
        value: Its id.
        kinds: Rankings.
        identity: What is told of it whatever the range; None asks for it.
        more: Panels that it has beside those of all.
    """
    names = app_state(request).names
    steps = over_time(desk)
    panels = [
        Panel("identity", kind, "identity", identity or partial(_identity, desk, names, kind, value), size="identity"),
        figures_panel(desk, steps, of_key=True),
        *chart_panels(request, desk, steps, ("w8 x6", "w4 x6"))[:2],
        table_panel(desk, names, "subject-endpoints", "Endpoints called"),
        guilty_panel(desk, names),
        *(ranking_panel(desk, names, one) for one in kinds),
        *(extra := list(more)),
    ]
    return show(
        request,
        desk,
        "subject.html",
        panels,
        title=title,
        kind=kind,
        value=value,
        kinds=kinds,
        more=[panel.id for panel in extra],
        searches="Path or API",
    )


def guilty_panel(desk: Desk, names: Names, wide: str = "") -> Panel:
    """The panel of the errors of a subject, each by what it is not about: key, endpoint, code and blame."""
    asks = desk.question(*blame.DETAILS, by=blame.told_apart(desk), where=(FAILED,), order=("-hits",), limit=TOP)
    make = partial(blame.details, desk, names)
    return Panel("guilty", "Errors", "guilty", make, menu=see_failed(desk), asks=asked(asks), size="table", wide=wide)


def _identity(desk: Desk, names: Names, kind: str, value: str) -> dict[str, Any]:
    """Whose a key or client is, and since when and until when it was seen, whatever the range and the filters."""
    owner = names.owner(desk, {"Key": "key", "OAuth client": "client"}[kind], value)
    seen = desk.one("hits", "first_hit", "last_hit", spans=(ALL_TIME,), filtered=False)
    where, now = desk.state.range.zone, desk.state.range.now
    return {
        "label": {"Key": "Hash", "OAuth client": "Client id"}[kind],
        "value": value,
        "consumer": (owner.name, desk.state.link(rankings.subject_path("consumer", owner.consumer))) if owner else None,
        "hits": seen.get("hits", 0),
        "first": figures.ago(seen.get("first_hit"), now, where),
        "last": figures.ago(seen.get("last_hit"), now, where),
    }


@router.get("/endpoint")
def one_endpoint(request: Request, desk: AtDesk) -> Response:
    """One endpoint, named by the filters `api` and `path`: who calls it, how, and how long it takes."""
    names = app_state(request).names
    path = next(iter(desk.state.values("path")), "")
    if not path:
        return RedirectResponse(desk.state.link("/endpoints"), 303)
    kinds = ("keys", "clients", "all-codes", "methods", "versions", "countries")
    steps = over_time(desk)
    panels = [
        figures_panel(desk, steps),
        *chart_panels(request, desk, steps, ("w8 x6", "w4 x6"))[:2],
        Panel(
            "histogram",
            "How long requests take",
            "chart",
            partial(charts.histogram, desk),
            menu=see_requests(desk),
            asks=asked(desk.question("latency_histogram")),
            size="chart",
            wide="w4 x6",
        ),
        guilty_panel(desk, names, "w8 x6"),
        *(ranking_panel(desk, names, one) for one in kinds),
    ]
    api = next(iter(desk.state.values("api")), "")
    return show(
        request,
        desk,
        "endpoint.html",
        panels,
        title=path,
        api_name=names.apis(desk).get(api) or api,
        kinds=kinds,
    )
