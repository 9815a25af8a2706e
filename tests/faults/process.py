"""A collector as a process of its own that can be told to die at a point of the protocol.

    python -m tests.faults.process CONFIG [POINT NUMBER]

POINT is one of `POINTS`; the process kills itself with SIGKILL at the NUMBER-th time that it gets there. The point
`wrong_order` is no death but a fault: it lets go of a chunk before the store has it, as the vendor's pump does.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keytrail.cli.collecting import collecting
from keytrail.cli.wiring import assembled
from keytrail.collect import loop, source
from keytrail.config import load
from keytrail.store import client, writer
from keytrail.telemetry import set_up_logging

POINTS = ("sealed", "taken", "before_insert", "in_insert", "raw_inserted", "confirmed", "advanced")


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
    elif point in {"before_insert", "in_insert", "raw_inserted"}:
        original = client.Handles.insert

        def insert(self: Any, table: str, rows: Any, token: str) -> None:
            raw = table == "requests"
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
        sys.exit(f"no point is called {point!r}")


def main() -> None:
    """Collect until SIGTERM."""
    config, *rest = sys.argv[1:]
    if rest:
        arm(rest[0], int(rest[1]))
    set_up_logging("text", level=30)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with assembled(load(Path(config)), wait=10) as parts, collecting(parts.collectors):
        print("collecting", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
