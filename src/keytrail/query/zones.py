"""Days and steps of a time zone as instants.

All of it is computed here with Python's `zoneinfo` and the pinned `tzdata`, never by the engine: their zone data
disagree (Casablanca in 2026), and so do their ideas of a day that begins at a skipped midnight. An instant is a
whole number of milliseconds since 1970-01-01 UTC.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import Enum
from functools import lru_cache
from typing import Final

from keytrail.instants import midnight, moment_of, to_instant, zone

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Step(Enum):
    """Length of a step of a time series, as a label of the local clock."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


STEP_LENGTH: Final = {Step.MINUTE: MINUTE, Step.HOUR: HOUR, Step.DAY: DAY, Step.MONTH: 28 * DAY}
"""Least length of a step, ms."""

MOST_KEPT: Final = 2_500
"""Steps of a range that is kept to be asked for again: a quarter by hours. Ten years of hours take 20 MB."""


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """What the local clock shows at a step; parts that the step does not tell are 0."""

    year: int
    month: int
    day: int = 0
    hour: int = 0
    minute: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time: from `start` until just before `end`, in ms since the epoch."""

    start: int
    end: int


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same instants as stretches that are apart from each other, in order and not empty."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if span.start >= span.end:
            continue
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Steps:
    """A range cut into steps.

    Attributes:
        labels: The steps in time order, each once: an hour that the clock repeats is one step, one that it skips is
            none.
        pieces: The stretches that the steps are made of, in time order; a step may have several.
        label_of_piece: Index into `labels` for each piece.
    """

    labels: tuple[Label, ...]
    pieces: tuple[Span, ...]
    label_of_piece: tuple[int, ...]


def to_moment(instant: int, where: tzinfo) -> datetime:
    """The local moment of an instant in ms."""
    return moment_of(instant).astimezone(where)


def days(first: date, last: date, where: tzinfo) -> tuple[Span, ...]:
    """The instants whose local date lies from `first` to `last`, both included.

    More than one stretch only where a clock was set back over midnight (St John's until 2011, at 00:01).
    """
    start, end = midnight(first), midnight(last + timedelta(days=1))
    # Offsets are less than a day: a day more on both sides holds every instant of the local days, and what is a day
    # away from both edges lies within them whatever the clock does. So a century costs no more than a week.
    inside = Span(start + DAY, end - DAY)
    edges = (Span(start - DAY, inside.start), Span(inside.end, end + DAY))
    around = edges if inside.start < inside.end else (Span(start - DAY, end + DAY),)
    cut = [
        Span(max(stretch.start, start - offset), min(stretch.end, end - offset))
        for span in around
        for stretch, offset in _stretches(span, where)
    ]
    return merged((*cut, inside))


def steps(spans: tuple[Span, ...], step: Step, zone_name: str) -> Steps:
    """Cut stretches of time into the steps of a zone's clock."""
    few = sum(span.end - span.start for span in spans) <= MOST_KEPT * STEP_LENGTH[step]
    return _kept(spans, step, zone_name) if few else _cut(spans, step, zone_name)


@lru_cache(maxsize=64)
def _kept(spans: tuple[Span, ...], step: Step, zone_name: str) -> Steps:
    return _cut(spans, step, zone_name)


def _cut(spans: tuple[Span, ...], step: Step, zone_name: str) -> Steps:
    where = zone(zone_name)
    index: dict[Label, int] = {}
    pieces: list[Span] = []
    owners: list[int] = []
    for span in spans:
        for stretch, offset in _stretches(span, where):
            for piece, label in _pieces(stretch, offset, step):
                owner = index.setdefault(label, len(index))
                if owners and owners[-1] == owner and pieces[-1].end == piece.start:
                    pieces[-1] = Span(pieces[-1].start, piece.end)
                else:
                    pieces.append(piece)
                    owners.append(owner)
    return Steps(tuple(index), tuple(pieces), tuple(owners))


def _offset(instant: int, where: tzinfo) -> int:
    return (to_moment(instant, where).utcoffset() or timedelta()) // timedelta(milliseconds=1)


def _stretches(span: Span, where: tzinfo) -> Iterator[tuple[Span, int]]:
    """Cut a span where the zone's offset changes; each stretch comes with its offset in ms.

    `zoneinfo` does not tell its transitions, so one instant a day is asked and a change looked for between two that
    differ: no zone has changed twice within a day and come back to the same.
    """
    begin, offset = span.start, _offset(span.start, where)
    instant = span.start
    while instant < span.end:
        following = min(instant + DAY, span.end)
        if _offset(following, where) != offset:
            low, high = instant + 1, following
            while low < high:
                middle = (low + high) // 2
                if _offset(middle, where) == offset:
                    low = middle + 1
                else:
                    high = middle
            if low < span.end:
                yield Span(begin, low), offset
                begin, offset = low, _offset(low, where)
            following = low
        instant = following
    if begin < span.end:
        yield Span(begin, span.end), offset


def _pieces(stretch: Span, offset: int, step: Step) -> Iterator[tuple[Span, Label]]:
    """Cut a stretch of one offset where its clock shows a new step."""
    start = stretch.start
    while start < stretch.end:
        shown = moment_of(start + offset)
        end = min(_next(shown, step) - offset, stretch.end)
        yield Span(start, end), _label(shown, step)
        start = end


def _next(shown: datetime, step: Step) -> int:
    """The clock's next step, in ms as `midnight` counts them."""
    match step:
        case Step.MONTH:
            return midnight((shown.date().replace(day=28) + timedelta(days=4)).replace(day=1))
        case Step.DAY:
            return midnight(shown.date() + timedelta(days=1))
        case Step.HOUR | Step.MINUTE:
            length = HOUR if step is Step.HOUR else MINUTE
            return (to_instant(shown) // length + 1) * length


def _label(shown: datetime, step: Step) -> Label:
    match step:
        case Step.MONTH:
            return Label(shown.year, shown.month)
        case Step.DAY:
            return Label(shown.year, shown.month, shown.day)
        case Step.HOUR:
            return Label(shown.year, shown.month, shown.day, shown.hour)
        case Step.MINUTE:
            return Label(shown.year, shown.month, shown.day, shown.hour, shown.minute)
