"""The ways on from a panel: the same question at the API, its statement, and the requests behind it."""

import shlex
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from keytrail.web.ui.ask import Desk
from keytrail.web.ui.state import Picked

QUERY: Final = "/api/v1/query"


def curl(address: str, asks: dict[str, Any], path: str = QUERY) -> str:
    """The command that asks the API the same; whoever pastes it has the token in a variable."""
    body = shlex.quote(msgspec.json.encode(asks).decode())
    return (
        f"curl -H \"Authorization: $KEYTRAIL_TOKEN\" -H 'Content-Type: application/json' "
        f"{shlex.quote(address + path)} -d {body}"
    )


def explain_url(root: str, asks: dict[str, Any]) -> str:
    """The API's answer to a question, with the statement that gave it."""
    return api_url(root, QUERY, {**asks, "explain": "true"})


def csv_url(root: str, asks: dict[str, Any]) -> str:
    """The rows of the API's answer as a file."""
    return api_url(root, QUERY, {**asks, "format": "csv"})


def api_url(root: str, path: str, asks: dict[str, Any]) -> str:
    """A question to the API as a link."""
    fields = {
        name: ",".join(value)
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else msgspec.json.encode(value).decode()
        for name, value in asks.items()
    }
    return f"{root}{path}?{urlencode(fields, quote_via=quote)}"


def see_requests(desk: Desk) -> tuple[tuple[str, str], ...]:
    """The menu's way to the single requests behind a panel, for who may see them."""
    return (("See the requests", requests_url(desk)),) if desk.may("logs") else ()


def see_failed(desk: Desk) -> tuple[tuple[str, str], ...]:
    """The menu's way to the single requests that failed, for who may see them."""
    if not desk.may("logs"):
        return ()
    state = desk.state
    if not any(one.dimension in {"code", "code_class"} and one.wanted for one in state.picked):
        state = replace(state, picked=(*state.picked, Picked("code_class", "4xx"), Picked("code_class", "5xx")))
    return (("See the requests", requests_url(replace(desk, state=state))),)


def requests_url(desk: Desk, **values: Any) -> str:
    """The page of single requests with the filters of this page, of its subject, and some more; "" for who may not."""
    if not desk.may("logs"):
        return ""
    return desk.state.only("/requests", **subject(desk), **values)


def latency_url(desk: Desk, least: int, most: int) -> str:
    """The page of single requests, those that took between two times (ms, both included); "" for who may not."""
    if not desk.may("logs"):
        return ""
    bounds = (("min_latency", str(least)), ("max_latency", str(most)))
    return desk.state.having(**subject(desk)).link("/requests", extras=bounds)


def endpoints_by(desk: Desk, metric: str) -> str:
    """The endpoints with the filters of this page and of its subject, the greatest of a metric first."""
    return desk.state.having(**subject(desk)).link("/endpoints", sort=f"-{metric}")


def subject(desk: Desk) -> dict[str, Any]:
    """What the page is about, as filters of another one."""
    return {item.dimension: item.value for item in desk.subject if item.operator == "is"}
