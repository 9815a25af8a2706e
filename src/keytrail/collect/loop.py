"""The loop: seal, take, write, advance, recover. It reads like the protocol in `docs/delivery.md`.

Two threads for each Redis. One seals, because the gateway's time to live is running and must not wait for the store.
The other takes batches and stores them chunk by chunk; while it inserts one chunk, a third reads and decodes the next.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from keytrail.collect.breaker import Breaker
from keytrail.collect.chunks import Ahead, Prepared, Renewing, chunk_of
from keytrail.collect.decode import wire_of_list
from keytrail.collect.decoded_chunk import decode_chunk
from keytrail.collect.frozen_batch import Batch, ForeignBatches, ListBacklog
from keytrail.collect.gaps import SHORTEST, Cause, GapKeeper
from keytrail.collect.privacy import Privacy
from keytrail.collect.rivals import Rivals
from keytrail.collect.source import Source
from keytrail.collect.together import Together
from keytrail.errors import BatchDamaged, LeaseLost, SourceError, StoreError
from keytrail.store.chunk import Chunk, Written
from keytrail.store.writer import Writer

log = structlog.get_logger("keytrail.collect")

SEAL_EVERY: Final = 1.0
"""Seconds from one sealing to the next where all that was sealed is stored: half of what a record may take until it is
answered."""
SEAL_LATER: Final = 0.1
"""Seconds more for each batch that still waits. To store a batch costs about as much, however small it is, so fewer and
larger ones are what catches up."""
SEAL_AT_LEAST_EVERY: Final = 3.0
"""Seconds at most, whatever waits: the gateway's time to live is running."""
IDLE: Final = 2.0
"""Seconds until a worker that was told of nothing looks by itself: for a batch whose lease has run out, or that a
command made. A sealing wakes it at once."""
_LONGEST_PAUSE: Final = 15.0


class Listener(Protocol):
    """Who is told what became of chunks: the metrics."""

    def stored(self, source: str, chunk: Chunk, written: Written, seconds: float) -> None:
        """A chunk was stored; `seconds` from its sealing."""

    def takeover(self, source: str) -> None:
        """A batch was taken whose former owner did not finish it."""


@dataclass(slots=True)
class State:
    """What a collector is doing, for `check`, `/readyz/collect`, the metrics and the coverage of answers.

    Whoever answers requests reads it here and never asks Redis, which may be away.

    Attributes:
        sealed_at: When every waiting list was last sealed.
        stored_at: When a chunk was last stored.
        lists: The lists when they were last looked at; None before.
        looked_at: When that was.
        oldest: When the oldest batch was sealed that is not stored yet, as of then; None where none waits.
        complete_through: Every record that was pushed until then and not lost in a gap is in answers.
        other_stores: Other stores that have sealed from the same lists.
        trouble: What keeps it from sealing or storing now, by part; empty when all is well.
    """

    sealed_at: datetime | None = None
    stored_at: datetime | None = None
    lists: tuple[ListBacklog, ...] | None = None
    looked_at: datetime | None = None
    oldest: datetime | None = None
    complete_through: datetime | None = None
    other_stores: tuple[ForeignBatches, ...] = ()
    trouble: dict[str, str] = field(default_factory=dict)


class _Stopped(Exception):
    """The collector was told to stop while it waited for the store."""


class Collector:
    """Collects from one Redis into the store.

    Args:
        source: The lists.
        writer: The way into the store.
        privacy: What is kept of a record.
        gaps: Keeps the intervals in which nothing was sealed.
        breaker: Stops collection when most records can't be decoded.
        listener: Told of what was stored.
        rejects_for: Seconds for which rejected bytes are kept.
        alone: This process holds the store alone, so leases of its former owners are free at once.
    """

    def __init__(
        self,
        source: Source,
        writer: Writer,
        *,
        privacy: Privacy,
        gaps: GapKeeper,
        breaker: Breaker,
        listener: Listener,
        rejects_for: float,
        alone: bool = True,
    ) -> None:
        self.source = source
        self.gaps = gaps
        self.breaker = breaker
        self.state = State()
        self._writer = writer
        self._privacy = privacy
        self._listener = listener
        self._rejects_for = rejects_for
        self._alone = alone
        self._stop = threading.Event()
        self._sealed = threading.Event()
        self._away = False
        self._sealed_from: datetime | None = None
        self._asked_source = False
        self._rivals = Rivals(source, gaps, alone=alone)
        self._together = Together(source, writer, self._decode, breaker.judge, self._stored)
        self._decoding = ThreadPoolExecutor(1, f"decode-{source.name}")
        self._threads = [
            threading.Thread(target=self._sealing, name=f"seal-{source.name}"),
            threading.Thread(target=self._storing, name=f"store-{source.name}"),
        ]

    def start(self) -> None:
        """Begin to collect."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the chunk under way, give its batch back, and end."""
        self._stop.set()
        self._sealed.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._decoding.shutdown(wait=True, cancel_futures=True)
        self._rivals.note()
        self._note(last=True)
        self.source.close()

    # Seal -----------------------------------------------------------------------------------------------------------

    def _sealing(self) -> None:
        expired = 0.0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._round()
                if began - expired > 3600:
                    expired = began
                    self.source.expire_rejects(self._rejects_for)
            except SourceError as error:
                log.warning("upkeep failed", source=self.source.name, error=str(error))
            except Exception:
                # A fault of ours must not end sealing: the gateway's time to live is running.
                log.exception("sealing failed", source=self.source.name)
                self._troubled("seal", "an unexpected error; see the log", Cause.DOWN)
            self._stop.wait(max(0.0, self._seal_every() - (time.monotonic() - began)))

    def _seal_every(self) -> float:
        waiting = sum(int(one.batches) for one in self.state.lists or ())
        return min(SEAL_EVERY + SEAL_LATER * waiting, SEAL_AT_LEAST_EVERY)

    def _round(self) -> None:
        """Look, then seal: what the round before has sealed is mostly stored by now."""
        if not self._away:
            try:
                self._look()
            except SourceError as error:
                # Sealing says what is wrong, or goes on where only looking is.
                log.debug("the lists can't be looked at", source=self.source.name, error=str(error))
        self._seal()

    def _look(self) -> None:
        """Note what is in Redis, so that nobody who answers a request needs to ask it."""
        now = datetime.now(UTC)
        lists = self.source.backlog()
        waiting = [one.oldest_ms for one in lists if one.batches]
        oldest = now - timedelta(milliseconds=max(waiting)) if waiting else None
        if not self._asked_source:
            since_ms = self.source.since_last_seal_ms()
            if since_ms is not None:
                self.gaps.known_from_source(datetime.now(UTC) - timedelta(milliseconds=since_ms), oldest)
            self._asked_source = True
        self._rivals.looked(lists, now)
        others = self._rivals.ask()
        state = self.state
        state.lists, state.oldest, state.looked_at = tuple(lists), oldest, now
        if others is not None:
            state.other_stores = others
        # A batch holds what was pushed since the sealing before it; had that been long ago, there were a gap.
        through = self._sealed_from if oldest is None else oldest - SHORTEST
        if through is not None and self._sealed_from is not None:
            state.complete_through = max(filter(None, (through, state.complete_through)))

    def _seal(self) -> None:
        began = datetime.now(UTC)
        try:
            outcomes = self.source.seal()
        except SourceError as error:
            self._away = True
            self._troubled("seal", str(error), Cause.SOURCE_AWAY)
            return
        self._rivals.sealed(outcomes, datetime.now(UTC))
        if any(one.outcome == "sealed" for one in outcomes):
            self._sealed.set()
        self._away = False
        failed = [one for one in outcomes if one.outcome in {"unavailable", "refused", "capped"}]
        if failed:
            capped = any(one.outcome == "capped" for one in failed)
            why = "as much is held in Redis as may be" if capped else failed[0].why
            self._troubled("seal", f"{failed[0].list_name}: {why}", Cause.CAP if capped else Cause.SOURCE_AWAY)
            return
        self.state.sealed_at = datetime.now(UTC)
        self._sealed_from = began
        self._settled("seal")
        self.gaps.sealed()

    # Take, write, advance -------------------------------------------------------------------------------------------

    def _storing(self) -> None:
        pause = IDLE
        freed = not self._alone
        while not self._stop.is_set():
            found = None
            try:
                if not freed:
                    # Holding the lock of the store's directory proves every former owner dead.
                    self.source.free_leases_of(self.source.store_id)
                    freed = True
                if not self.breaker.reason:
                    self._settled("breaker")
                    found = self.source.take()
                for batch, ready in self._together.store(found) if found is not None else ():
                    if batch.takes > 1:
                        self._listener.takeover(self.source.name)
                    if self._stop.is_set() and batch.attempt == 1:
                        self.source.release(batch)
                    else:
                        self._drain(batch, ready)
                self._settled("take")
                pause = IDLE
            except LeaseLost as error:
                log.warning("another collector has the batch", source=self.source.name, error=str(error))
            except _Stopped:
                return
            except SourceError as error:
                self._troubled("take", str(error))
                pause = min(pause * 2, _LONGEST_PAUSE)
                found = None
            except Exception:
                # A fault of ours: the batch stays under its lease, nothing is lost, and a person must look.
                log.exception("collecting failed", source=self.source.name)
                self._troubled("take", "an unexpected error; see the log")
                pause = min(max(pause, 1.0) * 2, _LONGEST_PAUSE)
                found = None
            self._note()
            if found is None:
                self._sealed.wait(pause)
                self._sealed.clear()

    def _drain(self, batch: Batch, ready: Prepared | None) -> None:
        """Store a batch chunk after chunk; each is let go of only after the store has accepted it.

        Args:
            batch: The batch.
            ready: Its present chunk, where that is decoded already.
        """
        ahead: Ahead | None = None
        current: Batch | None = batch
        while current is not None:
            standing = current
            try:
                prepared = ready or (ahead.result() if ahead else self._read(current))
                ready = None
                refused = [one.index for one in prepared.decoded.rejected]
                # Records that are tried again were refused before: they tell nothing of what a gateway writes now.
                if not current.retry and self.breaker.judge(prepared.decoded.taken, refused):
                    self._troubled("breaker", self.breaker.reason)
                    log.error("collection has stopped", source=self.source.name, reason=self.breaker.reason)
                    self.source.release(current)
                    return
                ahead = self._look_ahead(current)
                self._store(current, prepared)
                if ahead:
                    # What it reads is counted from the head of the list, which the next step takes away.
                    ahead.has_read()
                current = self.source.advance(current, prepared.decoded.taken, prepared.rejections())
            except BatchDamaged as error:
                missing, current = self.source.write_off(standing)
                ahead = None
                log.error(
                    "records were taken out of a batch", source=self.source.name, missing=missing, error=str(error)
                )
            if current is not None and self._stop.is_set():
                self.source.release(current)
                return

    def _read(self, batch: Batch) -> Prepared:
        return self._decode(batch, batch.offset, self.source.read(batch))

    def _decode(self, batch: Batch, offset: int, blobs: list[bytes]) -> Prepared:
        wire = wire_of_list(batch.list_name)
        return Prepared(blobs, decode_chunk(blobs, wire, privacy=self._privacy, batch_id=batch.id, offset=offset))

    def _look_ahead(self, batch: Batch) -> Ahead | None:
        following = batch.offset + batch.next_count
        if following >= batch.count:
            return None
        return Ahead(
            self._decoding,
            lambda: self.source.read_ahead(batch),
            lambda blobs: self._decode(batch, following, blobs),
        )

    def _store(self, batch: Batch, prepared: Prepared) -> None:
        """Write a chunk, however long the store is away; the lease is renewed meanwhile.

        Raises:
            LeaseLost: Another collector has the batch.
        """
        attempt, tokens, pause = batch.attempt, list(batch.tokens), 0.5

        def record(token: str) -> None:
            self.source.fresh_token(batch, token)
            tokens.append(token)

        while True:
            chunk = chunk_of(self.source.name, batch, prepared, attempt)
            try:
                with Renewing(self.source, [batch]):
                    written = self._writer.write(chunk, token=tokens[-1] if tokens else "", record_token=record)
            except StoreError as error:
                # Whether something was written is not known, so the next try is a second one.
                attempt = max(attempt, 1) + 1
                self._troubled("store", str(error))
                self._wait_for_the_store(batch, pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            self._stored(batch, chunk, written)
            return

    def _stored(self, batch: Batch, chunk: Chunk, written: Written) -> None:
        self._settled("store")
        self.state.stored_at = datetime.now(UTC)
        self._listener.stored(self.source.name, chunk, written, time.time() - batch.sealed_at_ms / 1000)
        self._note()

    def _wait_for_the_store(self, batch: Batch, seconds: float) -> None:
        if self._stop.wait(seconds):
            # Of unknown outcome, so it is not given back: its lease runs out, or the next start ends it.
            raise _Stopped
        self.source.renew(batch)

    def _troubled(self, part: str, why: str, gap: Cause | None = None) -> None:
        if part not in self.state.trouble:
            log.warning("collection is held up", source=self.source.name, part=part, why=why)
        self.state.trouble = {**self.state.trouble, part: why}
        if gap is not None:
            self.gaps.not_sealed(gap)

    def _settled(self, part: str) -> None:
        if part in self.state.trouble:
            log.info("collection goes on", source=self.source.name, part=part)
            self.state.trouble = {name: why for name, why in self.state.trouble.items() if name != part}

    def _note(self, *, last: bool = False) -> None:
        """Write gaps and heartbeats down; where the store is away they wait, and storing says so."""
        try:
            self.gaps.flush(last=last)
        except StoreError as error:
            if last:
                log.warning("the last heartbeat is not noted", source=self.source.name, error=str(error))
