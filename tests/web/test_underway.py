"""What several requests need at the same time is made once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from keytrail.web.ui.panels import Underway


@dataclass
class Key:
    """Equal to every other; tells when it was found to be, which is when somebody joins."""

    joined: threading.Event = field(default_factory=threading.Event)

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        self.joined.set()
        return True


def test_who_asks_meanwhile_gets_the_same() -> None:
    underway, first, begun = Underway(), Key(), threading.Event()
    made: list[object] = []

    def make() -> object:
        begun.set()
        assert first.joined.wait(30)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(underway.get, first, make)
        assert begun.wait(30)
        other = pool.submit(underway.get, Key(first.joined), make)
        assert one.result(30) is other.result(30) is made[0]
    assert len(made) == 1
    assert underway.get("later", object) is not underway.get("later", object), "nothing is kept"


def test_a_fault_reaches_all_and_is_not_kept() -> None:
    underway, first, begun = Underway(), Key(), threading.Event()

    def fail() -> int:
        begun.set()
        assert first.joined.wait(30)
        raise ValueError("no")

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(underway.get, first, fail)]
        assert begun.wait(30)
        calls.append(pool.submit(underway.get, Key(first.joined), fail))
        for call in calls:
            with pytest.raises(ValueError, match="no"):
                call.result(30)
    assert underway.get(Key(), lambda: 7) == 7
