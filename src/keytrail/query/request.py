"""A question, once it is understood: what the planner and the builder work on."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from keytrail.errors import Forbidden, RequestError
from keytrail.instants import zone
from keytrail.query.catalog import DIMENSIONS, METRICS, OPERATORS
from keytrail.query.joined import Joined
from keytrail.query.zones import Span, Step, days

LONGEST_RANGE_DAYS = 3_660
"""Ten years and their leap days: as many hours are the most steps that are made."""

ALL_TIME = Span(946_684_800_000, 4_102_444_800_000)
"""From 2000 to 2100: every instant that a record may have."""

DIMENSION_OF: Final = {"key": "key", "client": "oauth_client", "tag": "tag"}
"""The dimension that a link of each kind of the directory is compared with."""


def key_forms(key: str) -> list[str]:
    """The values under which a given key may be stored: itself, or its SHA-256 where it is a secret."""
    return [key, hashlib.sha256(key.encode()).hexdigest()]


@dataclass(frozen=True, slots=True)
class Scope:
    """What the asker may see; every statement carries it (`build.py`).

    Attributes:
        org: The organisation; None is all of them.
        apis: The only API ids; None is all of them.
        keys: The only keys, as they may be stored; None is all of them.
        oauth_clients: The only ids of OAuth clients; None is all of them.
        consumers: The only ids of consumers; None is all of them, and who is in no directory.
    """

    org: str | None
    apis: frozenset[str] | None = None
    keys: frozenset[str] | None = None
    oauth_clients: frozenset[str] | None = None
    consumers: frozenset[str] | None = None

    def limits(self) -> "tuple[Filter, ...]":
        """What beside the organisation narrows it, as conditions that must all hold."""
        by_dimension = {
            "api": self.apis,
            "key": self.keys,
            "oauth_client": self.oauth_clients,
            "consumer": self.consumers,
        }
        return tuple(
            Filter(dimension, "in", sorted(values)) for dimension, values in by_dimension.items() if values is not None
        )

    @property
    def limited(self) -> bool:
        """Whether it is less than its organisation, or than all of them."""
        return bool(self.limits())

    @property
    def whole(self) -> bool:
        """Whether it is everything."""
        return self.org is None and not self.limited

    def check_api(self, api_id: str) -> None:
        """Refuse an API that may not be seen.

        Raises:
            Forbidden: It may not be seen.
        """
        if self.apis is not None and api_id not in self.apis:
            raise Forbidden("User does not have access to the API with ID.")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a dimension.

    Attributes:
        dimension: Name of a dimension.
        operator: Name of an operator.
        value: One value, or a list where the operator takes many.
        told: `explain` may show the value: it is not from the directory, of which the asker may see a part only.
    """

    dimension: str
    operator: str
    value: Any
    told: bool = True

    def __post_init__(self) -> None:
        if self.dimension not in DIMENSIONS:
            raise RequestError(f"unknown dimension {self.dimension!r}")
        if self.operator not in OPERATORS:
            raise RequestError(f"unknown operator {self.operator!r}")
        if not OPERATORS[self.operator].fits(DIMENSIONS[self.dimension]):
            raise RequestError(f"{self.operator} can't be asked of {self.dimension}")


@dataclass(frozen=True, slots=True)
class AllOf:
    """Conditions that must all hold; of none, it holds."""

    items: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Conditions of which one must hold; of none, it does not."""

    items: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """A condition that must not hold."""

    item: "Condition"


Condition = Filter | AllOf | AnyOf | Not


def leaves(conditions: Iterable[Condition]) -> Iterator[Filter]:
    """The conditions on dimensions, however deep."""
    for condition in conditions:
        match condition:
            case Filter():
                yield condition
            case Not():
                yield from leaves((condition.item,))
            case AllOf() | AnyOf():
                yield from leaves(condition.items)


@dataclass(frozen=True, slots=True)
class Order:
    """A column to sort by: a metric or dimension of the query."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A question.

    Attributes:
        scope: What the asker may see.
        spans: The range, as stretches of instants, apart from each other and in order.
        zone: Zone of the steps: an IANA name.
        dimensions: Names of the dimensions, in the order of the answer.
        metrics: Names of the metrics.
        filters: Conditions, all of which must hold.
        step: Cut the range into steps, which come first in the rows as an index into `zones.steps`.
        order: What to sort by, most important first.
        having_hits: Leave out rows without a hit.
        limit: Rows of the page; None is all.
        offset: Rows before the page.
        sides: Ranges that are told apart and together are `spans`: rows have a `side`, the index of their range. Not
            together with steps.
        beyond: Count the hits in buckets of latency beyond this one, too, as `slow`; None does not.
        after: Only rows behind this one in the order of all dimensions: its value of each; None begins with the first.
        joined: What it is read with beside records (`join.py` finds it); None is not yet found.
    """

    scope: Scope
    spans: tuple[Span, ...]
    zone: str
    dimensions: tuple[str, ...]
    metrics: tuple[str, ...]
    filters: tuple[Condition, ...] = ()
    step: Step | None = None
    order: tuple[Order, ...] = ()
    having_hits: bool = True
    limit: int | None = None
    offset: int = field(default=0)
    sides: tuple[tuple[Span, ...], ...] = ()
    beyond: int | None = None
    after: tuple[Any, ...] | None = None
    joined: Joined | None = None

    def __post_init__(self) -> None:
        for name in self.dimensions:
            if name not in DIMENSIONS:
                raise RequestError(f"unknown dimension {name!r}")
        for name in self.metrics:
            if name not in METRICS:
                raise RequestError(f"unknown metric {name!r}")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What must hold beside the organisation: the limits of the scope, then the filters."""
        directory = self.joined.directory if self.joined else None
        if directory is None or directory.values is None:
            return (*self.scope.limits(), *self.filters)
        # Follows from the others, and lets the order of the rows find the consumers' own.
        looked_up = Filter(DIMENSION_OF[directory.kinds[0]], "in", list(directory.values), told=False)
        return (*self.scope.limits(), *self.filters, looked_up)


def day_range(first: date, last: date, zone_name: str, *, unbounded: bool = False) -> tuple[Span, ...]:
    """The local days from `first` to `last`, both included, as stretches of instants.

    Args:
        first: First day.
        last: Last day.
        zone_name: Their zone.
        unbounded: It may be over ten years, as no hours are made of it.

    Raises:
        RequestError: The end lies before the start, or the range is over ten years.
    """
    if last < first:
        raise RequestError(f"the end {last} lies before the start {first}")
    if not unbounded and (last - first).days > LONGEST_RANGE_DAYS:
        raise RequestError(f"the range from {first} to {last} is over ten years")
    return days(first, last, zone(zone_name))
