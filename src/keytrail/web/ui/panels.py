"""A panel: a part of a page that is asked for, shown, refreshed and fails by itself."""

import threading
from collections.abc import Callable
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
