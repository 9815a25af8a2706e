"""Types that msgspec decodes a record to, made from the one table of fields."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from keytrail.collect.reader import Columns, Shaped, Tree, Turn, UnreadableError, Values
from keytrail.record import Field, Kind, Reason, Shape

LONGEST_TYPES: Final = 65_536
"""Characters of the types' names in one record. Written out for each field, a long name and many fields would make
gigabytes of a record of a few megabytes."""


class CityNames(msgspec.Struct, frozen=True, gc=False):
    """Names of a city: only the English one is read, as decoding eight would double a record's cost.

    A city without one fails here and so takes the slow way, where the first by language is found.
    """

    en: str


class GraphError(msgspec.Struct, frozen=True, gc=False):
    """An error of a GraphQL answer, by its name in Go or in JSON."""

    Message: str = ""
    message: str = ""


_TYPES: Final[dict[Kind, tuple[Any, Any]]] = {
    Kind.TEXT: (str, ""),
    Kind.NAME: (str, ""),
    Kind.NAMES: (list[str] | None, None),
    Kind.INT: (int, 0),
    Kind.CODE: (int, 0),
    Kind.FLOAT: (float, 0.0),
    Kind.FLAG: (bool, False),
}
_SHAPED: Final[dict[Shape, tuple[Any, Any]]] = {
    Shape.CITY: (CityNames | None, None),
    Shape.TYPES: (dict[str, list[str] | None] | None, None),
    Shape.ERRORS: (list[GraphError] | None, None),
}


def struct_of(name: str, tree: Tree, times: tuple[Any, Any], raw: frozenset[str] = frozenset()) -> type[msgspec.Struct]:
    """A type whose attributes have the names on the wire; what is missing takes its zero value.

    Args:
        name: Name of the type.
        tree: The fields.
        times: Type and zero value of an instant on this wire.
        raw: Names whose values are left as their bytes.
    """
    attributes: list[tuple[str, Any, Any]] = []
    for part, inner in tree.items():
        if part in raw:
            attributes.append((part, msgspec.Raw, msgspec.Raw(b"")))
        else:
            attributes.append((part, *type_of(name + part, inner, times)))
    # Frozen, so that one zero value can serve all records; out of the collector's sight, as there are no cycles.
    return msgspec.defstruct(name, attributes, frozen=True, gc=False, module=__name__)


def type_of(name: str, inner: Any, times: tuple[Any, Any]) -> tuple[Any, Any]:
    """Type and zero value of a field, or of what stands under a name of the tree."""
    if isinstance(inner, Field):
        return _SHAPED.get(inner.shape) or _TYPES.get(inner.kind) or times
    kind = struct_of(name, inner, times)
    return kind, kind()


def type_fields(types: Iterable[tuple[str, Sequence[str] | None]]) -> list[str]:
    """GraphQL types with their fields as sorted `Type.field`.

    Raises:
        UnreadableError: The names of the types, once for each field, are longer than `LONGEST_TYPES`.
    """
    listed = [(name, fields) for name, fields in types if fields]
    if sum(len(name) * len(fields) for name, fields in listed) > LONGEST_TYPES:
        raise UnreadableError(Reason.TOO_LARGE, f"graphql_types: more than {LONGEST_TYPES} characters")
    return sorted(f"{name}.{field}" for name, fields in listed for field in fields)


def _cities(values: Values) -> list[str]:
    return [names.en if names is not None else "" for names in values]


def _types(values: Values) -> Values:
    return [type_fields(types.items()) if types else () for types in values]


def _errors(values: Values) -> Values:
    return [[error.Message or error.message for error in errors] if errors else () for errors in values]


_SHAPES: Final[Mapping[Shape, Shaped]] = {Shape.CITY: _cities, Shape.TYPES: _types, Shape.ERRORS: _errors}


def turn_of(
    tree: Tree, times: Shaped, others: Mapping[str, Callable[[Sequence[Any]], Columns]] = MappingProxyType({})
) -> Turn:
    """How rows of the struct of this tree become columns.

    Args:
        tree: The fields.
        times: How instants of this wire become ms since the epoch.
        others: What turns values of some names into columns in another way.
    """
    return Turn(tree, {**_SHAPES, Shape.TIME: times}, lambda _: msgspec.structs.astuple, others)
