"""A statement that is being put together: its text stands where it is made, its bound values here."""

from collections.abc import Callable
from typing import Any, Final

INSTANT: Final = "?"
"""Stands in expressions for a record's instant in ms since the epoch, or the start of a rollup's bucket."""

RAW_CLOCK: Final = "toUnixTimestamp64Milli(time)"
BUCKET_CLOCK: Final = "toUnixTimestamp64Second(bucket) * 1000"

HIDDEN: Final = "not shown"
"""What stands for a value that the asker gave no part of."""


class Statement:
    """The bound values of a statement, and its longer expressions."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.hidden: set[str] = set()
        self._expressions: dict[str, str] = {}

    def bind(self, value: Any, kind: str, *, told: bool = True) -> str:
        """Bind a value and give the placeholder for it.

        Args:
            value: The value.
            kind: Its ClickHouse type.
            told: `explain` may show it; what the store holds may be more than the asker may see.
        """
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        if not told:
            self.hidden.add(name)
        return f"{{{name}:{kind}}}"

    def bind_hidden(self, value: Any, kind: str) -> str:
        """Bind a value that `explain` must not show, such as where something is, and give the placeholder for it."""
        return self.bind(value, kind, told=False)

    def named(self, name: str, make: Callable[[], str]) -> str:
        """A name for an expression, which `level` defines.

        So it stands once in each SELECT, however often it is used: the engine plans the longer, the more there is.
        """
        if name not in self._expressions:
            self._expressions[name] = make()
        return name

    def level(self, sql: str, clock: str) -> str:
        """A SELECT over a table, finished.

        Args:
            sql: Its text, which begins with WITH or SELECT.
            clock: What stands for `INSTANT` in it.
        """
        used = [f"{expression} AS {name}" for name, expression in self._expressions.items() if name in sql]
        if used:
            sql = f"WITH {', '.join(used)}{', ' if sql.startswith('WITH ') else ' '}{sql.removeprefix('WITH ')}"
        return sql.replace(INSTANT, clock)

    def raw(self, sql: str) -> str:
        """A SELECT over raw rows, finished."""
        return self.level(sql, RAW_CLOCK)
