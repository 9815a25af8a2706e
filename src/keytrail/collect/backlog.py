"""How much waits in Redis, is sealed, is dead; and which other stores seal from the same lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keytrail.collect.frozen_batch import ForeignBatches, ListBacklog
from keytrail.collect.redis_calls import RedisCalls, number, text
from keytrail.collect.source_keys import ListKeys
from keytrail.errors import SourceError

_TOTALS = (
    "batches",
    "records",
    "bytes",
    "rejects",
    "reject_bytes",
    "forwarded",
    "forward_dropped",
    "takeovers",
    "missing",
    "ttl",
)


def measure_backlog(calls: RedisCalls, keys: Mapping[str, ListKeys]) -> list[ListBacklog]:
    """Each list that holds or has held anything. Three round trips, whatever the number of batches.

    Raises:
        SourceError: a list could not be looked at.
    """
    looks = _all(
        calls.many_each(
            [
                [
                    ("TYPE", one.source),
                    ("PTTL", one.source),
                    ("HMGET", one.totals, *_TOTALS),
                    ("ZRANGEBYSCORE", one.leases, 0, 0, "LIMIT", 0, 1),
                    ("ZRANGEBYSCORE", one.leases, "(0", "+inf", "LIMIT", 0, 1_000),
                ]
                for one in keys.values()
            ]
        )
    )
    # Ids sort by time: the oldest is the first of the waiting, or among the few that are being worked on.
    oldest = [min(map(text, [*look[3], *look[4]]), default="") for look in looks]
    details = _all(
        calls.many_each(
            [
                [
                    ("LLEN", one.source) if text(look[0]) == "list" else ("EXISTS", one.source),
                    ("HGET", one.state(batch_id or "none"), "sealed_at"),
                ]
                for one, look, batch_id in zip(keys.values(), looks, oldest, strict=True)
            ]
        )
    )
    now = calls.time_ms()
    found = []
    for one, look, (length, sealed_at) in zip(keys.values(), looks, details, strict=True):
        _, ttl_ms, totals, *_ = look
        values = dict(zip(_TOTALS, totals, strict=True))
        if length == 0 and all(value is None for value in totals):
            continue
        found.append(
            ListBacklog(
                list_name=one.source,
                length=length,
                ttl_ms=ttl_ms,
                batches=number(values["batches"]),
                records=number(values["records"]),
                size_bytes=number(values["bytes"]),
                oldest_ms=max(0, now - number(sealed_at)) if sealed_at else 0,
                rejects=number(values["rejects"]),
                reject_bytes=number(values["reject_bytes"]),
                forwarded=number(values["forwarded"]),
                forward_dropped=number(values["forward_dropped"]),
                takeovers=number(values["takeovers"]),
                missing=number(values["missing"]),
                sealed_ttl_ms=number(values["ttl"]) if values["ttl"] else -2,
            )
        )
    return found


def measure_foreign(calls: RedisCalls, keys: Mapping[str, ListKeys], store_id: str) -> list[ForeignBatches]:
    """Other store ids that have sealed from the same lists, with the batches that they still hold.

    Raises:
        SourceError: a list could not be looked at.
    """
    found = []
    looks = _all(calls.many_each([[("HGETALL", one.stores)] for one in keys.values()]))
    for one, (stores,) in zip(keys.values(), looks, strict=True):
        for name, last in sorted(_pairs(stores)):
            if text(name) != store_id:
                batches = calls.command("ZCARD", one.leases_of(text(name)))
                found.append(ForeignBatches(one.source, text(name), batches, number(last)))
    return found


def measure_last_seal(calls: RedisCalls, keys: Mapping[str, ListKeys], store_id: str) -> int | None:
    """Milliseconds since this store last sealed anything, by the Redis clock; None if it never did.

    Raises:
        SourceError: A list could not be looked at.
    """
    looks = _all(calls.many_each([[("HGET", one.stores, store_id)] for one in keys.values()]))
    last = max(number(reply) for (reply,) in looks)
    return max(0, calls.time_ms() - last) if last else None


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    return list(reply.items()) if isinstance(reply, dict) else list(zip(reply[::2], reply[1::2], strict=True))


def _all(looks: list[list[Any] | SourceError]) -> list[list[Any]]:
    done = []
    for look in looks:
        if isinstance(look, SourceError):
            raise look
        for reply in look:
            if isinstance(reply, SourceError):
                raise reply
        done.append(look)
    return done
