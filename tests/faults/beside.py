"""What a server does beside collecting, done over and over, so that a kill comes in the middle of it."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import structlog

from keytrail.cli.wiring import Assembly
from keytrail.errors import StoreError
from keytrail.store import retention
from keytrail.store.erased import Subject
from keytrail.store.tables import RAW

log = structlog.get_logger("keytrail.tests")

KEYS: Final = [f"{number:08x}" for number in range(20)]
"""The keys of the records that are pushed."""
ERASED: Final = KEYS[:4]
ANONYMOUS: Final = KEYS[4:8]
RAW_DAYS: Final = 30
HOT_DAYS: Final = 4
"""Days that pruning leaves alone: so old are records of no batch that may be tried again."""
COPY: Final = "copy.tar"


def cool(parts: Assembly, _: Path, __: int) -> None:
    """Move every day but the last into a file; what comes later joins it the next time."""
    newest = parts.engine.query(f"SELECT toDate(max(time)) FROM {RAW}").rows[0][0]
    parts.upkeep._pruning.run(_noon(newest + timedelta(days=RAW_DAYS)))


def prune(parts: Assembly, _: Path, __: int) -> None:
    """Drop all days but the last."""
    newest = parts.engine.query(f"SELECT toDate(max(time)) FROM {RAW}").rows[0][0]
    parts.upkeep._pruning.run(_noon(newest + timedelta(days=RAW_DAYS + 1 - HOT_DAYS)))


def erase(parts: Assembly, _: Path, number: int) -> None:
    """Erase one key after the other, half of them for their counts."""
    key = (ERASED + ANONYMOUS)[number % len(ERASED + ANONYMOUS)]
    parts.upkeep.erase([Subject("key", key)], keep_counts=key in ANONYMOUS)


def copy(parts: Assembly, folder: Path, _: int) -> None:
    """Make a backup; it has its name once it is whole."""
    part = folder / f"{COPY}.part"
    with part.open("wb") as file:
        for piece in parts.upkeep.backup():
            file.write(piece)
    part.rename(folder / COPY)


WORK: Final = {"cool": cool, "prune": prune, "erase": erase, "copy": copy}


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


@contextmanager
def beside(parts: Assembly, what: str, folder: Path, seed: int, done: Callable[[], object]) -> Iterator[None]:
    """Do it in a thread until the block ends.

    Args:
        parts: The parts of the process.
        what: `cool`, `prune`, `erase` or `copy`, or several with `+` between them, in turn.
        folder: Where copies go.
        seed: With which of them to begin.
        done: Told when it was done for the first time.
    """
    # As if every record had come on its day: what is imported stays as long as if it were new.
    retention.Pruning._last_came = lambda self, part: part.start  # type: ignore[method-assign]
    ended = threading.Event()
    every = [WORK[one] for one in what.split("+")]

    def work() -> None:
        for number in itertools.count(seed):
            if ended.wait(0.05):
                return
            try:
                every[number % len(every)](parts, folder, number // len(every))
            except StoreError:
                log.exception("beside")
            if number == seed:
                done()

    thread = threading.Thread(target=work, name="beside")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
