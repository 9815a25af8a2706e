"""The request log, newest first and live, and one request with everything that is stored of it."""

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from keytrail.errors import NotFound, RequestError
from keytrail.instants import zone
from keytrail.query.records import Bound, Row, Search, find, page
from keytrail.query.request import Filter
from keytrail.query.zones import MINUTE, Span, to_moment
from keytrail.record import BY_COLUMN, Kind
from keytrail.web.app_state import app_state
from keytrail.web.auth import require
from keytrail.web.parameters import whole_number
from keytrail.web.paths import segment
from keytrail.web.requests import message
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Names
from keytrail.web.ui.frame import AtDesk, show
from keytrail.web.ui.panels import Panel
from keytrail.web.ui.ranges import CUSTOM
from keytrail.web.ui.rankings import key_name, phrase, subject_href
from keytrail.web.ui.state import Picked, State

router = APIRouter(include_in_schema=False)

ROWS: Final = 100
_LONGEST_LATENCY: Final = 999_999_999
"""In ms: eleven days."""
_CODE: Final = re.compile(r"[1-5]\d\d", re.ASCII)
_CODE_CLASS: Final = re.compile(r"[1-5]xx", re.IGNORECASE)
_SHORTEST_NAME: Final = 6
"""Characters from which on a text is looked for among the keys and clients."""


@router.get("/requests")
def log(request: Request, desk: AtDesk) -> Response:
    """Single requests with the page's filters, a text in their path, and a least latency. Needs `logs`.

    What is searched for and is a code, an address, a key or a client is filtered by instead.
    """
    require(desk.principal, "logs")
    names = app_state(request).names
    if meant := _meant(desk, names):
        return RedirectResponse(desk.state.link(picked=(*desk.state.picked, meant), search=""), 303)
    cursor = request.query_params.get("cursor", "")
    panels = [
        Panel(
            "log",
            "Requests",
            "log",
            lambda: _page(desk, names, cursor),
            menu=(("CSV", _export_url(desk)),),
            size="table",
            live=not cursor,
        ),
    ]
    bounds = [
        (name, words, sign, desk.state.own(name))
        for name, words, sign in (
            ("min_latency", "Latency at least, ms", "≥ ms"),
            ("max_latency", "Latency at most, ms", "≤ ms"),
        )
    ]
    searches = "Path, key, client, IP or code"
    return show(request, desk, "log.html", panels, compares=False, title="Requests", searches=searches, bounds=bounds)


def _meant(desk: Desk, names: Names) -> Picked | None:
    """What a text that is searched for is, other than some of a path; None if it is that."""
    text = desk.state.search
    if _CODE.fullmatch(text):
        return Picked("code", text)
    if _CODE_CLASS.fullmatch(text):
        return Picked("code_class", text.lower())
    with suppress(ValueError):
        ip_address(text)
        return Picked("ip", text)
    if len(text) < _SHORTEST_NAME or "/" in text:
        return None
    for dimension in ("key", "oauth_client"):
        if names.known(desk, dimension, text):
            return Picked(dimension, text)
    return None


def _page(desk: Desk, names: Names, cursor: str) -> dict[str, Any]:
    state, period = desk.state, desk.state.range
    # Pinned to this instant, so that the next page is one of the same range.
    spans = tuple(Span(one.start, min(one.end, period.now)) for one in period.spans if one.start < period.now)
    search = Search(desk.scope, spans, _filters(desk), state.search, _bounds(state.extras))
    found = page(desk.engine, search, cursor=cursor, limit=ROWS)
    where, following = zone(period.zone), ""
    if found.following:
        pinned = state.zoom(*(figures.url_time(at, where) for at in (period.start, min(period.end, period.now))))
        following = f"{pinned}{'&' if '?' in pinned else '?'}cursor={found.following}"
    apis = names.apis(desk)
    return {"rows": [_line(desk, row, apis) for row in found.rows], "following": following, "first": not cursor}


def _export_url(desk: Desk) -> str:
    """Where the API gives all of these requests as CSV."""
    state, period = desk.state, desk.state.range
    edges = [to_moment(at, zone(period.zone)).isoformat(timespec="milliseconds") for at in (period.start, period.end)]
    pairs = [("format", "csv"), ("from", edges[0]), ("to", edges[1])]
    pairs += [(one.dimension if one.wanted else f"{one.dimension}.is_not", one.value) for one in state.picked]
    pairs += [("search", state.search)] if state.search else []
    return f"{state.root}/api/v1/export?{urlencode([*pairs, *state.extras], quote_via=quote)}"


def _filters(desk: Desk) -> tuple[Filter, ...]:
    return (*desk.subject, *desk.state.filters())


def _bounds(extras: tuple[tuple[str, str], ...]) -> tuple[Bound, ...]:
    given: dict[str, int] = {}
    for name, text in extras:
        if name in {"min_latency", "max_latency"}:
            number = whole_number(text, _LONGEST_LATENCY)
            if number is None:
                raise RequestError(f"{name} {text[:40]!r} is not a number of milliseconds")
            given[name] = number
    return (Bound("latency", given.get("min_latency"), given.get("max_latency")),) if given else ()


def _line(desk: Desk, row: Row, apis: Mapping[str, str]) -> dict[str, Any]:
    one, state = row.dimensions, desk.state
    name, _ = key_name(one["key"], one["alias"])
    return {
        **one,
        **row.columns,
        "id": row.place.text(),
        "href": state.link(f"/requests/{row.place.text()}"),
        "clock": figures.clock(row.place.time, state.range.zone),
        "tone": figures.code_class(one["code"]),
        "phrase": phrase(one["code"]),
        "code_href": state.pick("code", one["code"]),
        "name": name,
        "key_href": state.pick("key", one["key"]),
        "method_href": state.pick("method", one["method"]),
        "api_href": state.pick("api", one["api"]),
        "ip_href": state.pick("ip", one["ip"]) if one["ip"] else "",
        "api_title": one["api_name"] or apis.get(one["api"]) or one["api"],
    }


@router.get("/requests/{row}")
def one_request(request: Request, desk: AtDesk, row: str) -> Response:
    """One request in full; what the settings keep out of the store is not there either. Needs `logs`."""
    require(desk.principal, "logs")
    found = find(desk.engine, desk.scope, segment(row))
    if found is None:
        raise NotFound("no such request")
    columns = dict(found.columns)
    messages = {name: message(columns.pop(f"raw_{name}")) for name in ("request", "response")}
    state, one, at = desk.state, found.dimensions, found.place.time
    where = zone(state.range.zone)
    around = [figures.url_time(edge, where) for edge in (at - MINUTE, at + MINUTE)]
    links = [
        ("This key", subject_href(state, "key", one["key"])),
        ("This endpoint", state.only("/endpoint", path=one["path"], api=one["api"])),
        ("This key's requests of these two minutes", requests_around(state, one["key"], around)),
    ]
    if one["oauth_client"]:
        links.insert(1, ("This OAuth client", subject_href(state, "oauth_client", one["oauth_client"])))
    return show(
        request,
        desk,
        "request.html",
        [],
        ranged=False,
        title=f"{one['method']} {one['raw_path'] or one['path']}",
        one={**one, **found.columns},
        clock=figures.clock(at, state.range.zone),
        tone=figures.code_class(one["code"]),
        phrase=phrase(one["code"]),
        key_title=key_name(one["key"], one["alias"])[0],
        messages=messages,
        columns=[_column(name, value, state.range.zone) for name, value in columns.items() if _told(value)],
        links=links,
    )


def requests_around(state: State, key: str, edges: list[str]) -> str:
    """The URL of a key's requests between two instants."""
    rest = state.without("key")
    picked = (*rest.picked, Picked("key", key))
    return rest.link("/requests", picked=picked, preset=CUSTOM, first=edges[0], last=edges[1])


def _told(value: Any) -> bool:
    return value not in ("", 0, None, [], (), {}, False)


def _column(name: str, value: Any, where: str) -> tuple[str, str, Any]:
    """A column's name, what it means, and its value with its unit."""
    field = BY_COLUMN.get(name)
    if field and field.kind is Kind.INSTANT:
        return name, field.meaning, figures.exact(value, where)
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if field and field.unit:
        text = f"{text} {field.unit}"
    return name, field.meaning if field else "", text
