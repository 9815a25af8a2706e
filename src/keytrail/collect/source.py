"""A gateway's lists in Redis: seal, take, read, advance, as delivery.md has it, each step one Lua script.

Every script may be repeated by the client after a call of unknown outcome. They rely on TIME before writes
inside a script, that is on the replication of effects: the default since Redis 5, and the only way since 7.
Needs Redis 6.2 or Valkey 7.2, or later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keytrail.collect.backlog import measure_backlog, measure_foreign, measure_last_seal
from keytrail.collect.dead_letters import DeadLetters
from keytrail.collect.frozen_batch import (
    Batch,
    DeadLetter,
    ForeignBatches,
    Held,
    ListBacklog,
    Rejection,
    Sealed,
)
from keytrail.collect.leases import Leases
from keytrail.collect.redis_calls import LateCluster, RedisCalls, RedisClient
from keytrail.collect.sealing import Sealing
from keytrail.collect.source_keys import (
    DEFAULT_PREFIX,
    ListKeys,
    check_forward_prefix,
    check_prefix,
    list_names,
    new_batch_id,
)

FEWEST_IN_CHUNK = 1_000
MOST_IN_CHUNK = 50_000
MOST_BYTES_IN_CHUNK = 64 * 1024 * 1024


class Source:
    """The lists of one gateway Redis, for one store. Safe to use from several threads."""

    def __init__(
        self,
        client: RedisClient | LateCluster,
        *,
        name: str,
        owner: str,
        store_id: str,
        prefix: str = DEFAULT_PREFIX,
        decoder_version: str = "1",
        cap_bytes: int | None = None,
        lease_seconds: float = 60.0,
        forward_prefix: str = "",
        forward_ttl_seconds: float = 60.0,
        forward_cap_bytes: int | None = None,
        fewest_in_chunk: int = FEWEST_IN_CHUNK,
        most_in_chunk: int = MOST_IN_CHUNK,
        most_bytes_in_chunk: int = MOST_BYTES_IN_CHUNK,
    ) -> None:
        """Check the prefixes; Redis is not asked yet.

        Args:
            client: from `redis_url.connect_later`; replies are bytes.
            name: how this Redis is called in answers.
            owner: this process, made anew at each start.
            store_id: batches of other store ids are never touched.
            prefix: of the gateway's list names.
            decoder_version: kept with each batch that is sealed.
            cap_bytes: sealed, rejected and forwarded bytes together; None: 256 MB or a quarter of the memory
                limit.
            lease_seconds: longer than `redis_url`'s retries (21 s) and an insert.
            forward_prefix: also hand each record to a pump that reads this prefix; "" does not.
            forward_ttl_seconds: of the pump's lists, given once as the gateway does; never to protobuf lists.
            forward_cap_bytes: of all the pump's lists; None: a quarter of the cap.
            fewest_in_chunk: a chunk holds at least so many records, where the bytes allow it.
            most_in_chunk: a chunk holds at most so many records.
            most_bytes_in_chunk: by the mean size of the batch's records.

        Raises:
            PrefixRefused: see `source_keys`.
        """
        self.calls = RedisCalls(client)
        check_prefix(prefix)
        if forward_prefix:
            check_forward_prefix(prefix, forward_prefix, cluster=self.calls.is_cluster)
        self.name = name
        self.store_id = store_id
        self.lease_seconds = lease_seconds
        self.prefix = prefix
        self.forward_prefix = forward_prefix
        self.keys: Mapping[str, ListKeys] = {
            one: ListKeys.of(one, store_id, prefix, forward_prefix) for one in list_names(prefix)
        }
        self._forward_cap = forward_cap_bytes
        self._sealing = Sealing(
            self.calls,
            self.keys,
            store_id=store_id,
            decoder_version=decoder_version,
            cap_bytes=cap_bytes,
            chunk_limits=(fewest_in_chunk, most_in_chunk, most_bytes_in_chunk),
        )
        self._leases = Leases(
            self.calls,
            self.keys,
            owner=owner,
            store_id=store_id,
            lease_ms=max(1, round(lease_seconds * 1000)),
            forward_ttl_ms=round(forward_ttl_seconds * 1000),
        )
        self._dead_letters = DeadLetters(self.calls, self.keys, store_id, decoder_version)

    def list_names(self) -> tuple[str, ...]:
        """All 22 lists that the gateway may push to."""
        return tuple(self.keys)

    def cap_bytes(self) -> int:
        """The cap on what we hold: as set, or the smaller of 256 MB and a quarter of Redis's memory limit."""
        return self._sealing.cap_bytes()

    @property
    def held(self) -> Held | None:
        """What counted towards the cap when `seal` last looked; None before."""
        return self._sealing.held

    def seal(self) -> list[Sealed]:
        """Freeze every gateway list that holds records, the one that dies first at first: `Sealing.seal`.

        Raises:
            SourceUnavailable: no list could be looked at.
        """
        return self._sealing.seal()

    def take(self) -> Batch | None:
        """A batch whose lease has expired, now under ours; the abandoned first, then the oldest.

        Raises:
            SourceUnavailable: Redis is away; should the batch have been taken, it waits for its lease to
                expire.
        """
        return self._leases.take()

    def free_leases_of(self, store_id: str) -> int:
        """End the leases of this store's former owners at once; how many. See `Leases.free_leases_of`.

        Only for who holds the lock of the embedded store's directory, before any take.
        """
        return self._leases.free_leases_of(store_id)

    def read(self, batch: Batch) -> list[bytes]:
        """The records of the batch's present chunk, as pushed.

        Raises:
            LeaseLost: drop the batch.
            BatchDamaged: fewer records are there than were sealed; see `write_off`.
        """
        return self._leases.read(batch)

    def read_ahead(self, batch: Batch) -> list[bytes]:
        """The records of the chunk after the present one; finish reading before you advance.

        Raises:
            BatchDamaged: fewer records are there than were sealed; see `write_off`.
        """
        return self._leases.read_ahead(batch)

    def renew(self, batch: Batch) -> None:
        """Move the lease's deadline to a whole lease from now.

        Raises:
            LeaseLost: drop the batch.
        """
        self._leases.renew(batch)

    def advance(self, batch: Batch, count: int, rejects: Sequence[Rejection] = ()) -> Batch | None:
        """Let go of the present chunk, which the store has accepted; None when that was the last.

        Keeps the rejected, forwards the chunk where that is set, renews the lease. A repeat with the same
        arguments changes nothing and gives the same answer.

        Raises:
            ValueError: `count` is not the whole chunk, or a rejection is outside it or named twice.
            LeaseLost: another worker has the batch; whether this step counted is for the store's ledger to
                say.
            BatchDamaged: nothing was changed; see `write_off`.
        """
        limit = self._forward_limit(batch.list_name)
        following, pump_bytes = self._leases.advance(batch, count, rejects, limit)
        if pump_bytes >= 0:
            self._sealing.forward_bytes[batch.list_name] = pump_bytes
        return following

    def _forward_limit(self, source: str) -> int:
        if not self.forward_prefix:
            return 0
        cap = self._forward_cap if self._forward_cap is not None else self.cap_bytes() // 4
        sizes = self._sealing.forward_bytes.copy()
        others = [size for name, size in sizes.items() if name != source and size]
        # What the others leave, but never less than a fair share: they shrink to theirs as they advance.
        return max(1, cap - sum(others), cap // (len(others) + 1))

    def fresh_token(self, batch: Batch, token: str) -> Batch:
        """Record a token before the present chunk is inserted under it, so that every later try knows it.

        Raises:
            ValueError: the token is empty or has a line break.
            LeaseLost: drop the batch.
        """
        return self._leases.fresh_token(batch, token)

    def release(self, batch: Batch) -> bool:
        """Give the batch back at once, the try uncounted; False where it was no longer ours.

        Only where no insert of the present chunk is under way or of unknown outcome: otherwise leave it to
        its lease.
        """
        return self._leases.release(batch)

    def write_off(self, batch: Batch) -> tuple[int, Batch | None]:
        """After `BatchDamaged`: how many records are missing, and the batch with the rest (None: none).

        Raises:
            LeaseLost: drop the batch.
        """
        return self._leases.write_off(batch)

    def backlog(self) -> list[ListBacklog]:
        """Each list that holds or has held anything: what waits, what is sealed, what is dead.

        Raises:
            SourceUnavailable: Redis is away.
        """
        return measure_backlog(self.calls, self.keys)

    def foreign_batches(self) -> list[ForeignBatches]:
        """Other stores that have sealed from the same lists: competing readers, never touched by us."""
        return measure_foreign(self.calls, self.keys, self.store_id)

    def since_last_seal_ms(self) -> int | None:
        """Milliseconds since this store last sealed anything, by the Redis clock; None if it never did.

        Raises:
            SourceUnavailable: Redis is away.
        """
        return measure_last_seal(self.calls, self.keys, self.store_id)

    def time_ms(self) -> int:
        """The Redis clock, in milliseconds since 1970.

        Raises:
            SourceUnavailable: Redis is away.
        """
        return self.calls.time_ms()

    def rejects(self, source: str, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """A list's dead letters, oldest first, from behind the id `after`."""
        return self._dead_letters.page(source, after=after, limit=limit)

    def drop_rejects(self, source: str, ids: Sequence[str]) -> int:
        """Delete dead letters by id; how many there were."""
        return self._dead_letters.drop(source, ids)

    def expire_rejects(self, older_than_seconds: float) -> int:
        """Delete the dead letters of all lists that are older, by the Redis clock; how many there were."""
        return self._dead_letters.expire(older_than_seconds)

    def retry_rejects(self, source: str, ids: Sequence[str], batch_id: str | None = None) -> Sealed:
        """Move up to 1,000 dead letters into a batch of their own, which `take` then hands out.

        They are not forwarded once more.

        Repeating a call with the same `batch_id` changes nothing.
        """
        return self._dead_letters.retry(source, ids, batch_id or new_batch_id())

    def close(self) -> None:
        """Close the connections."""
        self.calls.close()
