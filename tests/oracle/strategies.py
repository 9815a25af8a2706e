"""Records, zones and ranges for Hypothesis, made to collide: few values, ties, instants at days' edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from math import prod
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.oracle.clock import instant_of, local_time, zone_info
from tests.oracle.record import SECOND, Record

T = TypeVar("T")

MILLISECOND = 10**6
# A record from before 2000 or from the future is refused: none is made later than the captured ones.
SINCE = date(2000, 1, 1)
FIRST = instant_of(datetime.combine(SINCE, time(), UTC))
LAST = instant_of(datetime(2026, 11, 20, tzinfo=UTC))
ONE_DAY = timedelta(1)

# Local days at which something is unusual there.
UNUSUAL_DAYS = {
    "UTC": (date(2024, 2, 29), date(2024, 12, 31), date(2026, 11, 1)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25), date(2023, 12, 31)),
    # Clocks move by half an hour.
    "Australia/Lord_Howe": (date(2025, 10, 5), date(2026, 4, 5)),
    # From +05:30 to +05:45 at midnight, and a quarter of an hour off ever since.
    "Asia/Kathmandu": (date(1986, 1, 1), date(2026, 1, 1)),
    # Until 2011 clocks moved at 00:01: back into the day before, or over most of the first hour.
    "America/St_Johns": (
        date(2010, 3, 14),
        date(2010, 11, 7),
        date(2011, 3, 13),
        date(2011, 11, 6),
        date(2026, 3, 8),
    ),
    # Clocks go back for Ramadan, in 2026 from 15 February to 22 March.
    "Africa/Casablanca": (date(2026, 2, 15), date(2026, 3, 22)),
    # By three hours, twice at 00:01.
    "Antarctica/Casey": (date(2020, 10, 4), date(2021, 3, 14), date(2021, 10, 3), date(2023, 3, 9)),
    # A day that never was.
    "Pacific/Apia": (date(2011, 12, 30),),
    # A day without a midnight.
    "America/Sao_Paulo": (date(2018, 11, 4), date(2018, 2, 18)),
}
ZONES = tuple(UNUSUAL_DAYS)

ORGS = ("5e9d9544a1dcd60001d0ed20", "61f2b7c0a1dcd60001aa11b2")
KEYS = ("00000000", "7f3c3ca87376cabe", "0cf682d6a7c977da")
CLIENTS = ("", "27b35a9ed46e429eb2361e440cc4005c", "4bb0299a09cd4a16b63f230664ac6c08")
APIS = ("41351a6a94094da05f75146a695a16f6", "1793db2cbb724ad54da582ce3191d383")
PATHS = ("/", "/anything", "/status/{code}", "/untracked/ünï")
VERSIONS = ("Non Versioned", "Not Versioned", "v1", "")
TAGS = ("gold", "eu.west", "pol-a b", "edge")
CODES = (-1, 100, 200, 200, 200, 204, 301, 304, 400, 404, 429, 500)
KINDS = ("rest", "rest", "rest", "rest", "graphql", "mcp")
# Sums of many of the greatest still fit a float64's 53 bits: a mean is one number however it is computed.
LATENCIES = (0, 0, 1, 2, 3, 217, 747, 60_000, 2**31 - 1, 2**31, 10**12)

zones = st.sampled_from(ZONES)


@cache
def edges(zone: str) -> tuple[int, ...]:
    """Instants, in ns, at which an unusual day or the one after begins, or the zone's offset changes."""
    return tuple(sorted({edge for day in UNUSUAL_DAYS[zone] for edge in edges_of(zone, day, day)}))


def edges_of(zone: str, start: date, end: date) -> tuple[int, ...]:
    """Instants, in ns, at which a range of local days begins or ends, or the zone's offset changes there."""
    around = (*_starts(zone, start), *_starts(zone, end + ONE_DAY))
    return tuple(sorted({*around, *_changes(zone, start), *_changes(zone, end)}))


def _starts(zone: str, day: date) -> list[int]:
    return [instant_of(datetime.combine(day, time(fold=fold), zone_info(zone))) for fold in (0, 1)]


@cache
def _changes(zone: str, day: date) -> tuple[int, ...]:
    # All minutes that are of the day in some zone, and some more.
    noon = instant_of(datetime.combine(day, time(12), UTC))
    minutes = [noon + minute * 60 * SECOND for minute in range(-36 * 60, 36 * 60)]
    offsets = [local_time(minute, zone).utcoffset() for minute in minutes]
    return tuple(minutes[n] for n in range(1, len(minutes)) if offsets[n] != offsets[n - 1])


@st.composite
def instants(draw: st.DrawFn, near: Sequence[int]) -> int:
    """ns since the epoch, most often within a few ms of one of the instants that it is to be near to."""
    away = draw(
        st.one_of(
            st.integers(-2, 2).map(lambda ms: ms * MILLISECOND),
            st.integers(-30 * 60, 30 * 60).map(lambda minutes: minutes * 60 * SECOND),
            st.integers(-86_400_000, 86_400_000).map(lambda ms: ms * MILLISECOND),
        )
    )
    # The part below a ms is cut off when stored: it must never carry a record over an edge.
    return draw(st.sampled_from(near)) + away + draw(st.sampled_from([0, 0, 1, 499_999, 500_000, 999_999]))


_SAME_OR_ANY = (None,) * len(LATENCIES) + LATENCIES
"""As often the latency itself as another."""
_PARTS: tuple[Sequence[Any], ...] = (
    KINDS, KEYS, APIS, (ORGS[0], *ORGS), CLIENTS, PATHS, VERSIONS, ("GET", "POST"), (False, True),
    CODES, LATENCIES, _SAME_OR_ANY, _SAME_OR_ANY,
    (0, 47), ("", "curl/8.5"), ("", "10.1.2.3", "2001:218::1"), ("", "GB", "SE"), (0, 1500), (0, 10**10),
    range(4), TAGS, TAGS, TAGS,
    # Whatever the gateway's clock says: nothing may depend on it.
    range(1, 29), range(1, 13), range(2000, 2031), range(24),
)  # fmt: skip


def _parts(drawn: bytes) -> list[Any]:
    """One of each: drawn one by one, thirty values of each record took as long as to store it."""
    number, found = int.from_bytes(drawn, "little"), []
    for some in _PARTS:
        number, place = divmod(number, len(some))
        found.append(some[place])
    return found


_SIZE = -(-prod(map(len, _PARTS)).bit_length() // 8) + 1
"""Bytes, with one to spare so that each of a part is about as likely as another."""
_parts_drawn = st.binary(min_size=_SIZE, max_size=_SIZE).map(_parts)


@st.composite
def record(draw: st.DrawFn, near: Sequence[int] | None = None, *, historic: bool = False) -> Record:
    """A record near one of the instants, or any zone's edges; those before 2000 only where `historic`."""
    if near is None:
        near = edges(draw(zones))
    near = [edge for edge in near if (historic or edge >= FIRST) and edge <= LAST]
    instant = draw(instants(near))
    parts = draw(_parts_drawn)
    kind, key, api, org, client, path, version, method, tracked, code, total, upstream, request_time = parts[:13]
    length, agent, address, country, bytes_in, bytes_out, tag_count, *tags, day, month, year, hour = parts[13:]
    # Names change now and then, but never within a ms: which of two is the latest is then never open.
    era = instant // MILLISECOND % 2
    return Record(
        timestamp=instant,
        org_id=org,
        api_id=api,
        api_name=f"API {api[:2]}{' (new)' * era}",
        api_version=version,
        api_key=key,
        alias=f"app {key[:2]}{' (new)' * era}",
        oauth_id=client,
        method=method,
        host="localhost:8080",
        path=path,
        raw_path=path,
        response_code=code,
        content_length=length,
        user_agent=agent,
        ip_address=address,
        day=day,
        month=month,
        year=year,
        hour=hour,
        request_time=total if request_time is None else request_time,
        latency_total=total,
        latency_upstream=total if upstream is None else upstream,
        country=country,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        tags=(*tags[:tag_count], f"key-{key}", f"org-{org}", f"api-{api}"),
        track_path=tracked,
        expire_at=instant + 100 * 365 * 86_400 * SECOND,
        is_graphql=kind == "graphql",
        is_mcp=kind == "mcp",
        mcp_method="tools/call" if kind == "mcp" else "",
        mcp_primitive_type="tool" if kind == "mcp" else "",
        mcp_primitive_name="weather" if kind == "mcp" else "",
    )


def records(
    near: Sequence[int] | None = None, *, min_size: int = 0, max_size: int = 60, historic: bool = False
) -> st.SearchStrategy[list[Record]]:
    """Lists of records, some of them equal: two equal records are two hits."""
    one = record(near, historic=historic)
    twice = one.map(lambda same: [same, same])
    groups = st.lists(st.one_of(one.map(lambda same: [same]), twice), min_size=min_size, max_size=max_size)
    return groups.map(lambda groups: [found for group in groups for found in group][:max_size])


@st.composite
def day_ranges(draw: st.DrawFn, zone: str, *, historic: bool = False) -> tuple[date, date]:
    """(start, end) in local days, both included: one to a hundred, around a day that is unusual there."""
    unusual = [day for day in UNUSUAL_DAYS[zone] if historic or day >= SINCE]
    start = draw(st.sampled_from(unusual)) + timedelta(draw(st.integers(-2, 2)))
    return start, start + timedelta(draw(st.one_of(st.integers(0, 3), st.sampled_from((7, 31, 100)))))


@dataclass(frozen=True)
class Question:
    """Records, and local days of which most of them are, or nearly are."""

    zone: str
    start: date
    end: date
    records: list[Record]
    org: str = ORGS[0]


@st.composite
def questions(draw: st.DrawFn, *, max_size: int = 60, historic: bool = False) -> Question:
    zone = draw(zones)
    start, end = draw(day_ranges(zone, historic=historic))
    # Lists are short unless they must be long.
    size = draw(st.sampled_from((0, max_size // 6, max_size // 2)))
    near = edges_of(zone, start, end)
    found = draw(records(near, min_size=size, max_size=max_size, historic=historic))
    return Question(zone, start, end, found)


@st.composite
def splits(draw: st.DrawFn, items: Sequence[T]) -> list[list[T]]:
    """The items in any order, cut into any number of batches, some of them empty."""
    shuffled = draw(st.permutations(items))
    cuts = sorted(draw(st.lists(st.integers(0, len(shuffled)), max_size=6)))
    return [list(shuffled[a:b]) for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]


# Text as a client may send it: any that UTF-8 can hold, also NUL and what a spreadsheet would run.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(("=1+1", "a\x00b"))


@st.composite
def any_record(draw: st.DrawFn) -> Record:
    """A record with anything that its wire forms can hold: for the codecs, not for sums."""
    int64 = st.integers(-(2**63), 2**63 - 1)
    int32 = st.integers(-(2**31), 2**31 - 1)
    # What protobuf's Timestamp can hold: the years 1 to 9999.
    instant = st.integers(-62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1)
    degrees = st.floats(-180, 180)
    several = st.lists(texts, max_size=3).map(tuple)
    fields: dict[str, st.SearchStrategy[object]] = {
        "timestamp": instant,
        "expire_at": instant,
        "latitude": degrees,
        "longitude": degrees,
        "city_geoname_id": st.integers(0, 2**32 - 1),
        "city_names": st.dictionaries(texts, texts, max_size=3).map(lambda names: tuple(names.items())),
        "tags": several,
        "graphql_root_fields": several,
        "graphql_errors": several,
        "graphql_types": st.dictionaries(texts, several, max_size=3).map(lambda types: tuple(types.items())),
    }
    fields |= dict.fromkeys(("day", "month", "year", "hour", "response_code", "graphql_operation"), int32)
    by_type: dict[object, st.SearchStrategy[object]] = {str: texts, int: int64, bool: st.booleans()}
    for name, kind in Record.__annotations__.items():
        if name not in fields:
            fields[name] = by_type[kind]
    return Record(**draw(st.fixed_dictionaries({}, optional=fields)))  # type: ignore[arg-type]
