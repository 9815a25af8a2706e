"""Values that are too large: cut, and their column named in `cut`."""

from typing import Final

import pyarrow as pa

from keytrail.collect import texts
from keytrail.collect.texts import pc
from keytrail.record import FIELDS, Field, Kind

CUT: Final = "cut"
MOST_ITEMS: Final = 64
"""Items of a list column that are kept."""

_TEXTS: Final = tuple(field for field in FIELDS if field.limit)


def put_empty(table: pa.Table) -> pa.Table:
    """The table with a column `cut` in which nothing is marked."""
    nothing = texts.encoded(pa.array([], pa.string()), Kind.NAME.arrow)
    return texts.put(table, CUT, texts.relist(pa.repeat(pa.scalar(0, pa.int32()), table.num_rows), nothing))


def mark(table: pa.Table, column: str, rows: texts.Array) -> pa.Table:
    """Add the column's name to `cut` in the rows that the mask picks and that do not have it yet."""
    marks = texts.column(table, CUT)
    owners = pc.list_parent_indices(marks).cast(pa.int64())
    names = texts.decoded(marks.flatten())
    marked = owners.filter(pc.equal(names, column))
    added = pc.indices_nonzero(rows).cast(pa.int64())
    added = added.filter(pc.invert(pc.is_in(added, marked)))
    if not len(added):
        return table
    owners = pa.concat_arrays([owners, added])
    names = pa.concat_arrays([names, pa.repeat(pa.scalar(column, pa.string()), len(added))])
    new = texts.mask_of(added.to_pylist(), table.num_rows).cast(pa.int32())
    # By row, and within a row in the order of marking: the place in `owners` breaks ties.
    order = pc.sort_indices(
        pa.table({"owner": owners, "place": pa.array(range(len(owners)), pa.int64())}),
        [("owner", "ascending"), ("place", "ascending")],
    )
    lengths = pc.add(texts.lengths_of(marks), new)
    return texts.put(table, CUT, texts.relist(lengths, names.take(order).dictionary_encode()))


def cut_large(table: pa.Table) -> pa.Table:
    """Cut texts to their field's limit in characters and lists to their first `MOST_ITEMS` items."""
    for field in _TEXTS:
        array = texts.column(table, field.column)
        rows = _too_large(array, field)
        if rows is not None:
            table = mark(texts.put(table, field.column, _cut(array, field)), field.column, rows)
    return table


def _too_large(array: texts.Array, field: Field) -> texts.Array | None:
    """A mask of the rows to cut; None where there are none."""
    if field.kind is Kind.NAMES:
        lengths = texts.lengths_of(array)
        many = pc.greater(lengths, MOST_ITEMS)
        over = _longer(array.flatten(), field.limit)
        if over is None:
            return many if texts.any_true(many) else None
        owners = pc.list_parent_indices(array).filter(over)
        return pc.or_(many, texts.mask_of(owners.to_pylist(), len(array)))
    return _longer(array, field.limit)


def _longer(array: texts.Array, limit: int) -> texts.Array | None:
    if pa.types.is_dictionary(array.type):
        over = _longer(array.dictionary, limit)
        rows = None if over is None else pc.fill_null(over.take(array.indices), False)
    else:
        # Bytes are at least as many as characters, and counting them is nearly free.
        most = pc.max(pc.binary_length(array)).as_py() or 0
        rows = pc.fill_null(pc.greater(pc.utf8_length(array), limit), False) if most > limit else None
    return rows if rows is not None and texts.any_true(rows) else None


def _cut(array: texts.Array, field: Field) -> texts.Array:
    if field.kind is Kind.NAMES:
        array = pc.list_slice(array, 0, MOST_ITEMS)
    return texts.change_texts(
        array, lambda distinct: pc.greater(pc.utf8_length(distinct), field.limit), lambda text: text[: field.limit]
    )
