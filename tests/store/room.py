"""Plans for a disk with a certain room, while the engine takes away what it has merged."""

from __future__ import annotations

from collections.abc import Callable

from keytrail.store.retention import Step
from tests.product import Product


def at_rest(store: Product, plan: Callable[[int], list[Step]]) -> list[Step]:
    """The steps of a plan, which is told the bytes that are about to be free.

    Parts that were merged are room to come, and the engine takes them away whenever it likes. Where it did so while
    the plan was made, it is made again.
    """
    while True:
        leaving = _leaving(store)
        steps = plan(leaving)
        if _leaving(store) == leaving:
            return steps


def _leaving(store: Product) -> int:
    return int(store.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE NOT active")[0][0])
