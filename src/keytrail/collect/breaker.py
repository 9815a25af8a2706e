"""The breaker: when most records can't be decoded, collection stops rather than emptying Redis into dead letters."""

from collections import deque
from typing import Final

WINDOW: Final = 1_000
FEWEST: Final = 100


class Breaker:
    """Judges the last 1,000 records.

    Args:
        share: Largest share of them that may be rejected, 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self.reason = ""
        """Why it has tripped; "" while it has not."""

    def judge(self, taken: int, rejected_at: list[int]) -> bool:
        """Count a chunk before anything is done with it; True where collection has to stop.

        Args:
            taken: Records of the chunk.
            rejected_at: Places of those that are rejected, rising.
        """
        # Only the last ones of a chunk can stay in the window.
        first = max(taken - WINDOW, 0)
        bad = set(rejected_at)
        self._last.extend(place in bad for place in range(first, taken))
        count, rejected = len(self._last), sum(self._last)
        if count >= FEWEST and rejected > self._share * count:
            self.reason = f"{rejected} of the last {count} records could not be decoded"
        return bool(self.reason)

    def close(self) -> None:
        """Go on: forget what was judged."""
        self._last.clear()
        self.reason = ""
