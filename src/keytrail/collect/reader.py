"""What reading one wire is made of: each of `decode_msgpack`, `decode_json` and `decode_protobuf` has one `Reader`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from keytrail.record import Field, Reason, Shape

Values = Sequence[Any]
Columns = Mapping[str, Values]
"""Column to its values, one for each row.

As the wire gave them, except that an instant is a whole number of ms since the epoch, UTC. Text may be `bytes`, a list
may be None, and a column that the wire does not have may be missing.
"""
Parts = Callable[[Any], tuple[Any, ...]]
Tree = dict[str, Any]
"""Name on the wire to a `Field`, or to the tree of a nested map."""
Shaped = Callable[[Values], Values]

NO_TIME: Final = -62_135_596_800
"""Seconds from the epoch to year 1, UTC: what a gateway's language calls the zero time."""


class UnreadableError(Exception):
    """Bytes that can't become a record.

    Args:
        reason: One of the closed list.
        detail: What was found, for people; never the record's content.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class FaultyRowsError(Exception):
    """Some of the rows can't become columns.

    Args:
        faults: Reason and detail by row.
    """

    def __init__(self, faults: Mapping[int, tuple[Reason, str]]) -> None:
        super().__init__(faults)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Reader:
    """How records of one wire are read.

    Attributes:
        read: Bytes to a row, quickly. May raise anything.
        mend: The same for the few bytes that `read` raised on, slowly and leniently. Raises `UnreadableError`.
        columns: Rows of `read` and `mend` to columns. Raises `FaultyRowsError`.
    """

    read: Callable[[bytes], Any]
    mend: Callable[[bytes], Any]
    columns: Callable[[Sequence[Any]], Columns]


class Turn:
    """Rows to columns: all rows taken apart at once, level by level, and turned.

    Several times as quick as asking each row for each attribute in a loop.

    Args:
        tree: The fields in the order of the parts of a row.
        shapes: How the values of some fields become what `Columns` promises.
        parts: For the names of one level, what takes a row of it apart into a tuple.
        others: What turns values of some names into columns in another way.
    """

    def __init__(
        self,
        tree: Tree,
        shapes: Mapping[Shape, Shaped],
        parts: Callable[[Sequence[str]], Parts],
        others: Mapping[str, Callable[[Sequence[Any]], Columns]] = MappingProxyType({}),
    ) -> None:
        self._parts = parts(list(tree))
        self._levels: list[tuple[str, Shaped | None] | Callable[[Sequence[Any]], Columns]] = []
        for name, inner in tree.items():
            if name in others:
                self._levels.append(others[name])
            elif isinstance(inner, Field):
                self._levels.append((inner.column, shapes.get(inner.shape)))
            else:
                self._levels.append(Turn(inner, shapes, parts))

    def __call__(self, rows: Sequence[Any]) -> Columns:
        """Turn rows into columns; without rows there are none."""
        columns: dict[str, Values] = {}
        # Not strict, as no rows give no values at all.
        for inner, values in zip(self._levels, zip(*map(self._parts, rows), strict=True), strict=False):
            if isinstance(inner, tuple):
                name, shape = inner
                columns[name] = shape(values) if shape else values
            else:
                columns |= inner(values)
        return columns


def tree_of(paths: Mapping[Field, str]) -> Tree:
    """The fields by their dotted paths; those whose path is "" are left out."""
    tree: Tree = {}
    for field, path in paths.items():
        *above, name = path.split(".")
        if name:
            branch = tree
            for part in above:
                branch = branch.setdefault(part, {})
            branch[name] = field
    return tree


def in_order(tree: Tree, names: Sequence[str]) -> Tree:
    """The tree with these names first, in this order."""
    first = [name for name in names if name in tree]
    return {name: tree[name] for name in dict.fromkeys((*first, *tree))}
