"""Parts: what raw rows and rollup rows contribute to metrics, and how contributions are merged.

A metric (`catalog.py`) is an expression over parts, so the same number comes out of every table that can give it.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from keytrail.query.catalog import SHARES
from keytrail.store.tables import HISTOGRAM_SQL

PATH: Final = "{path}"
"""Stands for the endpoint's path: what path templates make of the column."""

HIT: Final = "code != -1"
"""What makes a record a hit: any other code than that of a TCP byte counter."""


@dataclass(frozen=True, slots=True)
class Part:
    """A contribution to metrics that every table can make.

    Attributes:
        name: Its name inside the statement.
        function: Aggregate function.
        raw: What it is taken of in a raw row.
        rollup: What it is taken of in a row of a rollup.
        condition: Which records contribute; "" for all.
        merge: Aggregate function that merges contributions; "name" for the name at the latest instant.
        columns: Dimension columns that it needs beyond measures.
        of_hits: Only hits contribute.
        empty: What it is in a row that no record contributes to, where the engine gives nothing; "" where it gives 0.
        levels: Parameters of the function.
        of_arrays: In a row of a rollup it is taken of the elements of arrays.
    """

    name: str
    function: str
    raw: str
    rollup: str
    condition: str = ""
    merge: str = "sum"
    columns: tuple[str, ...] = ("code",)
    of_hits: bool = True
    empty: str = ""
    levels: str = ""
    of_arrays: bool = False

    def expression(
        self, path: str = "", *, raw: bool, only_hits: bool, to_merge: bool = False, grouped: bool = True
    ) -> str:
        """The aggregate over rows of a table.

        Args:
            path: What stands for `PATH`.
            raw: Over raw rows, not those of a rollup.
            only_hits: The statement has left out what is no hit, so that it need not be asked of each aggregate: the
                engine plans for as long as it runs, and plans longer for every condition.
            to_merge: Contributions of other tables are merged with it.
            grouped: It is taken of groups, none of which is empty.
        """
        conditions = [HIT] if self.of_hits and not only_hits else []
        if self.condition:
            conditions.append(self.condition)
        # "OrNull": the least of no rows is nothing, not 0, which would be less than what other tables have.
        may_be_empty = bool(conditions) or (to_merge and not grouped)
        empty = "OrNull" if self.function in {"min", "max"} and may_be_empty else ""
        # Of what is counted once, the values themselves are merged, not their number.
        state = "State" if to_merge and self.merge.endswith("Merge") else ""
        suffix = state + ("Array" if self.of_arrays and not raw else "") + ("If" if conditions else "")
        arguments = [
            (self.raw if raw else self.rollup).replace(PATH, path),
            *([" AND ".join(conditions)] if conditions else []),
        ]
        return f"{self.function}{empty}{suffix}{self.levels}({', '.join(arguments)})"

    def finished(self, sql: str, *, only_hits: bool) -> str:
        """What metrics see of the aggregate: with other records than hits, there may have been none to take it of."""
        return f"ifNull({sql}, {self.empty})" if self.empty and not only_hits else sql


_FINE: Final = "code < 400"
_EPOCH: Final = "toDateTime64(0, 3, 'UTC')"


def _counted(name: str, condition: str = "") -> Part:
    return Part(name, "sum", "toUInt64(1)", "records", condition)


def _summed(name: str, column: str) -> Part:
    return Part(name, "sum", column, f"{column}_sum")


def _extreme(name: str, function: str, column: str, condition: str = "") -> Part:
    return Part(name, function, column, f"{column}_{function}", condition, function, empty="" if condition else "0")


def latest(clock: str, column: str) -> str:
    """Arguments of `argMax` for the name at the latest instant; of two names at one instant, the greater.

    So no order of rows matters. The two are compared as one text, as the engine compares pairs twice as slowly.

    Args:
        clock: Expression of the instant, a DateTime64(3).
        column: The column of the name.
    """
    # As many digits for every instant.
    return f"{column}, concat(toString(toUnixTimestamp64Milli({clock}) + 10000000000000), {column})"


def _named(name: str, column: str) -> Part:
    return Part(
        name,
        "argMax",
        latest("time", column),
        latest("last_time", column),
        merge="name",
        columns=(column,),
        of_hits=False,
    )


NO_KEYS: Final = ("", "00000000", "0" * 16, "0" * 32, hashlib.sha256(b"").hexdigest())
"""What the gateway records where a request had no key: the empty text, or a hash of it."""


def _distinct(name: str, *columns: str, condition: str = "") -> Part:
    what = ", ".join(PATH if column == "path" else column for column in columns)
    return Part(name, "uniqExact", what, what, condition, "uniqExactMerge", columns=("code", *columns))


def _percentile_buckets(name: str, column: str, rollup: str) -> Part:
    """The buckets of the percentiles: of each the least that holds at least that share of the hits.

    Not taken of a merged histogram: to merge maps takes half as long again as to count in one table a group.
    """
    return Part(
        name,
        "quantilesExactWeighted",
        f"{HISTOGRAM_SQL.replace('latency', column)}, toUInt64(1)",
        f"mapKeys({rollup}), mapValues({rollup})" if rollup else "",
        merge="quantilesExactWeightedMerge",
        columns=("code",) if rollup else (column, "code"),
        levels=f"({', '.join(map(str, SHARES))})",
        of_arrays=True,
    )


SLOW: Final = "p_slow"


def slow_beyond(bucket: str) -> Part:
    """The hits in buckets of latency beyond one, which is an expression: no histogram is merged to count them."""
    buckets, hits = "mapKeys(latency_histogram)", "mapValues(latency_histogram)"
    of_row = f"arraySum((one, hits) -> if(one > {bucket}, hits, 0), {buckets}, {hits})"
    return Part(SLOW, "sum", f"toUInt64({HISTOGRAM_SQL} > {bucket})", of_row)


PARTS: Final[dict[str, Part]] = {
    part.name: part
    for part in (
        Part("p_records", "sum", "toUInt64(1)", "records", columns=(), of_hits=False),
        _counted("p_hits"),
        _counted("p_success", "code BETWEEN 200 AND 299"),
        _counted("p_error", "code >= 400"),
        _summed("p_request_time", "request_time"),
        _summed("p_latency", "latency"),
        _summed("p_upstream", "upstream_latency"),
        _extreme("p_latency_max", "max", "latency"),
        _extreme("p_latency_min", "min", "latency"),
        _extreme("p_latency_min_fine", "min", "latency", _FINE),
        _extreme("p_upstream_max", "max", "upstream_latency"),
        _extreme("p_upstream_min", "min", "upstream_latency"),
        _extreme("p_upstream_min_fine", "min", "upstream_latency", _FINE),
        Part("p_last", "max", "time", "last_time", merge="max", empty=_EPOCH),
        Part("p_first", "min", "time", "first_time", merge="min", empty=_EPOCH),
        _summed("p_bytes_in", "content_length"),
        Part("p_tcp_in", "sum", "network_bytes_in", "network_bytes_in_sum", columns=(), of_hits=False),
        Part("p_tcp_out", "sum", "network_bytes_out", "network_bytes_out_sum", columns=(), of_hits=False),
        _distinct("p_keys", "api_key", condition=f"api_key NOT IN {NO_KEYS}"),
        _distinct("p_clients", "oauth_id", condition="oauth_id != ''"),
        _distinct("p_endpoints", "api_id", "path"),
        # No rollup has it: only raw rows answer. `docs/architecture.md` says what it would cost.
        Part(
            "p_upstream_histogram",
            "sumMap",
            f"map({HISTOGRAM_SQL.replace('latency', 'upstream_latency')}, toUInt64(1))",
            "",
            merge="sumMap",
            columns=("upstream_latency", "code"),
        ),
        _percentile_buckets("p_percentiles", "latency", "latency_histogram"),
        _percentile_buckets("p_upstream_percentiles", "upstream_latency", ""),
        Part("p_histogram", "sumMap", f"map({HISTOGRAM_SQL}, toUInt64(1))", "latency_histogram", merge="sumMap"),
        _named("p_alias", "alias"),
        _named("p_api_name", "api_name"),
        Part("p_named_at", "max", "time", "last_time", merge="max", columns=(), of_hits=False),
    )
}
