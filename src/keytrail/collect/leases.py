"""Batches under lease: take one, read its chunks, let go of each after the store has accepted it."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from keytrail.collect.frozen_batch import Batch, Rejection
from keytrail.collect.redis_calls import Argument, RedisCalls, number, text
from keytrail.collect.source_keys import ListKeys
from keytrail.errors import BatchDamaged, LeaseLost, SourceError

# Longer than any client goes on repeating a call: a repeat is judged by the finished batch's state.
TOMBSTONE_SECONDS = 600
# LRANGE of more would keep the gateway's Redis from its other clients for too long at a time.
READ_SLICE = 5_000
# Takeable batches are looked up this many at a time and list, and again after this many seconds.
_CANDIDATES = 32
_CANDIDATES_SECONDS = 1.0


class Leases:
    """The leases of one store on the lists of one Redis."""

    def __init__(
        self,
        calls: RedisCalls,
        keys: Mapping[str, ListKeys],
        *,
        owner: str,
        store_id: str,
        lease_ms: int,
        forward_ttl_ms: int,
    ) -> None:
        """See `Source`."""
        self._calls = calls
        self._keys = keys
        self._owner = owner
        self._store_id = store_id
        self._lease_ms = lease_ms
        self._forward_ttl_ms = forward_ttl_ms
        self._ready: deque[tuple[str, str]] = deque()
        self._ready_until = 0.0

    def take(self) -> Batch | None:
        """A batch whose lease has expired, now under ours; the abandoned first, then the oldest.

        Raises:
            SourceUnavailable: Redis is away.
        """
        refilled = False
        if time.monotonic() > self._ready_until:
            self._ready.clear()
        while True:
            try:
                source, batch_id = self._ready.popleft()
            except IndexError:
                if refilled:
                    return None
                self._refill()
                refilled = True
                continue
            batch = self.take_batch(source, batch_id)
            if batch is not None:
                return batch

    def _refill(self) -> None:
        now = self._calls.time_ms()
        looks = self._calls.many_each(
            [
                [
                    ("ZRANGEBYSCORE", keys.leases, "(0", now, "LIMIT", 0, _CANDIDATES),
                    ("ZRANGEBYSCORE", keys.leases, 0, 0, "LIMIT", 0, _CANDIDATES),
                ]
                for keys in self._keys.values()
            ]
        )
        failures = [look for look in looks if isinstance(look, SourceError)]
        if len(failures) == len(looks):
            raise failures[0]
        found = []
        for source, look in zip(self._keys, looks, strict=True):
            if not isinstance(look, SourceError):
                for order, members in enumerate(look):
                    if isinstance(members, SourceError):
                        raise members
                    found += [(order, text(member), source) for member in members]
        self._ready.extend((source, batch_id) for _, batch_id, source in sorted(found))
        self._ready_until = time.monotonic() + _CANDIDATES_SECONDS

    def take_batch(self, source: str, batch_id: str, lease: str | None = None) -> Batch | None:
        """Take one batch, or None where another's lease runs or the batch is gone.

        `lease` is new for each take; a repeat with the same one gets the same answer.
        """
        keys = self._keys[source]
        lease = lease or secrets.token_hex(8)
        outcome, *state = self._calls.script(
            "take",
            [keys.frozen(batch_id), keys.state(batch_id), keys.leases, keys.totals],
            [batch_id, lease, self._owner, self._lease_ms],
        )
        return Batch.from_state(batch_id, lease, state[0]) if outcome in (b"taken", b"again") else None

    def free_leases_of(self, store_id: str) -> int:
        """End the leases of this store's former owners, who are known to be dead.

        Only for the embedded store, by who holds the lock of its directory, before any take.

        Returns:
            How many leases were ended.

        Raises:
            ValueError: another store id than ours; those batches are never touched.
        """
        if store_id != self._store_id:
            raise ValueError(f"store id {store_id!r} is not ours ({self._store_id!r})")
        freed = 0
        for keys in self._keys.values():
            for member in self._calls.command("ZRANGEBYSCORE", keys.leases, "(1", "+inf"):
                batch_id = text(member)
                seen = text(self._calls.command("HGET", keys.state(batch_id), "lease"))
                (outcome,) = self._calls.script(
                    "free",
                    [keys.frozen(batch_id), keys.state(batch_id), keys.leases],
                    [batch_id, seen, self._owner],
                )
                freed += outcome == b"freed"
        return freed

    def read(self, batch: Batch) -> list[bytes]:
        """The records of the present chunk, as pushed.

        The chunk is always the head of the frozen list. Whether it still was ours is asked **after** reading:
        leases are never reused and offsets only grow, so the answer covers all that was read before.

        Raises:
            LeaseLost: drop the batch.
            BatchDamaged: fewer records are there than were sealed; see `write_off`.
        """
        keys = self._keys[batch.list_name]
        frozen = keys.frozen(batch.id)
        wanted = batch.next_count
        records: list[bytes] = []
        for first in range(0, wanted, READ_SLICE):
            last = min(first + READ_SLICE, wanted) - 1
            records += self._calls.command("LRANGE", frozen, first, last)
        lease, offset = self._calls.command("HMGET", keys.state(batch.id), "lease", "offset")
        if text(lease) != batch.lease or number(offset) != batch.offset:
            raise LeaseLost(batch.id, "taken by another worker")
        if len(records) != wanted:
            raise BatchDamaged(batch.id, wanted, len(records))
        return records

    def read_ahead(self, batch: Batch) -> list[bytes]:
        """The records of the chunk after the present one, while the present one is not yet let go of.

        Whether the batch still is ours is told by the `advance` that comes between: it is fenced, and only the
        owner takes records off the head.

        Raises:
            BatchDamaged: fewer records are there than were sealed.
        """
        keys = self._keys[batch.list_name]
        first = batch.next_count
        wanted = min(batch.chunk, batch.count - batch.offset - first)
        records: list[bytes] = []
        for start in range(first, first + wanted, READ_SLICE):
            last = min(start + READ_SLICE, first + wanted) - 1
            records += self._calls.command("LRANGE", keys.frozen(batch.id), start, last)
        if len(records) != wanted:
            raise BatchDamaged(batch.id, wanted, len(records))
        return records

    def renew(self, batch: Batch) -> None:
        """Move the lease's deadline.

        Raises:
            LeaseLost: another worker has taken the batch, or it is finished.
        """
        keys = self._keys[batch.list_name]
        (outcome,) = self._calls.script(
            "renew",
            [keys.frozen(batch.id), keys.state(batch.id), keys.leases],
            [batch.id, batch.lease, self._lease_ms],
        )
        if outcome != b"renewed":
            raise LeaseLost(batch.id, "taken by another worker")

    def advance(
        self, batch: Batch, count: int, rejects: Sequence[Rejection], forward_limit: int
    ) -> tuple[Batch | None, int]:
        """Let go of the present chunk, which the store has accepted; keep the rejected, renew the lease.

        A repeat with the same arguments changes nothing and gives the same answer. `forward_limit` is the
        most bytes of the pump's list, 0 without one.

        Returns:
            The batch at its next chunk, or None when it is finished; and the pump's bytes, -1 where unknown.

        Raises:
            ValueError: `count` is not the whole chunk, or a rejection is outside it or named twice.
            LeaseLost: another worker has the batch; whether this step counted is for the store's ledger to
                say.
            BatchDamaged: nothing was changed.
        """
        if count != batch.next_count:
            raise ValueError(f"a chunk is let go of as a whole: {batch.next_count} records, not {count}")
        indexes = [one.index for one in rejects]
        if len(set(indexes)) != len(indexes) or any(not 0 <= index < count for index in indexes):
            raise ValueError("rejections need distinct indexes inside the chunk")
        keys = self._keys[batch.list_name]
        names = [keys.frozen(batch.id), keys.state(batch.id), keys.leases, keys.totals, keys.rejects]
        args: list[Argument] = [
            batch.id,
            batch.lease,
            batch.offset,
            count,
            self._lease_ms,
            TOMBSTONE_SECONDS * 1000,
        ]
        ttl_ms = 0 if batch.list_name.endswith("_protobuf") else self._forward_ttl_ms
        args += [forward_limit, ttl_ms, int(self._calls.memory_usage)]
        for one in sorted(rejects, key=lambda rejection: rejection.index):
            args += [one.index, one.reason, one.digest]
        outcome, offset, finished, pump_bytes, _ = self._calls.script(
            "advance", [*names, keys.forward] if keys.forward else names, args
        )
        if outcome == b"damaged":
            raise BatchDamaged(batch.id, batch.count - batch.offset, offset)
        if outcome == b"not_a_list":
            raise SourceError(f"{keys.forward}, which records are forwarded to, is not a list")
        if outcome not in (b"advanced", b"again"):
            raise LeaseLost(batch.id, f"{text(outcome)} at offset {batch.offset}")
        following = replace(batch, offset=offset, attempt=1, tokens=())
        return None if finished else following, pump_bytes

    def fresh_token(self, batch: Batch, token: str) -> Batch:
        """Record a token before the present chunk is inserted under it, so that every later try knows it.

        Raises:
            ValueError: the token is empty or has a line break.
            LeaseLost: another worker has the batch.
        """
        if not token or "\n" in token:
            raise ValueError("a token is one non-empty line")
        keys = self._keys[batch.list_name]
        outcome, tokens = self._calls.script(
            "set_token",
            [keys.frozen(batch.id), keys.state(batch.id)],
            [batch.lease, batch.offset, token],
        )
        if outcome not in (b"recorded", b"again"):
            raise LeaseLost(batch.id, "taken by another worker")
        return replace(batch, tokens=tuple(text(tokens).split("\n")))

    def release(self, batch: Batch) -> bool:
        """Give the batch back at once, the try uncounted; False where it was no longer ours.

        Only where no insert of the present chunk is under way or of unknown outcome: otherwise leave it to
        its lease.
        """
        keys = self._keys[batch.list_name]
        (outcome,) = self._calls.script(
            "release",
            [keys.frozen(batch.id), keys.state(batch.id), keys.leases],
            [batch.id, batch.lease],
        )
        return bool(outcome == b"released")

    def write_off(self, batch: Batch) -> tuple[int, Batch | None]:
        """After `BatchDamaged`: accept that records are gone, and go on with those that are there.

        Returns:
            How many are missing, and the batch with what is left (None: nothing). Its attempt is above 1: the
            chunk's content may not be what an earlier try inserted.

        Raises:
            LeaseLost: another worker has the batch.
        """
        keys = self._keys[batch.list_name]
        outcome, missing, finished = self._calls.script(
            "write_off",
            [keys.frozen(batch.id), keys.state(batch.id), keys.leases, keys.totals],
            [batch.id, batch.lease, TOMBSTONE_SECONDS * 1000],
        )
        if outcome != b"written_off":
            raise LeaseLost(batch.id, "taken by another worker")
        if finished:
            return missing, None
        again = self.take_batch(batch.list_name, batch.id, batch.lease)
        if again is None:
            raise LeaseLost(batch.id, "taken by another worker")
        return missing, again
