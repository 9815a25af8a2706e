"""Parameters of requests that many endpoints have: the organisation, and whole numbers."""

from typing import Annotated, Final

from fastapi import Query

Org = Annotated[str, Query(description="Only this organisation, for who sees several.")]

_MOST_DIGITS: Final = 19
"""No column holds a longer number, and Python refuses to read one of thousands of digits."""


def whole_number(text: str, most: int, *, least: int = 0) -> int | None:
    """A whole number in ASCII digits, `-` before a negative one.

    Args:
        text: What was given.
        most: The greatest number that it may be.
        least: The least one.

    Returns:
        The number; None where the text is none, or out of these bounds.
    """
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if least <= number <= most else None
