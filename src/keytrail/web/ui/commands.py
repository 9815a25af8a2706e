"""The ways on from a panel: the same question at the API, its statement, and the requests behind it."""

import shlex
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from keytrail.query.request import Filter
from keytrail.web.ui.ask import Desk

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


def see_requests(desk: Desk, *where: Filter) -> tuple[tuple[str, str], ...]:
    """The menu's way to the single requests behind a panel, for who may see them."""
    if not desk.may("logs"):
        return ()
    picked = {item.dimension: item.value for item in desk.subject if item.operator == "is"}
    picked |= {item.dimension: item.value for item in where if item.operator == "is"}
    return (("See the requests", desk.state.only("/requests", **picked)),)
