"""What the collector knows of records in Redis: sealed lists, batches under lease, bytes held, backlog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from keytrail.collect.redis_calls import number, text

SealOutcome = Literal["sealed", "again", "empty", "not_a_list", "capped", "refused", "unavailable"]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What became of one gateway list when it was to be sealed.

    `sealed`, or `again` where a repeat found it done; `empty`: it expired or was taken since we looked;
    `not_a_list`; `capped`: left alone, as as much is held as may be; `refused` and `unavailable`: Redis said
    no, see `why`. `ttl_ms` is the list's time to live before it was sealed, -1 without one; `size_bytes` is
    `estimated` from its first ten records where Redis forbids MEMORY USAGE.
    """

    list_name: str
    batch_id: str
    outcome: SealOutcome
    records: int = 0
    size_bytes: int = 0
    chunk: int = 0
    ttl_ms: int = -1
    estimated: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A frozen batch under our lease, standing at its next chunk.

    `attempt` counts the takes whose outcome for **this chunk** may be unknown: above 1, the store must be
    asked what it has (delivery.md, step 5). `takes` counts all of them. `tokens` are the fresh tokens
    recorded for this chunk. `retry` marks dead letters that are tried once more. Times are ms of the Redis
    server's clock.
    """

    id: str
    list_name: str
    count: int
    offset: int
    chunk: int
    decoder_version: str
    store_id: str
    attempt: int
    takes: int
    sealed_at_ms: int
    size_bytes: int
    tokens: tuple[str, ...]
    retry: bool
    lease: str = field(repr=False)

    @property
    def identity(self) -> str:
        """`<batch>:<offset>`: what this chunk is known by in the store's ledger."""
        return f"{self.id}:{self.offset}"

    @property
    def token(self) -> str:
        """The token to insert this chunk under: its identity, or the last fresh one recorded."""
        return self.tokens[-1] if self.tokens else self.identity

    @property
    def next_count(self) -> int:
        """Records in this chunk; a retry never splits the batch differently."""
        return min(self.chunk, self.count - self.offset)

    @classmethod
    def from_state(cls, batch_id: str, lease: str, state: Sequence[bytes]) -> Batch:
        """From a state hash as HGETALL gives it inside a script: names and values in turn."""
        named = {text(name): value for name, value in zip(state[::2], state[1::2], strict=True)}
        tokens = text(named.get("tokens"))
        return cls(
            id=batch_id,
            list_name=text(named["list"]),
            count=number(named["count"]),
            offset=number(named["offset"]),
            chunk=number(named["chunk"]),
            decoder_version=text(named["decoder"]),
            store_id=text(named["store"]),
            attempt=number(named["attempt"]),
            takes=number(named["takes"]),
            sealed_at_ms=number(named["sealed_at"]),
            size_bytes=number(named["bytes"]),
            tokens=tuple(tokens.split("\n")) if tokens else (),
            retry=named.get("retry") == b"1",
            lease=lease,
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record of the present chunk that makes no row: its index there, why, and the digest of its bytes."""

    index: int
    reason: str
    digest: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected record as Redis keeps it. `record` may hold secrets: for `admin` only, never in a repr."""

    list_name: str
    id: str
    batch_id: str
    seq: int
    reason: str
    digest: str
    decoder_version: str
    at_ms: int
    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that we hold in Redis against the cap on them."""

    sealed: int
    rejected: int
    forwarded: int
    cap: int

    @property
    def total(self) -> int:
        """All that counts towards the cap."""
        return self.sealed + self.rejected + self.forwarded

    @property
    def full(self) -> bool:
        """Whether sealing has to stop."""
        return self.total >= self.cap


@dataclass(frozen=True, slots=True)
class ListBacklog:
    """One gateway list and what we hold of it.

    Times in ms, sizes in bytes. `ttl_ms` is -1 without one, -2 without a list; `sealed_ttl_ms` the TTL seen
    when it was last sealed; `oldest_ms` the age of the oldest batch.
    """

    list_name: str
    length: int
    ttl_ms: int
    batches: int
    records: int
    size_bytes: int
    oldest_ms: int
    rejects: int
    reject_bytes: int
    forwarded: int
    forward_dropped: int
    takeovers: int
    missing: int
    sealed_ttl_ms: int


@dataclass(frozen=True, slots=True)
class ForeignBatches:
    """Batches of another store id on the same list: a competing reader. `last_seal_ms` by the Redis clock."""

    list_name: str
    store_id: str
    batches: int
    last_seal_ms: int
