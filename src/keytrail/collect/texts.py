"""Work on the columns of a table: on distinct texts instead of rows wherever a column is a dictionary.

Kinds are those of `record.Kind`: TEXT is a plain string column, NAME a dictionary of strings, NAMES a list of
dictionary values. Every function takes and gives back arrays of the same type and length.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import pyarrow as pa
import pyarrow.compute

# The stubs know no plain numbers and texts as arguments of kernels, nor what a kernel makes of `Array[Any]`.
pc: Final[Any] = pyarrow.compute

Array: TypeAlias = Any
"""An Arrow array of any type. A mask is one of Booleans."""
Pick: TypeAlias = Callable[[Array], Array]
"""Texts to a mask of those to change; a null means no."""


def column(table: pa.Table, name: str) -> Array:
    """The column as one array."""
    chunks = table.column(name)
    return chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()


def put(table: pa.Table, name: str, array: Array) -> pa.Table:
    """The table with this column replaced, or added at the end."""
    place = table.schema.get_field_index(name)
    field = pa.field(name, array.type)
    return table.append_column(field, array) if place < 0 else table.set_column(place, field, array)


def any_true(mask: Array) -> bool:
    """Whether any row is picked."""
    return bool(pc.any(mask).as_py())


def rows_of(mask: Array) -> list[int]:
    """Places of the rows that a mask picks, ascending."""
    return cast(list[int], pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist())


def mask_of(rows: Iterable[int], length: int) -> Array:
    """A mask that picks these rows."""
    picked = bytearray(length)
    for row in rows:
        picked[row] = 1
    return pc.cast(pa.array(picked, pa.uint8()), pa.bool_())


def is_blank(array: Array) -> bool:
    """Whether a text column of any kind holds nothing but empty texts: it then needs no work."""
    if pa.types.is_list(array.type):
        return len(array.flatten()) == 0
    if pa.types.is_dictionary(array.type):
        array = array.dictionary
    return not pc.sum(pc.binary_length(array)).as_py()


def has(part: str) -> Pick:
    """Pick the texts that contain `part`."""
    return lambda texts: pc.match_substring(texts, part)


def filled(texts: Array) -> Array:
    """Pick the texts that are not empty."""
    return pc.greater(pc.binary_length(texts), 0)


def change_texts(array: Array, pick: Pick, change: Callable[[str], str]) -> Array:
    """Change each distinct text that is picked.

    Args:
        array: TEXT, NAME or NAMES.
        pick: Which texts to change; sees each distinct one once in a NAME or NAMES column.
        change: A text's new value.

    Returns:
        The very same array where nothing was picked.
    """
    if pa.types.is_list(array.type):
        items = array.flatten()
        changed = change_texts(items, pick, change)
        return array if changed is items else relist(lengths_of(array), changed)
    if pa.types.is_dictionary(array.type):
        changed = change_texts(array.dictionary, pick, change)
        return array if changed is array.dictionary else rename(array, changed)
    mask = pc.fill_null(pick(array), False)
    if not any_true(mask):
        return array
    texts = [change(text) for text in cast(list[str], array.filter(mask).to_pylist())]
    return pc.replace_with_mask(array, mask, pa.array(texts, pa.string()))


def rename(array: Array, texts: Array) -> Array:
    """The column with the texts of its dictionary replaced, one for one.

    The new dictionary holds each text once, even where two old ones became the same: grouping counts on it.
    """
    names = texts.dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(array.indices), names.dictionary)


def lengths_of(lists: Array) -> Array:
    """How many items each row's list has (int32); 0 for a null."""
    return pc.fill_null(pc.list_value_length(lists), 0)


def relist(lengths: Array, items: Array) -> Array:
    """A list column from each row's number of items and all items in order."""
    ends = pc.cumulative_sum(lengths.cast(pa.int32()))
    return pa.ListArray.from_arrays(pa.concat_arrays([pa.array([0], pa.int32()), ends]), items)


def decoded(array: Array) -> Array:
    """A text column of any kind with plain strings in place of dictionary values."""
    if pa.types.is_list(array.type):
        return relist(lengths_of(array), decoded(array.flatten()))
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def encoded(array: Array, kind: pa.DataType) -> Array:
    """The reverse of `decoded`, with a dictionary that holds only what stands in the rows."""
    if pa.types.is_list(kind):
        return relist(lengths_of(array), array.flatten().dictionary_encode())
    return array.dictionary_encode() if pa.types.is_dictionary(kind) else array


def compact(array: Array) -> Array:
    """The column without dictionary texts that no row has; the very same array where there are none."""
    names = array.flatten() if pa.types.is_list(array.type) else array
    if not pa.types.is_dictionary(names.type) or pc.count_distinct(names.indices).as_py() == len(names.dictionary):
        return array
    return encoded(decoded(array), array.type)


def replace_rows(array: Array, rows: Sequence[int], values: Sequence[Any]) -> Array:
    """Put `values` (texts, or lists of texts) at `rows`."""
    plain = decoded(array)
    source = list(range(len(plain)))
    for place, row in enumerate(rows):
        source[row] = len(plain) + place
    both = pa.concat_arrays([plain, pa.array(values, plain.type)])
    return encoded(both.take(pa.array(source, pa.int64())), array.type)


def joined(arrays: Sequence[Array]) -> list[str]:
    """All texts of each row as one, with a NUL between them."""
    texts = [pc.binary_join(plain, "\0") if pa.types.is_list(plain.type) else plain for plain in map(decoded, arrays)]
    row = pc.binary_join_element_wise(*texts, "\0", null_handling="replace", null_replacement="")
    return cast(list[str], row.to_pylist())


def choose(index: Array, names: Sequence[str]) -> Array:
    """A NAME column from places in `names`."""
    return pa.DictionaryArray.from_arrays(index.cast(pa.int32()), pa.array(names, pa.string()))


def lists_at(rows: Mapping[int, Sequence[str]], length: int) -> Array:
    """A column of lists that holds these at some rows, and empty ones at the others."""
    lengths = [0] * length
    for row, items in rows.items():
        lengths[row] = len(items)
    items = [item for row in sorted(rows) for item in rows[row]]
    return relist(pa.array(lengths, pa.int32()), pa.array(items, pa.string()))


def lists_of(array: Array) -> list[list[str]]:
    """The lists of a column: their items at once, as to turn each list by itself takes three times as long."""
    items = cast(list[str], array.flatten().to_pylist())
    lists, start = [], 0
    for length in lengths_of(array).to_pylist():
        lists.append(items[start : start + length])
        start += length
    return lists
