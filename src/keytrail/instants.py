"""Instants: milliseconds since 1970, moments, the zones that these are told in, and their text in answers and files."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# Only the pinned package: the system's zones are of another version on every machine. Before any zone is looked up, as
# one that was found stays.
zoneinfo.reset_tzpath(())


def zone(name: str) -> tzinfo:
    """The zone of an IANA name.

    Raises:
        KeyError: There is none of that name.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError) as error:
        raise KeyError(name) from error


def moment_of(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970 began, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_instant(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware moment, rounded down."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def present() -> int:
    """The present, milliseconds since the epoch."""
    return to_instant(datetime.now(UTC))


def midnight(day: date) -> int:
    """Milliseconds from 1970-01-01 00:00 on a clock to when it shows the start of a day; in UTC its instant."""
    return to_instant(datetime(day.year, day.month, day.day, tzinfo=UTC))


def text_of(moment: datetime, timespec: str = "milliseconds") -> str:
    """A moment as RFC 3339 in its own zone; an offset of zero is `Z`.

    Args:
        moment: The moment, with its zone.
        timespec: The last part that is told: `seconds` or `milliseconds`.
    """
    text = moment.isoformat(timespec=timespec)
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
