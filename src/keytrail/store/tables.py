"""The tables: raw requests and the rollups on them, whole; of all others the name.

Raw rows are the truth. Each rollup is a materialized view on them: rows with equal dimensions within a bucket are
added up. The numbered files in `sql/` are what a store is really made from and never change once released; for raw
requests and rollups a test holds them against what this module says. Measured costs and the reasons for this shape:
`docs/architecture.md`.
"""

from dataclasses import dataclass
from typing import Final

from keytrail.record import BY_COLUMN, DERIVED, FIELDS

BUCKET_SECONDS: Final = 15 * 60
DAY_SECONDS: Final = 24 * 60 * 60

HISTOGRAM_BITS: Final = 4
"""A power of two is cut into 2**4 = 16 buckets, so a bucket is at most 6.25 % wide and its middle 3.2 % off."""

DEDUPLICATION_WINDOW: Final = 10_000
"""Parts whose tokens a table remembers: inserts times partitions."""

# A part with a file for each column has 280 of them, and to make these cost three times what the rows do. So what an
# insert leaves is one file; raw rows get their columns apart when parts are merged, as queries read few of the many.
RAW_PARTS: Final = "min_bytes_for_wide_part = 67108864, min_level_for_wide_part = 1"
"""Settings of the raw table: which parts have a file for each column."""
ROLLUP_PARTS: Final = "min_bytes_for_wide_part = 1073741824"
"""The same of a rollup, whose look-ups by key open fewer files this way."""


def histogram_bucket(value: int) -> int:
    """Number of the latency bucket that holds a value in ms; the same rule as `HISTOGRAM_SQL`.

    Whole numbers only, so every machine and every order of merging gives the same: below 32 ms a bucket is one
    value; above, the five leading bits of the value decide.
    """
    value = max(value, 0)
    shift = max(value.bit_length() - HISTOGRAM_BITS - 1, 0)
    return (shift << HISTOGRAM_BITS) + (value >> shift)


def histogram_range(bucket: int) -> tuple[int, int]:
    """Least and greatest value in ms of a latency bucket."""
    shift = max((bucket >> HISTOGRAM_BITS) - 1, 0)
    low = (bucket - (shift << HISTOGRAM_BITS)) << shift
    return low, low + (1 << shift) - 1


# The engine has no bit length; a double's logarithm is exact enough for every whole number below 2**48.
_SHIFT: Final = "toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4))"
HISTOGRAM_SQL: Final = f"toUInt16({_SHIFT} * 16 + bitShiftRight(greatest(latency, 0), {_SHIFT}))"


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of a rollup that is added up.

    Attributes:
        column: Its name.
        function: How rows are merged: sum, min, max or sumMap.
        type: Its ClickHouse type.
        raw: What a raw row contributes, inside the aggregate function.
        meaning: One line for people.
    """

    column: str
    function: str
    type: str
    raw: str
    meaning: str


MEASURES: Final = (
    Measure("records", "sum", "UInt64", "toUInt64(1)", "records"),
    Measure("request_time_sum", "sum", "Int64", "request_time", "sum of request times, ms"),
    Measure("latency_sum", "sum", "Int64", "latency", "sum of latencies, ms"),
    Measure("upstream_latency_sum", "sum", "Int64", "upstream_latency", "sum of upstream latencies, ms"),
    Measure("latency_min", "min", "Int64", "latency", "least latency, ms"),
    Measure("latency_max", "max", "Int64", "latency", "greatest latency, ms"),
    Measure("upstream_latency_min", "min", "Int64", "upstream_latency", "least upstream latency, ms"),
    Measure("upstream_latency_max", "max", "Int64", "upstream_latency", "greatest upstream latency, ms"),
    Measure("content_length_sum", "sum", "Int64", "content_length", "bytes of request bodies"),
    Measure("network_bytes_in_sum", "sum", "Int64", "network_bytes_in", "TCP bytes in"),
    Measure("network_bytes_out_sum", "sum", "Int64", "network_bytes_out", "TCP bytes out"),
    Measure("first_time", "min", "DateTime64(3, 'UTC')", "time", "instant of the first record"),
    Measure("last_time", "max", "DateTime64(3, 'UTC')", "time", "instant of the last record"),
    Measure(
        "latency_histogram",
        "sumMap",
        "Map(UInt16, UInt64)",
        f"map({HISTOGRAM_SQL}, toUInt64(1))",
        "records by latency bucket",
    ),
)

COMMON: Final = ("path", "method", "api_version", "code", "kind", "track_path", "error_origin", "api_name")


@dataclass(frozen=True, slots=True)
class Family:
    """One way of adding up, at one length of bucket or two.

    Attributes:
        name: First part of the names of its tables.
        lead: The dimensions that queries look up by; the bucket stands after them in the order of rows.
        dimensions: The other dimensions.
        lengths: Lengths of its buckets, s.
    """

    name: str
    lead: tuple[str, ...]
    dimensions: tuple[str, ...]
    lengths: tuple[int, ...] = (BUCKET_SECONDS, DAY_SECONDS)

    @property
    def columns(self) -> tuple[str, ...]:
        """All its dimensions."""
        return self.lead + self.dimensions


BY_KEY: Final = Family("by_key", ("org_id", "api_key"), ("api_id", *COMMON, "alias"))
BY_CLIENT: Final = Family("by_client", ("org_id", "oauth_id"), ("api_id", *COMMON))
BY_API: Final = Family("by_api", ("org_id", "api_id"), COMMON)
# Who called, whatever they called: a fraction of the rows by key, and the one that has keys and clients together. By
# day only, as in a quarter of an hour most keys call one endpoint, so that it would have as many rows.
BY_CALLER: Final = Family(
    "by_caller", ("org_id", "api_key"), ("oauth_id", "code", "kind", "error_origin", "alias"), (DAY_SECONDS,)
)
FAMILIES: Final = (BY_KEY, BY_CLIENT, BY_API, BY_CALLER)

RAW: Final = "requests"


@dataclass(frozen=True, slots=True)
class Rollup:
    """A rollup table: a family at one length of bucket."""

    family: Family
    seconds: int

    @property
    def table(self) -> str:
        """Its name."""
        return f"{self.family.name}_{'day' if self.seconds == DAY_SECONDS else '15m'}"

    def select(self, where: str = "", source: str = RAW) -> str:
        """The statement that makes its rows from raw ones; also what its view runs.

        Args:
            where: A condition on the raw rows; "" for all.
            source: Where these are.
        """
        start = "toStartOfDay(time)" if self.seconds == DAY_SECONDS else "toStartOfInterval(time, INTERVAL 15 MINUTE)"
        lead, rest = ", ".join(self.family.lead), ", ".join(self.family.dimensions)
        measures = ",\n    ".join(f"{m.function}({m.raw}) AS {m.column}" for m in MEASURES)
        return (
            f"SELECT\n    {lead}, toDateTime64({start}, 0, 'UTC') AS bucket, {rest},\n    {measures}\n"
            f"FROM {source}" + (f"\nWHERE {where}" if where else "") + f"\nGROUP BY {lead}, bucket, {rest}"
        )


ROLLUPS: Final = tuple(Rollup(family, seconds) for family in FAMILIES for seconds in family.lengths)


def column_types() -> dict[str, str]:
    """ClickHouse type of each column of the raw table, in order."""
    return {f.column: f.kind.clickhouse for f in FIELDS} | {d.column: d.clickhouse for d in DERIVED}


def _dimension_type(column: str) -> str:
    field = BY_COLUMN.get(column)
    return field.kind.clickhouse if field else column_types()[column]


def create_raw() -> str:
    """Statement that makes the raw table.

    Ordered by organisation, hour and key: a time range of an organisation is read without its other hours, and
    within an hour a key's rows stand together.
    """
    # Long texts are rarely read and compress well; the others are read often.
    packed = {"raw_request", "raw_response", "graphql_variables"}
    lines = [
        f"    {column} {kind}" + (" CODEC(ZSTD(1))" if column in packed else "")
        for column, kind in column_types().items()
    ]
    return (
        f"CREATE TABLE {RAW} (\n" + ",\n".join(lines) + "\n)\nENGINE = MergeTree\nPARTITION BY toYYYYMMDD(time)\n"
        "ORDER BY (org_id, toStartOfHour(time), api_key, time)\n"
        f"SETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}, {RAW_PARTS}"
    )


def create_rollup(rollup: Rollup) -> tuple[str, str]:
    """Statements that make a rollup's table and its view."""
    family = rollup.family
    lines = [
        *(f"    {column} {_dimension_type(column)}" for column in family.lead),
        "    bucket DateTime64(0, 'UTC')",
        *(f"    {column} {_dimension_type(column)}" for column in family.dimensions),
        *(f"    {m.column} SimpleAggregateFunction({m.function}, {m.type})" for m in MEASURES),
    ]
    lead = ", ".join(family.lead)
    table = (
        f"CREATE TABLE {rollup.table} (\n" + ",\n".join(lines) + "\n)\nENGINE = AggregatingMergeTree\n"
        f"PARTITION BY toYYYYMM(bucket)\nPRIMARY KEY ({lead}, bucket)\n"
        f"ORDER BY ({lead}, bucket, {', '.join(family.dimensions)})\n"
        f"SETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}, {ROLLUP_PARTS}"
    )
    view = f"CREATE MATERIALIZED VIEW {rollup.table}_view TO {rollup.table} AS\n{rollup.select()}"
    return table, view


# The small tables. Nothing is made from what the code knows of them, so their columns stand in `sql/` alone.

BATCHES: Final = "batches"
"""What was written, batch by batch and chunk by chunk: the ledger, and the memory of what must not count twice."""

DUPLICATES: Final = "duplicates"
"""What came again though the table of batches had it. Apart from that table, as nothing here may make a chunk known."""

REJECTS: Final = "rejects"
"""What was rejected, and why; never its bytes."""

CONSUMERS: Final = "consumers"
"""Which key, OAuth client or tag belongs to which consumer (`consumers.py`)."""

TEMPLATES: Final = "path_templates"
"""Which paths are one endpoint (`templates.py`)."""

RETAINED: Final = "retained"
"""From when on there are raw rows, rollups and recorded requests (`kept.py`)."""

ERASED: Final = "erased"
"""Who was erased, as digests (`erased.py`)."""

ERASED_ROWS: Final = "erased_rows"
"""How many rows of which batch were erased."""

COLD_DAYS: Final = "cold_days"
"""Which days of raw rows stand in which Parquet file (`raw_rows.py`)."""
