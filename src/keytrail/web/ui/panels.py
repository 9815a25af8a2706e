"""A panel: a part of a page that is asked for, shown, refreshed and fails by itself."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from keytrail.web.ui.commands import QUERY

Maker = Callable[[], Any]
Made = TypeVar("Made")
Questions = tuple[tuple[str, dict[str, Any]], ...]
"""Questions as the API takes them, each with a few words that tell it from the others."""


def asked(question: dict[str, Any]) -> Questions:
    """A question that is the only one of its panel."""
    return (("", question),)


def once(make: Callable[[], Made]) -> Callable[[], Made]:
    """What several panels are made of: made by the first that needs it, though they are made beside each other."""
    lock = threading.Lock()
    made: list[Made] = []

    def get() -> Made:
        with lock:
            if not made:
                made.append(make())
        return made[0]

    return get


class Underway:
    """What several requests need at the same time: panels that come after their page are asked for one by one.

    The first makes it, and who asks meanwhile waits for that. Nothing is kept, so no answer is older than its making.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What is being made under a key, or else made now.

        Args:
            key: What it is, and for whom.
            make: Makes it; what it raises reaches everybody who waits.
        """
        with self._lock:
            underway = self._making.get(key)
            mine: Future[Made] = underway or Future()
            if underway is None:
                self._making[key] = mine
        if underway is not None:
            return mine.result()
        try:
            made = make()
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(made)
            return made
        finally:
            with self._lock:
                del self._making[key]


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of a page.

    Attributes:
        id: Its name in the page and in `?panel=`.
        title: For people.
        template: Its partial.
        make: Makes its data.
        more: Text and URL of the link to everything.
        note: A few words beside the title.
        menu: Text and URL of the entries of its menu.
        asks: The questions that it is made of, for who wants to ask them at the API; none where it can't.
        api: The API's path that takes it.
        size: Which skeleton it has while it loads.
        wide: Columns of the grid that it takes, as classes.
        live: It is refreshed while records arrive.
        slow: Only raw rows can tell, so it is expected to take long.
        sheet: Makes all of it as CSV; None where there is no such thing.
    """

    id: str
    title: str
    template: str
    make: Maker
    more: tuple[str, str] | None = None
    note: str = ""
    menu: tuple[tuple[str, str], ...] = ()
    asks: Questions = ()
    api: str = QUERY
    size: str = "list"
    wide: str = ""
    live: bool = True
    slow: bool = False
    sheet: Callable[[], str] | None = None
