"""Names in Redis: the gateway's lists, and our keys in the hash slot of each.

Redis Cluster hashes the part of a key between its first `{` and the next `}`, unless that part is empty: then
the whole key. A list without such a tag is put into ours as a whole, so both hash alike; that fails where the
name has a `}` but no tag, as our tag would end there.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass

from keytrail.errors import PrefixRefused

DEFAULT_PREFIX = "analytics-"
_LIST = "tyk-system-analytics"


def list_names(prefix: str = DEFAULT_PREFIX) -> tuple[str, ...]:
    """All 22 lists that a gateway may push to: plain, `_0` to `_9`, each with and without `_protobuf`."""
    shards = ("", *(f"_{number}" for number in range(10)))
    return tuple(f"{prefix}{_LIST}{shard}{kind}" for kind in ("", "_protobuf") for shard in shards)


def hash_tag(key: str) -> str | None:
    """The non-empty tag between the first `{` and the next `}`, or None: then the whole key is hashed."""
    start = key.find("{")
    end = key.find("}", start + 1)
    return key[start + 1 : end] if start >= 0 and end > start + 1 else None


def check_prefix(prefix: str) -> None:
    """Refuse a prefix whose lists and our keys could not share a slot.

    Raises:
        PrefixRefused: there is a `}` but no non-empty tag (`{}x`, `a}b`), or the prefix would name our own
            keys.
    """
    if "}" in prefix and hash_tag(prefix) is None:
        raise PrefixRefused(f"prefix {prefix!r} has a '}}' but no hash tag such as {{name}}")
    if prefix.startswith("keytrail:"):
        raise PrefixRefused("prefix: keytrail: is the start of our own keys")


def check_forward_prefix(prefix: str, forward_prefix: str, *, cluster: bool) -> None:
    """Refuse a forward prefix that we would read again, or that no script may touch beside the source.

    Raises:
        PrefixRefused: equal to the source's prefix, or in another slot on Redis Cluster.
    """
    check_prefix(forward_prefix)
    if prefix == forward_prefix:
        raise PrefixRefused("forward_prefix is the prefix that is collected: every record would come back")
    if cluster and (hash_tag(prefix) is None or hash_tag(prefix) != hash_tag(forward_prefix)):
        raise PrefixRefused(
            "forward_prefix: on Redis Cluster both prefixes need the same hash tag, such as "
            f"{{analytics}}- and {{analytics}}pump-; got {prefix!r} and {forward_prefix!r}"
        )


class BatchIds:
    """Ids of batches: version 7 UUIDs (RFC 9562) as 32 hex digits. Safe to use from several threads.

    Those of one maker sort as they were made, also within a millisecond and when the clock goes back, so that
    batches come out of Redis as they were sealed. Those of several sort by their clocks, to the millisecond.
    """

    def __init__(self) -> None:
        """Begin with no id made."""
        self._making = threading.Lock()
        self._last = 0

    def new(self) -> str:
        """An id that sorts behind all that were made here before."""
        with self._making:
            moment = time.time_ns() // 1_000_000 << 74 | secrets.randbits(74)
            self._last = moment = max(moment, self._last + 1)
        upper, lower = moment >> 62, moment & (1 << 62) - 1
        return f"{upper >> 12:012x}7{upper & 0xFFF:03x}{0b10 << 62 | lower:016x}"


new_batch_id = BatchIds().new


@dataclass(frozen=True)
class ListKeys:
    """Our keys for one gateway list, all in its slot. Each store id has its own leases and totals."""

    source: str
    base: str
    leases: str
    totals: str
    rejects: str
    stores: str
    forward: str

    @classmethod
    def of(cls, source: str, store_id: str, prefix: str = "", forward_prefix: str = "") -> ListKeys:
        """The keys for `source`; `forward_prefix` replaces `prefix` in the name of the list for the pump."""
        tag = hash_tag(source)
        base = f"keytrail:{{{source if tag is None else tag}}}:{source}:"
        forward = forward_prefix + source.removeprefix(prefix) if forward_prefix else ""
        return cls(
            source,
            base,
            f"{base}leases:{store_id}",
            f"{base}totals:{store_id}",
            f"{base}rejects:{store_id}",
            f"{base}stores",
            forward,
        )

    def leases_of(self, store_id: str) -> str:
        """The leases of another store id."""
        return f"{self.base}leases:{store_id}"

    def frozen(self, batch_id: str) -> str:
        """The list that a batch is frozen in."""
        return f"{self.base}{batch_id}"

    def state(self, batch_id: str) -> str:
        """The hash that says how far a batch has come."""
        return f"{self.base}{batch_id}:state"
