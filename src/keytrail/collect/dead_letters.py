"""Dead letters: rejected records, in a Redis stream beside their list until they expire or are retried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keytrail.collect.frozen_batch import DeadLetter, Sealed
from keytrail.collect.redis_calls import RedisCalls, number, text
from keytrail.collect.source_keys import ListKeys
from keytrail.errors import SourceError

# Few enough for Lua's unpack, and for one call not to hold up the gateway.
MOST_AT_ONCE = 1_000


class DeadLetters:
    """The dead letters of one store on the lists of one Redis."""

    def __init__(self, calls: RedisCalls, keys: Mapping[str, ListKeys], store_id: str, decoder_version: str) -> None:
        """See `Source`."""
        self._calls = calls
        self._keys = keys
        self._store_id = store_id
        self._decoder_version = decoder_version

    def page(self, source: str, *, after: str, limit: int) -> list[DeadLetter]:
        """A list's dead letters, oldest first, from behind the id `after` ("" is the start)."""
        start = f"({after}" if after else "-"
        entries = self._calls.command("XRANGE", self._keys[source].rejects, start, "+", "COUNT", limit)
        return [
            DeadLetter(
                list_name=source,
                id=text(entry_id),
                batch_id=text(fields[b"batch"]),
                seq=number(fields[b"seq"]),
                reason=text(fields[b"reason"]),
                digest=text(fields[b"digest"]),
                decoder_version=text(fields[b"decoder"]),
                at_ms=number(entry_id.partition(b"-")[0]),
                record=fields[b"record"],
            )
            for entry_id, fields in entries
        ]

    def drop(self, source: str, ids: Sequence[str]) -> int:
        """Delete dead letters by id; how many there were."""
        keys = self._keys[source]
        dropped = 0
        for first in range(0, len(ids), MOST_AT_ONCE):
            some = list(ids[first : first + MOST_AT_ONCE])
            dropped += self._calls.script("drop_rejects", [keys.rejects, keys.totals], [len(some), "", *some])[1]
        return dropped

    def expire(self, older_than_seconds: float) -> int:
        """Delete those of all lists that were added longer ago, by the Redis clock; how many there were."""
        before = self._calls.time_ms() - round(older_than_seconds * 1000)
        dropped = 0
        for keys in self._keys.values():
            while True:
                args = [MOST_AT_ONCE, max(before, 0)]
                some = self._calls.script("drop_rejects", [keys.rejects, keys.totals], args)[1]
                dropped += some
                if some < MOST_AT_ONCE:
                    break
        return dropped

    def retry(self, source: str, ids: Sequence[str], batch_id: str) -> Sealed:
        """Move dead letters into a batch of their own.

        Raises:
            ValueError: more than 1,000 ids, or an id named twice.
            SourceError: an id is malformed.
        """
        if len(ids) > MOST_AT_ONCE or len(set(ids)) != len(ids):
            raise ValueError(f"at most {MOST_AT_ONCE} distinct ids at once")
        keys = self._keys[source]
        outcome, records = self._calls.script(
            "retry_rejects",
            [
                keys.rejects,
                keys.totals,
                keys.frozen(batch_id),
                keys.state(batch_id),
                keys.leases,
                keys.stores,
            ],
            [batch_id, self._store_id, self._decoder_version, source, *ids],
        )
        if outcome == b"sealed":
            return Sealed(source, batch_id, "sealed", records, chunk=records)
        if outcome == b"again":
            return Sealed(source, batch_id, "again", records, chunk=records)
        if outcome == b"empty":
            return Sealed(source, batch_id, "empty")
        raise SourceError(f"unknown outcome {outcome!r}")
