"""The rows of the compatible endpoints, as plain sums over records."""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from datetime import date, datetime
from typing import Any, Literal, Required, TypedDict, TypeVar, Unpack

from tests.oracle.clock import days, hour_exists, hours, local_time, rfc3339
from tests.oracle.record import ZERO_TIME, Record

Row = dict[str, Any]
Step = Literal["hour", "day", "month"]
K = TypeVar("K", bound=Hashable)

ID = {
    "day": 0,
    "month": 0,
    "year": 0,
    "hour": 0,
    "code": 0,
    "path": "",
    "key": "",
    "alias": "",
    "url": "",
    "iso_country": "",
    "api_id": "",
    "api_name": "",
}
COUNTERS = (
    "hits",
    "success",
    "error",
    "last_hit",
    "request_time",
    "latency",
    "upstream_latency",
    "max_upstream_latency",
    "min_upstream_latency",
    "max_latency",
    "min_latency",
)


class Where(TypedDict, total=False):
    """Which records count: the organisation's, in the local days from start to end, with all given here."""

    org: Required[str]
    start: Required[date]
    end: Required[date]
    zone: Required[str]
    key: str | None
    keys: Collection[str] | None
    oauth: str | None
    api_id: str | None
    api_version: str | None
    tags: Collection[str]
    track_all: bool


def selected(records: Iterable[Record], **where: Unpack[Where]) -> list[Record]:
    """The hits of REST APIs that count. Code -1 is no hit, and GraphQL and MCP have their own endpoints."""
    return [record for record in records if record.kind == "rest" and _matches(record, where)]


def _matches(record: Record, where: Where) -> bool:
    wanted = {
        "org_id": where["org"],
        "api_key": where.get("key"),
        "oauth_id": where.get("oauth"),
        "api_id": where.get("api_id"),
    }
    version, keys = where.get("api_version"), where.get("keys")
    return (
        all(value is None or getattr(record, name) == value for name, value in wanted.items())
        and (keys is None or record.api_key in keys)
        and (version is None or _version(record.api_version) == _version(version))
        and set(where.get("tags", ())) <= set(record.tags)
        and (record.track_path or where.get("track_all", True))
        and where["start"] <= local_time(record.timestamp, where["zone"]).date() <= where["end"]
    )


def _version(name: str) -> str:
    return "Non Versioned" if name == "Not Versioned" else name


def endpoint_rows(
    records: Iterable[Record],
    *,
    api_names: bool = False,
    by: str | None = None,
    sort: int | None = None,
    **where: Unpack[Where],
) -> list[Row]:
    """One row per endpoint; `api_names` for the paths that give the API's name too."""
    groups = _grouped(selected(records, **where), lambda record: (record.api_id, record.path))
    rows = []
    for (api_id, path), hits in groups.items():
        named = {"api_name": latest(hits, "api_name")} if api_names else {}
        rows.append(summed(hits, where["zone"], path=path, api_id=api_id, **named))
    return ordered(rows, by, sort)


def api_rows(
    records: Iterable[Record], *, by: str | None = None, sort: int | None = None, **where: Unpack[Where]
) -> list[Row]:
    groups = _grouped(selected(records, **where), lambda record: record.api_id)
    return ordered(
        [
            summed(hits, where["zone"], api_id=api_id, api_name=latest(hits, "api_name"))
            for api_id, hits in groups.items()
        ],
        by,
        sort,
    )


def key_rows(
    records: Iterable[Record], *, by: str | None = None, sort: int | None = None, **where: Unpack[Where]
) -> list[Row]:
    """One row per key; requests without one are a row too (`00000000`, or "" where keys are not hashed)."""
    groups = _grouped(selected(records, **where), lambda record: record.api_key)
    return ordered(
        [summed(hits, where["zone"], key=key, alias=latest(hits, "alias")) for key, hits in groups.items()],
        by,
        sort,
    )


def client_rows(
    records: Iterable[Record], *, by: str | None = None, sort: int | None = None, **where: Unpack[Where]
) -> list[Row]:
    """One row per OAuth client, whose id stands as the key. Requests without a client are in no row."""
    groups = _grouped((r for r in selected(records, **where) if r.oauth_id), lambda record: record.oauth_id)
    return ordered([summed(hits, where["zone"], key=client) for client, hits in groups.items()], by, sort)


def error_code_rows(
    records: Iterable[Record], *, by: str | None = None, sort: int | None = None, **where: Unpack[Where]
) -> list[Row]:
    """One row per response code from 400 up."""
    errors = (record for record in selected(records, **where) if record.response_code >= 400)
    groups = _grouped(errors, lambda record: record.response_code)
    return ordered([summed(hits, where["zone"], code=code) for code, hits in groups.items()], by, sort)


def series_rows(records: Iterable[Record], *, res: Step, **where: Unpack[Where]) -> list[Row]:
    """One row per step of local time that exists, in order; a step without hits has a row of zeros."""
    zone = where["zone"]
    groups = _grouped(
        selected(records, **where),
        lambda record: tuple(_step(local_time(record.timestamp, zone), res).values()),
    )
    return [
        summed(groups.get(tuple(step.values()), ()), zone, **step)
        for step in _steps(where["start"], where["end"], zone, res)
    ]


def _step(local: date, res: Step, hour: int | None = None) -> dict[str, int]:
    if hour is None:
        hour = getattr(local, "hour", 0)
    return {
        "day": local.day if res != "month" else 0,
        "month": local.month,
        "year": local.year,
        "hour": hour if res == "hour" else 0,
    }


def _steps(start: date, end: date, zone: str, res: Step) -> list[dict[str, int]]:
    if res == "hour":
        return [_step(day, res, hour) for day, hour in hours(start, end, zone)]
    # A zone that crosses the date line skips a whole day.
    real = [day for day in days(start, end) if any(hour_exists(day, hour, zone) for hour in range(24))]
    steps = [_step(day, res) for day in real]
    return [step for n, step in enumerate(steps) if not n or step != steps[n - 1]]


def summed(hits: Sequence[Record], zone: str, **id_parts: str | int) -> Row:
    """The row of these hits. `min_*` tell of hits that were no errors, where there are any."""
    errors = [hit for hit in hits if hit.response_code >= 400]
    quickest = [hit for hit in hits if hit.response_code < 400] or hits
    last = max((hit.millisecond * 10**6 for hit in hits), default=None)
    return {
        "id": ID | id_parts,
        "hits": len(hits),
        "success": sum(200 <= hit.response_code <= 299 for hit in hits),
        "error": len(errors),
        # No hit has the zero time, and that is told in UTC in every zone.
        "last_hit": rfc3339(ZERO_TIME, "UTC") if last is None else rfc3339(last, zone),
        "request_time": mean([hit.request_time for hit in hits]),
        "latency": mean([hit.latency_total for hit in hits]),
        "upstream_latency": mean([hit.latency_upstream for hit in hits]),
        "max_upstream_latency": max((hit.latency_upstream for hit in hits), default=0),
        "min_upstream_latency": min((hit.latency_upstream for hit in quickest), default=0),
        "max_latency": max((hit.latency_total for hit in hits), default=0),
        "min_latency": min((hit.latency_total for hit in quickest), default=0),
    }


def mean(values: Sequence[int]) -> int | float:
    """An integral mean is an int, as it is written without a fraction."""
    if not values:
        return 0
    total = sum(values)
    return total / len(values) if total % len(values) else total // len(values)


def latest(hits: Iterable[Record], name: str) -> str:
    """The value of the latest hit; of those in one ms the greatest, so that no order of arrival matters."""
    return max((hit.millisecond, str(getattr(hit, name))) for hit in hits)[1]


def ordered(rows: Iterable[Row], by: str | None = None, sort: int | None = None) -> list[Row]:
    """The rows by the counter `by` (hits), most first, or least first where `sort` is -1.

    Ties by the latest hit, then path, API, key and code: `sort` turns the counter's order only.
    """
    # By the counter's name in Go or in the row: MaxLatency, maxlatency, max_latency.
    wanted = (by or "hits").replace("_", "").lower()
    counter = next(name for name in COUNTERS if name.replace("_", "") == wanted)
    in_order = sorted(rows, key=lambda row: [row["id"][part] for part in ("path", "api_id", "key", "code")])
    in_order.sort(key=_last_hit, reverse=True)
    if counter == "last_hit":
        return sorted(in_order, key=_last_hit, reverse=sort != -1)
    return sorted(in_order, key=lambda row: row[counter], reverse=sort != -1)


def _last_hit(row: Row) -> datetime:
    # As an instant: where clocks were put back, the later of two may have the lesser text.
    return datetime.fromisoformat(row["last_hit"])


def pages(rows: Sequence[Row], page: int = 1, size: int = 10) -> tuple[list[Row], int]:
    """The rows of a page, counted from 1, and the number of pages. Page 0 or less: all rows, and no count."""
    if page <= 0:
        return list(rows), 0
    return list(rows[(page - 1) * size : page * size]), -(-len(rows) // size)


def hits_by(
    records: Iterable[Record], values: Callable[[Record], Iterable[str]], **where: Unpack[Where]
) -> dict[str, int]:
    """Hits per value; a hit with several values counts for each, and once for one that it has twice."""
    counts: dict[str, int] = {}
    for record in selected(records, **where):
        for value in set(values(record)):
            counts[value] = counts.get(value, 0) + 1
    return counts


def _grouped(records: Iterable[Record], of: Callable[[Record], K]) -> dict[K, list[Record]]:
    groups: dict[K, list[Record]] = {}
    for record in records:
        groups.setdefault(of(record), []).append(record)
    return groups
