"""What stands around every page: who asks, the state in the URL, and the values of its header."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Depends, Request
from starlette.responses import Response

from keytrail.instants import present, zone
from keytrail.query.zones import to_moment
from keytrail.web.app_state import app_state
from keytrail.web.auth import asker_of, require
from keytrail.web.paths import segment
from keytrail.web.ui import rankings
from keytrail.web.ui.ask import Desk, Names
from keytrail.web.ui.commands import QUERY, csv_url, curl, explain_url
from keytrail.web.ui.panels import Panel
from keytrail.web.ui.ranges import PRESETS
from keytrail.web.ui.render import page, panel_page
from keytrail.web.ui.session import remember_zone
from keytrail.web.ui.state import FILTERS, State, read_state

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
    held = app_state(request)
    state = read_state(
        request.query_params.multi_items(),
        root=request.scope.get("root_path", ""),
        path="/".join(quote(segment(part), safe="") for part in request.scope["path"].split("/")),
        home_zone=held.settings.timezone,
        cookies=request.cookies,
        now=present(),
    )
    return Desk(held.engine, principal, principal.scope, state)


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
    held, state = app_state(request), desk.state
    names = held.names
    here = state.link(page=state.page)
    age: dict[str, Any] = {"newest": names.newest(desk), "lasting": held.coverage.lasting()}
    if request.query_params.get("panel") == "age":
        return page("age.html", request, state=state, panel_url=partial(_panel_url, here), **age)
    response = panel_page(
        template,
        request,
        # Without any record a page about a range says what to do first, instead of everything that there is none of.
        panels if age["newest"] or not ranged or "panel" in request.query_params else [],
        # Of a page about one thing, whichever: the route's own path.
        (desk.scope, state.range.name, request.scope["route"].path),
        state=state,
        desk=desk,
        chips=_chips(desk, names),
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
        zones=list(dict.fromkeys((state.range.zone, held.settings.timezone, *ZONES))),
        oldest=names.oldest(desk),
        through=held.operations.complete_through(),
        **age,
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
                target = rankings.subject_href(state, "key", one.value)
            case "consumer":
                text = names.consumer(desk, one.value)
                target = rankings.subject_href(state, "consumer", one.value)
            case "oauth_client":
                target = rankings.subject_href(state, "oauth_client", one.value)
        rest = tuple(it for it in state.picked if it != one)
        found.append(
            {
                "title": FILTERS[one.dimension],
                "text": text or "(empty)",
                "wanted": "is" if one.wanted else "is not",
                "remove": state.link(picked=rest),
                "open": target,
                "turn": state.link(picked=(*rest, replace(one, wanted=not one.wanted))),
            }
        )
    return found
