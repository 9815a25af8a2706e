"""Answer a question: plan, choose tables, build SQL, run, shape."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keytrail.query.build import build
from keytrail.query.join import join
from keytrail.query.kept import all_kept, read_rows
from keytrail.query.plan import Plan, plan
from keytrail.query.request import Query
from keytrail.query.statement import Statement
from keytrail.query.zones import Label
from keytrail.store.client import Engine, Rows
from keytrail.store.raw_rows import RawRows

# The order of the rows finds a key's rows without them; looking for more to save takes longer than is saved.
_OF_A_LOOKUP: Final = {"query_plan_enable_optimizations": 0}


Around = Callable[[str, Statement], str]
"""Makes of a statement another one that reads its rows; it may bind further values."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of an answer.

    Attributes:
        rows: Mappings by the names of dimensions and metrics; with steps also `step`, a `Label`, and with
            sides `side`, the index of one.
        total_rows: Rows without the limit.
        plan: How it was answered.
        sql: The statement.
        statement: Its bound values.
        read_rows: Rows that the engine says it read; the embedded one tells those of the answer (`rows_to_read`).
        seconds: Time that the engine took.
    """

    rows: list[dict[str, Any]]
    total_rows: int
    plan: Plan
    sql: str
    statement: Statement
    read_rows: int
    seconds: float


def run(engine: Engine, query: Query, limits: Mapping[str, Any] | None = None, around: Around | None = None) -> Answer:
    """Answer a question.

    Args:
        engine: Where the answer comes from.
        query: The question.
        limits: Engine settings that bound the statement, beside those of all.
        around: The statement is put into that of this one, whose rows are the answer's, by the names of its columns.

    Raises:
        RequestError: It needs rows that are no longer kept; names the day.
        StoreLimited: It would take more than the limits allow.
        StoreAway: It took too long or too much memory.
        StoreError: The engine refused the statement.
    """
    query = join(engine, query)
    chosen = plan(query)
    if not chosen.segments:
        # A day that a zone skipped altogether (Apia, 30 December 2011).
        return Answer([], 0, chosen, "", Statement(), 0, 0.0)

    def read(rows: RawRows) -> tuple[str, Statement, Rows]:
        sql, statement = build(query, chosen, rows)
        if around:
            sql = around(sql, statement)
        quick = _OF_A_LOOKUP if chosen.lookup and not rows.cold else {}
        return sql, statement, engine.query(sql, statement.parameters, {**quick, **(limits or {})})

    raw = [span for segment in chosen.segments if segment.raw for span in segment.spans]
    with contextlib.ExitStack() as kept:
        for segment in chosen.segments:
            kept.enter_context(all_kept(engine, segment.spans, raw=segment.raw))
        sql, statement, found = read_rows(engine, raw, read)
    if around:
        rows = found.dicts()
        return Answer(rows, len(rows), chosen, sql, statement, found.read_rows, found.seconds)
    labels = chosen.steps.labels if chosen.steps else ()
    rows = [_shaped(query, labels, row) for row in found.rows]
    total = found.rows[0][-1] if found.rows and query.limit is not None else len(rows)
    return Answer(rows, total, chosen, sql, statement, found.read_rows, found.seconds)


def rows_to_read(engine: Engine, answer: Answer) -> int:
    """Rows of the stretches of the tables that the engine picks by their order to answer again."""
    if not answer.sql:
        return 0
    found = engine.query(f"EXPLAIN ESTIMATE {answer.sql}", answer.statement.parameters)
    return sum(int(row["rows"]) for row in found.dicts())


def _shaped(query: Query, labels: tuple[Label, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    shaped: dict[str, Any] = {}
    values = iter(row)
    if labels:
        shaped["step"] = labels[next(values)]
    if query.sides:
        shaped["side"] = next(values)
    for name in (*query.dimensions, *query.metrics, *(() if query.beyond is None else ("slow",))):
        shaped[name] = next(values)
    return shaped
