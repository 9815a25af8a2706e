"""What an answer can't know: until when everything is in it, when nothing was collected, what is no longer kept."""

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from keytrail.errors import StoreError
from keytrail.instants import moment_of, present, text_of, to_instant
from keytrail.query.request import ALL_TIME
from keytrail.query.zones import Span
from keytrail.store.client import Engine
from keytrail.store.kept import BEGINNING, RAW_ROWS, kept_since, shown_since
from keytrail.store.ledger import Ledger
from keytrail.web.pipeline import Operations

HEADER: Final = "Keytrail-Coverage"
MOST_SHOWN: Final = 5
_KEPT_SECONDS: Final = 1.0

Interval = tuple[int, int | None, str]
"""Start and end of a gap in ms since the epoch, and its cause; no end while it lasts."""


class Coverage:
    """Tells the coverage of a range. Cheap: gaps are read from the store once a second at most.

    Args:
        engine: Where the gaps are kept.
        operations: Tells of collection.
    """

    def __init__(self, engine: Engine, operations: Operations) -> None:
        self._engine = engine
        self._ledger = Ledger(engine)
        self._operations = operations
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._ended: list[Interval] | None = []
        self._raw_since = BEGINNING

    def gaps_in(self, spans: Sequence[Span]) -> list[tuple[Span, str]]:
        """The intervals of some stretches of time in which nothing was collected, each with its cause.

        One that lasts ends now; none where the store does not tell.
        """
        now = present()
        _, _, touching = self._touching(spans)
        return [(Span(start, now if end is None else end), cause) for start, end, cause in touching]

    def lasting(self) -> tuple[int, str] | None:
        """Since when nothing is collected, ms since the epoch, and the cause; None where all goes on."""
        found = [_lasting(one["gap"]) for one in self._operations.collection(lists=False) if one["gap"]]
        start, _, cause = min(found, default=(0, None, ""), key=lambda gap: gap[0])
        return (start, cause) if cause else None

    def headers(self, spans: Sequence[Span]) -> dict[str, str]:
        """The header for an answer about some stretches of time; none where nothing is or was collected."""
        collected, ended, touching = self._touching(spans)
        raw_since = self._raw_since
        if not collected and not touching and ended is not None and raw_since == BEGINNING:
            return {}
        parts = [f"complete-through={self._operations.complete_through() or 'unknown'}"]
        parts.append(f"gaps={'unknown' if ended is None else len(touching)}")
        # The latest ones: a dashboard mostly asks about now.
        shown = ", ".join(_text(gap) for gap in touching[-MOST_SHOWN:])
        if shown:
            parts.append(f"gap={shown}")
        if raw_since > BEGINNING:
            parts.append(f"raw-since={raw_since}")
        return {HEADER: "; ".join(parts)}

    def told(self, spans: Sequence[Span]) -> dict[str, Any] | None:
        """The same for the body of an answer, with every gap; None where nothing is or was collected.

        `complete_through` is null where it is not known, and so is `gaps`; a gap that lasts has no end. `raw_since` is
        the first day of which single records are kept, null where none were ever taken away.
        """
        collected, ended, touching = self._touching(spans)
        raw_since = self._raw_since
        if not collected and not touching and ended is not None and raw_since == BEGINNING:
            return None
        gaps = [
            {"start": _moment(start), "end": None if end is None else _moment(end), "cause": cause}
            for start, end, cause in touching
        ]
        return {
            "complete_through": self._operations.complete_through(),
            "gaps": None if ended is None else gaps,
            "raw_since": shown_since(raw_since),
        }

    def _touching(self, spans: Sequence[Span]) -> tuple[bool, list[Interval] | None, list[Interval]]:
        """Whether anything is collected, the gaps that ended (None if not known), those that touch the spans."""
        sources = self._operations.collection(lists=False)
        ended = self._gaps()
        lasting = [_lasting(source["gap"]) for source in sources if source["gap"]]
        touching = sorted(
            (gap for gap in [*(ended or ()), *lasting] if any(_touches(gap, span) for span in spans)),
            key=lambda gap: gap[0],
        )
        return bool(sources), ended, touching

    def _gaps(self) -> list[Interval] | None:
        """All gaps that have ended; None where the store does not tell."""
        with self._lock:
            if time.monotonic() - self._read_at > _KEPT_SECONDS:
                try:
                    found = self._ledger.gaps(ALL_TIME.start, ALL_TIME.end)
                    self._ended = [(to_instant(one.start), to_instant(one.end), one.cause) for one in found]
                    self._raw_since = kept_since(self._engine, RAW_ROWS)
                except StoreError:
                    # Rows without their coverage are better than none, and the header says that it is not known.
                    self._ended = None
                self._read_at = time.monotonic()
            return self._ended


def _lasting(gap: dict[str, Any]) -> Interval:
    return to_instant(datetime.fromisoformat(gap["start"])), None, gap["cause"]


def _touches(gap: Interval, span: Span) -> bool:
    start, end, _ = gap
    return start < span.end and (span.start < end if end is not None else span.start <= present())


def _text(gap: Interval) -> str:
    start, end, cause = gap
    return f"{_moment(start)}/{'..' if end is None else _moment(end)} {cause}"


def _moment(milliseconds: int) -> str:
    return text_of(moment_of(milliseconds))
