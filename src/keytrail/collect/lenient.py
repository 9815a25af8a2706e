"""Reading a record that is not quite as it should be: a plain map to the form that its struct takes.

Only what can have one meaning is accepted: `True` for 1, 3.0 for 3, bytes for text, nothing for the zero value. Bad
UTF-8 and lone surrogates are replaced, as rejecting for them would let a client hide by sending them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from keytrail.collect.reader import Tree, UnreadableError
from keytrail.record import Field, Kind, Reason, Shape

Text = TypeVar("Text", str, bytes)
Coerce = Callable[[Any], Any]
"""A value that is not None to one of the right type; ValueError says what was expected."""

_SURROGATES = re.compile("[\ud800-\udfff]")


def text(value: Any) -> str:
    """Text that UTF-8 can hold; NUL stays."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
    raise ValueError("text")


def whole(value: Any) -> int:
    """A whole number of any size."""
    # Also True and False.
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError("a whole number")


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise ValueError("a number")


def _flag(value: Any) -> bool:
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ValueError("true or false")


def _texts(value: Any) -> list[str]:
    return [text(item) for item in _items(value) if item is not None]


def _city(value: Any) -> dict[str, str] | None:
    names = {text(language): text(name) for language, name in _map(value).items() if name is not None}
    return {"en": city_name(names, "en")} if names else None


def _types(value: Any) -> dict[str, list[str]]:
    return {text(name): _texts(fields) for name, fields in _map(value).items() if fields is not None}


def _errors(value: Any) -> list[dict[str, str]]:
    return [{"Message": _message(error)} for error in _items(value) if error is not None]


def _message(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("Message") or error.get("message") or ""
    return text(error)


def city_name(names: Mapping[Text, Text], english: Text) -> Text:
    """The English one of a city's names, else the first by language; there is at least one."""
    return names[english if english in names else min(names)]


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError("a list")


def _map(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError("a map")


_KINDS: Final[Mapping[Kind, Coerce]] = {
    Kind.TEXT: text,
    Kind.NAME: text,
    Kind.NAMES: _texts,
    Kind.INT: whole,
    Kind.CODE: whole,
    Kind.FLOAT: _number,
    Kind.FLAG: _flag,
}
_SHAPES: Final[Mapping[Shape, Coerce]] = {Shape.CITY: _city, Shape.TYPES: _types, Shape.ERRORS: _errors}


class Mend:
    """A plain map, as a lenient library read it, to what the struct of a tree takes.

    Args:
        tree: The fields that are wanted; others are ignored.
        time: How an instant is read on this wire.
        above: Dotted path of the map, with a dot at its end; "" for the record itself.
    """

    def __init__(self, tree: Tree, time: Coerce, above: str = "") -> None:
        self._above = above
        self._parts: list[tuple[str, Coerce, bool]] = []
        for name, field in tree.items():
            if isinstance(field, Field):
                coerce = time if field.shape is Shape.TIME else _SHAPES.get(field.shape) or _KINDS[field.kind]
                # When the gateway lets go of a record is worth no record.
                self._parts.append((name, coerce, field.column == "expire_at"))
            else:
                self._parts.append((name, Mend(field, time, f"{above}{name}."), False))

    def __call__(self, found: Any) -> dict[str, Any]:
        """Only what is there; the struct knows the zero values.

        Raises:
            UnreadableError: A value can't be read as what its field is.
        """
        if not isinstance(found, dict):
            if self._above:
                raise UnreadableError(Reason.BAD_FIELD, f"{self._above[:-1]}: not a map")
            raise UnreadableError(Reason.NOT_A_RECORD, "not a map")
        clean = {}
        for name, coerce, optional in self._parts:
            value = found.get(name)
            if value is None:
                continue
            try:
                clean[name] = coerce(value)
            except ValueError as error:
                if not optional:
                    raise UnreadableError(Reason.BAD_FIELD, f"{self._above}{name}: not {error}") from None
        return clean
