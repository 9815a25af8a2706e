"""The Tyk Dashboard's analytics API as it is, on the one query path: keys, OAuth clients, APIs and errors.

Single requests are in `compatible_logs.py`, MCP in `compatible_mcp.py`. The graded rules of the contract stand in
these modules as constants and small functions; `COMPATIBILITY.md` lists them with their grades.
"""

from dataclasses import replace
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path
from starlette.exceptions import HTTPException
from starlette.responses import Response

from keytrail.errors import RequestError
from keytrail.query.request import Filter, key_forms
from keytrail.query.zones import Step
from keytrail.web.auth import require
from keytrail.web.compatible_answer import Rows, described, series, table
from keytrail.web.compatible_request import (
    DOCUMENTED,
    RANGE,
    AtDesk,
    Client,
    Days,
    Desk,
    Key,
    understand,
)
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.paths import segment

SERIES_STEP: Final = Step.DAY
"""Grade I: the step of an endpoint that has only time series, where `res` is not given."""

LEAST_ERROR: Final = 400
"""Grade C: the least response code that is an error."""
FAILED: Final = Filter("code", "greater", LEAST_ERROR - 1)

ENDPOINT: Final = {"path": "path", "api": "api_id"}
NAMED_ENDPOINT: Final = {**ENDPOINT, "latest_api_name": "api_name"}
"""Grade I: the rows of a key or client are its endpoints, not split by code; they name their API."""
KEY: Final = {"key": "key", "latest_alias": "alias"}
CLIENT: Final = {"oauth_client": "key"}
"""Grade I: the vendor has no list of OAuth clients; ours has the client's id as the key."""
API: Final = {"api": "api_id", "latest_api_name": "api_name"}
CODE: Final = {"code": "code"}

RESERVED: Final = frozenset({"endpoint", "aggregate"})
"""What stands before a key or client in a longer path, and so is none: a path that lacks a part is not found."""

router = APIRouter(tags=["compatible"], dependencies=WITH_TOKEN, responses={200: described(), **problems()})


def named_key(_: AtDesk, key: Key) -> str:
    """The key of a path in which a word could stand in its place."""
    return _unreserved(key)


def named_client(_: AtDesk, client: Client) -> str:
    """The OAuth client of a path in which a word could stand in its place."""
    return _unreserved(client)


def _unreserved(value: str) -> str:
    if value in RESERVED:
        raise HTTPException(404)
    return segment(value)


@router.get(f"/api/activity/keys/endpoint/{{key}}/{RANGE}", dependencies=DOCUMENTED)
def endpoints_of_key(at: AtDesk, key: Key, days: Days) -> Response:
    """The endpoints of all APIs that were called with a key.

    The key is the value that the gateway recorded; a secret is looked up by its SHA-256 as well.
    """
    return _answer(at, days, Rows(ENDPOINT, (_of_keys(segment(key)), *_tracked(at))))


@router.get(f"/api/activity/oauthid/endpoint/{{client}}/{RANGE}", dependencies=DOCUMENTED)
def endpoints_of_client(at: AtDesk, client: Client, days: Days) -> Response:
    """The endpoints of all APIs that were called by an OAuth client."""
    return _answer(at, days, Rows(ENDPOINT, (_of_client(segment(client)), *_tracked(at))))


@router.get(f"/api/activity/keys/aggregate/{{keys}}/{RANGE}", dependencies=DOCUMENTED)
def sum_of_keys(
    at: AtDesk,
    keys: Annotated[str, Path(description="Keys with commas between them, as in the other paths.")],
    days: Days,
) -> Response:
    """The sum over several keys, a row per step: of a day, where `res` says nothing else."""
    named = [key for key in segment(keys).split(",") if key.strip()]
    if not named:
        raise RequestError("no key is given")
    return _answer(at, days, Rows({}, (_of_keys(*named),)))


@router.get(f"/api/activity/keys/{{key}}/{RANGE}", dependencies=DOCUMENTED)
def activity_of_key(at: AtDesk, key: Annotated[str, Depends(named_key)], days: Days) -> Response:
    """What a key did: its endpoints, with the names of their APIs; with `res` its time series."""
    return _activity(at, days, _of_keys(key))


@router.get(f"/api/activity/oauthid/{{client}}/{RANGE}", dependencies=DOCUMENTED)
def activity_of_client(at: AtDesk, client: Annotated[str, Depends(named_client)], days: Days) -> Response:
    """What an OAuth client did: its endpoints, with the names of their APIs; with `res` its time series."""
    return _activity(at, days, _of_client(client))


@router.get(f"/api/activity/keys/{RANGE}", dependencies=DOCUMENTED)
def keys(at: AtDesk, days: Days) -> Response:
    """The keys that were used, each with its latest alias."""
    return _answer(at, days, Rows(KEY))


@router.get(f"/api/activity/oauthid/{RANGE}", dependencies=DOCUMENTED)
def clients(at: AtDesk, days: Days) -> Response:
    """The OAuth clients that called, each with its id as the key."""
    return _answer(at, days, Rows(CLIENT, (Filter("oauth_client", "is_not", ""),)))


@router.get(f"/api/usage/{RANGE}", dependencies=DOCUMENTED)
def usage(at: AtDesk, days: Days) -> Response:
    """All requests, a row per step: of a day, where `res` says nothing else."""
    return _answer(at, days, Rows({}))


@router.get(f"/api/usage/apis/{RANGE}", dependencies=DOCUMENTED)
def usage_of_apis(at: AtDesk, days: Days) -> Response:
    """The APIs that were called, each with its latest name."""
    return _answer(at, days, Rows(API))


@router.get(f"/api/usage/apis/{{api}}/{RANGE}", dependencies=DOCUMENTED)
def usage_of_api(at: AtDesk, api: Annotated[str, Path(description="The API's id.")], days: Days) -> Response:
    """One API; with `res` its time series."""
    wanted = segment(api)
    at.scope.check_api(wanted)
    return _answer(at, days, Rows(API, (Filter("api", "is", wanted),)))


@router.get(f"/api/errors/count/{RANGE}", dependencies=DOCUMENTED)
def errors(at: AtDesk, days: Days) -> Response:
    """The requests that failed, by response code; with `res` their time series."""
    return _answer(at, days, Rows(CODE, (FAILED,)))


def _activity(at: Desk, days: tuple[date, date], whose: Filter) -> Response:
    """The endpoints of somebody, or with `res` all that they did: a series is not of endpoints, so all count."""
    tracked = () if at.given("res") else _tracked(at)
    return _answer(at, days, Rows(NAMED_ENDPOINT, (whose, *tracked)))


def _answer(at: Desk, days: tuple[date, date], rows: Rows) -> Response:
    require(at.principal, "analytics")
    asked = understand(at, days)
    if not rows.parts:
        return series(at, replace(asked, step=asked.step or SERIES_STEP), rows)
    return series(at, asked, rows) if asked.step else table(at, asked, rows)


def _of_keys(*keys: str) -> Filter:
    return Filter("key", "in", [form for key in keys for form in key_forms(key)])


def _of_client(client: str) -> Filter:
    return Filter("oauth_client", "is", client)


def _tracked(at: Desk) -> tuple[Filter, ...]:
    return () if at.settings.track_all_paths else (Filter("tracked", "is", value=True),)
