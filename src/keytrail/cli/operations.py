"""Collection as the web sees it: the collectors of this process together."""

import base64
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keytrail.collect.gaps import Gap
from keytrail.collect.loop import Collector
from keytrail.instants import text_of
from keytrail.metrics import Metrics
from keytrail.record import Reason
from keytrail.store.chunk import Chunk, Written
from keytrail.store.kept import month_of
from keytrail.store.writer import Writer

LAGGING: Final = timedelta(seconds=60)
"""A batch that waits longer than this for the store is said to lag."""


class Operations:
    """Tells what collection does.

    Args:
        collectors: The collectors of this process.
        metrics: The metrics of this process.
        writer: The way into the store.
    """

    def __init__(self, collectors: Sequence[Collector], metrics: Metrics, writer: Writer) -> None:
        self._collectors = collectors
        self._metrics = metrics
        self._writer = writer

    def collection(self, *, lists: bool) -> list[dict[str, Any]]:
        """Each source: what it does, what troubles it, the gap that lasts; with the lists' backlog if asked."""
        return [self._one(collector, lists=lists) for collector in self._collectors]

    def _one(self, collector: Collector, *, lists: bool) -> dict[str, Any]:
        state, held, gap = collector.state, collector.source.held, collector.gaps.present()
        shown: dict[str, Any] = {
            "source": collector.source.name,
            "sealed_at": _text(state.sealed_at),
            "stored_at": _text(state.stored_at),
            "trouble": dict(state.trouble),
            "held": asdict(held) if held else None,
            "gap": _gap(gap) if gap else None,
        }
        if lists:
            shown["looked_at"] = _text(state.looked_at)
            shown["lists"] = None if state.lists is None else [asdict(one) for one in state.lists]
            shown["other_stores"] = [asdict(one) for one in state.other_stores]
        return shown

    def troubles(self) -> list[str]:
        """Why collection does not go on as it should."""
        found: list[str] = []
        now = datetime.now(UTC)
        for collector in self._collectors:
            name = collector.source.name
            found += [f"{name}: {part}: {why}" for part, why in collector.state.trouble.items()]
            for what, since in (
                ("the oldest batch has waited", collector.state.oldest),
                ("nothing was sealed", collector.state.sealed_at),
            ):
                if since is not None and now - since > LAGGING:
                    found.append(f"{name}: {what} for {(now - since).total_seconds():.0f} s")
        return found

    def complete_through(self) -> str | None:
        """RFC 3339: everything that was pushed until then, gaps apart, is in answers; None where that is not known."""
        moments = [collector.state.complete_through for collector in self._collectors]
        known = [moment for moment in moments if moment is not None]
        return _text(min(known)) if known and len(known) == len(moments) else None

    def metrics(self, *, requests: bool) -> bytes:
        """Our metrics as Prometheus reads them; gauges are as of the last look at the lists."""
        for collector in self._collectors:
            name = collector.source.name
            self._metrics.up.labels(name).set(0 if collector.state.trouble else 1)
            oldest, lists = collector.state.oldest, collector.state.lists
            if lists is None:
                continue
            self._metrics.sealed_bytes.labels(name).set(sum(one.size_bytes for one in lists))
            self._metrics.sealed_records.labels(name).set(sum(one.records for one in lists))
            age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
            self._metrics.oldest.labels(name).set(max(age, 0.0))
            self._metrics.dead.labels(name).set(sum(one.rejects for one in lists))
            for one in lists:
                self._metrics.length.labels(name, one.list_name).set(one.length)
                self._metrics.ttl.labels(name, one.list_name).set(one.ttl_ms / 1000 if one.ttl_ms >= 0 else -1)
        return self._metrics.text(requests=requests)

    def dead_letters(self, *, limit: int) -> list[dict[str, Any]]:
        """Rejected records with their bytes, base64."""
        found: list[dict[str, Any]] = []
        for collector in self._collectors:
            for name in collector.source.list_names():
                for one in collector.source.rejects(name, limit=limit - len(found)) if len(found) < limit else ():
                    record = asdict(one)
                    record["record"] = base64.b64encode(one.record).decode()
                    found.append({"source": collector.source.name, **record})
        return found

    def retry(self, *, limit: int) -> int:
        """Try rejected records again, and close the breakers."""
        moved = 0
        for collector in self._collectors:
            collector.breaker.close()
            for name in collector.source.list_names():
                letters = collector.source.rejects(name, limit=min(limit - moved, 1000)) if moved < limit else []
                if letters:
                    collector.source.retry_rejects(name, [one.id for one in letters])
                    moved += len(letters)
        return moved

    def drop_rejects_with(self, texts: Collection[bytes]) -> int:
        """Delete the rejected records in whose bytes one of some texts stands; how many."""
        dropped = 0
        for collector in self._collectors:
            for name in collector.source.list_names():
                after = ""
                while letters := collector.source.rejects(name, after=after, limit=1000):
                    after = letters[-1].id
                    found = [one.id for one in letters if any(text in one.record for text in texts)]
                    dropped += collector.source.drop_rejects(name, found) if found else 0
        return dropped

    def rebuild(self, months: Collection[int], tables: Collection[str] = ()) -> list[str]:
        """Make rollups of months from the raw rows again, the writer paused; what was rebuilt: `table month`."""
        rebuilt = self._writer.rebuild(months, tables)
        self._metrics.rebuilt.inc(len(rebuilt))
        return rebuilt

    def drift(self) -> list[str]:
        """Rollups of this month and the last that differ from the raw rows: `table month`."""
        today = datetime.now(UTC)
        last = today.replace(day=1) - timedelta(days=1)
        found = self._writer.drift([month_of(day) for day in (last, today)])
        self._metrics.drift.set(len(found))
        return found


class CountingListener:
    """Counts in the metrics what became of chunks.

    Args:
        metrics: The metrics of this process.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def stored(self, source: str, chunk: Chunk, written: Written, seconds: float) -> None:
        """A chunk was stored."""
        self._metrics.stored.labels(source).inc(written.stored)
        self._metrics.duplicates.labels(source).inc(written.duplicate)
        self._metrics.chunks.labels(source).inc()
        if chunk.attempt > 1:
            self._metrics.retried.labels(source).inc()
        if written.phantom:
            self._metrics.phantoms.inc()
        self._metrics.rebuilt.inc(written.rebuilt)
        self._metrics.visible.labels(source).observe(max(seconds, 0.0))
        if not written.duplicate:
            for item in chunk.rejected:
                self._metrics.rejected.labels(source, item.reason.value).inc()
            if written.erased:
                self._metrics.rejected.labels(source, Reason.ERASED.value).inc(len(written.erased))
            self._metrics.count_requests(chunk.rows)

    def repeated(self, source: str, records: int) -> None:
        """So many records came again that are stored already."""
        self._metrics.duplicates.labels(source).inc(records)

    def takeover(self, source: str) -> None:
        """A batch was taken whose former owner did not finish it."""
        self._metrics.takeovers.labels(source).inc()


def _gap(gap: Gap) -> dict[str, Any]:
    return {"start": text_of(gap.start), "cause": gap.cause.value}


def _text(moment: datetime | None) -> str | None:
    return text_of(moment) if moment else None
