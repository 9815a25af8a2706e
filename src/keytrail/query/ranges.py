"""Ranges of questions: as days or instants, by a name, and the period before."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from keytrail.errors import RequestError
from keytrail.instants import text_of, to_instant, zone
from keytrail.query.request import LONGEST_RANGE_DAYS, day_range
from keytrail.query.zones import DAY, HOUR, Span, days, to_moment

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2200
"""Years of a range: more than any record's, and less than the engine's instants (1900 to 2299) reach."""

PRESETS: Final = {
    "last_hour": "the 60 minutes until now",
    "last_24_hours": "the 24 hours until now",
    "today": "today",
    "yesterday": "yesterday",
    "last_7_days": "today and the 6 days before",
    "last_30_days": "today and the 29 days before",
    "this_month": "this month until today",
    "last_month": "the month before this one",
}
"""Names of ranges and what they are, in the zone of the question."""

_ONE_DAY: Final = timedelta(1)
_DAY_FORM: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time that is asked about.

    Attributes:
        spans: Its instants, as stretches apart from each other and in order.
        zone: Zone of its days: an IANA name.
        days: First and last day, both included, where it is one of whole days.
    """

    spans: tuple[Span, ...]
    zone: str
    days: tuple[date, date] | None = None

    @property
    def edges(self) -> tuple[str, str]:
        """Its first instant and the one after its last, RFC 3339 in its zone; ("", "") for a day that never was."""
        if not self.spans:
            return "", ""
        return text(self.spans[0].start, self.zone), text(self.spans[-1].end, self.zone)


def between(start: str, end: str, zone_name: str) -> Range:
    """The range from `start` to `end`.

    Args:
        start: A day (YYYY-MM-DD) or an instant (RFC 3339); included.
        end: The same; a day is included, an instant is not.
        zone_name: Zone of the days.

    Raises:
        RequestError: One of them can't be, the end lies before the start, or the range is over ten years.
    """
    first, last = parse_edge("from", start), parse_edge("to", end)
    if not isinstance(first, datetime) and not isinstance(last, datetime):
        try:
            return whole_days(first, last, zone_name)
        except RequestError as error:
            raise RequestError(f"to: {error}") from None
    low, high = _edge(first, zone_name, end=False), _edge(last, zone_name, end=True)
    if high <= low:
        raise RequestError(f"to: {end} does not lie after from")
    if high - low > LONGEST_RANGE_DAYS * DAY:
        raise RequestError(f"from: the range from {start} to {end} is over ten years")
    return Range((Span(low, high),), zone_name)


def whole_days(first: date, last: date, zone_name: str) -> Range:
    """The local days from `first` to `last`, both included."""
    return Range(day_range(first, last, zone_name), zone_name, (first, last))


def named(name: str, zone_name: str, now: int) -> Range:
    """The range of a name in `PRESETS`.

    Args:
        name: The name.
        zone_name: Zone of its days.
        now: The present, ms since the epoch.
    """
    for length, last in ((HOUR, "last_hour"), (DAY, "last_24_hours")):
        if name == last:
            return Range((Span(now - length, now),), zone_name)
    today = to_moment(now, zone(zone_name)).date()
    month = today.replace(day=1)
    day_ranges = {
        "today": (today, today),
        "yesterday": (today - _ONE_DAY, today - _ONE_DAY),
        "last_7_days": (today - 6 * _ONE_DAY, today),
        "last_30_days": (today - 29 * _ONE_DAY, today),
        "this_month": (month, today),
        "last_month": ((month - _ONE_DAY).replace(day=1), month - _ONE_DAY),
    }
    if name not in day_ranges:
        raise RequestError(f"range: {name[:40]!r} is not one of {', '.join(PRESETS)}")
    return whole_days(*day_ranges[name], zone_name)


def before(given: Range) -> Range:
    """The period before: as many whole months, else as many days, else as long."""
    if given.days is None:
        start, end = given.spans[0].start, given.spans[-1].end
        return Range((Span(2 * start - end, start),), given.zone)
    first, last = given.days
    end_day = first - _ONE_DAY
    if first.day == 1 and (last + _ONE_DAY).day == 1:
        months = (last.year - first.year) * 12 + last.month - first.month + 1
        year, month = divmod(first.year * 12 + first.month - 1 - months, 12)
        return whole_days(date(year, month + 1, 1), end_day, given.zone)
    return whole_days(first - (last - first) - _ONE_DAY, end_day, given.zone)


def earlier(given: Range, count: int) -> Range:
    """The same range so many days before, by the clock of its zone.

    Raises:
        RequestError: It would begin before the first year of a range, or none of its days ever was.
    """
    shift = timedelta(count)
    if given.days is not None:
        found = whole_days(given.days[0] - shift, given.days[1] - shift, given.zone)
    else:
        where = zone(given.zone)
        start, end = (to_instant(to_moment(at, where) - shift) for at in (given.spans[0].start, given.spans[-1].end))
        found = Range((Span(start, end),) if start < end else (), given.zone)
    if not found.spans or to_moment(found.spans[0].start, zone("UTC")).year < FIRST_YEAR:
        raise RequestError(f"there is no such range {count} days earlier")
    return found


def text(instant: int, zone_name: str) -> str:
    """An instant in ms as RFC 3339 in a zone."""
    return text_of(to_moment(instant, zone(zone_name)))


def parse_edge(name: str, value: str) -> date:
    """A day, or an instant as an aware datetime.

    Args:
        name: What it is called where it was given.
        value: A day (YYYY-MM-DD) or an instant (RFC 3339).

    Raises:
        RequestError: It is neither, or out of the years of a range; the message begins with its name.
    """
    try:
        found = date.fromisoformat(value) if _DAY_FORM.fullmatch(value) else datetime.fromisoformat(value)
    except ValueError:
        raise RequestError(f"{name}: {value[:40]!r} is neither a day (YYYY-MM-DD) nor an RFC 3339 instant") from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise RequestError(f"{name}: the year {found.year} is out of range")
    if isinstance(found, datetime) and found.tzinfo is None:
        raise RequestError(f"{name}: the instant {value[:40]!r} has no offset from UTC")
    return found


def _edge(value: date, zone_name: str, *, end: bool) -> int:
    if isinstance(value, datetime):
        return to_instant(value)
    spans = days(value, value, zone(zone_name))
    if not spans:
        raise RequestError(f"{'to' if end else 'from'}: the day {value} never was in {zone_name}")
    return spans[-1].end if end else spans[0].start
