"""Conditions as people write them: nested and, or, not over comparisons of the catalogue."""

from typing import Any, Final

from keytrail.errors import RequestError
from keytrail.query.catalog import DIMENSIONS, OPERATORS, Dimension, Operator
from keytrail.query.request import AllOf, AnyOf, Condition, Filter, Not

DEEPEST: Final = 8
"""Levels of and, or, not."""
MOST_COMPARISONS: Final = 100
MOST_VALUES: Final = 1_000
LONGEST_VALUE: Final = 4_096
_INT64: Final = 2**63


def parse_condition(value: Any) -> Condition:
    """Understand a condition.

    It is `{"dimension": …, "operator": …, "value": …}`, `{"and": […]}`, `{"or": […]}` or `{"not": …}`.

    Raises:
        RequestError: A part of it can't be; the message begins with the way to it, such as `filter.and[1].operator`.
    """
    return _Reader().condition(value, "filter", 0)


class _Reader:
    """Reads one condition and counts its comparisons."""

    def __init__(self) -> None:
        self._comparisons = 0

    def condition(self, value: Any, place: str, depth: int) -> Condition:
        """Understand a condition that stands at a place."""
        if depth > DEEPEST:
            raise RequestError(f"{place}: conditions may be {DEEPEST} levels deep")
        if not isinstance(value, dict):
            raise RequestError(f"{place}: an object is expected")
        if set(value) == {"not"}:
            return Not(self.condition(value["not"], f"{place}.not", depth + 1))
        if set(value) == {"and"}:
            return AllOf(self._several(value, "and", place, depth))
        if set(value) == {"or"}:
            return AnyOf(self._several(value, "or", place, depth))
        return self._comparison(value, place)

    def _several(self, value: dict[str, Any], name: str, place: str, depth: int) -> tuple[Condition, ...]:
        items = value[name]
        if not isinstance(items, list) or not items:
            raise RequestError(f"{place}.{name}: a list of conditions is expected")
        return tuple(self.condition(item, f"{place}.{name}[{n}]", depth + 1) for n, item in enumerate(items))

    def _comparison(self, value: dict[str, Any], place: str) -> Filter:
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise RequestError(f"{place}: at most {MOST_COMPARISONS} comparisons are answered at once")
        if set(value) != {"dimension", "operator", "value"}:
            raise RequestError(f"{place}: and, or, not, or dimension, operator and value are expected")
        dimension = DIMENSIONS.get(value["dimension"]) if isinstance(value["dimension"], str) else None
        if dimension is None:
            raise RequestError(f"{place}.dimension: {str(value['dimension'])[:40]!r} is not a dimension")
        operator = OPERATORS.get(value["operator"]) if isinstance(value["operator"], str) else None
        if operator is None:
            raise RequestError(f"{place}.operator: {str(value['operator'])[:40]!r} is not an operator")
        if not operator.fits(dimension):
            raise RequestError(f"{place}.operator: {operator.name} can't be asked of {dimension.name}")
        return Filter(dimension.name, operator.name, _value(value["value"], dimension, operator, f"{place}.value"))


def _value(value: Any, dimension: Dimension, operator: Operator, place: str) -> Any:
    if not operator.many:
        return _one(value, dimension, place)
    if not isinstance(value, list) or not 0 < len(value) <= MOST_VALUES:
        raise RequestError(f"{place}: a list of 1 to {MOST_VALUES} values is expected")
    return [_one(item, dimension, f"{place}[{n}]") for n, item in enumerate(value)]


def _one(value: Any, dimension: Dimension, place: str) -> Any:
    match dimension.type:
        case "Bool":
            if not isinstance(value, bool):
                raise RequestError(f"{place}: true or false is expected")
        case "Int64":
            if isinstance(value, bool) or not isinstance(value, int) or not -_INT64 <= value < _INT64:
                raise RequestError(f"{place}: a whole number is expected")
        case _:
            if not isinstance(value, str) or len(value) > LONGEST_VALUE:
                raise RequestError(f"{place}: a text of at most {LONGEST_VALUE} characters is expected")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise RequestError(f"{place}: half a surrogate pair is no text") from None
    return value
