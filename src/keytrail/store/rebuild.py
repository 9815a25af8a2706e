"""Make rollups from raw rows again: whole months, in a table beside the real one, put in place in one step.

Of days whose raw rows retention has taken away the rollups are all that there is: these days are neither compared nor
made again, but carried over.
"""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, Final

from keytrail.store.client import Engine
from keytrail.store.kept import RAW_ROWS, kept_since, partitions
from keytrail.store.layout import ON_THEIR_SHARDS, TO_THEIR_SHARDS
from keytrail.store.tables import RAW, ROLLUPS, Rollup, create_rollup

_CHECKED = "sum(records), sum(latency_sum), sum(upstream_latency_sum), sum(request_time_sum)"
_RAW_CHECKED = "count(), sum(latency), sum(upstream_latency), sum(request_time)"
_FROM_THEN: Final = "toYYYYMM({clock}) = {{month:UInt32}} AND {clock} >= toDateTime64({{since:Date}}, 0, 'UTC')"


def mend_months(engine: Engine, months: Iterable[int]) -> list[str]:
    """Rebuild each rollup that differs from the raw rows of a month.

    Args:
        engine: The engine; nobody else may be writing.
        months: Months as YYYYMM.

    Returns:
        What was rebuilt: `table month`.
    """
    mended = []
    for month in months:
        for rollup in _differing(engine, month):
            rebuild_month(engine, rollup, month)
            mended.append(f"{rollup.table} {month}")
    return mended


def months_of_raw(engine: Engine) -> list[int]:
    """The months that have raw rows, as YYYYMM: those whose rollups can be made again."""
    since = kept_since(engine, RAW_ROWS)
    return sorted({one.start.year * 100 + one.start.month for one in partitions(engine, RAW) if one.end > since})


def differing(engine: Engine, month: int) -> list[str]:
    """Names of the rollups whose sums over a month are not those of the raw rows."""
    return [rollup.table for rollup in _differing(engine, month)]


def _differing(engine: Engine, month: int) -> list[Rollup]:
    values = {"month": month, "since": kept_since(engine, RAW_ROWS)}
    found, raw = [], {}
    for rollup in ROLLUPS:
        where = rollup.family.where
        if where not in raw:
            raw[where] = _raw_sums(engine, where, values)
        if _sums(engine, rollup, values) != raw[where]:
            found.append(rollup)
    return found


def _raw_sums(engine: Engine, where: str, values: dict[str, Any]) -> list[tuple[object, ...]]:
    condition = f" AND {where}" if where else ""
    sql = f"SELECT {engine.layout.shard} AS shard, {_RAW_CHECKED} FROM {RAW} WHERE "
    return engine.query(f"{sql}{_FROM_THEN.format(clock='time')}{condition} GROUP BY shard ORDER BY shard", values).rows


def _sums(engine: Engine, rollup: Rollup, values: dict[str, Any]) -> list[tuple[object, ...]]:
    sql = f"SELECT {engine.layout.shard} AS shard, {_CHECKED} FROM {rollup.table} WHERE "
    return engine.query(f"{sql}{_FROM_THEN.format(clock='bucket')} GROUP BY shard ORDER BY shard", values).rows


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
    values = {"month": month, "since": since}
    spare, on_each_shard = f"{rollup.table}_rebuilt", f"\nSETTINGS {ON_THEIR_SHARDS}" if layout.cluster else ""
    _drop(engine, spare)
    if layout.cluster:
        made = create_rollup(rollup)[0].replace(f"CREATE TABLE {rollup.table} ", f"CREATE TABLE {spare} ")
        for statement in layout.over(made):
            engine.command(statement)
    else:
        engine.command(f"CREATE TABLE {spare} AS {rollup.table}")
    days = engine.query(
        f"SELECT DISTINCT toUnixTimestamp(toStartOfDay(time)) AS day FROM {RAW} "
        f"WHERE {_FROM_THEN.format(clock='time')} ORDER BY day",
        values,
    )
    for (day,) in days.rows:
        # A day at a time: buckets never cross days, and a month's groups may not fit into memory.
        start = f"toDateTime64({int(day)}, 3, 'UTC')"
        condition = f"time >= {start} AND time < {start} + INTERVAL 1 DAY"
        engine.command(f"INSERT INTO {spare} {rollup.select(condition)}{on_each_shard}")
    if since > date(month // 100, month % 100, 1):
        kept = "toYYYYMM(bucket) = {month:UInt32} AND bucket < toDateTime64({since:Date}, 0, 'UTC')"
        sql, more = carried(kept) if carried else (f"SELECT * FROM {rollup.table} WHERE {kept}", {})
        where = f"\nSETTINGS {TO_THEIR_SHARDS}" if layout.cluster and moves else on_each_shard
        engine.command(f"INSERT INTO {spare} {sql}{where}", values | more)
    if engine.query(f"SELECT count() FROM {spare}").rows[0][0]:
        engine.command(f"{layout.alter(rollup.table)} REPLACE PARTITION ID '{month:06}' FROM {layout.local(spare)}")
    else:
        engine.command(f"{layout.alter(rollup.table)} DROP PARTITION ID '{month:06}'")
    _drop(engine, spare)


def _drop(engine: Engine, table: str) -> None:
    for statement in engine.layout.over(f"DROP TABLE {table} SYNC"):
        engine.command(statement)
