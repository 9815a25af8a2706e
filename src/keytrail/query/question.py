"""A question as people ask it: the fields of `POST /api/v1/query`, checked against the catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keytrail.errors import RequestError
from keytrail.instants import present, zone
from keytrail.query.catalog import DIMENSIONS, HISTOGRAM, METRICS
from keytrail.query.conditions import parse_condition
from keytrail.query.ranges import PRESETS, Range, before, between, named
from keytrail.query.request import Condition, Order
from keytrail.query.zones import Step

MOST_DIMENSIONS: Final = 5
MOST_METRICS: Final = 40
MOST_ROWS: Final = 100_000
"""Rows of an answer; with steps, rows times steps."""
MOST_GROUPS: Final = 1_000
"""Rows of an answer that each have steps, an earlier value or a histogram of their own."""
DEFAULT_LIMIT: Final = 100
PREVIOUS: Final = "previous"
DEFAULT_RANGE: Final = "last_24_hours"

FIELDS: Final = {
    "metrics": "names of metrics; `hits` if not given",
    "dimensions": f"names of up to {MOST_DIMENSIONS} dimensions to split by; none gives one row",
    "filter": "a condition, see below",
    "from": "first day (YYYY-MM-DD) or instant (RFC 3339); included",
    "to": "last day, included, or an instant, not included",
    "range": f"instead of `from` and `to`: {', '.join(f'`{name}`' for name in PRESETS)}; `{DEFAULT_RANGE}` if neither",
    "zone": "time zone of days and steps, an IANA name; the setting `timezone` if not given",
    "step": "`minute`, `hour`, `day` or `month`: a row per step of the zone's clock, gaps filled",
    "order": "names of asked metrics or dimensions to sort by, `-` in front for descending; "
    "the first metric, descending, if not given",
    "limit": f"rows at most, {DEFAULT_LIMIT} if not given; up to {MOST_ROWS}, {MOST_GROUPS} with `step`, "
    "`compare` or a histogram",
    "offset": "rows to leave out before the first",
    "totals": "true: also the numbers of everything, not only of the rows",
    "compare": "`previous` for the period before, or `{from, to}`: rows carry the earlier numbers and their change",
    "explain": "true: also the statements, their bound values, tables, rows read and time",
}
"""The fields of a question and what they mean."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        range: The stretch of time; its zone is that of the steps.
        metrics: Names of metrics, in the order of the answer.
        dimensions: Names of dimensions, in the order of the answer; empty for one row.
        filters: Conditions, all of which must hold.
        step: Cut the range into steps.
        order: What to sort by; empty for the first metric, most first.
        limit: Rows at most; steps of one row count once.
        offset: Rows before the first.
        totals: Also ask for the numbers of everything.
        compare: An earlier range to compare with.
        explain: Tell how it was answered.
    """

    range: Range
    metrics: tuple[str, ...] = ("hits",)
    dimensions: tuple[str, ...] = ()
    filters: tuple[Condition, ...] = ()
    step: Step | None = None
    order: tuple[Order, ...] = ()
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    totals: bool = False
    compare: Range | None = None
    explain: bool = False


def parse(fields: Mapping[str, Any], *, default_zone: str, now: int | None = None) -> Question:
    """Understand the fields of a question; those that are missing, null or "" count as not given.

    Args:
        fields: The fields as JSON has them.
        default_zone: Zone where none is given.
        now: The present in ms since the epoch, for the names of ranges.

    Raises:
        RequestError: A field is unknown or can't be; the message begins with its name.
    """
    given = given_of(fields, FIELDS)
    zone_name = _text(given, "zone", default_zone)
    try:
        zone(zone_name)
    except KeyError:
        raise RequestError(f"zone: {zone_name[:60]!r} is no time zone") from None
    metrics = _names(given, "metrics", METRICS, MOST_METRICS) or ("hits",)
    dimensions = _names(given, "dimensions", DIMENSIONS, MOST_DIMENSIONS)
    asked = _range(given, zone_name, present() if now is None else now)
    step = _step(given)
    compare = _compare(given, asked, zone_name)
    histogram = any(METRICS[name].unit == HISTOGRAM for name in metrics)
    most = MOST_GROUPS if dimensions and (step or compare or histogram) else MOST_ROWS
    return Question(
        range=asked,
        metrics=metrics,
        dimensions=dimensions,
        filters=(parse_condition(given["filter"]),) if "filter" in given else (),
        step=step,
        order=_order(given, (*metrics, *dimensions)),
        limit=number(given, "limit", DEFAULT_LIMIT, 1, most),
        offset=number(given, "offset", 0, 0, 10**9),
        totals=_flag(given, "totals"),
        compare=compare,
        explain=_flag(given, "explain"),
    )


def given_of(fields: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """The fields that count as given.

    Args:
        fields: The fields as JSON has them.
        known: Those that there are.

    Raises:
        RequestError: A field is unknown; the message begins with its name.
    """
    unknown = sorted(str(name)[:40] for name in fields if name not in known)
    if unknown:
        raise RequestError(f"{unknown[0]}: no such field; there are {', '.join(known)}")
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _text(given: Mapping[str, Any], name: str, default: str = "") -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise RequestError(f"{name}: a text is expected")
    return value


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f"{name}: true or false is expected")
    return value


def number(given: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """A whole number among the given fields.

    Raises:
        RequestError: It is none, or out of its bounds; the message begins with its name.
    """
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestError(f"{name}: a whole number from {least} to {most} is expected")
    return value


def _list(given: Mapping[str, Any], name: str) -> Sequence[str]:
    value = given.get(name, [])
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(f"{name}: a list of names is expected")
    return value


def _names(given: Mapping[str, Any], name: str, known: Mapping[str, Any], most: int) -> tuple[str, ...]:
    names = tuple(_list(given, name))
    for item in names:
        if item not in known:
            raise RequestError(f"{name}: {item[:40]!r} is not one of {', '.join(known)}")
    if len(set(names)) < len(names):
        raise RequestError(f"{name}: a name stands there twice")
    if len(names) > most:
        raise RequestError(f"{name}: at most {most} are answered at once")
    return names


def _step(given: Mapping[str, Any]) -> Step | None:
    text = _text(given, "step")
    if not text:
        return None
    try:
        return Step(text)
    except ValueError:
        raise RequestError(f"step: {text[:40]!r} is not one of {', '.join(step.value for step in Step)}") from None


def _range(given: Mapping[str, Any], zone_name: str, now: int) -> Range:
    start, end, name = (_text(given, field) for field in ("from", "to", "range"))
    if name and (start or end):
        raise RequestError("range: not together with from and to")
    if bool(start) != bool(end):
        raise RequestError(f"{'to' if start else 'from'}: is missing")
    return between(start, end, zone_name) if start else named(name or DEFAULT_RANGE, zone_name, now)


def _compare(given: Mapping[str, Any], asked: Range, zone_name: str) -> Range | None:
    value = given.get("compare")
    if value is None:
        return None
    if value == PREVIOUS:
        return before(asked)
    if not isinstance(value, dict) or set(value) != {"from", "to"}:
        raise RequestError(f"compare: {PREVIOUS!r} or an object with from and to is expected")
    try:
        return between(_text(value, "from"), _text(value, "to"), zone_name)
    except RequestError as error:
        raise RequestError(f"compare: {error}") from None


def _order(given: Mapping[str, Any], columns: Sequence[str]) -> tuple[Order, ...]:
    orders: dict[str, Order] = {}
    for text in _list(given, "order"):
        name = text.removeprefix("-")
        if name not in columns:
            raise RequestError(f"order: {name[:40]!r} is not asked for; one of {', '.join(columns)} is expected")
        if name in METRICS and not METRICS[name].sortable:
            raise RequestError(f"order: {name} can't be sorted by")
        orders.setdefault(name, Order(name, descending=text.startswith("-")))
    return tuple(orders.values())
