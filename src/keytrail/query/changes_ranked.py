"""The groups that contribute most to a change, as the engine ranks them.

Of a large store there are tens of thousands, and to make Python's values of them takes longer than all the rest. So
only those that are shown leave the engine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keytrail.query.changes_question import BETTER, WORSE, ChangesQuestion
from keytrail.query.statement import Statement
from keytrail.query.zones import Span

LEAST_SIGMA: Final = 3.0
"""A change that is less than so many times what chance alone gives is not ranked."""

BEFORE: Final = 0
NOW: Final = 1
"""Places of the baseline and the range among the sides of a query."""

SIDES: Final = (("now", NOW), ("before", BEFORE))

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of a group, or of everything, in one range.

    Attributes:
        hits: Its hits.
        error: Its errors.
        slow: Its hits slower than the earlier p95 of everything.
        endpoint_hits: Hits of any code that are otherwise of the same group.
        origins: Its errors by origin (`gateway`, `upstream`).
    """

    hits: int
    error: int
    slow: int = 0
    endpoint_hits: int = 0
    origins: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A group that contributes more than by chance.

    Attributes:
        key: Its values.
        contribution: What it contributes.
        sigma: How many times what chance alone gives.
        now: Its counts in the range.
        before: Its counts in the baseline.
    """

    key: Key
    contribution: float
    sigma: float
    now: Counts
    before: Counts


@dataclass(frozen=True, slots=True)
class Ranking:
    """Who contributes most.

    Attributes:
        suspects: By what is counted, `error` or `slow`, the groups that contribute most, most first.
        moved: By the same, what everything judged contributes together in the direction that is asked for.
        sigma: By the same, how many times what chance alone gives the change of everything is, judged or not.
        now: The counts of everything in the range.
        before: The same in the baseline.
        groups: Groups that had a hit in either range.
        judged: Those of them with enough hits.
    """

    suspects: dict[str, list[Suspect]]
    moved: dict[str, float]
    sigma: dict[str, float]
    now: Counts
    before: Counts
    groups: int
    judged: int


def scale_of(question: ChangesQuestion) -> float:
    """How many times as long as the baseline the range is."""
    now, before = _lengths(question)
    return now / before


def _lengths(question: ChangesQuestion) -> tuple[int, int]:
    def of(spans: Iterable[Span]) -> int:
        return sum(span.end - span.start for span in spans)

    return of(question.range.spans), max(of(question.baseline.spans), 1)


@dataclass(frozen=True, slots=True)
class Ranker:
    """The statement that ranks, and how its row is read.

    Attributes:
        question: What is asked.
        kinds: What is ranked: `error`, or also `slow`.
    """

    question: ChangesQuestion
    kinds: tuple[str, ...]

    def around(self, sql: str, statement: Statement) -> str:
        """The statement around one that gives hits, errors and slow hits by side, group and origin. It has one row."""
        names = [f"`d_{name}`" for name in self.question.group]
        group, endpoint = ", ".join(names), ", ".join(names[:-1])
        sums = [
            f"sumIf(`m_{name}`, step = {place}) AS {name}_{side}" for name in self._counted for side, place in SIDES
        ]
        sums += [
            f"sumMapIf(map(toString(`d_error_origin`), `m_error`), step = {place}) AS origins_{side}"
            for side, place in SIDES
        ]
        groups = f"SELECT {group}, {', '.join(sums)} FROM ({sql}) GROUP BY {group}"
        windows = [
            f"sum(hits_{side}) OVER ({of}) AS {name}_{side}"
            for name, of in (("endpoint_hits", f"PARTITION BY {endpoint}"), ("whole_hits", ""))
            for side, _ in SIDES
        ]
        lengths = [statement.bind(length, "Int64") for length in _lengths(self.question)]
        least = statement.bind(self.question.least_hits, "UInt64")
        limit = statement.bind(self.question.limit, "UInt64")
        defined = [
            f"{' / '.join(lengths)} AS scale",
            f"greatest(endpoint_hits_now, endpoint_hits_before) >= {least} AS is_judged",
        ]
        told = [f"{name}_{side}" for side, _ in SIDES for name in self._told]
        found = ["count() AS groups", "countIf(is_judged) AS judged"]
        found += [f"sum({name}_{side}) AS all_{name}_{side}" for name in self._counted for side, _ in SIDES]
        for kind in self.kinds:
            more, sigma = f"more_{kind}", f"sigma_{kind}"
            now, before = f"{kind}_now", f"{kind}_before"
            defined += [f"{_more(kind, now, before)} AS {more}", f"{_sigma(kind, now, before)} AS {sigma}"]
            found.append(f"{_sigma(kind, f'all_{now}', f'all_{before}', 'any(whole_hits_{})')} AS all_{sigma}")
            for way, sign in (("rise", ">"), ("fall", "<")):
                # Sums of whole numbers, which do not depend on the order of the groups.
                now, before = (f"sumIf({kind}_{side}, is_judged AND {more} {sign} 0)" for side, _ in SIDES)
                found.append(f"{_more(kind, now, before, 'any(whole_hits_{})')} AS {kind}_{way}")
            one = f"tuple({more}, {sigma}, [{', '.join(names)}], {', '.join(told)})"
            ranked = f"is_judged AND {more} {self._sign} 0 AND {sigma} >= {LEAST_SIGMA}"
            # Of equal contributions, the order of their keys.
            found.append(
                f"arraySlice(arraySort(one -> tuple(-abs(one.1), one.3), groupArrayIf({one}, {ranked})), 1, {limit}) "
                f"AS most_{kind}"
            )
        return (
            f"WITH {', '.join(defined)} SELECT {', '.join(found)} FROM (SELECT *, {', '.join(windows)} FROM ({groups}))"
        )

    def read(self, row: Mapping[str, Any]) -> Ranking:
        """What the row says."""
        direction = self.question.direction
        moved = {}
        for kind in self.kinds:
            rise, fall = row[f"{kind}_rise"], row[f"{kind}_fall"]
            moved[kind] = rise if direction == WORSE else -fall if direction == BETTER else rise - fall
        now, before = (
            Counts(row[f"all_hits_{side}"], row[f"all_error_{side}"], row.get(f"all_slow_{side}", 0))
            for side, _ in SIDES
        )
        suspects = {kind: [self._suspect(one) for one in row[f"most_{kind}"]] for kind in self.kinds}
        sigma = {kind: row[f"all_sigma_{kind}"] for kind in self.kinds}
        return Ranking(suspects, moved, sigma, now, before, int(row["groups"]), int(row["judged"]))

    def _suspect(self, one: Sequence[Any]) -> Suspect:
        contribution, sigma, key, *counts = one
        told = len(self._told)
        now, before = (Counts(**dict(zip(self._told, part, strict=True))) for part in (counts[:told], counts[told:]))
        return Suspect(tuple(key), contribution, sigma, now, before)

    @property
    def _counted(self) -> tuple[str, ...]:
        return ("hits", *self.kinds)

    @property
    def _told(self) -> tuple[str, ...]:
        return (*self._counted, "endpoint_hits", "origins")

    @property
    def _sign(self) -> str:
        return {WORSE: ">", BETTER: "<"}.get(self.question.direction, "!=")


def _more(kind: str, now: str, before: str, hits: str = "whole_hits_{}") -> str:
    """What counts of both ranges contribute."""
    if kind == "error":
        return f"{now} - {before} * scale"
    return f"{now} / {hits.format('now')} - {before} / {hits.format('before')}"


def _sigma(kind: str, now: str, before: str, hits: str = "whole_hits_{}") -> str:
    """How many times what chance alone gives that is: counts of independent events vary by their square root."""
    if kind == "error":
        chance = f"sqrt({now} + {before} * (scale * scale))"
    else:
        chance = f"sqrt({now} / pow({hits.format('now')}, 2) + {before} / pow({hits.format('before')}, 2))"
    return f"if({chance} > 0, abs({_more(kind, now, before, hits)}) / {chance}, 0)"
