"""The statement of a plan: every value is a bound parameter, and every statement carries the asker's scope."""

from typing import Any

from keytrail.query.catalog import DIMENSIONS, HIT, METRICS, OPERATORS, PARTS, VERSIONLESS, Part
from keytrail.query.plan import Plan, Segment
from keytrail.query.request import Filter, Query
from keytrail.query.zones import Steps


class Statement:
    """A statement that is being put together: its text and its bound values."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}

    def bind(self, value: Any, kind: str) -> str:
        """Bind a value and give the placeholder for it.

        Args:
            value: The value.
            kind: Its ClickHouse type.
        """
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{kind}}}"


def build(query: Query, chosen: Plan) -> tuple[str, dict[str, Any]]:
    """The statement of a question and its bound values.

    Its columns: `step` (index into the steps' labels) if there are steps, the dimensions, the metrics, and
    `total_rows`, the number of rows without the limit.
    """
    statement = Statement()
    parts = _parts(query)
    scope = _conditions(query, statement)
    steps = _step_binding(chosen.steps, statement) if chosen.steps else ""
    groups = (["step"] if steps else []) + [_quoted(name) for name in query.dimensions]
    sources = [_source(query, segment, parts, scope, steps, statement) for segment in chosen.segments]
    metrics = [f"{METRICS[name].sql} AS {_quoted('m_' + name)}" for name in query.metrics]
    grouped = sources[0] if len(sources) == 1 else _merged(sources, groups, parts)
    where = " WHERE p_hits > 0" if query.having_hits else ""
    sql = f"SELECT {', '.join([*groups, *metrics, 'count() OVER () AS total_rows'])} FROM ({grouped}){where}"
    if query.order:
        sql += " ORDER BY " + ", ".join(
            f"{_order_column(query, order.column)}{' DESC' if order.descending else ''}" for order in query.order
        )
    if query.limit is not None:
        sql += f" LIMIT {statement.bind(query.limit, 'UInt64')} OFFSET {statement.bind(query.offset, 'UInt64')}"
    return sql, statement.parameters


def _merged(sources: list[str], groups: list[str], parts: list[Part]) -> str:
    """What several tables contribute, merged: with one table there is nothing to merge, and each level costs time."""
    union = " UNION ALL ".join(f"({source})" for source in sources)
    merged = [f"{_merge(part)} AS {part.name}" for part in parts]
    sql = f"SELECT {', '.join([*groups, *merged])} FROM ({union}) AS source"
    return sql + (f" GROUP BY {', '.join(groups)}" if groups else "")


def _order_column(query: Query, name: str) -> str:
    if name in query.metrics:
        return _quoted("m_" + name)
    return _quoted(name)


def _parts(query: Query) -> list[Part]:
    names = {part: None for metric in query.metrics for part in METRICS[metric].parts}
    if query.having_hits:
        names["p_hits"] = None
    return [PARTS[name] for name in names]


def _merge(part: Part) -> str:
    # By the source's name, as the merged part has the same: without it an aggregate would stand in an aggregate.
    name = f"source.{part.name}"
    if part.merge == "name":
        return f"argMax({name}, (source.p_named_at, {name}))"
    return f"{part.merge}({name})"


def _source(
    query: Query, segment: Segment, parts: list[Part], scope: list[str], steps: str, statement: Statement
) -> str:
    clock = "time" if segment.raw else "bucket"
    precision = 3 if segment.raw else 0
    spans = [
        f"({clock} >= {_instant(span.start, precision, statement)} AND {clock} < "
        f"{_instant(span.end, precision, statement)})"
        for span in segment.spans
    ]
    columns = [f"{DIMENSIONS[name].sql} AS {_quoted(name)}" for name in query.dimensions]
    groups = [_quoted(name) for name in query.dimensions]
    if steps:
        unit = "toUnixTimestamp64Milli(time)" if segment.raw else "toUnixTimestamp64Second(bucket) * 1000"
        columns.insert(0, steps.replace("?", unit) + " AS step")
        groups.insert(0, "step")
    only_hits = all(part.of_hits for part in parts)
    contributions = [f"{part.expression(raw=segment.raw, only_hits=only_hits)} AS {part.name}" for part in parts]
    conditions = [*scope, *([HIT] if only_hits else []), f"({' OR '.join(spans)})"]
    sql = f"SELECT {', '.join([*columns, *contributions])} FROM {segment.table} WHERE {' AND '.join(conditions)}"
    if groups:
        sql += f" GROUP BY {', '.join(groups)}"
    return sql


def _instant(milliseconds: int, precision: int, statement: Statement) -> str:
    if precision == 3:
        return f"fromUnixTimestamp64Milli({statement.bind(milliseconds, 'Int64')}, 'UTC')"
    return f"fromUnixTimestamp64Second({statement.bind(milliseconds // 1000, 'Int64')}, 'UTC')"


def _step_binding(steps: Steps, statement: Statement) -> str:
    edges = statement.bind([piece.start for piece in steps.pieces], "Array(Int64)")
    owners = statement.bind(list(steps.label_of_piece), "Array(UInt32)")
    # The last start of a piece at or before the instant tells the piece, and the piece its label.
    return f"transform(roundDown(?, {edges}), {edges}, {owners}, toUInt32(0))"


def _conditions(query: Query, statement: Statement) -> list[str]:
    """The scope first: the one place where it enters a statement."""
    conditions = []
    if query.scope.org is not None:
        conditions.append(f"org_id = {statement.bind(query.scope.org, 'String')}")
    if query.scope.apis is not None:
        conditions.append(f"has({statement.bind(sorted(query.scope.apis), 'Array(String)')}, api_id)")
    conditions.extend(_filter(item, statement) for item in query.filters)
    return conditions or ["1"]


def _filter(item: Filter, statement: Statement) -> str:
    dimension, operator = DIMENSIONS[item.dimension], OPERATORS[item.operator]
    value = item.value
    if item.dimension == "version" and value == "Not Versioned":
        value = VERSIONLESS
    kind = f"Array({dimension.type})" if operator.many else dimension.type
    return operator.sql.format(left=dimension.sql, right=statement.bind(value, kind))


def _quoted(name: str) -> str:
    # Catalogue names only; quoted because some are words of the language.
    return f"`{name}`"
