"""The catalogue: every dimension, metric and filter operator once.

The parser, the planner, the SQL and the documentation read these tables, so a new dimension or metric is one row
here. A metric is made of parts: what raw rows and rollup rows contribute, and how contributions are merged, so that
the same number comes out of every table that can give it.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something that rows can be grouped and filtered by.

    Attributes:
        name: Its name in queries and answers.
        meaning: One line for people.
        sql: Expression over the columns of any table that has them.
        columns: The columns that the expression needs.
        type: ClickHouse type of its value, for bound parameters.
        array: Expression for all its values where a record has several; "" where it has one.
        joined: It is read from what the store holds beside records (`joined.py`), not from columns alone.
    """

    name: str
    meaning: str
    sql: str
    columns: tuple[str, ...]
    type: str = "String"
    array: str = ""
    joined: bool = False


def _several(name: str, meaning: str, array: str) -> Dimension:
    # A record that has a value twice is one record with it.
    return Dimension(name, meaning, f"arrayJoin(arrayDistinct({array}))", ("tags",), array=array)


def _plain(name: str, meaning: str, column: str = "", kind: str = "String") -> Dimension:
    column = column or name
    return Dimension(name, meaning, column, (column,), kind)


_CODE_CLASS: Final = (
    "multiIf(code = -1, 'tcp', code BETWEEN 100 AND 599, concat(toString(intDiv(code, 100)), 'xx'), 'other')"
)
VERSIONLESS: Final = "Non Versioned"
ALSO_VERSIONLESS: Final = "Not Versioned"
"""The gateway writes either for an API without versions; both are told, and can be asked for, as the first."""
_VERSION: Final = f"if(api_version = '{ALSO_VERSIONLESS}', '{VERSIONLESS}', api_version)"

DIMENSIONS: Final[dict[str, Dimension]] = {
    dimension.name: dimension
    for dimension in (
        _plain("org", "organisation", "org_id"),
        Dimension(
            "consumer",
            "consumer that the directory has for the key, else the OAuth client, else a tag; empty for none; "
            "from single requests where tags tell it, or keys beside clients with endpoints",
            sql="",
            columns=(),
            joined=True,
        ),
        _plain("api", "API id", "api_id"),
        _plain("key", "the key as stored: its hash", "api_key"),
        _plain("oauth_client", "OAuth client id, empty for none", "oauth_id"),
        Dimension("path", "endpoint: path template, tracked pattern or decoded path", "path", ("path",), joined=True),
        _plain("method", "HTTP method"),
        Dimension("version", "version of the API", _VERSION, ("api_version",)),
        _plain("code", "response code; -1 is a TCP byte counter", kind="Int64"),
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
        _several("tag", "each tag of the request", "tags"),
        _several(
            "policy",
            "each policy of the key, from its tag `pol-…`",
            "arrayMap(tag -> substring(tag, 5), arrayFilter(tag -> startsWith(tag, 'pol-'), tags))",
        ),
        _plain("mcp_method", "JSON-RPC method of an MCP request"),
        _plain("mcp_type", "MCP primitive type"),
        _plain("mcp_name", "MCP primitive name"),
        _plain("latency_ms", "latency of the request, ms", "latency", "Int64"),
        _plain("upstream_latency_ms", "upstream latency of the request, ms", "upstream_latency", "Int64"),
    )
}


INSTANT: Final = "ms since 1970"
"""Unit of an instant."""

HISTOGRAM: Final = "hits by bucket"
"""Unit of a histogram: hits by bucket of latency (`store/tables.py`)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that can be asked for.

    Attributes:
        name: Its name in queries and answers.
        meaning: One line for people.
        sql: Expression over the merged parts.
        parts: The parts that it needs.
        unit: Unit of the number.
        counts: It is a whole number that is 0 where there is nothing; any other is not known there.
        type: ClickHouse type of its value, where it does not count.
    """

    name: str
    meaning: str
    sql: str
    parts: tuple[str, ...]
    unit: str = ""
    counts: bool = False
    type: str = "Float64"

    @property
    def sortable(self) -> bool:
        """Rows can be put in its order."""
        return self.unit != HISTOGRAM


def _mean(part: str) -> str:
    return f"{part} / greatest(p_hits, 1)"


SHARES: Final = (0.5, 0.9, 0.95, 0.99)
"""The percentiles that can be asked for, as shares."""


def _percentile(buckets: str, place: int) -> str:
    # The middle of the bucket's range; see `store/tables.py`.
    bucket = f"toInt64({buckets}[{place}])"
    shift = f"greatest(intDiv({bucket}, 16) - 1, 0)"
    return f"(({bucket} - {shift} * 16) * pow(2, {shift}) + (pow(2, {shift}) - 1) / 2)"


def _percentiles(name: str, meaning: str, buckets: str) -> list[Metric]:
    return [
        Metric(
            f"p{round(share * 100)}_{name}",
            f"{round(share * 100)}th percentile of {meaning}, within 3.2 %",
            _percentile(buckets, place),
            (buckets,),
            "ms",
        )
        for place, share in enumerate(SHARES, 1)
    ]


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("records", "records, TCP byte counters included", "p_records", ("p_records",), counts=True),
        Metric("hits", "records with a code other than -1", "p_hits", ("p_hits",), counts=True),
        Metric("success", "hits with a code from 200 to 299", "p_success", ("p_success",), counts=True),
        Metric("error", "hits with a code of 400 or more", "p_error", ("p_error",), counts=True),
        Metric("error_rate", "error / hits", _mean("p_error"), ("p_error", "p_hits")),
        Metric(
            "last_hit",
            "instant of the last hit",
            "toUnixTimestamp64Milli(p_last)",
            ("p_last",),
            INSTANT,
        ),
        Metric(
            "first_hit",
            "instant of the first hit",
            "toUnixTimestamp64Milli(p_first)",
            ("p_first",),
            INSTANT,
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
        Metric("max_latency", "greatest latency", "p_latency_max", ("p_latency_max",), "ms", type="Int64"),
        Metric(
            "min_latency",
            "least latency of the hits that are no errors; of all where all are",
            "coalesce(p_latency_min_fine, p_latency_min)",
            ("p_latency_min", "p_latency_min_fine"),
            "ms",
            type="Int64",
        ),
        Metric(
            "max_upstream_latency",
            "greatest upstream latency",
            "p_upstream_max",
            ("p_upstream_max",),
            "ms",
            type="Int64",
        ),
        Metric(
            "min_upstream_latency",
            "least upstream latency of the hits that are no errors; of all where all are",
            "coalesce(p_upstream_min_fine, p_upstream_min)",
            ("p_upstream_min", "p_upstream_min_fine"),
            "ms",
            type="Int64",
        ),
        *_percentiles("latency", "latency", "p_percentiles"),
        *_percentiles("upstream_latency", "upstream latency", "p_upstream_percentiles"),
        Metric("latency_histogram", "hits by bucket of latency", "p_histogram", ("p_histogram",), HISTOGRAM),
        Metric(
            "upstream_latency_histogram",
            "hits by bucket of upstream latency",
            "p_upstream_histogram",
            ("p_upstream_histogram",),
            HISTOGRAM,
        ),
        Metric("distinct_keys", "keys that hits came with; no key is none", "p_keys", ("p_keys",), counts=True),
        Metric("distinct_clients", "OAuth clients that hits came from", "p_clients", ("p_clients",), counts=True),
        Metric("distinct_endpoints", "endpoints that were hit", "p_endpoints", ("p_endpoints",), counts=True),
        Metric("bytes_in", "bytes of request bodies", "p_bytes_in", ("p_bytes_in",), "bytes", counts=True),
        Metric(
            "bytes_out",
            "bytes given; the gateway records them of TCP alone, so not known where there are hits",
            "if(p_hits = 0 AND p_records > 0, p_tcp_out, NULL)",
            ("p_hits", "p_records", "p_tcp_out"),
            "bytes",
            counts=True,
        ),
        Metric("tcp_bytes_in", "bytes that TCP proxies took", "p_tcp_in", ("p_tcp_in",), "bytes", counts=True),
        Metric("tcp_bytes_out", "bytes that TCP proxies gave", "p_tcp_out", ("p_tcp_out",), "bytes", counts=True),
        Metric(
            "latest_alias", "the key's name in its latest record", "p_alias", ("p_alias", "p_named_at"), type="String"
        ),
        Metric(
            "latest_api_name",
            "the API's name in its latest record",
            "p_api_name",
            ("p_api_name", "p_named_at"),
            type="String",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Operator:
    """A way of comparing a dimension with a value.

    Attributes:
        name: Its name in queries.
        meaning: One line for people.
        sql: Template over `{left}` and the bound `{right}`.
        many: It takes a list of values.
        negated: It holds where the template does not. Of a dimension with several values: where no value does.
        types: Types of dimensions that it can be asked of.
    """

    name: str
    meaning: str
    sql: str
    many: bool = False
    negated: bool = False
    types: tuple[str, ...] = ("String", "Int64", "Bool")

    def fits(self, dimension: Dimension) -> bool:
        """Whether it can be asked of a dimension."""
        return dimension.type in self.types and (self.name != "has_all" or bool(dimension.array))


OPERATORS: Final[dict[str, Operator]] = {
    operator.name: operator
    for operator in (
        Operator("is", "equals the value", "{left} = {right}"),
        Operator("is_not", "differs from the value", "{left} = {right}", negated=True),
        Operator("in", "is one of the values", "{left} IN {right}", many=True),
        Operator("not_in", "is none of the values", "{left} IN {right}", many=True, negated=True),
        Operator("prefix", "begins with the value", "startsWith({left}, {right})", types=("String",)),
        Operator("contains", "has the value in it", "position({left}, {right}) > 0", types=("String",)),
        Operator("greater", "is more than the value", "{left} > {right}", types=("Int64",)),
        Operator("less", "is less than the value", "{left} < {right}", types=("Int64",)),
        Operator("has_all", "the request has every one of the values", "hasAll({left}, {right})", many=True),
    )
}
"""`has_all` is for dimensions of which a record may have several values, and only for those."""
