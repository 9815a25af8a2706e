"""The range of a page: presets and own ranges as stretches of instants, the period before, and the step of charts."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from keytrail.errors import RequestError
from keytrail.instants import to_instant, zone
from keytrail.query.ranges import FIRST_YEAR, LAST_YEAR
from keytrail.query.request import LONGEST_RANGE_DAYS
from keytrail.query.zones import DAY, HOUR, MINUTE, Label, Span, Step, days, steps, to_moment
from keytrail.store.tables import BUCKET_SECONDS

PRESETS: Final = {
    "1h": "Last hour",
    "today": "Today",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "month": "This month",
    "last-month": "Last month",
}
"""Name in the URL and title of each preset."""

DEFAULT: Final = "24h"
CUSTOM: Final = "custom"

_LONG: Final = 7 * DAY
_QUARTER: Final = BUCKET_SECONDS * 1000
_ROLLING: Final = {"1h": (HOUR, MINUTE), "24h": (DAY, HOUR), "7d": (7 * DAY, HOUR)}
"""Length of the presets that end now, and what their edges are rounded to, ms."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A step of a chart: what the clock shows, when it starts and ends (ms), and whether it is still under way."""

    label: Label
    start: int
    end: int
    open: bool


@dataclass(frozen=True, slots=True)
class Range:
    """When a page asks about.

    Attributes:
        name: A preset's name, or `custom`.
        title: The same for people.
        spans: The range as stretches of instants.
        before: The period before, as long as what of the range has passed.
        step: The step of its charts.
        zone: Zone of days and steps: an IANA name.
        now: The instant of asking, ms.
        first: First instant of an own range as it stands in the URL, else "".
        last: Its last.
    """

    name: str
    title: str
    spans: tuple[Span, ...]
    before: tuple[Span, ...]
    step: Step
    zone: str
    now: int
    first: str = ""
    last: str = ""

    @property
    def start(self) -> int:
        """Its first instant, ms."""
        return self.spans[0].start if self.spans else self.now

    @property
    def end(self) -> int:
        """The instant after its last, ms; may lie ahead."""
        return self.spans[-1].end if self.spans else self.now

    @property
    def live(self) -> bool:
        """Records may still arrive in it."""
        return self.end > self.now

    @property
    def words(self) -> str:
        """Its first and last day or time, for people: what a preset comes to."""
        where = zone(self.zone)
        first = _shown(self.start, where)
        # Of what ends now the year goes without saying.
        if self.live:
            return f"since {first.replace(f' {to_moment(self.start, where).year}', '')}"
        last = _shown(self.end, where, closing=True)
        return last if first == last else f"{first.removesuffix(last[-5:])} – {last}"

    def buckets(self, spans: tuple[Span, ...] | None = None) -> list[Bucket]:
        """The steps of its charts.

        Args:
            spans: Those of another range with the same step, such as the period before.
        """
        cut = steps(self.spans if spans is None else spans, self.step, self.zone)
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        for piece, owner in zip(cut.pieces, cut.label_of_piece, strict=True):
            starts.setdefault(owner, piece.start)
            ends[owner] = piece.end
        return [
            Bucket(label, starts[index], ends[index], ends[index] > self.now) for index, label in enumerate(cut.labels)
        ]


def make_range(name: str, first: str, last: str, zone_name: str, now: int) -> Range:
    """The range that a URL names.

    Args:
        name: A preset's name; ignored where `first` or `last` is given.
        first: Start of an own range: `2026-11-20` or `2026-11-20T10:30`, in the zone.
        last: Its end: a day, which is included, or an instant, which is not.
        zone_name: An IANA name.
        now: The instant of asking, ms.

    Raises:
        RequestError: One of them can't be understood; names it.
    """
    try:
        where = zone(zone_name)
    except KeyError:
        raise RequestError(f"{zone_name[:60]!r} is not a known time zone") from None
    if first or last:
        return _own(first, last, zone_name, where, now)
    if name not in PRESETS:
        raise RequestError(f"range {name[:40]!r} is not one of {', '.join(PRESETS)}")
    if name in _ROLLING:
        length, grain = _ROLLING[name]
        end = -(-now // grain) * grain
        rolling, earlier = Span(end - length, end), Span(end - 2 * length, now - length)
        return Range(name, PRESETS[name], (rolling,), (earlier,), _step(length), zone_name, now)
    today = to_moment(now, where).date()
    start, until, back = _days_of(name, today)
    spans = _until(days(start, until, where), -(-now // HOUR) * HOUR)
    return Range(name, PRESETS[name], spans, _before(start, until, back, where, now), _step_of(spans), zone_name, now)


def _days_of(name: str, today: date) -> tuple[date, date, date]:
    """First and last day of a preset, and the first day of the period before."""
    month = today.replace(day=1)
    before = (month - timedelta(days=1)).replace(day=1)
    match name:
        case "today":
            return today, today, today - timedelta(days=1)
        case "30d":
            return today - timedelta(days=29), today, today - timedelta(days=59)
        case "month":
            return month, today, before
        case _:
            return before, month - timedelta(days=1), (before - timedelta(days=1)).replace(day=1)


def _before(start: date, until: date, back: date, where: tzinfo, now: int) -> tuple[Span, ...]:
    """From the day `back` on as many days as the range has, cut where the range is cut by the present."""
    spans = days(back, min(back + (until - start), start - timedelta(days=1)), where)
    began = days(start, start, where)
    if not spans or not began:
        return spans
    return _until(spans, spans[0].start + _passed(began[0].start, now))


def _passed(start: int, now: int) -> int:
    """How much of a range has passed, ms; of a long one in whole quarters of an hour.

    So the period before is read from rollups: its end may lie in days whose single records are no longer kept, and a
    quarter of an hour is little of more than a week.
    """
    passed = max(now - start, 0)
    return passed if passed <= _LONG else passed // _QUARTER * _QUARTER


def _own(first: str, last: str, zone_name: str, where: tzinfo, now: int) -> Range:
    start, _ = _instants("from", first or last, where)
    _, end = _instants("to", last or first, where)
    if end <= start:
        raise RequestError("the range ends before it starts")
    if end - start > LONGEST_RANGE_DAYS * DAY:
        raise RequestError("the range is over ten years")
    if start > now:
        raise RequestError("the range starts in the future")
    spans = (Span(start, min(end, max(-(-now // HOUR) * HOUR, start + MINUTE))),)
    length = spans[0].end - start
    before = (Span(start - length, start - length + min(_passed(start, now), length)),)
    title = f"{_shown(start, where)} – {_shown(end, where, closing=True)}"
    return Range(CUSTOM, title, spans, before, _step(length), zone_name, now, first or last, last or first)


def _instants(which: str, text: str, where: tzinfo) -> tuple[int, int]:
    """The instant that a text names as a start, and as an end."""
    try:
        if len(text) == len("2026-11-20"):
            day = date.fromisoformat(text)
            starting = datetime.combine(day, time(), where)
            ending = datetime.combine(day + timedelta(days=1), time(), where)
        else:
            moment = datetime.fromisoformat(text)
            starting = ending = moment if moment.tzinfo else moment.replace(tzinfo=where)
        if not FIRST_YEAR <= starting.year <= LAST_YEAR:
            raise RequestError(f"{which}: the year {starting.year} is out of range")
        return to_instant(starting.astimezone(UTC)), to_instant(ending.astimezone(UTC))
    except (ValueError, OverflowError):
        raise RequestError(f"{which} {text[:40]!r} is neither a day nor a time") from None


def _shown(instant: int, where: tzinfo, *, closing: bool = False) -> str:
    moment = to_moment(instant, where)
    if moment.time() == time():
        # A range of days ends with its last day, not at the midnight after it.
        return f"{moment - timedelta(days=1 if closing else 0):%-d %b %Y}"
    return f"{moment:%-d %b %Y %H:%M}"


def _until(spans: tuple[Span, ...], end: int) -> tuple[Span, ...]:
    return tuple(Span(span.start, min(span.end, end)) for span in spans if span.start < end)


def _step_of(spans: tuple[Span, ...]) -> Step:
    return _step(spans[-1].end - spans[0].start) if spans else Step.HOUR


def _step(length: int) -> Step:
    """A step that gives between some dozens and some hundreds of points."""
    if length <= 6 * HOUR:
        return Step.MINUTE
    if length <= 8 * DAY:
        return Step.HOUR
    return Step.DAY if length <= 400 * DAY else Step.MONTH
