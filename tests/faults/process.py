"""A collector as a process of its own that can be told to die at a point of the protocol.

To import what a collector needs takes longer than to open its store, so processes are forked from one that has imported
it all, except the engine: that starts threads, so each child loads it anew.
"""

import contextlib
import multiprocessing
import os
import platform
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from keytrail.cli.collecting import collecting
from keytrail.cli.wiring import assembled
from keytrail.collect import loop, source
from keytrail.config import load
from keytrail.store import client, writer
from keytrail.store.tables import RAW
from keytrail.telemetry import set_up_logging
from tests.faults.beside import beside
from tests.faults.interpose import Rename, interpose_rename

LINUX: Final = platform.system() == "Linux"
"""Where a call of the engine into the C library can be replaced."""
ANYWHERE = ("sealed", "taken", "before_insert", "in_insert", "raw_inserted", "confirmed", "advanced")
POINTS = (*ANYWHERE, "renaming") if LINUX else ANYWHERE
SEAL_EVERY: Final = 0.3
SEAL_AT_LEAST_EVERY: Final = 1.0
"""Seconds; the shortest that the protocol allows, so that a short life passes each step several times."""
LONGEST: Final = 240
"""Seconds until a process counts as one that never ends."""
FORKING = multiprocessing.get_context("forkserver")
# The main module of the tests too: each child imports it.
FORKING.set_forkserver_preload([__name__, "pytest"])


class Collecting:
    """A collector in a process of its own, which begins at once.

    Args:
        config: Its settings.
        point: One of `POINTS`: it kills itself with SIGKILL at the `number`-th time that it gets there. `wrong_order`
            is a fault: it lets go of a chunk before the store has it, as the vendor's pump does, and dies in between.
        number: See `point`.
        work: What it does beside, over and over: see `beside.py`.
    """

    def __init__(self, config: Path, point: str = "", number: int = 1, work: str = "") -> None:
        self._said, says = FORKING.Pipe(duplex=False)
        self._process = FORKING.Process(target=_collect, args=(config, point, number, work, says))
        self._process.start()
        says.close()

    def until_it_collects(self) -> None:
        """Return once it has opened its store and collects, or is dead."""
        with contextlib.suppress(EOFError):
            self._said.recv()

    def until_it_has_worked(self) -> None:
        """Return once it has done for the first time what it does beside, or is dead."""
        self.until_it_collects()

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it lives."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Its exit status once it has ended; None if it never does."""
        self._process.join(LONGEST)
        return self.status

    def terminate(self) -> None:
        """Tell it to end in good order."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill it, if it lives, and wait until it is gone."""
        self._process.kill()
        self._process.join(LONGEST)
        self._said.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count_down(number: int) -> Callable[[], bool]:
    """True at the number-th call."""
    lock = threading.Lock()
    left = [number]

    def due() -> bool:
        with lock:
            left[0] -= 1
            return left[0] == 0

    return due


def arm(point: str, number: int) -> None:
    """Put the death, or the fault, in its place."""
    due = count_down(number)

    def after(owner: Any, name: str, counts: Callable[[Any], bool] = lambda _: True) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            if counts(result) and due():
                die()
            return result

        setattr(owner, name, wrapped)

    if point == "sealed":
        after(source.Source, "seal", lambda found: any(one.outcome == "sealed" for one in found))
    elif point == "taken":
        after(source.Source, "take", lambda found: found is not None)
    elif point == "confirmed":
        after(writer.Writer, "write")
    elif point == "advanced":
        after(source.Source, "advance")
    elif point == "renaming":
        die_at_rename(due)
    elif point in {"before_insert", "in_insert", "raw_inserted"}:
        original = client.Handles.insert

        def insert(self: Any, table: str, rows: Any, token: str) -> None:
            raw = table == RAW
            if raw and point == "before_insert" and due():
                die()
            if raw and point == "in_insert" and due():
                # Somewhere inside: parts are written within a few milliseconds of each other.
                threading.Timer(0.001 * (1 + os.getpid() % 40), die).start()
            original(self, table, rows, token)
            if raw and point == "raw_inserted" and due():
                die()

        client.Handles.insert = insert  # type: ignore[method-assign] # the fault that is put in
    elif point == "wrong_order":
        store = loop.Collector._store

        def let_go_first(self: Any, batch: Any, prepared: Any) -> None:
            self.source.advance(batch, prepared.decoded.taken, prepared.rejections())
            if due():
                die()
            store(self, batch, prepared)

        loop.Collector._store = let_go_first  # type: ignore[method-assign] # the fault that is put in
    else:
        raise ValueError(point)


def die_at_rename(due: Callable[[], bool]) -> None:
    """Die when the engine is about to put a part of an insert into raw in its place: its token is written by then."""
    inserting: list[str] = []
    original = client.Handles.insert

    def insert(self: Any, table: str, rows: Any, token: str) -> None:
        inserting.append(table)
        original(self, table, rows, token)
        inserting.pop()

    client.Handles.insert = insert  # type: ignore[method-assign] # the fault that is put in
    die_before_rename(lambda old: inserting == [RAW] and b"/tmp_insert_" in old and due())


def die_before_rename(of: Callable[[bytes], bool]) -> None:
    """Die when the engine is about to give another name to a file or folder, told of its path."""
    import chdb  # in the child only, see above

    def make(rename: Rename) -> Rename:
        def checked(old: bytes, new: bytes) -> int:
            if of(old):
                die()
            return rename(old, new)

        return checked

    interpose_rename(next(Path(chdb.__file__).parent.glob("_chdb*.so")), make)


def _collect(config: Path, point: str, number: int, work: str, says: Connection) -> None:
    """Collect until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    loop.SEAL_EVERY, loop.SEAL_AT_LEAST_EVERY = SEAL_EVERY, SEAL_AT_LEAST_EVERY  # type: ignore[misc]
    if point:
        arm(point, number)
    set_up_logging("text", only_faults=True)
    with assembled(load(config), wait=10) as parts, collecting(parts.collectors), contextlib.ExitStack() as more:
        if work:
            more.enter_context(beside(parts, work, config.parent, number, lambda: says.send("worked")))
        says.send("collecting")
        ended.wait()
