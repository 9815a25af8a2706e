"""Answers of the query API as plain sums over records."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

from tests.oracle.clock import rfc3339
from tests.oracle.record import Record

# The empty text hashed as gateways do.
NO_KEY = ("", "00000000")

VALUES: Mapping[str, Callable[[Record], list[Any]]] = {
    "api": lambda r: [r.api_id],
    "key": lambda r: [r.api_key],
    "oauth_client": lambda r: [r.oauth_id],
    "path": lambda r: [r.path],
    "method": lambda r: [r.method],
    "version": lambda r: ["Non Versioned" if r.api_version == "Not Versioned" else r.api_version],
    "code": lambda r: [r.response_code],
    "code_class": lambda r: ["tcp" if r.response_code == -1 else f"{r.response_code // 100}xx"],
    "kind": lambda r: [r.kind],
    "tracked": lambda r: [r.track_path],
    "country": lambda r: [r.country],
    "user_agent": lambda r: [r.user_agent],
    "tag": lambda r: sorted(set(r.tags)),
    "policy": lambda r: sorted({tag.removeprefix("pol-") for tag in r.tags if tag.startswith("pol-")}),
    "latency_ms": lambda r: [r.latency_total],
}

_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "is": lambda left, right: left == right,
    "in": lambda left, right: left in right,
    "prefix": lambda left, right: left.startswith(right),
    "contains": lambda left, right: right in left,
    "greater": lambda left, right: left > right,
    "less": lambda left, right: left < right,
}
_NEGATED = {"is_not": "is", "not_in": "in"}


def holds(condition: Mapping[str, Any], record: Record) -> bool:
    """Whether a condition, as it stands in JSON, holds for a record."""
    if "and" in condition:
        return all(holds(one, record) for one in condition["and"])
    if "or" in condition:
        return any(holds(one, record) for one in condition["or"])
    if "not" in condition:
        return not holds(condition["not"], record)
    name, value = condition["operator"], condition["value"]
    values = VALUES[condition["dimension"]](record)
    if name == "has_all":
        return set(value) <= set(values)
    if name in _NEGATED:
        return not any(_COMPARED[_NEGATED[name]](one, value) for one in values)
    return any(_COMPARED[name](one, value) for one in values)


def groups(records: Iterable[Record], dimensions: Sequence[str]) -> dict[tuple[Hashable, ...], list[Record]]:
    """Records by their values; a record with several values of a dimension is in several groups."""
    found: dict[tuple[Hashable, ...], list[Record]] = {}
    for record in records:
        keys: list[tuple[Hashable, ...]] = [()]
        for name in dimensions:
            keys = [(*key, value) for key in keys for value in VALUES[name](record)]
        for key in keys:
            found.setdefault(key, []).append(record)
    return found


def numbers(records: Sequence[Record], zone: str) -> dict[str, Any]:
    """Every metric of some records."""
    hits = [record for record in records if record.response_code != -1]
    errors = [hit for hit in hits if hit.response_code >= 400]
    fine = [hit for hit in hits if hit.response_code < 400] or hits
    total, upstream = [h.latency_total for h in hits], [h.latency_upstream for h in hits]
    instants = [hit.millisecond * 10**6 for hit in hits]
    found: dict[str, Any] = {
        "records": len(records),
        "hits": len(hits),
        "success": sum(200 <= hit.response_code <= 299 for hit in hits),
        "error": len(errors),
        "error_rate": _mean([int(hit in errors) for hit in hits]),
        "first_hit": _instant(min(instants), zone) if hits else None,
        "last_hit": _instant(max(instants), zone) if hits else None,
        "request_time": _mean([hit.request_time for hit in hits]),
        "latency": _mean(total),
        "upstream_latency": _mean(upstream),
        "gateway_overhead": _mean([a - b for a, b in zip(total, upstream, strict=True)]),
        "max_latency": max(total, default=None),
        "max_upstream_latency": max(upstream, default=None),
        "min_latency": min((hit.latency_total for hit in fine), default=None),
        "min_upstream_latency": min((hit.latency_upstream for hit in fine), default=None),
        "bytes_in": sum(hit.content_length for hit in hits),
        "bytes_out": None if hits or not records else sum(record.bytes_out for record in records),
        "tcp_bytes_in": sum(record.bytes_in for record in records),
        "tcp_bytes_out": sum(record.bytes_out for record in records),
        "distinct_keys": len({hit.api_key for hit in hits} - set(NO_KEY)),
        "distinct_clients": len({hit.oauth_id for hit in hits} - {""}),
        "distinct_endpoints": len({(hit.api_id, hit.path) for hit in hits}),
        "latency_histogram": _histogram(total),
        "upstream_latency_histogram": _histogram(upstream),
    }
    for percent in (50, 90, 95, 99):
        found[f"p{percent}_latency"] = _percentile(total, percent)
        found[f"p{percent}_upstream_latency"] = _percentile(upstream, percent)
    return found


def change(now: Any, earlier: Any) -> float | None:
    """The share by which a number changed; None where there is none."""
    for value in (now, earlier):
        if isinstance(value, str | list) or value is None:
            return None
    return (now - earlier) / earlier if earlier else None


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None


def _instant(nanoseconds: int, zone: str) -> str:
    # With three digits of a second in every case.
    whole = rfc3339(nanoseconds // 10**9 * 10**9, zone)
    return f"{whole[:19]}.{nanoseconds // 10**6 % 1000:03}{whole[19:]}"


def _bucket(value: int) -> tuple[int, int]:
    """A value below 32 is a bucket; above, a bucket is a sixteenth of the way from a power of two to the next."""
    if value < 32:
        return value, value
    power = 2 ** (value.bit_length() - 1)
    width = power // 16
    low = value // width * width
    return low, low + width - 1


def _histogram(values: Sequence[int]) -> list[dict[str, int]]:
    counts: dict[tuple[int, int], int] = {}
    for value in values:
        counts[_bucket(value)] = counts.get(_bucket(value), 0) + 1
    return [{"from": low, "to": high, "hits": hits} for (low, high), hits in sorted(counts.items())]


def _percentile(values: Sequence[int], percent: int) -> float | None:
    """The middle of the bucket of the least value that at least so many percent do not exceed."""
    if not values:
        return None
    low, high = _bucket(sorted(values)[ceil(Fraction(percent * len(values), 100)) - 1])
    return (low + high) / 2
