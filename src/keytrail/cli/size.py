"""`keytrail size`: from requests a second to disk and processors."""

import math
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, settings_of

# Measured by `make bench ARGS=size`; its figures stand in docs/operations.md.
RAW_BYTES: Final = 65
"""Of a record with geo and without recorded requests, when its day is merged: at low rates, less at higher ones."""
RECORDED_BYTES: Final = 50
"""More, of a record with a recorded request and response, bodies dropped."""
COLD_BYTES: Final = 35
"""Of a record of a cold day; `make bench ARGS=cold`."""
ROW_BYTES: Final = 40
HISTOGRAM_BYTES: Final = 4.5
"""More, of a row of a rollup, for the square root of its requests: its histogram has that many buckets, about."""
MOST_ROW_BYTES: Final = 600
CLIENT_SHARE: Final = 1 / 6
"""Rows of OAuth clients for each row by key, as in the demo's traffic."""
CALLER_SHARE: Final = 0.4
"""Bytes by caller for each byte by key in a day, as in the demo's traffic."""
SPARE: Final = 1.3
"""Parts that wait to be merged, and what was merged and not yet removed."""
RECORDS_A_CORE: Final = 25_000
"""Records a second that one processor collects, decodes, stores and merges; `make bench ARGS=collect`."""
QUARTERS: Final = 96


@dataclass(frozen=True, slots=True)
class Size:
    """What a rate needs, bytes.

    Attributes:
        raw: Single records.
        recorded: Recorded requests and responses.
        cold: Cold days, where `store.cold` is; not part of the total.
        quarters: Sums by quarter of an hour.
        days: Sums by day.
        total: All of it, with room for what is not merged yet.
        disk: A disk of which that leaves `retention.free_share` free.
        cores: Processors that keep up with the peak.
    """

    raw: int
    recorded: int
    cold: int
    quarters: int
    days: int
    total: int
    disk: int
    cores: int


def size_of(
    rate: float,
    *,
    peak: float,
    combinations: int,
    endpoints: int,
    recorded: bool,
    raw_days: int,
    cold_days: int = 0,
    recorded_days: int,
    rollup_months: int,
    free_share: float,
) -> Size:
    """What a rate needs.

    Args:
        rate: Requests a second, in the mean over a day.
        peak: The busiest second as a multiple of that.
        combinations: Different pairs of key and endpoint (with method and code) in a day.
        endpoints: Different endpoints (with method and code) in a day.
        recorded: Requests and responses are recorded.
        raw_days: Days for which single records are kept, beside today.
        cold_days: Days for which they are kept in all, the older ones as cold days; 0 is no longer than `raw_days`.
        recorded_days: Days for which recorded requests are kept, beside today.
        rollup_months: Months for which sums are kept, beside this one.
        free_share: Share of the disk that is kept free.
    """
    a_day = rate * 86_400
    days = (rollup_months + 1) * 30.4

    def sums(requests: float, callers: float = 0.0) -> float:
        """Bytes of the rows of a bucket with so many requests; those by caller are so large a share of those by key."""
        by_key, by_api = _rows_bytes(requests, combinations), _rows_bytes(requests, endpoints)
        # Those by client have a row for each by API, too: of the requests without a client.
        return by_key * (1 + CLIENT_SHARE + callers) + 2 * by_api

    raw = a_day * (raw_days + 1) * RAW_BYTES
    messages = a_day * (recorded_days + 1) * RECORDED_BYTES if recorded else 0
    quarters, daily = sums(a_day / QUARTERS) * QUARTERS * days, sums(a_day, CALLER_SHARE) * days
    total = (raw + messages + quarters + daily) * SPARE
    return Size(
        raw=round(raw),
        recorded=round(messages),
        cold=round(a_day * max(cold_days - raw_days, 0) * COLD_BYTES),
        quarters=round(quarters),
        days=round(daily),
        total=round(total),
        disk=round(total / (1 - free_share)),
        cores=math.ceil(rate * peak / RECORDS_A_CORE),
    )


def _rows_bytes(requests: float, combinations: int) -> float:
    """Bytes of the rows that so many requests make, of so many combinations, all as frequent."""
    rows = combinations * -math.expm1(-requests / combinations)
    return rows * min(ROW_BYTES + HISTOGRAM_BYTES * math.sqrt(requests / rows), MOST_ROW_BYTES)


@app.command()
def size(
    rate: Annotated[float, typer.Argument(min=0.001, help="Requests a second, in the mean over a day.")],
    peak: Annotated[float, typer.Option("--peak", min=1, help="The busiest second as a multiple of the mean.")] = 3,
    combinations: Annotated[
        int, typer.Option("--combinations", min=1, help="Different pairs of key and endpoint in a day.")
    ] = 20_000,
    endpoints: Annotated[int, typer.Option("--endpoints", min=1, help="Different endpoints in a day.")] = 500,
    recorded: Annotated[bool, typer.Option("--recorded", help="Requests and responses are recorded.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Estimate disk and processors for a rate, with the settings of retention."""
    settings = settings_of(config)
    keeps = settings.retention
    in_all = (keeps.rollup_months + 1) * 30 if keeps.cold_days is None else keeps.cold_days
    cold_days = in_all if settings.store.cold else 0
    for_ever = bool(settings.store.cold) and not cold_days
    if not keeps.raw_days or not keeps.rollup_months or (recorded and not keeps.recorded_days) or for_ever:
        raise typer.BadParameter("what is kept for ever has no size: set retention first")
    found = size_of(
        rate,
        peak=peak,
        combinations=combinations,
        endpoints=endpoints,
        recorded=recorded,
        raw_days=keeps.raw_days,
        cold_days=cold_days,
        recorded_days=keeps.recorded_days,
        rollup_months=keeps.rollup_months,
        free_share=keeps.free_share,
    )
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(asdict(found)))
        return
    for name, what in (
        ("raw", f"single records, {keeps.raw_days} days"),
        ("recorded", f"recorded requests, {keeps.recorded_days} days"),
        ("quarters", f"sums by quarter of an hour, {keeps.rollup_months} months"),
        ("days", f"sums by day, {keeps.rollup_months} months"),
        ("total", "together, with what is not merged yet"),
        ("disk", f"disk of which {keeps.free_share:.0%} stay free"),
    ):
        typer.echo(f"{getattr(found, name) / 1e9:12,.1f} GB  {what}")
    if cold_days:
        more = cold_days - keeps.raw_days
        typer.echo(f"{found.cold / 1e9:12,.1f} GB  beside it, in store.cold: single records of {more} days more")
    cores = "1 processor keeps" if found.cores == 1 else f"{found.cores} processors keep"
    typer.echo(f"{cores} up with {rate * peak:,.0f} requests a second; queries need some beside them")
