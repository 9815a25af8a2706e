"""Answer a question of people: rows, steps with their gaps filled, totals, comparison, and how it was answered.

`ask` is what `/api/v1/query` and the pages call.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from keytrail.errors import RequestError, StoreLimited, TooCostly
from keytrail.query.catalog import HISTOGRAM, INSTANT, METRICS
from keytrail.query.join import join
from keytrail.query.plan import plan
from keytrail.query.question import MOST_ROWS, Question
from keytrail.query.ranges import text
from keytrail.query.request import AllOf, AnyOf, Condition, Filter, Order, Query, Scope
from keytrail.query.run import Answer, Around, rows_to_read, run
from keytrail.query.zones import STEP_LENGTH, Label, Span, Step, steps
from keytrail.store.client import Engine
from keytrail.store.tables import RAW, histogram_range

RAW_LIMITS: Final = {
    "max_rows_to_read": 50_000_000,
    "max_memory_usage": 1_000_000_000,
    "max_execution_time": 15,
    # Past this, groups and what is sorted go to the disk: it takes half as long again, and millions of groups fit. The
    # engine's own rule is a share of all memory, which the bound above is reached before.
    "max_bytes_before_external_group_by": 300_000_000,
    "max_bytes_before_external_sort": 300_000_000,
    "max_bytes_ratio_before_external_group_by": 0,
    "max_bytes_ratio_before_external_sort": 0,
}
"""Bounds of a statement that only raw rows can answer: rows, bytes, seconds, and bytes past which it uses the disk."""

MOST_STEPS: Final = 20_000

PAGE_ROWS: Final = 20_000
"""Rows of a page of all rows: fewer make the engine add up more often, more take more memory."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question.

    Attributes:
        rows: Mappings by the names of dimensions and metrics, ready for JSON: a number that is not known is None, an
            instant is RFC 3339 in the zone, a histogram a list of `{from, to, hits}` (ms, both included). With steps
            also `step`, what the local clock shows; with a comparison also `earlier` and `change` (the share by which
            it changed) by metric. A row of the earlier range alone comes last, as far as the limit goes.
        total_rows: Rows of the range without limit, each with all its steps as one.
        totals: The numbers of everything, as a row; None if not asked for.
        statements: What was run, in order.
    """

    rows: list[Row]
    total_rows: int
    totals: Row | None
    statements: list[Answer] = field(repr=False)

    @property
    def tables(self) -> list[str]:
        """The tables that were read."""
        return sorted({segment.table for answer in self.statements for segment in answer.plan.segments})

    @property
    def raw_only(self) -> bool:
        """Whether something that was asked for is in no rollup, so that single requests were read for it."""
        return any(_is_raw(answer.plan.segments) for answer in self.statements)


def ask(engine: Engine, scope: Scope, question: Question) -> Reply:
    """Answer a question.

    Args:
        engine: Where the answer comes from.
        scope: What the asker may see.
        question: The question (`question.parse` makes one of JSON).

    Raises:
        TooCostly: It would take more rows, memory or time than a question may.
        RequestError: It has too many steps.
        StoreError: The engine failed.
    """
    return _Answering(engine, scope, question).reply()


def pages(engine: Engine, scope: Scope, question: Question) -> Iterator[list[Row]]:
    """All rows of a question in the order of its dimensions, a bounded number at a time; at least one page.

    Each page is a statement of its own, as an open stream of the engine would hold everything and keep a reader busy.
    The numbers of a row are those of the instant at which its page is read; no row comes twice.

    Args:
        engine: Where the answer comes from.
        scope: What the asker may see.
        question: The question; its order, limit and offset don't count, and it has neither steps nor a comparison.

    Raises:
        TooCostly: It would take more rows, memory or time than a question may.
        StoreError: The engine failed.
    """
    return _Answering(engine, scope, question).pages()


def bounded(engine: Engine, query: Query, around: Around | None = None) -> Answer:
    """Answer one statement; one that only raw rows can answer is bounded by `RAW_LIMITS`.

    Args:
        engine: Where the answer comes from.
        query: The question.
        around: As of `run`.

    Raises:
        TooCostly: It would take more rows, memory or time than it may.
        StoreError: The engine failed.
    """
    query = join(engine, query)
    limits = None
    if _is_raw(plan(query).segments):
        # As much for each of several ranges as if it were asked about by itself.
        ranges = max(len(query.sides), 1)
        limits = RAW_LIMITS | {name: RAW_LIMITS[name] * ranges for name in ("max_rows_to_read", "max_execution_time")}
    try:
        return run(engine, query, limits, around)
    except StoreLimited as error:
        raise _too_costly(error, raw=limits is not None) from error


class _Answering:
    """The work on one question."""

    def __init__(self, engine: Engine, scope: Scope, question: Question) -> None:
        self._engine = engine
        self._question = question
        self._statements: list[Answer] = []
        # Whether there were hits tells what is not known.
        metrics = question.metrics if "hits" in question.metrics else (*question.metrics, "hits")
        self._base = Query(
            scope=scope,
            spans=question.range.spans,
            zone=question.range.zone,
            dimensions=question.dimensions,
            metrics=metrics,
            filters=question.filters,
            # A row of TCP counters alone has no hit, yet bytes.
            having_hits=False,
        )

    def reply(self) -> Reply:
        """Answer it."""
        question = self._question
        self._check_steps(question.range.spans)
        ordered = replace(self._base, order=self._order(), limit=question.limit, offset=question.offset)
        if question.dimensions:
            groups = self._run(ordered)
            rows = [self._shown(row) for row in groups.rows]
            total = groups.total_rows
            if not rows and question.offset:
                total = self._run(replace(ordered, limit=1, offset=0)).total_rows
            keys = [self._key(row) for row in groups.rows]
            if question.step:
                rows = self._series(self._base, keys) if keys else []
            if question.compare:
                rows = self._compared(rows, keys, everything=total == len(keys))
        else:
            rows = self._undivided(self._base.spans)
            total = 1
            if question.compare:
                earlier: Sequence[Row | None] = self._undivided(question.compare.spans)
                rows = [self._with(row, old) for row, old in _side_by_side(rows, earlier)]
        return Reply(rows, total, self._totals() if question.totals else None, self._statements)

    def pages(self) -> Iterator[list[Row]]:
        """All rows, page by page; see `pages`."""
        order = tuple(Order(name) for name in self._question.dimensions)
        # Once for all pages: they are of one directory.
        query = replace(join(self._engine, self._base), order=order, limit=PAGE_ROWS)
        while True:
            found = bounded(self._engine, query).rows
            yield [self._shown(row) for row in found]
            if len(found) < PAGE_ROWS:
                return
            query = replace(query, after=self._key(found[-1]))

    def _run(self, query: Query) -> Answer:
        answer = bounded(self._engine, query)
        if self._question.explain:
            answer = replace(answer, read_rows=rows_to_read(self._engine, answer))
        self._statements.append(answer)
        return answer

    def _order(self) -> tuple[Order, ...]:
        question = self._question
        first = next((name for name in question.metrics if METRICS[name].sortable), "hits")
        asked = question.order or (Order(first, descending=True),)
        # The dimensions settle ties, so that pages fit together.
        ties = (Order(name) for name in question.dimensions if name not in {order.column for order in asked})
        return (*asked, *ties)

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._question.dimensions)

    def _undivided(self, spans: tuple[Span, ...]) -> list[Row]:
        """The one row of a range, or one for each of its steps."""
        if self._question.step:
            return self._series(replace(self._base, spans=spans), [()])
        found = self._run(replace(self._base, spans=spans)).rows
        return [self._shown(found[0] if found else {})]

    def _totals(self) -> Row:
        base = replace(self._base, dimensions=())

        def of(spans: tuple[Span, ...]) -> Row:
            found = self._run(replace(base, spans=spans)).rows
            return self._shown(found[0] if found else {}, ())

        totals = of(self._base.spans)
        compare = self._question.compare
        return self._with(totals, of(compare.spans)) if compare else totals

    def _series(self, query: Query, keys: Sequence[tuple[Any, ...]]) -> list[Row]:
        """For each group a row for each step, gaps filled."""
        step = self._question.step
        if step is None:
            return []
        self._check_steps(query.spans)
        labels = steps(query.spans, step, query.zone).labels
        if len(labels) * len(keys) > MOST_ROWS:
            raise RequestError(
                f"step: {len(keys)} rows of {len(labels)} steps are more than {MOST_ROWS}: lower the limit, "
                "narrow the range or take a longer step"
            )
        of_groups = replace(query, step=step, filters=(*query.filters, *self._among(keys)))
        found = {(self._key(row), row["step"]): row for row in self._run(of_groups).rows}
        rows = []
        for key in keys:
            named = dict(zip(self._question.dimensions, key, strict=True))
            for label in labels:
                row = found.get((key, label), {})
                rows.append({"step": _step_text(label, step)} | self._shown({**named, **row}))
        return rows

    def _compared(self, rows: list[Row], keys: list[tuple[Any, ...]], *, everything: bool) -> list[Row]:
        question = self._question
        compare = question.compare
        if compare is None:
            return rows
        query = replace(self._base, spans=compare.spans)
        if question.step:
            older = self._series(query, keys) if keys else []
            return [
                self._with(row, old)
                for mine, earlier in zip(_portions(rows, len(keys)), _portions(older, len(keys)), strict=True)
                for row, old in _side_by_side(mine, earlier)
            ]
        if everything:
            # Also those that are no more.
            found = self._run(replace(query, order=self._order(), limit=MOST_ROWS)).rows
        else:
            found = self._run(replace(query, filters=(*query.filters, *self._among(keys)))).rows if keys else []
        before = {self._key(row): self._shown(row) for row in found}
        nothing = self._shown({})
        compared = [
            self._with(row, before.get(key, nothing | dict(zip(question.dimensions, key, strict=True))))
            for row, key in zip(rows, keys, strict=True)
        ]
        known = set(keys)
        gone = [key for key in before if key not in known] if everything else []
        for key in gone[: question.limit - len(rows)]:
            empty = nothing | dict(zip(question.dimensions, key, strict=True))
            compared.append(self._with(empty, before[key]))
        return compared

    def _among(self, keys: Sequence[tuple[Any, ...]]) -> tuple[Condition, ...]:
        """The condition that a record is of one of some groups."""
        names = self._question.dimensions
        if not names:
            return ()
        if len(names) == 1:
            return (Filter(names[0], "in", [key[0] for key in keys]),)
        each = (
            AllOf(tuple(Filter(*one) for one in zip(names, ("is",) * len(names), key, strict=True))) for key in keys
        )
        return (AnyOf(tuple(each)),)

    def _shown(self, row: Mapping[str, Any], dimensions: Iterable[str] | None = None) -> Row:
        """A row of the engine, or an empty one for nothing, ready for JSON."""
        names = self._question.dimensions if dimensions is None else dimensions
        shown = {name: row.get(name) for name in names}
        for name in self._question.metrics:
            shown[name] = _number(name, row.get(name), hits=row.get("hits", 0), where=self._base.zone)
        return shown

    def _with(self, row: Row, earlier: Row | None) -> Row:
        names = self._question.metrics
        old = {name: None if earlier is None else earlier[name] for name in names}
        return row | {"earlier": old, "change": {name: _change(row[name], old[name]) for name in names}}

    def _check_steps(self, spans: Sequence[Span]) -> None:
        step = self._question.step
        if step and spans and (spans[-1].end - spans[0].start) / STEP_LENGTH[step] > MOST_STEPS:
            raise RequestError(
                f"step: the range has more than {MOST_STEPS} steps: narrow it or take a longer step than a {step.value}"
            )


def _number(name: str, value: Any, *, hits: int, where: str) -> Any:
    metric = METRICS[name]
    if metric.unit == HISTOGRAM:
        buckets = sorted((value or {}).items())
        edges = ((histogram_range(int(bucket)), count) for bucket, count in buckets)
        return [{"from": low, "to": high, "hits": count} for (low, high), count in edges]
    if metric.counts:
        # Of bytes, None says that they were not recorded.
        return 0 if value is None and not hits and name != "bytes_out" else value
    if not hits or value is None:
        return None
    return text(value, where) if metric.unit == INSTANT else value


def _change(now: Any, earlier: Any) -> float | None:
    numbers = all(isinstance(value, int | float) for value in (now, earlier))
    return (now - earlier) / earlier if numbers and earlier else None


def _portions(rows: list[Row], count: int) -> list[list[Row]]:
    """The rows of each of so many groups, all of which have as many."""
    size = len(rows) // max(count, 1)
    return [rows[place * size : (place + 1) * size] for place in range(count)]


def _side_by_side(rows: Sequence[Row], earlier: Sequence[Row | None]) -> list[tuple[Row, Row | None]]:
    """Each row and the one at the same place of the earlier range, which may have fewer."""
    return [(row, earlier[place] if place < len(earlier) else None) for place, row in enumerate(rows)]


def _step_text(label: Label, step: Step) -> str:
    day = f"{label.year:04}-{label.month:02}-{label.day:02}"
    match step:
        case Step.MONTH:
            return day[:7]
        case Step.DAY:
            return day
        case _:
            return f"{day}T{label.hour:02}:{label.minute:02}"


def _is_raw(segments: Sequence[Any]) -> bool:
    """Whether raw rows alone answer: more than the edges of a range that no rollup covers."""
    return bool(segments) and all(segment.table == RAW for segment in segments)


def _too_costly(error: StoreLimited, *, raw: bool) -> TooCostly:
    way = "narrow the range, filter by key or API" + (
        ", or leave out what only single requests have" if raw else ", or split by fewer dimensions"
    )
    status = 400 if error.limit.startswith(("rows", "bytes")) else 503
    return TooCostly(f"the answer would take too much {error.limit}: {way}".replace("much rows", "many rows"), status)
