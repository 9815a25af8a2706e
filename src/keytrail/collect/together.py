"""Small batches of several lists, stored in one insert.

To store a batch costs about as much however small it is, and a gateway that spreads its records over ten lists makes
ten small batches of what would be one. Each keeps its own lease, its own entry in the ledger and its own advance; only
the insert is one. Where it fails, or this process dies on the way, each is tried again by itself, as any other batch.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from keytrail.collect.chunks import Prepared, Renewing, chunk_of
from keytrail.collect.frozen_batch import Batch
from keytrail.collect.source import Source
from keytrail.errors import BatchDamaged, LeaseLost, StoreError
from keytrail.store.chunk import Chunk, Written
from keytrail.store.writer import Writer

log = structlog.get_logger("keytrail.collect")

SMALL: Final = 2_000
"""Records of a small batch."""
MOST: Final = 16
"""Batches of one insert."""


class Together:
    """Stores small batches in one insert.

    Args:
        source: Where batches come from.
        writer: The way into the store.
        decode: A batch, the place of its first blob and its blobs to what is ready for the store.
        judge: Told of the records of each chunk before it is stored, none of which is rejected.
        stored: Told of each chunk that was stored.
    """

    def __init__(
        self,
        source: Source,
        writer: Writer,
        decode: Callable[[Batch, int, list[bytes]], Prepared],
        judge: Callable[[int, list[int]], object],
        stored: Callable[[Batch, Chunk, Written], None],
    ) -> None:
        self._source = source
        self._writer = writer
        self._decode = decode
        self._judge = judge
        self._stored = stored

    def store(self, first: Batch) -> list[tuple[Batch, Prepared | None]]:
        """Take more small batches if this is one, and store those that can be stored together.

        Returns:
            The batches that are taken and still have to be stored, each by itself, with their records where these are
            decoded already.

        Raises:
            SourceError: Redis can't be asked; what was taken stays under its lease.
        """
        small, large = self._gather(first)
        alone: list[tuple[Batch, Prepared | None]] = [(batch, None) for batch in large]
        if len(small) < 2:
            return [*((batch, None) for batch in small), *alone]
        ready: list[tuple[Batch, Prepared]] = []
        for batch in small:
            try:
                prepared = self._decode(batch, batch.offset, self._source.read(batch))
            except LeaseLost as error:
                log.warning("another collector has the batch", source=self._source.name, error=str(error))
            except BatchDamaged:
                alone.append((batch, None))
            else:
                # What was rejected must be kept beside its own batch.
                if prepared.decoded.rejected:
                    alone.append((batch, prepared))
                else:
                    self._judge(prepared.decoded.taken, [])
                    ready.append((batch, prepared))
        return [*(self._write(ready) if ready else ()), *alone]

    def _gather(self, first: Batch) -> tuple[list[Batch], list[Batch]]:
        """Small batches, and the one that is not at which looking ended."""
        small: list[Batch] = []
        found: Batch | None = first
        while found is not None:
            if not _is_small(found):
                return small, [found]
            small.append(found)
            found = self._source.take() if len(small) < MOST else None
        return small, []

    def _write(self, ready: list[tuple[Batch, Prepared]]) -> list[tuple[Batch, Prepared | None]]:
        """Store batches; those of unknown outcome are given back, as tried."""
        chunks = [chunk_of(self._source.name, batch, prepared, attempt=1) for batch, prepared in ready]
        try:
            # Whoever took one of them meanwhile would not find it, and store it under another token.
            with Renewing(self._source, [batch for batch, _ in ready]):
                written = self._writer.write_together(chunks)
        except StoreError as error:
            log.warning("batches are stored one by one", source=self._source.name, error=str(error))
            return [(replace(batch, attempt=2), prepared) for batch, prepared in ready]
        damaged: list[tuple[Batch, Prepared | None]] = []
        for (batch, _), chunk, what in zip(ready, chunks, written, strict=True):
            self._stored(batch, chunk, what)
            try:
                self._source.advance(batch, chunk.taken, [])
            except LeaseLost as error:
                log.warning("another collector has the batch", source=self._source.name, error=str(error))
            except BatchDamaged:
                damaged.append((replace(batch, attempt=2), None))
        return damaged


def _is_small(batch: Batch) -> bool:
    """Whether it is one small chunk that nobody can have tried."""
    untried = batch.attempt == 1 and not batch.tokens and not batch.offset
    return untried and batch.count <= SMALL and batch.next_count == batch.count
