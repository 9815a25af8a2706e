"""What changed: who contributes how much to the change in errors and in p95 latency, since when and where.

Errors: a group (key × endpoint × code class, or as asked) contributes its errors less those that the baseline lets
expect, which are its earlier errors times the ratio of the two ranges' lengths. Latency: p95 rises when more hits than
before are slower than the earlier p95, so a group contributes the share of all hits that are its slow ones, less the
same share earlier.
Both are sums: the contributions of all groups together are the whole change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keytrail.errors import TooCostly
from keytrail.query.ask import bounded
from keytrail.query.changes_question import DEFAULT_GROUP, GROUPS, ChangesQuestion
from keytrail.query.changes_ranked import BEFORE, NOW, Key, Ranker, Ranking, Suspect, scale_of
from keytrail.query.changes_since import CLOCK, Excess, since
from keytrail.query.ranges import text
from keytrail.query.request import AllOf, AnyOf, Condition, Filter, Query, Scope
from keytrail.query.run import Answer, Around
from keytrail.query.statement import Statement
from keytrail.query.zones import Label, Span, Step
from keytrail.store.client import Engine
from keytrail.store.tables import histogram_bucket

TOLD: Final = GROUPS[DEFAULT_GROUP]
"""What a row tells; None where it is not told apart."""
MOST_GROUPS: Final = 100_000
"""Groups of both ranges together that are compared; of more, none is ranked, as a part would pass for the whole."""
_NAMED_BY: Final = (("key", "latest_alias"), ("api", "latest_api_name"))
_OF_LATENCY: Final = ("p95_latency", "upstream_latency", "gateway_overhead")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed.

    Attributes:
        errors: The change in errors: `now`, `earlier`, `expected` (earlier errors times the ratio of lengths),
            `change` (now less expected), `sigma` (how many times what chance alone gives it is), `rest` (what of it the
            rows do not tell) and `rows`, ready for JSON.
        latency: The change in p95: `p95_latency` and `earlier_p95_latency` (ms), `slow_share` and `earlier_slow_share`
            (of hits slower than the earlier p95), `change` (of that share), `sigma`, `rest` and `rows`.
        groups: Groups that had a hit in either range.
        judged: Those of them with enough hits.
        statements: What was run, in order.
    """

    errors: Row
    latency: Row
    groups: int
    judged: int
    statements: list[Answer] = field(repr=False)


def changes(engine: Engine, scope: Scope, question: ChangesQuestion, *, errors_alone: bool = False) -> Changes:
    """Rank who contributes to the change of a range against its baseline.

    Args:
        engine: Where the answer comes from.
        scope: What the asker may see.
        question: The ranges, and what is judged (`changes_question.parse_changes` makes one of JSON).
        errors_alone: Latency is not wanted: to count slow hits is half of the work. It is not known then.

    Raises:
        TooCostly: There are more than `MOST_GROUPS` groups, or it would take more rows, memory or time than it may.
        StoreError: The engine failed.
    """
    return _Inquiry(engine, scope, question, errors_alone=errors_alone).found()


class _Inquiry:
    """The work on one question.

    Three statements, and those of the minutes: the p95 of everything, the groups that contribute most, and what else
    is told of these.
    """

    def __init__(self, engine: Engine, scope: Scope, question: ChangesQuestion, *, errors_alone: bool) -> None:
        self._engine = engine
        self._scope = scope
        self._question = question
        self._group = question.group
        self._statements: list[Answer] = []
        self._scale = scale_of(question)
        self._p95 = {} if errors_alone else self._p95_of_all()
        # Without hits before, nothing is slower than before.
        self._edge = histogram_bucket(int(self._p95[BEFORE])) if self._p95.keys() >= {BEFORE, NOW} else None
        self._ranking = self._ranked()

    def found(self) -> Changes:
        """Answer it."""
        ranking = self._ranking
        failing, slower = ranking.suspects["error"], ranking.suspects.get("slow", [])
        began_failing, began_slow = self._since(failing, slower)
        details = self._details({one.key for one in (*failing, *slower)}, latency=bool(slower))
        return Changes(
            self._errors([self._error_row(one, details[one.key], began_failing.get(one.key)) for one in failing]),
            self._latency([self._latency_row(one, details[one.key], began_slow.get(one.key)) for one in slower]),
            ranking.groups,
            ranking.judged,
            self._statements,
        )

    def _errors(self, rows: list[Row]) -> Row:
        now, expected = self._ranking.now.error, self._ranking.before.error * self._scale
        return {
            "now": now,
            "earlier": self._ranking.before.error,
            "expected": expected,
            "change": now - expected,
            "sigma": self._ranking.sigma["error"],
            "rest": now - expected - sum(row["contribution"] for row in rows),
            "rows": rows,
        }

    def _latency(self, rows: list[Row]) -> Row:
        now, before = (_ratio(one.slow, one.hits) for one in (self._ranking.now, self._ranking.before))
        change = None if self._edge is None or now is None or before is None else now - before
        return {
            "p95_latency": self._p95.get(NOW),
            "earlier_p95_latency": self._p95.get(BEFORE),
            "slow_share": None if change is None else now,
            "earlier_slow_share": None if change is None else before,
            "change": change,
            "sigma": None if change is None else self._ranking.sigma["slow"],
            "rest": None if change is None else change - sum(row["contribution"] for row in rows),
            "rows": rows,
        }

    def _query(self, spans: tuple[Span, ...], dimensions: Sequence[str], metrics: Sequence[str], **more: Any) -> Query:
        filters = (*more.pop("among", ()), *self._question.filters)
        return Query(self._scope, spans, CLOCK, tuple(dimensions), tuple(metrics), filters, **more)

    def _of_both(self, dimensions: Sequence[str], metrics: Sequence[str], **more: Any) -> Query:
        sides = {BEFORE: self._question.baseline.spans, NOW: self._question.range.spans}
        spans = sorted((*sides[BEFORE], *sides[NOW]), key=lambda span: span.start)
        return self._query(tuple(spans), dimensions, metrics, sides=(sides[BEFORE], sides[NOW]), **more)

    def _run(self, query: Query, around: Around | None = None) -> Answer:
        answer = bounded(self._engine, query, around)
        self._statements.append(answer)
        return answer

    def _p95_of_all(self) -> dict[int, float]:
        """The p95 of everything by side, ms; nothing of a side without hits."""
        return {row["side"]: row["p95_latency"] for row in self._run(self._of_both((), ("p95_latency",))).rows}

    def _ranked(self) -> Ranking:
        ranker = Ranker(self._question, ("error",) if self._edge is None else ("error", "slow"))
        counted = self._of_both((*self._group, "error_origin"), ("hits", "error"), beyond=self._edge)
        (row,) = self._run(counted, ranker.around).rows
        ranking = ranker.read(row)
        if ranking.groups > MOST_GROUPS:
            raise TooCostly(
                f"there are more than {MOST_GROUPS} groups of {', '.join(self._group)}: narrow the range, "
                "or filter by key or API",
                400,
            )
        return ranking

    def _since(self, failing: list[Suspect], slower: list[Suspect]) -> tuple[dict[Key, int], dict[Key, int]]:
        """When what contributes began, for those that have more now."""
        series = [
            Excess(kind, one.key, getattr(one.now, kind), getattr(one.before, kind) * self._scale)
            for kind, suspects in (("error", failing), ("slow", slower))
            for one in suspects
            if one.contribution > 0
        ]
        if not series:
            return {}, {}
        among = _among(self._group, sorted({excess.key for excess in series}))
        kinds = ("error", "slow") if slower else ("error",)

        def by_group(sql: str, statement: Statement) -> str:
            # A row for each step of each group would be tens of thousands.
            names = [f"`d_{name}`" for name in self._group]
            counts = [f"groupArray(`m_{kind}`) AS {kind}" for kind in kinds]
            columns = [f"[{', '.join(names)}] AS key", "groupArray(step) AS steps", *counts]
            return f"SELECT {', '.join(columns)} FROM ({sql}) GROUP BY {', '.join(names)}"

        def counted(spans: tuple[Span, ...], step: Step) -> dict[tuple[str, Key], dict[Label, int]]:
            beyond = self._edge if slower else None
            asked = self._query(spans, self._group, ("error",), among=among, step=step, beyond=beyond)
            answer = self._run(asked, by_group)
            labels = answer.plan.steps.labels if answer.plan.steps else ()
            return {
                (kind, tuple(row["key"])): {labels[place]: n for place, n in zip(row["steps"], row[kind], strict=True)}
                for row in answer.rows
                for kind in kinds
            }

        began = since(self._question.range, series, counted)
        errors = {key: at for (kind, key), at in began.items() if kind == "error"}
        return errors, {key: at for (kind, key), at in began.items() if kind == "slow"}

    def _key(self, row: Row) -> Key:
        return tuple(row[name] for name in self._group)

    def _details(self, keys: set[Key], *, latency: bool) -> dict[Key, list[Row]]:
        """What else is told of some groups, in the baseline and in the range: their names, and of latency."""
        details: dict[Key, list[Row]] = {key: [{}, {}] for key in keys}
        metrics = [metric for name, metric in _NAMED_BY if name in self._group]
        metrics += _OF_LATENCY if latency else ()
        if keys and metrics:
            asked = self._of_both(self._group, metrics, among=_among(self._group, sorted(keys)))
            for row in self._run(asked).rows:
                details[self._key(row)][row["side"]] = row
        return details

    def _row(self, one: Suspect, kind: str, sides: Sequence[Row], began: int | None) -> Row:
        # The names of the later range stand.
        before, now = sides
        named = now or before
        return {
            **dict.fromkeys(TOLD),
            **dict(zip(self._group, one.key, strict=True)),
            "alias": named.get("latest_alias", ""),
            "api_name": named.get("latest_api_name", ""),
            "contribution": one.contribution,
            "share": abs(one.contribution) / self._ranking.moved[kind],
            "sigma": one.sigma,
            "since": None if began is None else text(began, self._question.range.zone),
            "endpoint_hits": one.now.endpoint_hits,
            "earlier_endpoint_hits": one.before.endpoint_hits,
        }

    def _error_row(self, one: Suspect, sides: Sequence[Row], began: int | None) -> Row:
        now, before = one.now, one.before
        origins = (now if one.contribution > 0 else before).origins
        return self._row(one, "error", sides, began) | {
            "errors": now.error,
            "earlier_errors": before.error,
            "expected_errors": before.error * self._scale,
            "error_rate": _ratio(now.error, now.endpoint_hits),
            "earlier_error_rate": _ratio(before.error, before.endpoint_hits),
            "origin": _main(origins),
            "origins": dict(sorted(origins.items())),
        }

    def _latency_row(self, one: Suspect, sides: Sequence[Row], began: int | None) -> Row:
        before, now = sides
        upstream = _mean(now, "upstream_latency") - _mean(before, "upstream_latency")
        overhead = _mean(now, "gateway_overhead") - _mean(before, "gateway_overhead")
        moved = upstream - overhead if one.contribution > 0 else overhead - upstream
        in_both = one.now.hits and one.before.hits
        return self._row(one, "slow", sides, began) | {
            "hits": one.now.hits,
            "earlier_hits": one.before.hits,
            "slow": one.now.slow,
            "earlier_slow": one.before.slow,
            "p95_latency": now.get("p95_latency"),
            "earlier_p95_latency": before.get("p95_latency"),
            "upstream_change": upstream if in_both else None,
            "gateway_change": overhead if in_both else None,
            "origin": "upstream" if moved >= 0 else "gateway",
        }


def _among(group: tuple[str, ...], keys: Sequence[Key]) -> tuple[Condition, ...]:
    """That a record is of one of some groups; the first condition lets the order of the rows find them."""
    each = tuple(
        AllOf(tuple(Filter(name, "is", value) for name, value in zip(group, key, strict=True))) for key in keys
    )
    return (Filter(group[0], "in", sorted({key[0] for key in keys})), AnyOf(each))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(row: Row, metric: str) -> float:
    return float(row.get(metric, 0.0))


def _main(origins: Mapping[str, int]) -> str:
    """The origin of most; of two with as many, the upstream, as it is looked at first."""
    return max(sorted(origins, reverse=True), key=lambda name: origins[name], default="")
