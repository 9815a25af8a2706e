"""What changed: who contributes how much to the change in errors and in p95 latency, since when and where.

Errors: a group (key × endpoint × code class, or as asked) contributes its errors less those that the baseline lets
expect, which are its earlier errors times the ratio of the two ranges' lengths. Latency: p95 rises when more hits than
before are slower than the earlier p95, so a group contributes the share of all hits that are its slow ones, less the
same share earlier.
Both are sums: the contributions of all groups together are the whole change.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from operator import itemgetter
from typing import Any, Final

from keytrail.errors import TooCostly
from keytrail.query.ask import bounded
from keytrail.query.changes_question import BETTER, DEFAULT_GROUP, GROUPS, WORSE, ChangesQuestion
from keytrail.query.changes_since import CLOCK, Excess, since
from keytrail.query.ranges import text
from keytrail.query.request import AllOf, AnyOf, Condition, Filter, Query, Scope
from keytrail.query.run import Answer
from keytrail.query.zones import Span
from keytrail.store.client import Engine
from keytrail.store.tables import histogram_range

TOLD: Final = GROUPS[DEFAULT_GROUP]
"""What a row tells; None where it is not told apart."""
MOST_GROUPS: Final = 50_000
"""Groups that are compared; of more, none is ranked, as a part would pass for the whole."""
_ERRORS: Final = ("hits", "error")
_ALL: Final = (*_ERRORS, "latency", "upstream_latency", "latency_histogram")
_NAMED_BY: Final = (("key", "latest_alias"), ("api", "latest_api_name"))
LEAST_SIGMA: Final = 3.0
"""A change that is less than so many times what chance alone gives is not ranked."""

Row = dict[str, Any]
Key = tuple[str, ...]


@dataclass(slots=True)
class Counts:
    """What is known of a group in one range.

    Attributes:
        hits: Its hits.
        errors: Its errors, by origin (`gateway`, `upstream`).
        histogram: Its hits by bucket of latency (`store/tables.py`).
        latency: Sum of latencies, ms.
        upstream: Sum of upstream latencies, ms.
    """

    hits: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    histogram: dict[int, int] = field(default_factory=dict)
    latency: float = 0.0
    upstream: float = 0.0

    @property
    def error(self) -> int:
        """Errors of any origin."""
        return sum(self.errors.values())

    @property
    def p95(self) -> float | None:
        """95th percentile of latency, ms, within 3.2 %; None without hits."""
        bucket = _p95_bucket(self.histogram)
        return None if bucket is None else sum(histogram_range(bucket)) / 2

    def slow(self, edge: int | None) -> int:
        """Hits in buckets beyond `edge`; none are slow where there is no edge."""
        return 0 if edge is None else sum([n for bucket, n in self.histogram.items() if bucket > edge])

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row of the engine in."""
        hits = int(row["hits"])
        self.hits += hits
        if row["error"]:
            origin = row["error_origin"]
            self.errors[origin] = self.errors.get(origin, 0) + int(row["error"])
        if found := row.get("latency_histogram"):
            # Nearly every group is one row, and there are tens of thousands: theirs is taken as it is, not copied.
            if self.histogram:
                _count_in(found := dict(found), self.histogram)
            self.histogram = found
        self.latency += row.get("latency", 0.0) * hits
        self.upstream += row.get("upstream_latency", 0.0) * hits


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed.

    Attributes:
        errors: The change in errors: `now`, `earlier`, `expected` (earlier errors times the ratio of lengths),
            `change` (now less expected), `rest` (what of it the rows do not tell) and `rows`, ready for JSON.
        latency: The change in p95: `p95_latency` and `earlier_p95_latency` (ms), `slow_share` and `earlier_slow_share`
            (of hits slower than the earlier p95), `change` (of that share), `rest` and `rows`.
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
        errors_alone: Latency is not wanted: its histograms are most of the work. It is not known then.

    Raises:
        TooCostly: There are more than `MOST_GROUPS` groups, or it would take more rows, memory or time than it may.
        StoreError: The engine failed.
    """
    return _Inquiry(engine, scope, question, errors_alone=errors_alone).found()


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A group that is ranked, with its contribution and how much that is against chance."""

    key: Key
    contribution: float
    sigma: float


class _Inquiry:
    """The work on one question."""

    def __init__(self, engine: Engine, scope: Scope, question: ChangesQuestion, *, errors_alone: bool) -> None:
        self._metrics = _ERRORS if errors_alone else _ALL
        self._engine = engine
        self._scope = scope
        self._question = question
        self._group = question.group
        self._key: Callable[[Row], Key] = itemgetter(*question.group)
        self._statements: list[Answer] = []
        self._now = self._counted(question.range.spans)
        self._before = self._counted(question.baseline.spans)
        self._scale = _length(question.range.spans) / max(_length(question.baseline.spans), 1)
        self._keys = sorted({*self._now, *self._before})
        self._hits_now, self._hits_before = _by_endpoint(self._now), _by_endpoint(self._before)
        self._all_now, self._all_before = _total(self._now.values()), _total(self._before.values())
        self._edge = _p95_bucket(self._all_before.histogram)

    def found(self) -> Changes:
        """Answer it."""
        judged = [key for key in self._keys if self._enough(key)]
        failing, failing_rise = self._ranked(judged, self._more_errors)
        # Without hits before, nothing is slower than before.
        comparable = self._edge is not None and self._all_now.hits > 0
        slower, slower_rise = self._ranked(judged, self._more_slow) if comparable else ([], 0.0)
        began_failing, began_slow = self._since(failing, slower)
        names = self._names({one.key for one in (*failing, *slower)})
        change = self._all_now.error - self._all_before.error * self._scale
        slow_now, slow_before = self._slow_share(self._all_now), self._slow_share(self._all_before)
        errors = {
            "now": self._all_now.error,
            "earlier": self._all_before.error,
            "expected": self._all_before.error * self._scale,
            "change": change,
            "rest": change - sum(one.contribution for one in failing),
            "rows": [self._error_row(one, failing_rise, names, began_failing.get(one.key)) for one in failing],
        }
        latency = {
            "p95_latency": self._all_now.p95,
            "earlier_p95_latency": self._all_before.p95,
            "slow_share": slow_now if comparable else None,
            "earlier_slow_share": slow_before if comparable else None,
            "change": slow_now - slow_before if comparable else None,
            "rest": slow_now - slow_before - sum(one.contribution for one in slower) if comparable else None,
            "rows": [self._latency_row(one, slower_rise, names, began_slow.get(one.key)) for one in slower],
        }
        return Changes(errors, latency, len(self._keys), len(judged), self._statements)

    def _query(self, spans: tuple[Span, ...], dimensions: Sequence[str], metrics: Sequence[str], **more: Any) -> Query:
        filters = (*more.pop("among", ()), *self._question.filters)
        return Query(self._scope, spans, CLOCK, tuple(dimensions), tuple(metrics), filters, **more)

    def _run(self, query: Query) -> Answer:
        answer = bounded(self._engine, query)
        self._statements.append(answer)
        return answer

    def _counted(self, spans: tuple[Span, ...]) -> dict[Key, Counts]:
        answer = self._run(self._query(spans, (*self._group, "error_origin"), self._metrics, limit=MOST_GROUPS))
        if answer.total_rows > MOST_GROUPS:
            raise TooCostly(
                f"there are more than {MOST_GROUPS} groups of {', '.join(self._group)}: narrow the range, "
                "or filter by key or API",
                400,
            )
        found: dict[Key, Counts] = {}
        for row in answer.rows:
            found.setdefault(self._key(row), Counts()).add(row)
        return found

    def _enough(self, key: Key) -> bool:
        endpoint = key[:-1]
        return max(self._hits_now.get(endpoint, 0), self._hits_before.get(endpoint, 0)) >= self._question.least_hits

    def _both(self, key: Key) -> tuple[Counts, Counts]:
        return self._now.get(key) or Counts(), self._before.get(key) or Counts()

    def _more_errors(self, key: Key) -> tuple[float, float]:
        now, before = self._both(key)
        # Counts of independent events vary by their square root.
        return now.error - before.error * self._scale, sqrt(now.error + before.error * self._scale**2)

    def _more_slow(self, key: Key) -> tuple[float, float]:
        now, before = (counts.slow(self._edge) for counts in self._both(key))
        hits_now, hits_before = self._all_now.hits, self._all_before.hits
        return now / hits_now - before / hits_before, sqrt(now / hits_now**2 + before / hits_before**2)

    def _ranked(
        self, judged: Iterable[Key], contribution: Callable[[Key], tuple[float, float]]
    ) -> tuple[list[_Suspect], float]:
        """The groups that contribute most, and the sum of everything that goes their way."""
        found, rise, fall = [], 0.0, 0.0
        for key in judged:
            value, chance = contribution(key)
            rise, fall = rise + max(value, 0.0), fall - min(value, 0.0)
            if chance and abs(value) / chance >= LEAST_SIGMA:
                found.append(_Suspect(key, value, abs(value) / chance))
        match self._question.direction:
            case direction if direction == WORSE:
                found, whole = [one for one in found if one.contribution > 0], rise
            case direction if direction == BETTER:
                found, whole = [one for one in found if one.contribution < 0], fall
            case _:
                whole = rise + fall
        found.sort(key=lambda one: (-abs(one.contribution), one.key))
        return found[: self._question.limit], whole

    def _since(self, failing: list[_Suspect], slower: list[_Suspect]) -> tuple[dict[Key, int], dict[Key, int]]:
        """When what contributes began, for those that have more now."""
        series: list[Excess] = []
        for one in failing:
            if one.contribution > 0:
                now, before = self._both(one.key)
                series.append(Excess("error", one.key, now.error, before.error * self._scale))
        for one in slower:
            if one.contribution > 0:
                slow_now, slow_before = (counts.slow(self._edge) for counts in self._both(one.key))
                series.append(Excess("slow", one.key, slow_now, slow_before * self._scale))
        if not series:
            return {}, {}
        among = _among(self._group, sorted({excess.key for excess in series}))
        names = ("hits", "error", "latency_histogram") if slower else ("hits", "error")

        def counted(spans: tuple[Span, ...], step: Any) -> dict[tuple[str, Key], dict[Any, int]]:
            found: dict[tuple[str, Key], dict[Any, int]] = {}
            for row in self._run(self._query(spans, self._group, names, among=among, step=step)).rows:
                found.setdefault(("error", self._key(row)), {})[row["step"]] = int(row["error"])
                slow = sum(
                    int(count)
                    for bucket, count in (row.get("latency_histogram") or {}).items()
                    if self._edge is not None and int(bucket) > self._edge
                )
                found.setdefault(("slow", self._key(row)), {})[row["step"]] = slow
            return found

        began = since(self._question.range, series, counted)
        errors = {key: at for (kind, key), at in began.items() if kind == "error"}
        return errors, {key: at for (kind, key), at in began.items() if kind == "slow"}

    def _names(self, keys: set[Key]) -> dict[Key, tuple[str, str]]:
        found: dict[Key, tuple[str, str]] = {}
        metrics = [metric for name, metric in _NAMED_BY if name in self._group]
        # The names of the later range stand; only what is not in it is looked for in the other.
        for spans in (self._question.range.spans, self._question.baseline.spans):
            if missing := sorted(keys - found.keys()):
                asked = self._query(spans, self._group, metrics, among=_among(self._group, missing))
                for row in self._run(asked).rows:
                    found[self._key(row)] = (row.get("latest_alias", ""), row.get("latest_api_name", ""))
        return found

    def _slow_share(self, counts: Counts) -> float:
        return counts.slow(self._edge) / counts.hits if counts.hits else 0.0

    def _row(self, one: _Suspect, whole: float, names: Mapping[Key, tuple[str, str]], began: int | None) -> Row:
        alias, api_name = names.get(one.key, ("", ""))
        endpoint = one.key[:-1]
        return {
            **dict.fromkeys(TOLD),
            **dict(zip(self._group, one.key, strict=True)),
            "alias": alias,
            "api_name": api_name,
            "contribution": one.contribution,
            "share": abs(one.contribution) / whole,
            "sigma": one.sigma,
            "since": None if began is None else text(began, self._question.range.zone),
            "endpoint_hits": self._hits_now.get(endpoint, 0),
            "earlier_endpoint_hits": self._hits_before.get(endpoint, 0),
        }

    def _error_row(self, one: _Suspect, whole: float, names: Mapping[Key, tuple[str, str]], began: int | None) -> Row:
        row = self._row(one, whole, names, began)
        now, before = self._both(one.key)
        rising = one.contribution > 0
        return row | {
            "errors": now.error,
            "earlier_errors": before.error,
            "expected_errors": before.error * self._scale,
            "error_rate": _ratio(now.error, row["endpoint_hits"]),
            "earlier_error_rate": _ratio(before.error, row["earlier_endpoint_hits"]),
            "origin": _main((now if rising else before).errors),
            "origins": dict(sorted((now if rising else before).errors.items())),
        }

    def _latency_row(self, one: _Suspect, whole: float, names: Mapping[Key, tuple[str, str]], began: int | None) -> Row:
        now, before = self._both(one.key)
        upstream = _mean(now.upstream, now) - _mean(before.upstream, before)
        overhead = _mean(now.latency - now.upstream, now) - _mean(before.latency - before.upstream, before)
        moved = upstream - overhead if one.contribution > 0 else overhead - upstream
        return self._row(one, whole, names, began) | {
            "hits": now.hits,
            "earlier_hits": before.hits,
            "slow": now.slow(self._edge),
            "earlier_slow": before.slow(self._edge),
            "p95_latency": now.p95,
            "earlier_p95_latency": before.p95,
            "upstream_change": upstream if now.hits and before.hits else None,
            "gateway_change": overhead if now.hits and before.hits else None,
            "origin": "upstream" if moved >= 0 else "gateway",
        }


def _among(group: tuple[str, ...], keys: Sequence[Key]) -> tuple[Condition, ...]:
    """That a record is of one of some groups; the first condition lets the order of the rows find them."""
    each = tuple(
        AllOf(tuple(Filter(name, "is", value) for name, value in zip(group, key, strict=True))) for key in keys
    )
    return (Filter(group[0], "in", sorted({key[0] for key in keys})), AnyOf(each))


def _length(spans: Sequence[Span]) -> int:
    return sum(span.end - span.start for span in spans)


def _by_endpoint(counts: Mapping[Key, Counts]) -> dict[Key, int]:
    """Hits of each key on each endpoint (of what is told apart), whatever their code."""
    found: dict[Key, int] = {}
    for key, one in counts.items():
        found[key[:-1]] = found.get(key[:-1], 0) + one.hits
    return found


def _total(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for one in counts:
        total.hits += one.hits
        for origin, errors in one.errors.items():
            total.errors[origin] = total.errors.get(origin, 0) + errors
        _count_in(total.histogram, one.histogram)
    return total


def _count_in(counted: dict[int, int], more: Mapping[int, int]) -> None:
    for bucket, hits in more.items():
        counted[bucket] = counted.get(bucket, 0) + hits


def _p95_bucket(histogram: Mapping[int, int]) -> int | None:
    """The least bucket up to which at least 95 of 100 hits lie, as the engine finds it for `p95_latency`."""
    hits, reached = sum(histogram.values()), 0
    for bucket in sorted(histogram):
        reached += histogram[bucket]
        if reached >= hits * 0.95:
            return bucket
    return None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(value: float, counts: Counts) -> float:
    return value / counts.hits if counts.hits else 0.0


def _main(origins: Mapping[str, int]) -> str:
    """The origin of most; of two with as many, the upstream, as it is looked at first."""
    return max(sorted(origins, reverse=True), key=lambda name: origins[name], default="")
