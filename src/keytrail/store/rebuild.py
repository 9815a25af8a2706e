"""Make rollups from raw rows again: whole months, in a table beside the real one, put in place in one step."""

from collections.abc import Iterable

from keytrail.store.client import Engine
from keytrail.store.tables import RAW, ROLLUPS, Rollup

_CHECKED = "sum(records), sum(latency_sum), sum(upstream_latency_sum), sum(request_time_sum)"
_RAW_CHECKED = "count(), sum(latency), sum(upstream_latency), sum(request_time)"


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
        raw: dict[str, object] = {}
        for rollup in ROLLUPS:
            where = rollup.family.where
            if where not in raw:
                raw[where] = _raw_sums(engine, where, month)
            if _sums(engine, rollup, month) != raw[where]:
                rebuild_month(engine, rollup, month)
                mended.append(f"{rollup.table} {month}")
    return mended


def months_of_raw(engine: Engine) -> list[int]:
    """The months that have raw rows, as YYYYMM: those whose rollups can be made again."""
    found = engine.query(
        "SELECT DISTINCT toUInt32(partition_id) AS month FROM system.parts WHERE active AND rows > 0 "
        "AND database = currentDatabase() AND table = {table:String} ORDER BY month",
        {"table": RAW},
    )
    return [int(month) for (month,) in found.rows]


def differing(engine: Engine, month: int) -> list[str]:
    """Names of the rollups whose sums over a month are not those of the raw rows."""
    return [
        rollup.table
        for rollup in ROLLUPS
        if _sums(engine, rollup, month) != _raw_sums(engine, rollup.family.where, month)
    ]


def _raw_sums(engine: Engine, where: str, month: int) -> list[tuple[object, ...]]:
    condition = f" AND {where}" if where else ""
    return engine.query(
        f"SELECT {_RAW_CHECKED} FROM {RAW} WHERE toYYYYMM(time) = {{month:UInt32}}{condition}", {"month": month}
    ).rows


def _sums(engine: Engine, rollup: Rollup, month: int) -> list[tuple[object, ...]]:
    return engine.query(
        f"SELECT {_CHECKED} FROM {rollup.table} WHERE toYYYYMM(bucket) = {{month:UInt32}}", {"month": month}
    ).rows


def rebuild_month(engine: Engine, rollup: Rollup, month: int) -> None:
    """Replace a month of a rollup by what the raw rows give; a kill leaves the old month in place."""
    spare = f"{rollup.table}_rebuilt"
    engine.command(f"DROP TABLE IF EXISTS {spare} SYNC")
    engine.command(f"CREATE TABLE {spare} AS {rollup.table}")
    days = engine.query(
        f"SELECT DISTINCT toUnixTimestamp(toStartOfDay(time)) AS day FROM {RAW} "
        "WHERE toYYYYMM(time) = {month:UInt32} ORDER BY day",
        {"month": month},
    )
    for (day,) in days.rows:
        # A day at a time: buckets never cross days, and a month's groups may not fit into memory.
        start = f"toDateTime64({int(day)}, 3, 'UTC')"
        condition = f"time >= {start} AND time < {start} + INTERVAL 1 DAY"
        engine.command(f"INSERT INTO {spare} {rollup.select(condition)}")
    engine.command(f"ALTER TABLE {rollup.table} REPLACE PARTITION ID '{month:06}' FROM {spare}")
    engine.command(f"DROP TABLE {spare} SYNC")
