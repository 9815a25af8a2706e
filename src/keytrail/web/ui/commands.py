"""The ways on from a panel: the same question at the API, its statement, and the requests behind it."""

import shlex
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from keytrail.query.request import Filter
from keytrail.web.ui.ask import Desk


def curl(address: str, asks: dict[str, Any]) -> str:
    """The command that asks the API the same; whoever pastes it has the token in a variable."""
    body = shlex.quote(msgspec.json.encode(asks).decode())
    return (
        f"curl -H \"Authorization: $KEYTRAIL_TOKEN\" -H 'Content-Type: application/json' "
        f"{shlex.quote(address + '/api/v1/query')} -d {body}"
    )


def explain_url(root: str, asks: dict[str, Any]) -> str:
    """The API's answer to a question, with the statement that gave it."""
    fields = {
        name: ",".join(value)
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else msgspec.json.encode(value).decode()
        for name, value in asks.items()
    }
    return f"{root}/api/v1/query?{urlencode({**fields, 'explain': 'true'}, quote_via=quote)}"


def see_requests(desk: Desk, *where: Filter) -> tuple[tuple[str, str], ...]:
    """The menu's way to the single requests behind a panel, for who may see them."""
    if not desk.may("logs"):
        return ()
    picked = {item.dimension: item.value for item in desk.subject if item.operator == "is"}
    picked |= {item.dimension: item.value for item in where if item.operator == "is"}
    return (("See the requests", desk.state.only("/requests", **picked)),)
