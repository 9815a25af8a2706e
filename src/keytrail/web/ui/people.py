"""The pages of consumers: who there is, and what one did with all its keys and clients together."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from keytrail.errors import Forbidden, NotFound
from keytrail.query.consumers import seen_links
from keytrail.query.request import Filter
from keytrail.store.consumers import Link
from keytrail.web.app_state import app_state
from keytrail.web.consumers import NARROW
from keytrail.web.paths import segment
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Names, Row
from keytrail.web.ui.common_panels import table_panel
from keytrail.web.ui.frame import AtDesk, show
from keytrail.web.ui.panels import Panel, once
from keytrail.web.ui.rankings import key_name, subject_href, subject_path
from keytrail.web.ui.subjects import subject_page

router = APIRouter(include_in_schema=False)

KIND_TITLES: Final = {"key": "key", "client": "OAuth client", "tag": "tag"}
MOST_QUIET: Final = 60
"""Consumers without requests that are listed."""


def _named(desk: Desk) -> Desk:
    """The desk of who may see the directory.

    Raises:
        Forbidden: They see but a part of their organisation.
    """
    if not desk.names_consumers:
        raise Forbidden(NARROW)
    return desk


@router.get("/consumers")
def consumers(request: Request, desk: AtDesk) -> Response:
    """All consumers with requests in the range, and those without."""
    names = app_state(request).names
    panels = [
        table_panel(_named(desk), names, "consumers", "Consumers"),
        Panel(
            "quiet", "Without requests in this range", "quiet", partial(_quiet, desk, names), size="text", live=False
        ),
    ]
    return show(request, desk, "consumers.html", panels, compares=False, title="Consumers", searches="Name or id")


def _quiet(desk: Desk, names: Names) -> Row:
    people = names.consumers(desk)
    calling = {row["consumer"] for row in desk.ask("hits", by=("consumer",), filtered=False).rows}
    quiet = sorted(
        (links[0].name, consumer, len(links)) for consumer, links in people.items() if consumer not in calling
    )
    rows = [
        (name, subject_href(desk.state, "consumer", consumer), f"{count} {_plural(count)}")
        for name, consumer, count in quiet[:MOST_QUIET]
    ]
    return {"rows": rows, "left": len(quiet) - len(rows), "none": not people}


def _plural(count: int) -> str:
    return "key or client" if count == 1 else "keys and clients"


@router.get("/consumers/{consumer}")
def one_consumer(request: Request, desk: AtDesk, consumer: str) -> Response:
    """One consumer: what its keys, clients and tags did together, each in the time in which it was the consumer's."""
    consumer = segment(consumer)
    names = app_state(request).names
    links = names.consumers(_named(desk)).get(consumer)
    if not links:
        raise NotFound("no such consumer")
    seen = once(lambda: seen_links(desk.engine, desk.scope, links, desk.state.range.zone))
    address = f"{desk.state.root}/api/v1/consumers/{quote(consumer, safe='')}"
    panel = Panel(
        "links",
        "What belongs to it",
        "links",
        lambda: [_link(desk, names, row) for row in seen()],
        menu=(("As JSON", address),),
        size="text",
        live=False,
    )
    return subject_page(
        request,
        desk.about(Filter("consumer", "is", consumer)),
        links[0].name,
        kind="Consumer",
        value=consumer,
        kinds=("keys", "clients", "all-codes", "countries", "tags", "agents"),
        identity=partial(_identity, desk, consumer, links, seen),
        more=[panel],
    )


def _identity(desk: Desk, consumer: str, links: Sequence[Link], seen: Callable[[], list[Row]]) -> Row:
    """Since when and until when it was seen, whatever the range, and how much belongs to it now."""
    rows, now, where = seen(), desk.state.range.now, desk.state.range.zone
    first = [at for row in rows if (at := figures.instant(row["first_seen"]))]
    last = [at for row in rows if (at := figures.instant(row["last_seen"]))]
    counts: list[tuple[str, Any]] = []
    for kind, title in (("key", "Keys"), ("client", "OAuth clients"), ("tag", "Tags")):
        held = {link.value for link in links if link.kind == kind}
        if held:
            counts.append((title, figures.count(len(held))))
    return {
        "label": "Id",
        "value": consumer,
        "first": figures.ago(min(first, default=None), now, where),
        "last": figures.ago(max(last, default=None), now, where),
        "counts": counts,
    }


def _link(desk: Desk, names: Names, row: Row) -> Row:
    state, value = desk.state, row["value"]
    match row["kind"]:
        case "key":
            name, beside = key_name(value, names.alias(desk, value))
            href = state.link(subject_path("key", value))
        case "client":
            name, beside, href = value, "", state.link(subject_path("oauth_client", value))
        case _:
            name, beside, href = value, "", state.only("/", tag=value)
    return {
        **row,
        "title": KIND_TITLES[row["kind"]],
        "name": name,
        "beside": beside,
        "href": href,
        "start": figures.instant(row["from"]),
        "end": figures.instant(row["until"]),
        "first": figures.instant(row["first_seen"]),
        "last": figures.instant(row["last_seen"]),
    }
