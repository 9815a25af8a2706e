"""The catalogue: every dimension, metric and filter operator once.

The parser, the planner, the SQL and the documentation read these tables, so a new dimension or metric is one row
here. A metric is made of parts: what raw rows and rollup rows contribute, and how contributions are merged, so that
the same number comes out of every table that can give it.
"""

from dataclasses import dataclass
from typing import Final

from keytrail.store.tables import HISTOGRAM_SQL


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something that rows can be grouped and filtered by.

    Attributes:
        name: Its name in queries and answers.
        meaning: One line for people.
        sql: Expression over the columns of any table that has them.
        columns: The columns that the expression needs.
        type: ClickHouse type of its value, for bound parameters.
    """

    name: str
    meaning: str
    sql: str
    columns: tuple[str, ...]
    type: str = "String"


def _plain(name: str, meaning: str, column: str = "", kind: str = "String") -> Dimension:
    column = column or name
    return Dimension(name, meaning, column, (column,), kind)


_CODE_CLASS: Final = (
    "multiIf(code = -1, 'tcp', code BETWEEN 100 AND 599, concat(toString(intDiv(code, 100)), 'xx'), 'other')"
)
# The gateway writes either for an API without versions.
VERSIONLESS: Final = "Non Versioned"
_VERSION: Final = f"if(api_version = 'Not Versioned', '{VERSIONLESS}', api_version)"

DIMENSIONS: Final[dict[str, Dimension]] = {
    dimension.name: dimension
    for dimension in (
        _plain("org", "organisation", "org_id"),
        _plain("api", "API id", "api_id"),
        _plain("key", "the key as stored: its hash", "api_key"),
        _plain("oauth_client", "OAuth client id, empty for none", "oauth_id"),
        _plain("path", "endpoint: tracked pattern or decoded path"),
        _plain("method", "HTTP method"),
        Dimension("version", "version of the API", _VERSION, ("api_version",)),
        _plain("code", "response code; -1 is a TCP byte counter", kind="Int16"),
        Dimension("code_class", "1xx to 5xx, tcp or other", _CODE_CLASS, ("code",)),
        _plain("kind", "rest, graphql, mcp or tcp"),
        _plain("error_origin", "gateway or upstream for errors, else empty"),
        _plain("tracked", "the endpoint is tracked", "track_path", "Bool"),
        _plain("alias", "readable name of the key at the time"),
        _plain("api_name", "readable name of the API at the time"),
        _plain("country", "country of the client, ISO code"),
        _plain("host", "host asked for"),
        _plain("ip", "client address"),
        _plain("user_agent", "user agent"),
        _plain("raw_path", "path as asked"),
        Dimension("tag", "each tag of the request", "arrayJoin(tags)", ("tags",)),
        _plain("mcp_method", "JSON-RPC method of an MCP request"),
        _plain("mcp_type", "MCP primitive type"),
        _plain("mcp_name", "MCP primitive name"),
    )
}


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
    """

    name: str
    function: str
    raw: str
    rollup: str
    condition: str = ""
    merge: str = "sum"
    columns: tuple[str, ...] = ("code",)
    of_hits: bool = True

    def expression(self, *, raw: bool, only_hits: bool) -> str:
        """The aggregate over rows of a table.

        Args:
            raw: Over raw rows, not those of a rollup.
            only_hits: The statement has left out what is no hit, so that it need not be asked of each aggregate: the
                engine plans for as long as it runs, and plans longer for every condition.
        """
        conditions = [HIT] if self.of_hits and not only_hits else []
        if self.condition:
            conditions.append(self.condition)
        # "OrNull": the least of no rows is nothing, not 0.
        empty = "OrNull" if self.function in {"min", "max"} and conditions else ""
        suffix = "If" if conditions else ""
        arguments = [self.raw if raw else self.rollup, *([" AND ".join(conditions)] if conditions else [])]
        return f"{self.function}{empty}{suffix}({', '.join(arguments)})"


_FINE: Final = "code < 400"


def _counted(name: str, condition: str = "") -> Part:
    return Part(name, "sum", "toUInt64(1)", "records", condition)


def _summed(name: str, column: str) -> Part:
    return Part(name, "sum", column, f"{column}_sum")


def _extreme(name: str, function: str, column: str, condition: str = "") -> Part:
    return Part(name, function, column, f"{column}_{function}", condition, function)


def _named(name: str, column: str) -> Part:
    # Of two names at the same instant the greater, so that no order matters.
    return Part(
        name,
        "argMax",
        f"{column}, (time, {column})",
        f"{column}, (last_time, {column})",
        merge="name",
        columns=(column,),
        of_hits=False,
    )


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
        Part("p_last", "max", "time", "last_time", merge="max"),
        Part("p_first", "min", "time", "first_time", merge="min"),
        _summed("p_bytes_in", "content_length"),
        Part("p_tcp_in", "sum", "network_bytes_in", "network_bytes_in_sum", columns=(), of_hits=False),
        Part("p_tcp_out", "sum", "network_bytes_out", "network_bytes_out_sum", columns=(), of_hits=False),
        Part("p_histogram", "sumMap", f"map({HISTOGRAM_SQL}, toUInt64(1))", "latency_histogram", merge="sumMap"),
        _named("p_alias", "alias"),
        _named("p_api_name", "api_name"),
        Part("p_named_at", "max", "time", "last_time", merge="max", columns=(), of_hits=False),
    )
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that can be asked for.

    Attributes:
        name: Its name in queries and answers.
        meaning: One line for people.
        sql: Expression over the merged parts.
        parts: The parts that it needs.
        unit: Unit of the number.
    """

    name: str
    meaning: str
    sql: str
    parts: tuple[str, ...]
    unit: str = ""


def _mean(part: str) -> str:
    return f"if(p_hits = 0, 0, {part} / p_hits)"


def _percentile(share: float) -> str:
    # The least bucket that holds at least this share of the hits, and the middle of its range; see `store/tables.py`.
    keys, sums = "mapKeys(p_histogram)", "arrayCumSum(mapValues(p_histogram))"
    bucket = f"toInt64({keys}[arrayFirstIndex(n -> n >= p_hits * {share}, {sums})])"
    shift = f"greatest(intDiv({bucket}, 16) - 1, 0)"
    return f"(({bucket} - {shift} * 16) * pow(2, {shift}) + (pow(2, {shift}) - 1) / 2)"


def _percentiles() -> list[Metric]:
    return [
        Metric(
            f"p{round(share * 100)}_latency",
            f"{round(share * 100)}th percentile of latency, within 3.2 %",
            _percentile(share),
            ("p_histogram", "p_hits"),
            "ms",
        )
        for share in (0.5, 0.9, 0.95, 0.99)
    ]


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("records", "records, TCP byte counters included", "p_records", ("p_records",)),
        Metric("hits", "records with a code other than -1", "p_hits", ("p_hits",)),
        Metric("success", "hits with a code from 200 to 299", "p_success", ("p_success",)),
        Metric("error", "hits with a code of 400 or more", "p_error", ("p_error",)),
        Metric("error_rate", "error / hits", _mean("p_error"), ("p_error", "p_hits")),
        Metric(
            "last_hit",
            "instant of the last hit",
            "toUnixTimestamp64Milli(ifNull(p_last, toDateTime64(0, 3, 'UTC')))",
            ("p_last",),
            "ms since 1970",
        ),
        Metric(
            "first_hit",
            "instant of the first hit",
            "toUnixTimestamp64Milli(ifNull(p_first, toDateTime64(0, 3, 'UTC')))",
            ("p_first",),
            "ms since 1970",
        ),
        Metric("request_time", "mean request time", _mean("p_request_time"), ("p_request_time", "p_hits"), "ms"),
        Metric("latency", "mean latency", _mean("p_latency"), ("p_latency", "p_hits"), "ms"),
        Metric("upstream_latency", "mean upstream latency", _mean("p_upstream"), ("p_upstream", "p_hits"), "ms"),
        Metric(
            "gateway_overhead",
            "mean latency less mean upstream latency",
            _mean("(p_latency - p_upstream)"),
            ("p_latency", "p_upstream", "p_hits"),
            "ms",
        ),
        Metric("max_latency", "greatest latency", "ifNull(p_latency_max, 0)", ("p_latency_max",), "ms"),
        Metric(
            "min_latency",
            "least latency of the hits that are no errors; of all where all are",
            "coalesce(p_latency_min_fine, p_latency_min, 0)",
            ("p_latency_min", "p_latency_min_fine"),
            "ms",
        ),
        Metric(
            "max_upstream_latency", "greatest upstream latency", "ifNull(p_upstream_max, 0)", ("p_upstream_max",), "ms"
        ),
        Metric(
            "min_upstream_latency",
            "least upstream latency of the hits that are no errors; of all where all are",
            "coalesce(p_upstream_min_fine, p_upstream_min, 0)",
            ("p_upstream_min", "p_upstream_min_fine"),
            "ms",
        ),
        *_percentiles(),
        Metric("latency_histogram", "hits by latency bucket", "p_histogram", ("p_histogram",)),
        Metric("bytes_in", "bytes of request bodies", "p_bytes_in", ("p_bytes_in",), "bytes"),
        Metric("tcp_bytes_in", "bytes that TCP proxies took", "p_tcp_in", ("p_tcp_in",), "bytes"),
        Metric("tcp_bytes_out", "bytes that TCP proxies gave", "p_tcp_out", ("p_tcp_out",), "bytes"),
        Metric("latest_alias", "the key's name in its latest record", "p_alias", ("p_alias", "p_named_at")),
        Metric("latest_api_name", "the API's name in its latest record", "p_api_name", ("p_api_name", "p_named_at")),
    )
}


@dataclass(frozen=True, slots=True)
class Operator:
    """A way of comparing a dimension with a value.

    Attributes:
        name: Its name in queries.
        sql: Template over `{left}` and the bound `{right}`.
        many: It takes a list of values.
    """

    name: str
    sql: str
    many: bool = False


OPERATORS: Final[dict[str, Operator]] = {
    operator.name: operator
    for operator in (
        Operator("is", "{left} = {right}"),
        Operator("is_not", "{left} != {right}"),
        Operator("in", "{left} IN {right}", many=True),
        Operator("prefix", "startsWith({left}, {right})"),
        Operator("contains", "position({left}, {right}) > 0"),
        Operator("greater", "{left} > {right}"),
        Operator("less", "{left} < {right}"),
        # Only for tags: the record carries every one of them.
        Operator("has_all", "hasAll(tags, {right})", many=True),
    )
}
