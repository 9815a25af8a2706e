"""Parts of records that repeat: of equal bytes only one is decoded, and one Arrow value made.

Of 500 records of a gateway that follow each other, 100 lists of tags differ, and hardly a place, a connection count or
what stands under GraphQL. To decode each of them cost a quarter of all decoding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from keytrail.collect.reader import Columns, FaultyRowsError, UnreadableError, Values


class Repeated(Sequence[Any]):
    """Values of a column, each distinct one once.

    Args:
        distinct: The distinct values.
        places: For each row the place of its value among them: an Arrow array of int32.
    """

    def __init__(self, distinct: Values, places: Any) -> None:
        self.distinct = distinct
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Any]:
        return (self.distinct[place] for place in self.places.to_pylist())

    def __getitem__(self, row: Any) -> Any:
        return list(self)[row]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return repr(list(self))


class Known:
    """A part of a record that was read the slow way."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Part:
    """A part of a record that is kept as its bytes until the record's batch is turned into columns.

    Args:
        kind: What msgspec decodes it to.
        zero: Its value where it is missing.
        mend: Reads the bytes that `kind` does not take, slowly and leniently. Raises `UnreadableError`.
        turn: Distinct values to columns of as many rows.
    """

    def __init__(
        self,
        kind: Any,
        zero: Any,
        mend: Callable[[bytes], Any],
        turn: Callable[[Sequence[Any]], Mapping[str, Values]],
    ) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._zero = zero
        self._mend = mend
        self._turn = turn

    def __call__(self, values: Sequence[Any]) -> Columns:
        """Columns of the part.

        Args:
            values: The part of each row: `Raw`, or `Known`.

        Raises:
            FaultyRowsError: Some can't be read.
        """
        numbers, rows = _told_apart(values)
        found, faults = [], {}
        for key, number in numbers.items():
            try:
                found.append(self._read(key))
            except UnreadableError as error:
                faults[number] = error.reason, error.detail
        if faults:
            raise FaultyRowsError({row: faults[number] for row, number in enumerate(rows) if number in faults})
        kind = pa.int32()
        places = pa.repeat(pa.scalar(0, kind), len(rows)) if len(numbers) == 1 else pa.array(rows, kind)
        return {name: Repeated(column, places) for name, column in self._turn(found).items()}

    def _read(self, key: Any) -> Any:
        if isinstance(key, Known):
            return key.value
        if not key:
            return self._zero
        try:
            return self._decode(key)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._mend(key)


def _told_apart(values: Sequence[Any]) -> tuple[dict[Any, int], list[int]]:
    """Each distinct value as a key, with its number from 0; and for each row the number of its value."""
    first = values[0]
    same = values.count(first)
    if 2 * same <= len(values):
        keys = _keys(values)
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        return numbers, list(map(numbers.__getitem__, keys))
    # To look bytes up, one has to copy them, which takes many times as long as to compare them where they are.
    others = [row for row, value in enumerate(values) if value != first] if same < len(values) else []
    keys = _keys([values[row] for row in others])
    numbers = {key: number for number, key in enumerate(dict.fromkeys([*_keys([first]), *keys]))}
    rows = [0] * len(values)
    for row, key in zip(others, keys, strict=True):
        rows[row] = numbers[key]
    return numbers, rows


def _keys(values: Sequence[Any]) -> list[Any]:
    """Values as what can be looked up."""
    try:
        return list(map(bytes, values))
    except TypeError:
        return [value if isinstance(value, Known) else bytes(value) for value in values]
