"""The statement of a plan: every value is a bound parameter, and every statement carries the asker's scope."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keytrail.query.catalog import ALSO_VERSIONLESS, DIMENSIONS, METRICS, OPERATORS, VERSIONLESS
from keytrail.query.parts import HIT, PARTS, SLOW, Part, latest, slow_beyond
from keytrail.query.plan import Plan, Segment
from keytrail.query.request import AllOf, AnyOf, Condition, Filter, Not, Query
from keytrail.query.statement import BUCKET_CLOCK, INSTANT, RAW_CLOCK, Statement
from keytrail.query.zones import Span, Steps
from keytrail.store.raw_rows import RawRows


def build(query: Query, chosen: Plan, rows: RawRows | None = None) -> tuple[str, Statement]:
    """The text of a question's statement, and its bound values.

    Args:
        query: The question.
        chosen: Its plan.
        rows: Where its raw rows are; by default all in their table.

    Its columns: `step` (index into the steps' labels, or into the sides) if there are steps or sides, the dimensions,
    the metrics, the slow hits if these are counted, and with a limit `total_rows`, the number of rows without it.
    """
    statement = Statement()
    parts = _parts(query, statement)
    scope = conditions(query, statement)
    steps = _step_binding(chosen.steps, statement) if chosen.steps else ""
    groups = (["step"] if steps else []) + [_quoted("d_" + name) for name in query.dimensions]
    only_hits = all(part.of_hits for part in parts)
    sources = [
        Source(_origin(segment, rows or RawRows(), scope, statement, only_hits=only_hits), raw=segment.raw, steps=steps)
        for segment in chosen.segments
    ]
    path = _endpoint(query, parts, statement)
    if len(sources) == 1:
        (source,) = sources
        origin, columns = source.origin, _columns(query, source, statement)
        given = {part: part.expression(path, raw=source.raw, only_hits=only_hits) for part in parts}
    else:
        # With one table there is nothing to merge, and each level costs time.
        origin, columns = _union(query, sources, parts, groups, statement, only_hits=only_hits), groups
        given = {part: _merge(part) for part in parts}
    named = [f"{part.finished(sql, only_hits=only_hits)} AS {part.name}" for part, sql in given.items()]
    metrics = [f"{METRICS[name].sql} AS {_quoted('m_' + name)}" for name in query.metrics]
    if query.beyond is not None:
        metrics.append(f"{SLOW} AS {_quoted('m_slow')}")
    # All rows are there without a limit, and a window costs time.
    total = [] if query.limit is None else ["count() OVER () AS total_rows"]
    sql = f"WITH {', '.join(named)} SELECT {', '.join([*columns, *metrics, *total])} FROM {origin}"
    if groups:
        sql += f" GROUP BY {', '.join(groups)}"
    # A group of nothing but hits has one; without groups there is a row even of nothing.
    having = ["p_hits > 0"] if query.having_hits and not (only_hits and groups) else []
    if query.after is not None:
        having.append(_behind(query, query.after, statement))
    if having:
        sql += f" HAVING {' AND '.join(having)}"
    if query.order:
        sql += " ORDER BY " + ", ".join(
            f"{_order_column(query, order.column)}{' DESC' if order.descending else ''}" for order in query.order
        )
    if query.limit is not None:
        sql += f" LIMIT {statement.bind(query.limit, 'UInt64')} OFFSET {statement.bind(query.offset, 'UInt64')}"
    return statement.level(sql, sources[0].clock) if len(sources) == 1 else sql, statement


def _behind(query: Query, after: tuple[Any, ...], statement: Statement) -> str:
    """That a row comes behind another; the engine asks it of rows before they are added up, and so reads fewer."""
    names = ", ".join(_quoted("d_" + name) for name in query.dimensions)
    bound = (statement.bind(value, DIMENSIONS[name].type) for name, value in zip(query.dimensions, after, strict=True))
    return f"tuple({names}) > tuple({', '.join(bound)})"


@dataclass(frozen=True, slots=True)
class Source:
    """A table that a statement reads.

    Attributes:
        origin: The table and its condition, as they follow `FROM`.
        raw: It has raw rows.
        steps: Expression for the step of an `INSTANT`; "" without steps.
    """

    origin: str
    raw: bool
    steps: str

    @property
    def clock(self) -> str:
        """The instant of a row, or the start of its bucket, in ms since the epoch."""
        return RAW_CLOCK if self.raw else BUCKET_CLOCK


def _columns(query: Query, source: Source, statement: Statement) -> list[str]:
    """The step and the dimensions, as a table gives them, under names that no column has."""
    columns = [f"{expression(query, name, statement)} AS {_quoted('d_' + name)}" for name in query.dimensions]
    if source.steps:
        columns.insert(0, f"{source.steps} AS step")
    return columns


def expression(query: Query, name: str, statement: Statement) -> str:
    """What a dimension is of a row; `Statement.level` finishes it."""
    if not DIMENSIONS[name].joined:
        return DIMENSIONS[name].sql
    if query.joined is None:
        # Nobody may see more for want of the directory.
        raise LookupError(f"the question is not joined with what {name} is read from")
    return query.joined.templates.sql(statement) if name == "path" else query.joined.directory.sql(statement)


def _union(
    query: Query, sources: list[Source], parts: list[Part], groups: list[str], statement: Statement, *, only_hits: bool
) -> str:
    """What several tables contribute, to be merged."""
    path = _endpoint(query, parts, statement)
    statements = []
    for source in sources:
        given = {
            part: part.expression(path, raw=source.raw, only_hits=only_hits, to_merge=True, grouped=bool(groups))
            for part in parts
        }
        contributions = [f"{sql} AS {_contribution(part)}" for part, sql in given.items()]
        sql = f"SELECT {', '.join([*_columns(query, source, statement), *contributions])} FROM {source.origin}"
        grouped = f"{sql}{' GROUP BY ' + ', '.join(groups) if groups else ''}"
        statements.append(f"({statement.level(grouped, source.clock)})")
    return f"({' UNION ALL '.join(statements)}) AS source"


def _order_column(query: Query, name: str) -> str:
    if name in query.metrics:
        return _quoted("m_" + name)
    return _quoted("d_" + name)


def _endpoint(query: Query, parts: list[Part], statement: Statement) -> str:
    return expression(query, "path", statement) if any("path" in part.columns for part in parts) else ""


def _parts(query: Query, statement: Statement) -> list[Part]:
    names = {part: None for metric in query.metrics for part in METRICS[metric].parts}
    if query.having_hits:
        names["p_hits"] = None
    slow = [] if query.beyond is None else [slow_beyond(statement.bind(query.beyond, "UInt16"))]
    return [*(PARTS[name] for name in names), *slow]


def _merge(part: Part) -> str:
    name = _contribution(part)
    if part.merge == "name":
        return f"argMax({latest('of_p_named_at', name)})"
    return f"{part.merge}{part.levels}({name})"


def _contribution(part: Part) -> str:
    # Another name than the merged part's: else an aggregate would stand in an aggregate.
    return f"of_{part.name}"


def _origin(segment: Segment, rows: RawRows, scope: list[str], statement: Statement, *, only_hits: bool) -> str:
    table = rows.source(statement.bind_hidden) if segment.raw else segment.table
    clock = "time" if segment.raw else "bucket"
    precision = 3 if segment.raw else 0
    conditions = [*scope, *([HIT] if only_hits else []), f"({within(segment.spans, clock, precision, statement)})"]
    return f"{table} WHERE {' AND '.join(conditions)}"


def within(spans: Sequence[Span], clock: str, precision: int, statement: Statement) -> str:
    """That an instant lies in one of some stretches.

    Args:
        spans: The stretches.
        clock: The column.
        precision: Its digits after the second: 0 or 3.
        statement: Takes the bound values.
    """
    return " OR ".join(
        f"({clock} >= {instant(span.start, precision, statement)} AND {clock} < "
        f"{instant(span.end, precision, statement)})"
        for span in spans
    )


def instant(milliseconds: int, precision: int, statement: Statement) -> str:
    """An instant in ms since the epoch as a bound value of a column with so many digits after the second."""
    if precision == 3:
        return f"fromUnixTimestamp64Milli({statement.bind(milliseconds, 'Int64')}, 'UTC')"
    return f"fromUnixTimestamp64Second({statement.bind(milliseconds // 1000, 'Int64')}, 'UTC')"


def _step_binding(steps: Steps, statement: Statement) -> str:
    edges = statement.bind([piece.start for piece in steps.pieces], "Array(Int64)")
    owners = statement.bind(list(steps.label_of_piece), "Array(UInt32)")
    # The last start of a piece at or before the instant tells the piece, and the piece its label.
    return f"transform(roundDown({INSTANT}, {edges}), {edges}, {owners}, toUInt32(0))"


def conditions(query: Query, statement: Statement) -> list[str]:
    """The scope first: the one place where it enters a statement."""
    conditions = []
    if query.scope.org is not None:
        conditions.append(f"org_id = {statement.bind(query.scope.org, 'String')}")
    conditions.extend(_condition(query, item, statement) for item in query.conditions)
    return conditions or ["1"]


def _condition(query: Query, item: Condition, statement: Statement) -> str:
    match item:
        case Filter():
            return _filter(query, item, statement)
        case Not():
            return f"NOT ({_condition(query, item.item, statement)})"
        case AllOf():
            return f"({' AND '.join(_condition(query, one, statement) for one in item.items) or '1'})"
        case AnyOf():
            return f"({' OR '.join(_condition(query, one, statement) for one in item.items) or '0'})"


def _filter(query: Query, item: Filter, statement: Statement) -> str:
    dimension, operator = DIMENSIONS[item.dimension], OPERATORS[item.operator]
    value = item.value
    if item.dimension == "version":
        value = [_version(one) for one in value] if operator.many else _version(value)
    bound = statement.bind(value, f"Array({dimension.type})" if operator.many else dimension.type, told=item.told)
    if not dimension.array:
        sql = operator.sql.format(left=expression(query, item.dimension, statement), right=bound)
    elif operator.name == "has_all":
        sql = operator.sql.format(left=dimension.array, right=bound)
    else:
        sql = f"arrayExists(one -> {operator.sql.format(left='one', right=bound)}, {dimension.array})"
    return f"NOT ({sql})" if operator.negated else sql


def _version(value: str) -> str:
    return VERSIONLESS if value == ALSO_VERSIONLESS else value


def _quoted(name: str) -> str:
    # Catalogue names only; quoted because some are words of the language.
    return f"`{name}`"
