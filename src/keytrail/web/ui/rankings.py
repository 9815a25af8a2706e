"""The rankings: the values of a dimension with the most hits, and who is behind the errors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from keytrail.query.parts import NO_KEYS
from keytrail.query.request import Filter
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Names, Row
from keytrail.web.ui.commands import requests_url
from keytrail.web.ui.state import State

FAILED: Final = Filter("code", "greater", 399)
TOP: Final = 8
"""Rows of a ranking."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row of a ranking; `open` is the page about it, `href` the filter by it, `requests` those behind its number."""

    name: str
    href: str
    hits: int
    share: float
    error: int
    error_rate: float
    sub: str = ""
    open: str = ""
    tone: str = ""
    active: bool = False
    empty: str = ""
    requests: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How one kind of ranking is asked for and named.

    Attributes:
        title: For people.
        by: Its dimensions; the first is the one that a click filters by, the others are filtered by as well.
        page: The page that shows all, "" for none.
        slow: Only raw rows can tell.
        where: Conditions.
        empty: What to say of a row without a name.
        asked: Rows to ask for.
    """

    title: str
    by: tuple[str, ...]
    page: str = ""
    slow: bool = False
    where: tuple[Filter, ...] = ()
    empty: str = "(none)"
    asked: int = TOP


RANKINGS: Final = {
    "keys": Ranking("Keys", ("key",), "/keys"),
    "endpoints": Ranking("Endpoints", ("path", "api"), "/endpoints"),
    "apis": Ranking("APIs", ("api",), "/apis"),
    "clients": Ranking("OAuth clients", ("oauth_client",), "/clients", where=(Filter("oauth_client", "is_not", ""),)),
    "codes": Ranking("Error codes", ("code",), "/errors", where=(FAILED,)),
    "all-codes": Ranking("Codes", ("code",)),
    "methods": Ranking("Methods", ("method",), empty="(not HTTP)"),
    "versions": Ranking("Versions", ("version",)),
    "countries": Ranking("Countries", ("country",), slow=True, empty="(not known)"),
    "tags": Ranking("Tags", ("tag",), slow=True, asked=200),
    "agents": Ranking("User agents", ("user_agent",), slow=True, empty="(not sent)"),
    "client-keys": Ranking("Keys", ("key",), slow=True),
    "orgs": Ranking("Organisations", ("org",), empty="(no organisation)"),
}


def ranking(desk: Desk, names: Names, kind: str) -> list[Ranked]:
    """The values of a dimension with the most hits."""
    spec = RANKINGS[kind]
    metrics = ["hits", "error", "error_rate"]
    if spec.by[0] == "key":
        metrics.append("latest_alias")
    rows = desk.ask(*metrics, by=spec.by, where=spec.where, order=("-hits", *spec.by), limit=spec.asked).rows
    if spec.by == ("tag",):
        known = names.apis(desk)
        rows = [row for row in rows if not _of_gateway(row["tag"], known)]
    rows = rows[:TOP]
    apis: Mapping[str, str] = names.apis(desk) if "api" in spec.by else {}
    most = max((row["hits"] for row in rows), default=1)
    ranked = [_ranked(desk, spec, row, apis, most) for row in rows]
    if spec.by == ("oauth_client",):
        owners = [names.owner(desk, "client", row["oauth_client"]) for row in rows]
        return [replace(one, sub=owner.name) if owner else one for one, owner in zip(ranked, owners, strict=True)]
    return ranked


def _of_gateway(tag: str, apis: Mapping[str, str]) -> bool:
    """The gateway itself puts organisation, API and key of a request among its tags, where they tell nothing new."""
    return tag.startswith(("key-", "org-")) or (tag.startswith("api-") and tag[4:] in apis)


def _ranked(desk: Desk, spec: Ranking, row: Row, apis: Mapping[str, str], most: int) -> Ranked:
    state, value = desk.state, row[spec.by[0]]
    name, sub, target, tone = str(value), "", "", ""
    match spec.by[0]:
        case "key":
            name, sub = key_name(value, row["latest_alias"])
            target = subject_path("key", value)
        case "path":
            sub, target = apis.get(row["api"], row["api"]), "/endpoint"
        case "api":
            name, sub = apis.get(value) or value, short_hash(value)
        case "oauth_client":
            target = subject_path("oauth_client", value)
        case "code":
            sub, tone = phrase(value), figures.code_class(value)
    picked = {dimension: row[dimension] for dimension in spec.by}
    active = all(str(one) in state.values(dimension) for dimension, one in picked.items())
    href = state.pick(spec.by[0], value) if len(picked) == 1 or active else state.only(state.path, **picked)
    return Ranked(
        name,
        href,
        row["hits"],
        row["hits"] / most,
        row["error"],
        row["error_rate"],
        sub,
        _target(desk, target, picked),
        tone,
        active,
        "" if name else spec.empty,
        requests_url(desk, **picked),
    )


def _target(desk: Desk, path: str, picked: dict[str, Any]) -> str:
    if not path:
        return ""
    return desk.state.only(path, **picked) if path == "/endpoint" else desk.state.without(*picked).link(path)


def phrase(code: int) -> str:
    """What a response code means, "" where it is no standard one."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return ""


def key_name(key: str, alias: str) -> tuple[str, str]:
    """What to call a key, and what to say beside it."""
    if alias:
        return alias, short_hash(key)
    return ("no key", short_hash(key)) if key in NO_KEYS else (key, "")


def short_hash(value: str) -> str:
    """The first characters of a hash, enough to tell two apart."""
    return value if len(value) <= 12 else value[:8] + "…"


_SUBJECTS: Final = {"key": "/keys", "consumer": "/consumers", "oauth_client": "/clients"}


def subject_path(dimension: str, value: str) -> str:
    """The page about a key, a consumer or an OAuth client; the list of all where there is none."""
    pages = _SUBJECTS[dimension]
    return f"{pages}/{quote(value, safe='')}" if value else pages


def subject_href(state: State, dimension: str, value: str) -> str:
    """The URL of that page with the filters of a state, but for those that it is about by itself."""
    return state.without(dimension).link(subject_path(dimension, value))
