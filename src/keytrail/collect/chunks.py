"""Chunks on their way from Redis to the store: decoded, read ahead, and their lease kept meanwhile."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from keytrail.collect.decoded_chunk import DecodedChunk
from keytrail.collect.frozen_batch import Batch, Rejection
from keytrail.collect.source import Source
from keytrail.errors import SourceError
from keytrail.instants import moment_of
from keytrail.store.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk that is ready for the store."""

    blobs: Sequence[bytes]
    decoded: DecodedChunk

    def digests(self) -> list[str]:
        """SHA-256 of the bytes of each rejected record."""
        return [hashlib.sha256(self.blobs[one.index]).hexdigest() for one in self.decoded.rejected]

    def rejections(self) -> list[Rejection]:
        """The rejected records as the protocol keeps them."""
        return [
            Rejection(one.index, one.reason.value, digest)
            for one, digest in zip(self.decoded.rejected, self.digests(), strict=True)
        ]


def chunk_of(source: str, batch: Batch, prepared: Prepared, attempt: int) -> Chunk:
    """The present chunk of a batch for the store.

    Args:
        source: Name of its source.
        batch: The batch.
        prepared: What became of its records.
        attempt: 1 if nobody can have tried to write it before.
    """
    return Chunk(
        batch_id=batch.id,
        offset=batch.offset,
        taken=prepared.decoded.taken,
        rows=prepared.decoded.table,
        rejected=prepared.decoded.rejected,
        source="redis",
        origin=f"{source}/{batch.list_name}",
        attempt=attempt,
        sealed_at=moment_of(batch.sealed_at_ms),
        digests=prepared.digests(),
    )


class Ahead:
    """The next chunk, read and decoded while the present one is inserted."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        read: Callable[[], list[bytes]],
        decode: Callable[[list[bytes]], Prepared],
    ) -> None:
        self._read = threading.Event()

        def work() -> Prepared:
            try:
                blobs = read()
            finally:
                self._read.set()
            return decode(blobs)

        self._future: Future[Prepared] = pool.submit(work)

    def has_read(self) -> None:
        """Wait until nothing more is read from Redis."""
        self._read.wait()

    def result(self) -> Prepared:
        """The chunk.

        Raises:
            SourceError: It could not be read.
        """
        return self._future.result()


class Renewing:
    """Renews leases for as long as an insert takes: a rebuilt month may take longer than a lease."""

    def __init__(self, source: Source, batches: Sequence[Batch]) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(source, batches), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        # What comes next asks the same Redis, or closes the connections, which must not be in use then.
        self._thread.join()

    def _renew(self, source: Source, batches: Sequence[Batch]) -> None:
        while not self._done.wait(source.lease_seconds / 3):
            for batch in batches:
                if self._done.is_set():
                    return
                # Advance will say so, and is fenced.
                with contextlib.suppress(SourceError):
                    source.renew(batch)
