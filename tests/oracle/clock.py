"""Local days, hours and texts of instants.

Nothing here does arithmetic on local times: a day is the set of the instants whose local date it is, whether
it has 23 hours, 25 or none at all.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from tests.oracle.record import SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def zone_info(zone: str) -> ZoneInfo:
    # The tzdata package, not the machine's files: those may be older, and then rules for recent years differ.
    with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=zone)


def local_time(instant: int, zone: str) -> datetime:
    """The local time of an instant in ns, cut to the second."""
    return (EPOCH + timedelta(seconds=instant // SECOND)).astimezone(zone_info(zone))


def instant_of(local: datetime) -> int:
    """The instant, in ns, of a local time with its zone and `fold`."""
    return (local.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) * 1000


def rfc3339(instant: int, zone: str) -> str:
    """The text that Go's time.RFC3339Nano gives: the shortest sub-second part, `Z` for an offset of zero."""
    local = local_time(instant, zone)
    text = local.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    if instant % SECOND:
        text += f".{instant % SECOND:09}".rstrip("0")
    offset = (local.utcoffset() or timedelta()) // timedelta(minutes=1)
    if not offset:
        return text + "Z"
    return f"{text}{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"


def days(start: date, end: date) -> Iterator[date]:
    """All dates of the calendar from start to end, both included."""
    for day in range(start.toordinal(), end.toordinal() + 1):
        yield date.fromordinal(day)


@cache
def hour_exists(day: date, hour: int, zone: str) -> bool:
    """Whether some minute of the local hour ever was. Clocks have changed at whole minutes since 1972."""
    for minute in range(60):
        for fold in (0, 1):
            wanted = datetime.combine(day, time(hour, minute, fold=fold), zone_info(zone))
            if local_time(instant_of(wanted), zone).replace(tzinfo=None) == wanted.replace(tzinfo=None):
                return True
    return False


def hours(start: date, end: date, zone: str) -> Iterator[tuple[date, int]]:
    """The local hours from start to end, in order: one that comes twice once, one that is skipped never."""
    for day in days(start, end):
        for hour in range(24):
            if hour_exists(day, hour, zone):
                yield day, hour
