"""The minute since when there is more of something than expected.

Of a series of counts, the stretch of steps in which they exceed a reference by most is looked for (the greatest sum of
a run of neighbours). The reference is halfway between the rate of the whole range and the expected one: it lets pass a
single early count and the gaps between counts, and does not depend on a tuned threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keytrail.errors import NoLongerKept
from keytrail.query.ranges import Range
from keytrail.query.zones import HOUR, Label, Span, Step, merged, steps

SHORT: Final = 6 * HOUR
"""A range up to this long, in ms, is looked at by the minute; in a longer one the hour is looked for first."""

CLOCK: Final = "UTC"
"""Zone of the steps: instants are wanted, so no hour may come twice."""

Counts = Mapping[tuple[str, tuple[str, ...]], Mapping[Label, int]]
Counter = Callable[[tuple[Span, ...], Step], Counts]


@dataclass(frozen=True, slots=True)
class Excess:
    """A series of which there is more than expected.

    Attributes:
        kind: What is counted.
        key: Of which group.
        found: The count of the whole range.
        expected: The count that the baseline lets expect.
    """

    kind: str
    key: tuple[str, ...]
    found: int
    expected: float


def since(asked: Range, series: Sequence[Excess], counted: Counter) -> dict[tuple[str, tuple[str, ...]], int]:
    """The minute at which each series began to exceed, ms since the epoch, by kind and group.

    It is the hour where the single requests that tell the minute are no longer kept.

    Args:
        asked: The range.
        series: The series.
        counted: Gives the counts of stretches by kind, group and step of the clock of UTC.
    """
    length = max(sum(span.end - span.start for span in asked.spans), 1)
    references = {(one.kind, one.key): (one.found + one.expected) / 2 / length for one in series}
    windows = dict.fromkeys(references, asked.spans)
    hours: Counts = {}
    if length > SHORT:
        hours = counted(asked.spans, Step.HOUR)
        for name, reference in references.items():
            hour = _start(asked.spans, Step.HOUR, hours.get(name, {}), reference)
            # One hour before: it may have begun at its end.
            windows[name] = _clipped(asked.spans, Span(hour - HOUR, hour + HOUR))
    try:
        minutes = counted(merged([span for spans in windows.values() for span in spans]), Step.MINUTE)
    except NoLongerKept:
        hours = hours or counted(asked.spans, Step.HOUR)
        return {
            name: _start(asked.spans, Step.HOUR, hours.get(name, {}), reference)
            for name, reference in references.items()
        }
    return {
        name: _start(windows[name], Step.MINUTE, minutes.get(name, {}), reference)
        for name, reference in references.items()
    }


def _start(spans: tuple[Span, ...], step: Step, counts: Mapping[Any, int], reference: float) -> int:
    """The start of the run of steps whose counts exceed the reference (by the ms) by most; the earliest of equals."""
    cut = steps(spans, step, CLOCK)
    best, run, run_start, best_start = 0.0, 0.0, spans[0].start, spans[0].start
    for piece, owner in zip(cut.pieces, cut.label_of_piece, strict=True):
        if run <= 0:
            run, run_start = 0.0, piece.start
        run += counts.get(cut.labels[owner], 0) - reference * (piece.end - piece.start)
        if run > best:
            best, best_start = run, run_start
    return best_start


def _clipped(spans: tuple[Span, ...], window: Span) -> tuple[Span, ...]:
    cut = (Span(max(span.start, window.start), min(span.end, window.end)) for span in spans)
    return tuple(span for span in cut if span.start < span.end)
