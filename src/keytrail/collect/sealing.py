"""Sealing: gateway lists become frozen batches before their time to live runs out, up to a cap."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from keytrail.collect.frozen_batch import Held, Sealed, SealOutcome
from keytrail.collect.redis_calls import Argument, RedisCalls, number, text
from keytrail.collect.source_keys import ListKeys, new_batch_id
from keytrail.errors import AccessDenied, SourceError, SourceUnavailable

MOST_CAP_BYTES = 256 * 1024 * 1024
_ASK_AGAIN_SECONDS = 60.0


class Sealing:
    """Seals the lists of one Redis for one store."""

    def __init__(
        self,
        calls: RedisCalls,
        keys: Mapping[str, ListKeys],
        *,
        store_id: str,
        decoder_version: str,
        cap_bytes: int | None,
        chunk_limits: tuple[int, int, int],
    ) -> None:
        """`chunk_limits`: fewest records, most records, most bytes of a chunk; else see `Source`."""
        self._calls = calls
        self._keys = keys
        self._store_id = store_id
        self._decoder_version = decoder_version
        self._cap = cap_bytes
        self._ask_again = 0.0
        self._chunk_limits = chunk_limits
        self.held: Held | None = None
        self.forward_bytes: dict[str, int] = {}

    def cap_bytes(self) -> int:
        """The cap on what we hold, in bytes: as set, or the smaller of 256 MB and a quarter of Redis's limit.

        Raises:
            SourceUnavailable: Redis is away.
        """
        if self._cap is None:
            if time.monotonic() < self._ask_again:
                return MOST_CAP_BYTES
            try:
                limits = [int(info.get("maxmemory", 0)) for info in self._calls.info("memory")]
            except AccessDenied:
                limits = []
            except SourceUnavailable:
                # A cluster that lacks a node must go on sealing on the others; the limit is asked for again.
                if self._calls.is_cluster:
                    self._ask_again = time.monotonic() + _ASK_AGAIN_SECONDS
                    return MOST_CAP_BYTES
                raise
            self._cap = min([MOST_CAP_BYTES, *(limit // 4 for limit in limits if limit > 0)])
        return self._cap

    def seal(self) -> list[Sealed]:
        """Freeze every gateway list that holds records, the one that dies first at first.

        Stops at the cap, judged before each list: one list larger than the cap is still taken, as sealing
        moves records and needs no memory for them.

        Returns:
            One entry per list that holds records or that failed; a failure does not keep the others from
            being sealed.

        Raises:
            SourceUnavailable: no list could be looked at.
        """
        held, waiting, results = self._look_at_all(self.cap_bytes())
        away = False
        for source, length, ttl_ms in sorted(waiting, key=lambda one: one[2] if one[2] >= 0 else float("inf")):
            if held.full:
                results.append(Sealed(source, "", "capped", length, ttl_ms=ttl_ms))
            elif away:
                results.append(Sealed(source, "", "unavailable", length, ttl_ms=ttl_ms))
            else:
                one = self.seal_list(source, new_batch_id())
                results.append(one)
                if one.outcome == "sealed":
                    held = replace(held, sealed=held.sealed + one.size_bytes)
                # One server that is away is away for all lists: don't wait out the retries for each.
                away = one.outcome == "unavailable" and not self._calls.is_cluster
        self.held = held
        return results

    def _look_at_all(self, cap: int) -> tuple[Held, list[tuple[str, int, int]], list[Sealed]]:
        """What we hold, lists with records (name, length, TTL in ms), and the lists that failed."""
        sealed = rejected = forwarded = 0
        waiting: list[tuple[str, int, int]] = []
        failed: list[Sealed] = []
        looks = self._calls.many_each([self._look(keys) for keys in self._keys.values()])
        for source, look in zip(self._keys, looks, strict=True):
            # The pump's list (fourth) may be of any type without keeping us from sealing.
            if isinstance(look, SourceError):
                failed.append(_failed(source, "", look))
                continue
            error = next((r for r in look[:3] if isinstance(r, SourceError)), None)
            if error is not None:
                failed.append(_failed(source, "", error))
                continue
            length, ttl_ms, totals, *pump_length = look
            sealed += number(totals[0])
            rejected += number(totals[1])
            # The pump may have emptied its list since the last advance.
            pump = number(totals[2]) if pump_length and isinstance(pump_length[0], int) and pump_length[0] else 0
            self.forward_bytes[source] = pump
            forwarded += pump
            if length:
                waiting.append((source, length, ttl_ms))
        if len(failed) == len(self._keys) and all(one.outcome == "unavailable" for one in failed):
            raise SourceUnavailable(failed[0].why)
        return Held(sealed, rejected, forwarded, cap), waiting, failed

    def _look(self, keys: ListKeys) -> list[tuple[Argument, ...]]:
        look: list[tuple[Argument, ...]] = [
            ("LLEN", keys.source),
            ("PTTL", keys.source),
            ("HMGET", keys.totals, "bytes", "reject_bytes", "forward_bytes"),
        ]
        return [*look, ("LLEN", keys.forward)] if keys.forward else look

    def seal_list(self, source: str, batch_id: str) -> Sealed:
        """Freeze one list under a batch id made by the caller; a repeat with that id changes nothing."""
        keys = self._keys[source]
        try:
            outcome, records, size, chunk, ttl, how = self._calls.script(
                "seal",
                [source, keys.frozen(batch_id), keys.state(batch_id), keys.leases, keys.totals, keys.stores],
                [
                    batch_id,
                    self._store_id,
                    self._decoder_version,
                    *self._chunk_limits,
                    int(self._calls.memory_usage),
                ],
            )
        except SourceError as error:
            return _failed(source, batch_id, error)
        estimated = how == b"sample"
        if estimated:
            self._calls.memory_usage = False
        said = cast(SealOutcome, text(outcome))
        return Sealed(source, batch_id, said, records, size, chunk, ttl, estimated)


def _failed(source: str, batch_id: str, error: SourceError) -> Sealed:
    outcome: SealOutcome = "refused"
    if isinstance(error, SourceUnavailable):
        outcome = "unavailable"
    elif "WRONGTYPE" in str(error):
        outcome = "not_a_list"
    return Sealed(source, batch_id, outcome, why=str(error))
