"""Make rollups from raw rows again: whole months, in a table beside the real one, put in place in one step.

Of days whose raw rows retention has taken away the rollups are all that there is: these days are neither compared nor
made again, but carried over. Cold days are made again from their files, and compared where somebody has the time.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import date
from typing import Any, Final

from keytrail.store.client import Engine
from keytrail.store.kept import RAW_ROWS, days_of, kept_since, month_of, partitions
from keytrail.store.layout import ON_THEIR_SHARDS, TO_THEIR_SHARDS
from keytrail.store.raw_rows import Bound, RawRows, cold_partitions, next_day, rows_of_days
from keytrail.store.replacing import replace_partition
from keytrail.store.tables import RAW, ROLLUPS, Rollup, create_rollup

_CHECKED = "sum(records), sum(latency_sum), sum(upstream_latency_sum), sum(request_time_sum)"
_RAW_CHECKED = "count(), sum(latency), sum(upstream_latency), sum(request_time)"
_FROM_NOTHING: Final = "allow_replace_partition_from_empty_source"
_FROM_THEN: Final = "toYYYYMM({clock}) = {{month:UInt32}} AND {clock} >= toDateTime64({{since:Date}}, 0, 'UTC')"


def mend_months(engine: Engine, months: Iterable[int], *, cold: Collection[date] | None = ()) -> list[str]:
    """Rebuild each rollup that differs from the raw rows of a month.

    Args:
        engine: The engine; nobody else may be writing.
        months: Months as YYYYMM.
        cold: See `differing`.

    Returns:
        What was rebuilt: `table month`.
    """
    mended = []
    for month in months:
        for rollup in _differing(engine, month, cold):
            rebuild_month(engine, rollup, month)
            mended.append(f"{rollup.table} {month}")
    return mended


def months_of_raw(engine: Engine) -> list[int]:
    """The months that have raw rows, as YYYYMM: those whose rollups can be made again."""
    since = kept_since(engine, RAW_ROWS)
    held = [*partitions(engine, RAW), *cold_partitions(engine)]
    return sorted({month_of(one.start) for one in held if one.end > since})


def differing(engine: Engine, month: int, *, cold: Collection[date] | None = ()) -> list[str]:
    """Names of the rollups whose sums over a month are not those of the raw rows.

    Args:
        engine: The engine.
        month: The month as YYYYMM.
        cold: Days to compare, too, where they are cold, which reads their files; other cold days are left out. None
            compares all.
    """
    return [rollup.table for rollup in _differing(engine, month, cold)]


def _differing(engine: Engine, month: int, cold: Collection[date] | None) -> list[Rollup]:
    rows, values, bound = _rows_of_month(engine, month), _values(engine, month), Bound()
    read = tuple(one for one in rows.cold if cold is None or one.day in cold)
    left_out = [one.day for one in rows.cold if one not in read]
    source = replace(rows, cold=read, whole=rows.whole and not left_out).source(bound)
    values |= bound.values | {"left_out": left_out}
    raw = _sums(engine, _RAW_CHECKED, source, "time", values)
    return [rollup for rollup in ROLLUPS if _sums(engine, _CHECKED, rollup.table, "bucket", values) != raw]


def _rows_of_month(engine: Engine, month: int) -> RawRows:
    return rows_of_days(engine, *days_of(str(month)))


def _values(engine: Engine, month: int) -> dict[str, Any]:
    return {"month": month, "since": kept_since(engine, RAW_ROWS)}


def _sums(engine: Engine, sums: str, source: str, clock: str, values: dict[str, Any]) -> list[tuple[object, ...]]:
    conditions = [_FROM_THEN.format(clock=clock)]
    if values["left_out"]:
        conditions.append(f"toDate({clock}) NOT IN {{left_out:Array(Date)}}")
    sql = f"SELECT {engine.layout.shard} AS shard, {sums} FROM {source} WHERE {' AND '.join(conditions)}"
    bound = {name: value for name, value in values.items() if value or name != "left_out"}
    return engine.query(f"{sql} GROUP BY shard ORDER BY shard", bound).rows


Carried = Callable[[str], tuple[str, dict[str, Any]]]


def rebuild_month(
    engine: Engine, rollup: Rollup, month: int, carried: Carried | None = None, *, moves: bool = False
) -> None:
    """Replace a month of a rollup by what the raw rows give; a kill leaves the old month in place.

    On a cluster each shard makes its own from its own raw rows, as its views do.

    Args:
        engine: The engine; nobody else may be writing.
        rollup: The rollup.
        month: The month as YYYYMM.
        carried: What stands for days whose raw rows are gone: a statement and its values, given the condition of
            these days on `bucket`; by default what stands there now.
        moves: What is carried may belong to another shard than the one where it stands now.
    """
    layout, since = engine.layout, kept_since(engine, RAW_ROWS)
    rows, values = _rows_of_month(engine, month), _values(engine, month)
    spare, on_each_shard = f"{rollup.table}_rebuilt", f"\nSETTINGS {ON_THEIR_SHARDS}" if layout.cluster else ""
    _drop(engine, spare)
    if layout.cluster:
        made = create_rollup(rollup)[0].replace(f"CREATE TABLE {rollup.table} ", f"CREATE TABLE {spare} ")
        for statement in layout.over(made):
            engine.command(statement)
    else:
        engine.command(f"CREATE TABLE {spare} AS {rollup.table}")
    held = engine.query(f"SELECT DISTINCT toDate(time) FROM {RAW} WHERE {_FROM_THEN.format(clock='time')}", values).rows
    for day in sorted({day for (day,) in held} | {one.day for one in rows.cold if one.day >= since}):
        # A day at a time: buckets never cross days, and a month's groups may not fit into memory.
        start, bound = f"toDateTime64('{day}', 3, 'UTC')", Bound()
        condition = f"time >= {start} AND time < {start} + INTERVAL 1 DAY"
        source = rows_of_days(engine, day, next_day(day)).source(bound)
        engine.command(f"INSERT INTO {spare} {rollup.select(condition, source)}{on_each_shard}", bound.values)
    if since > days_of(str(month))[0]:
        kept = "toYYYYMM(bucket) = {month:UInt32} AND bucket < toDateTime64({since:Date}, 0, 'UTC')"
        sql, more = carried(kept) if carried else (f"SELECT * FROM {rollup.table} WHERE {kept}", {})
        where = f"\nSETTINGS {TO_THEIR_SHARDS}" if layout.cluster and moves else on_each_shard
        engine.command(f"INSERT INTO {spare} {sql}{where}", values | more)
    if not engine.query(f"SELECT count() FROM {spare}").rows[0][0]:
        engine.command(f"{layout.alter(rollup.table)} DROP PARTITION ID '{month:06}'")
    elif layout.cluster:
        replacing = f"REPLACE PARTITION ID '{month:06}' FROM {layout.local(spare)}"
        engine.command(f"{layout.alter(rollup.table)} {replacing}{_even_by_nothing(engine)}")
    else:
        replace_partition(engine, rollup.table, f"{month:06}", spare)
    _drop(engine, spare)


def _even_by_nothing(engine: Engine) -> str:
    """Settings by which a shard that has no rows of a month loses what it had of it, which newer servers refuse."""
    known = engine.query("SELECT count() FROM system.settings WHERE name = {name:String}", {"name": _FROM_NOTHING})
    return f" SETTINGS {_FROM_NOTHING} = 1" if known.rows[0][0] else ""


def _drop(engine: Engine, table: str) -> None:
    for statement in engine.layout.over(f"DROP TABLE {table} SYNC"):
        engine.command(statement)
