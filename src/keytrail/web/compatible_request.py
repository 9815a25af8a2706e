"""What a request of the compatible family asks for: its days, its parameters, and who asks.

The graded rules of the contract stand here as constants and small functions; `COMPATIBILITY.md` lists them with
their grades.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final

from fastapi import Depends, Path, Query, Request
from starlette.datastructures import QueryParams

from keytrail.config import Settings
from keytrail.errors import RequestError
from keytrail.query.ranges import FIRST_YEAR, LAST_YEAR
from keytrail.query.request import Filter, Order, Scope
from keytrail.query.zones import Step
from keytrail.store.client import Engine
from keytrail.web.app_state import app_state
from keytrail.web.auth import Principal, asker_of
from keytrail.web.coverage import Coverage
from keytrail.web.parameters import whole_number
from keytrail.web.rows import METRICS

DEFAULT_PAGE: Final = 1
"""Grade I: the page where `p` is not given."""

DESCENDING: Final = {"1": True, "-1": False}
"""Grade I: the direction of `sort`."""

COUNTERS: Final[Mapping[str, str]] = {
    **{name.replace("_", ""): name for name in METRICS},
    "errortotal": "error",
    "lasttime": "last_hit",
}
"""Grade O: what `by` may name, in lower case: a counter's Go name or its name in a row."""

LONGEST_DAY: Final = 3
"""Characters of a day that an error quotes: where a part is missing from a path, a key stands in the day's place."""

_MOST: Final = 999_999_999
"""More than any page and any part of a date."""

STEPS: Final = {"hour": Step.HOUR, "day": Step.DAY, "month": Step.MONTH}


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters that all compatible endpoints share, understood.

    Attributes:
        first: First day, in the reporting zone.
        last: Last day, included.
        page: Page from 1; 0 for all rows.
        step: Step of a time series, if one is asked for.
        order: What to sort by; empty for the order of the endpoint.
        filters: Conditions from `tags`, `api_id`, `api_version`.
        csv: Rows as CSV.
        page_size: Rows of a page.
    """

    first: date
    last: date
    page: int
    step: Step | None
    order: tuple[Order, ...]
    filters: tuple[Filter, ...]
    csv: bool
    page_size: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What every endpoint works with."""

    engine: Engine
    settings: Settings
    principal: Principal
    scope: Scope
    parameters: QueryParams
    coverage: Coverage

    def given(self, name: str) -> str:
        """The value of a parameter; "" where it is empty or missing."""
        return self.parameters.get(name, "").strip()


def desk(request: Request) -> Desk:
    """Who asks, what they may see, and the means to answer."""
    principal = asker_of(request)
    scope = principal.narrowed(request.query_params.get("org", ""))
    held = app_state(request)
    return Desk(held.engine, held.settings, principal, scope, request.query_params, held.coverage)


RANGE: Final = "{start_day}/{start_month}/{start_year}/{end_day}/{end_month}/{end_year}"
"""The six date parts of a path."""


def days_of(
    start_day: Annotated[str, Path(description="Day of the month of the first day, in the reporting zone.")],
    start_month: Annotated[str, Path(description="Its month, from 1.")],
    start_year: Annotated[str, Path(description="Its year.")],
    end_day: Annotated[str, Path(description="Day of the month of the last day, which is included.")],
    end_month: Annotated[str, Path(description="Its month, from 1.")],
    end_year: Annotated[str, Path(description="Its year.")],
) -> tuple[date, date]:
    """First and last day of a range, both included.

    Raises:
        RequestError: A part is not a number, or there is no such day; names it.
    """
    return _day("start", start_day, start_month, start_year), _day("end", end_day, end_month, end_year)


def _day(which: str, day: str, month: str, year: str) -> date:
    numbers = {}
    for name, text in (("day", day), ("month", month), ("year", year)):
        number = whole_number(text, _MOST)
        if number is None:
            shown = "" if name == "day" and len(text) > LONGEST_DAY else f" {text[:40]!r}"
            raise RequestError(f"the {which} {name}{shown} is not a number")
        numbers[name] = number
    if not FIRST_YEAR <= numbers["year"] <= LAST_YEAR:
        raise RequestError(f"the {which} year {numbers['year']} is out of range")
    if not 1 <= numbers["month"] <= 12:
        raise RequestError(f"the {which} month {numbers['month']} is out of range")
    try:
        return date(**numbers)
    except ValueError:
        shown = "" if len(day) > LONGEST_DAY else f" {numbers['day']}"
        raise RequestError(f"the {which} day{shown} does not exist in that month") from None


def understand(at: Desk, days: tuple[date, date]) -> Asked:
    """Read the parameters; an empty one counts as not given.

    Raises:
        RequestError: One of them can't be; names it.
        Forbidden: `api_id` names an API that may not be seen.
    """
    given = at.given
    filters = []
    if api_id := given("api_id"):
        at.scope.check_api(api_id)
        filters.append(Filter("api", "is", api_id))
    if version := given("api_version"):
        filters.append(Filter("version", "is", version))
    tags = [tag.strip() for text in at.parameters.getlist("tags") for tag in text.split(",") if tag.strip()]
    if tags:
        filters.append(Filter("tag", "has_all", tags))
    res = given("res").lower()
    if res and res not in STEPS:
        raise RequestError(f"res {res[:40]!r} is not one of hour, day, month")
    kind = given("type").lower()
    if kind not in {"", "csv", "json"}:
        raise RequestError(f"type {kind[:40]!r} is not csv")
    return Asked(
        *days,
        page=page(given("p")),
        step=STEPS.get(res),
        order=_order(given("by"), given("sort")),
        filters=tuple(filters),
        csv=kind == "csv",
        page_size=at.settings.page_size,
    )


def page(text: str) -> int:
    """The page that `p` asks for: from 1, and 0 for all rows.

    Raises:
        RequestError: It is not a whole number.
    """
    if not text:
        return DEFAULT_PAGE
    number = whole_number(text, _MOST, least=-_MOST)
    if number is None:
        raise RequestError(f"p {text[:40]!r} is not a whole number")
    return max(number, 0)


def _order(by: str, sort: str) -> tuple[Order, ...]:
    if not by and not sort:
        return ()
    column = COUNTERS.get(by.lower().replace("_", ""), "") if by else "hits"
    if not column:
        raise RequestError(f"by {by[:40]!r} is not a counter")
    if sort and sort not in DESCENDING:
        raise RequestError(f"sort {sort[:40]!r} is neither 1 nor -1")
    return (Order(column, descending=DESCENDING[sort or "1"]),)


def common_parameters(
    p: Annotated[str | None, Query(description="Page from 1; 0 or less for all rows.")] = None,
    res: Annotated[str | None, Query(description="`hour`, `day` or `month`: one row per step.")] = None,
    by: Annotated[str | None, Query(description="Counter to sort by, such as `Hits`.")] = None,
    sort: Annotated[str | None, Query(description="`1` descending, `-1` ascending.")] = None,
    tags: Annotated[list[str] | None, Query(description="Only records with all of these tags.")] = None,
    api_id: Annotated[str | None, Query(description="Only this API.")] = None,
    api_version: Annotated[str | None, Query(description="Only this version.")] = None,
    type: Annotated[str | None, Query(description="`csv` for CSV.")] = None,
    org: Annotated[str | None, Query(description="Only this organisation, for who sees several.")] = None,
) -> None:
    """Document the parameters; they are read from the request, where an empty one can be told from none."""


Days = Annotated[tuple[date, date], Depends(days_of)]
# First in every endpoint: nobody learns what is wrong with a request before showing a token.
AtDesk = Annotated[Desk, Depends(desk)]
Key = Annotated[str, Path(description="The key as the gateway recorded it (its hash), URL-encoded; or the secret.")]
Client = Annotated[str, Path(description="The id of the OAuth client, URL-encoded.")]
DOCUMENTED: Final = [Depends(common_parameters)]
"""Dependencies of an endpoint with the shared parameters."""
