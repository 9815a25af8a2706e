"""Query parameters that say which requests are meant: a range, filters of the catalogue, bounds, a text."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from starlette.datastructures import QueryParams

from keytrail.errors import RequestError
from keytrail.instants import to_instant, zone
from keytrail.query.catalog import DIMENSIONS, OPERATORS, Dimension
from keytrail.query.ranges import parse_edge
from keytrail.query.records import LONGEST_TEXT, NUMBERS, Bound, Search
from keytrail.query.request import ALL_TIME, Filter, Scope, key_forms
from keytrail.query.zones import Span, days, to_moment
from keytrail.web.parameters import whole_number

MOST_VALUES: Final = 1_000
"""Values of one parameter."""

_DAY_LENGTH: Final = len("2026-11-23")
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_BOUNDS: Final = {f"{end}_{column}": (column, end) for column in NUMBERS for end in ("min", "max")}
_OTHERS: Final = {
    "org": "Organisation, for who sees several.",
    "from": "First day (YYYY-MM-DD, in the reporting zone) or instant (RFC 3339).",
    "to": "Last day, included, or the instant just after the range.",
    "search": "Text in the endpoint's path or the path as asked; upper and lower case are the same.",
}

FILTERS: Final[list[dict[str, Any]]] = [
    {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
    for name, text in (
        *_OTHERS.items(),
        *(
            (name, f"{'Least' if end == 'min' else 'Greatest'} {column}: {NUMBERS[column]}.")
            for name, (column, end) in _BOUNDS.items()
        ),
        *(
            (
                name,
                f"Only this: {dimension.meaning}. Repeated: any of them. `{name}.prefix` and so on compare otherwise.",
            )
            for name, dimension in DIMENSIONS.items()
            if name not in {"org", "tag"}
        ),
        ("tag", "Only requests with this tag. Repeated: with all of them. `tag.is_not`: without it."),
    )
]
"""The parameters, for the description of the API."""


def understand(parameters: QueryParams, scope: Scope, zone_name: str, *, also: Sequence[str] = ()) -> Search:
    """What the parameters of a request mean.

    Args:
        parameters: The parameters.
        scope: What the asker may see.
        zone_name: Zone of days.
        also: Parameters that mean something else.

    Raises:
        RequestError: A parameter is unknown or has a value that it can't have; the message names it.
        Forbidden: An API is named that the asker may not see.
    """
    filters: list[Filter] = []
    bounds: list[Bound] = []
    for name in dict.fromkeys(parameters):
        values = parameters.getlist(name)
        if len(values) > MOST_VALUES:
            raise RequestError(f"{name}: at most {MOST_VALUES} values")
        if name in _BOUNDS:
            column, end = _BOUNDS[name]
            number = _number(name, values[0])
            bounds.append(Bound(column, least=number) if end == "min" else Bound(column, most=number))
        elif name not in _OTHERS and name not in also:
            filters.extend(_filters(name, values, scope))
    text = parameters.get("search", "")
    if len(text) > LONGEST_TEXT:
        raise RequestError(f"search: at most {LONGEST_TEXT} characters")
    spans = _spans(parameters.get("from", ""), parameters.get("to", ""), zone_name)
    return Search(scope, spans, tuple(filters), text, tuple(bounds))


def _filters(name: str, values: list[str], scope: Scope) -> list[Filter]:
    plain, _, operator = name.partition(".")
    dimension = DIMENSIONS.get(plain)
    if dimension is None or plain == "org":
        raise RequestError(f"unknown parameter {name!r}")
    if plain == "tag":
        if operator == "is_not":
            return [Filter("tag", "is_not", value) for value in values]
        if operator:
            raise RequestError(f"{name}: tags are only compared whole, by is_not or by nothing")
        return [Filter("tag", "has_all", values)]
    if operator and (operator not in OPERATORS or operator == "has_all"):
        raise RequestError(f"{name}: no such comparison; there are {', '.join(o for o in OPERATORS if o != 'has_all')}")
    understood = [_value(name, dimension, value) for value in values]
    if plain == "api":
        for value in understood if operator in {"", "is", "in"} else ():
            scope.check_api(value)
    if plain == "key" and operator in {"", "is", "in", "is_not", "not_in"}:
        # A secret is found by what is stored of it.
        understood = [form for value in understood for form in key_forms(value)]
    if operator in {"", "is", "in"}:
        return [Filter(plain, "in", understood)]
    if OPERATORS[operator].many:
        return [Filter(plain, operator, understood)]
    return [Filter(plain, operator, value) for value in understood]


def _value(name: str, dimension: Dimension, text: str) -> Any:
    if dimension.type == "Int64":
        return _number(name, text)
    if dimension.type == "Bool":
        if text.lower() not in _FLAGS:
            raise RequestError(f"{name}: true or false")
        return _FLAGS[text.lower()]
    return text


def _number(name: str, text: str) -> int:
    number = whole_number(text, 2**63 - 1, least=-(2**63))
    if number is None:
        raise RequestError(f"{name}: a whole number")
    return number


def _spans(first: str, last: str, zone_name: str) -> tuple[Span, ...]:
    start, end = _edge("from", first, zone_name), _edge("to", last, zone_name)
    begin = start[0].start if start else ALL_TIME.start
    until = end[-1].end if end else ALL_TIME.end
    # Next to each other they would be no range, but no error either.
    if begin > until or (len(first) == len(last) == _DAY_LENGTH and first > last):
        raise RequestError("from: it lies after to")
    # A clock that was set back over midnight puts a piece of one day into another, which may not be asked for.
    where = zone(zone_name)
    low_day, high_day = (to_moment(instant, where).date() for instant in (begin, until - 1))
    strangers = sorted(
        (before.end, after.start)
        for edge in (start, end)
        for before, after in pairwise(edge)
        if not low_day <= to_moment(before.end, where).date() <= high_day
    )
    found = []
    for low, high in strangers:
        found.append(Span(begin, low))
        begin = max(begin, high)
    return tuple(span for span in (*found, Span(begin, until)) if span.start < span.end)


def _edge(name: str, text: str, zone_name: str) -> tuple[Span, ...]:
    """The stretches of a day, or an instant as an empty one; nothing if it is not given."""
    if not text:
        return ()
    # In a link that was not encoded the plus sign of an offset has become a blank.
    found = parse_edge(name, text.replace(" ", "+"))
    if isinstance(found, datetime):
        return _moment(to_instant(found))
    # A day that the zone skipped is the moment at which it would have been.
    where = zone(zone_name)
    return days(found, found, where) or _moment(days(found, found + timedelta(1), where)[0].start)


def _moment(instant: int) -> tuple[Span, ...]:
    return (Span(instant, instant),)
