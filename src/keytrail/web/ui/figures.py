"""Figures as people read them: with units, the exact value on hover; zero, none and not known look different."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from math import isfinite
from typing import Any, Final

from markupsafe import Markup, escape

from keytrail.instants import to_instant, zone
from keytrail.query.zones import DAY, HOUR, MINUTE, Label, Step, to_moment

NONE: Final = Markup('<span class="none" title="no requests">–</span>')
UNKNOWN: Final = Markup('<span class="none">not known</span>')
NEVER: Final = Markup('<span class="none">never</span>')
_TITLED: Final = Markup('<span title="{title}">{text}</span>')
_MEASURED: Final = Markup('<span{zero} title="{title}">{text}<small> {unit}</small></span>')
_TIME: Final = Markup('<time datetime="{iso}" title="{exact}">{text}</time>')

MINUS: Final = "\u2212"

_SECOND: Final = 1000
_CAUSES: Final = {
    "down": "keytrail did not run",
    "source_away": "Redis could not be reached",
    "cap": "as much was held in Redis as may be",
    "competing_reader": "something else took records from the same lists",
    "restored": "the store is an older copy",
}
"""What the causes of gaps mean, as `docs/delivery.md` has it."""
_MONTHS: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def count(number: int | None) -> Markup:
    """A count: all digits below a million, `1.23 M` and the exact number on hover above."""
    if number is None:
        return NONE
    if number == 0:
        return Markup('<span class="zero">0</span>')
    if number < 1_000_000:
        return escape(f"{number:,}")
    return _TITLED.format(title=f"{number:,}", text=short(number))


def short(number: float) -> str:
    """A count in few characters: `940`, `12.3 k`, `1.23 M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit:
            scaled = number / (1e3 if unit == "k" else limit)
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"
    return f"{number:,.0f}"


def rate(share: float | None, of: int | None = 1) -> Markup:
    """A share as a percentage with one decimal.

    Args:
        share: From 0 to 1.
        of: Of how many; of none there is no share.
    """
    if share is None or not of:
        return NONE
    if share == 0:
        return Markup('<span class="zero">0 %</span>')
    text = "< 0.1 %" if share < 0.0005 else "100 %" if share == 1 else f"{share * 100:.1f} %"
    return _TITLED.format(title=f"{share * 100:.4f} %", text=text)


def ms(value: float | None, of: int | None = 1) -> Markup:
    """A time in milliseconds: one decimal below 10, whole above.

    Args:
        value: The time.
        of: Of how many requests; of none there is no time.
    """
    if value is None or not of or not isfinite(value):
        return NONE
    text = f"{value:.1f}" if 0 < value < 9.95 and value != int(value) else f"{value:,.0f}"
    zero = Markup(' class="zero"') if value == 0 else ""
    return _MEASURED.format(zero=zero, title=f"{value:,.3f} ms", text=text, unit="ms")


def size(number: int | None) -> Markup:
    """A number of bytes."""
    if number is None:
        return Markup('<span class="none">not recorded</span>')
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    text = f"{value:,.0f}" if unit == "B" else f"{value:,.1f}"
    return _MEASURED.format(zero="", title=f"{number:,} bytes", text=text, unit=unit)


def ago(instant: int | None, now: int, where: str) -> Markup:
    """How long ago an instant was, with the local time on hover; no instant is 0 or None."""
    if not instant:
        return NEVER
    moment = to_moment(instant, zone(where))
    text = f"{_distance(max(now - instant, 0))} ago"
    return _TIME.format(iso=moment.isoformat(timespec="milliseconds"), exact=exact(instant, where), text=text)


def lasting(value: int) -> Markup:
    """How long something lasts, of ms."""
    return ms(value) if value < _SECOND else _TITLED.format(title=f"{value:,} ms", text=_distance(value))


def cause(name: str) -> str:
    """What the cause of a gap means."""
    return _CAUSES.get(name, name)


def _distance(passed: int) -> str:
    if passed < 10 * _SECOND:
        return f"{passed / _SECOND:.1f} s"
    for limit, unit, name in (
        (MINUTE, _SECOND, "s"),
        (HOUR, MINUTE, "min"),
        (DAY, HOUR, "h"),
        (60 * DAY, DAY, "d"),
        (730 * DAY, 30 * DAY, "months"),
    ):
        if passed < limit:
            return f"{passed // unit} {name}"
    return f"{passed // (365 * DAY)} years"


def exact(instant: int, where: str) -> str:
    """An instant in full: `Mon 23 Nov 2026, 18:05:12.345 Europe/Berlin`."""
    moment = to_moment(instant, zone(where))
    return f"{moment:%a %-d %b %Y, %H:%M:%S}.{moment.microsecond // 1000:03} {where}"


def instant(text: str | None) -> int | None:
    """An instant as the API writes it, ms; None where there is none."""
    return to_instant(datetime.fromisoformat(text)) if text else None


def clock(instant: int, where: str) -> Markup:
    """An instant as date and time to the millisecond, for logs."""
    moment = to_moment(instant, zone(where))
    text = Markup("{}<small>.{:03}</small>").format(f"{moment:%-d %b %H:%M:%S}", moment.microsecond // 1000)
    return _TIME.format(iso=moment.isoformat(timespec="milliseconds"), exact=exact(instant, where), text=text)


def minute(instant: int, where: str) -> Markup:
    """An instant as day and time to the minute."""
    moment = to_moment(instant, zone(where))
    return _TIME.format(
        iso=moment.isoformat(timespec="milliseconds"), exact=exact(instant, where), text=f"{moment:%-d %b %H:%M}"
    )


def day(instant: int, where: str) -> str:
    """The local day of an instant."""
    return f"{to_moment(instant, zone(where)):%-d %b %Y}"


def label(step: Label, of: Step) -> str:
    """A step of a chart as its axis shows it."""
    match of:
        case Step.MONTH:
            return f"{_MONTHS[step.month]} {step.year}"
        case Step.DAY:
            weekday = datetime(step.year, step.month, step.day).strftime("%a")
            return f"{weekday} {step.day} {_MONTHS[step.month]}"
        case _:
            return f"{step.day} {_MONTHS[step.month]} {step.hour:02}:{step.minute:02}"


def url_time(instant: int, where: tzinfo) -> str:
    """An instant as a URL has it: by the local clock, and with its offset where that shows the same twice."""
    moment = to_moment(instant, where)
    local = moment.replace(tzinfo=None)
    precision = "minutes" if not local.second and not local.microsecond else "milliseconds"
    again = local.replace(tzinfo=where)
    once = again.utcoffset() == moment.utcoffset() and not moment.fold
    return (local if once else moment).isoformat(timespec=precision)


def signed(value: float | None, unit: str = "") -> Markup:
    """A change with its sign and unit: one decimal below 10, whole above; None is not known."""
    if value is None:
        return NONE
    size = abs(value)
    text = f"{size:.1f}" if 0.05 <= size < 9.95 and unit else f"{size:,.0f}"
    sign = "" if text == "0" else "+" if value > 0 else MINUS
    return _TITLED.format(title=f"{value:+,.4f}{unit}", text=f"{sign}{text}{unit}")


def mean(value: float) -> Markup:
    """A count that need not be whole: one decimal below 10."""
    whole = value == int(value) or value >= 9.95
    return count(round(value)) if whole else _TITLED.format(title=f"{value:,.4f}", text=f"{value:.1f}")


def delta(now: float | None, before: float | None, *, better: str = "", points: bool = False) -> Markup:
    """The change against the period before: sign, arrow and colour.

    Args:
        now: The figure.
        before: That of the period before; None and 0 have no relative change.
        better: `up` or `down` where a direction is good; the other is bad then.
        points: Both are shares, and the change is in percentage points.
    """
    if now is None or before is None:
        return Markup("")
    if points:
        change, text = (now - before) * 100, f"{(now - before) * 100:+.1f} pp"
    elif not before:
        return Markup('<span class="delta" title="none in the period before">new</span>') if now else Markup("")
    else:
        change = (now - before) / before * 100
        times = now / before
        text = f"{change:+,.0f} %" if times < 10 else f"× {times:,.0f}" if times < 1000 else "× > 1,000"
    text = text.replace("-", MINUS)
    if abs(change) < 0.05 or text in {"+0 %", f"{MINUS}0 %"}:
        return Markup('<span class="delta same" title="as in the period before">± 0</span>')
    tone = "" if not better else "good" if (change > 0) == (better == "up") else "bad"
    arrow = "↑" if change > 0 else "↓"
    return Markup('<span class="delta {}"><span aria-hidden="true">{}</span> {}</span>').format(tone, arrow, text)


def spark(values: Sequence[float | None], tone: str = "") -> Markup:
    """A sparkline: a bar for each value, from 0 to the greatest; drawn in full where scripts are off, too.

    Args:
        values: In time order; None is not known.
        tone: A class that colours it.
    """
    known = [value for value in values if value is not None]
    top = max(known, default=0)
    if not values or not top:
        return Markup('<svg class="spark" aria-hidden="true"></svg>')
    column = Markup('<rect x="{}" y="{:.1f}" width=".72" height="{:.1f}"/>')
    heights = [(index, max(value / top * 20, 1)) for index, value in enumerate(values) if value]
    return Markup(
        '<svg class="spark {}" viewBox="0 0 {} 20" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(tone, len(values), Markup("").join(column.format(index, 20 - high, high) for index, high in heights))


def bar(share: float, error_share: float = 0.0) -> Markup:
    """A bar behind a row of a ranking; the part that failed in its own colour.

    Args:
        share: Its length, from 0 to 1.
        error_share: The part of it that failed, from 0 to 1.
    """
    whole, bad = max(min(share, 1.0), 0.0) * 100, max(min(error_share, 1.0), 0.0)
    good = whole * (1 - bad)
    return Markup(
        '<svg class="rankbar" preserveAspectRatio="none" aria-hidden="true"><rect width="{good:.2f}%" height="100%"/>'
        '<rect class="bad" x="{good:.2f}%" width="{bad:.2f}%" height="100%"/></svg>'
    ).format(good=good, bad=whole - good)


def code_class(code: Any) -> str:
    """The class of a response code, as a name of styles: `c2` to `c5`, `c0` for others."""
    text = str(code)
    return f"c{text[0]}" if len(text) == 3 and text[0] in "12345" else "c0"
