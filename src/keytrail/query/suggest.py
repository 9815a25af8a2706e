"""Path templates proposed from the paths that were asked for."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LEAST_PATHS: Final = 2
"""Paths that a proposal must join."""
MANY: Final = 20
"""Different texts in one place of otherwise equal paths: from so many on it is a parameter, whatever they look like."""

_LOOKS: Final = (
    ("uuid", re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
    ("id", re.compile(r"[0-9]+")),
    ("id", re.compile(r"(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}")),
    # Letters and digits mixed, as in a token; a word with a number at its end is shorter.
    ("id", re.compile(r"(?=[A-Za-z_-]*[0-9])(?=[0-9_-]*[A-Za-z])[A-Za-z0-9_-]{16,}")),
)
_PARAMETER: Final = re.compile(r"\{[^{}/]+\}")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A template that would join some paths.

    Attributes:
        api: Id of the API.
        pattern: The template.
        paths: How many paths it joins.
        hits: Their hits.
        example: One of them.
    """

    api: str
    pattern: str
    paths: int
    hits: int
    example: str


def suggest(rows: Iterable[tuple[str, str, int]]) -> list[Proposal]:
    """Templates for paths with ids in them, most hits first.

    Args:
        rows: API id, path and hits, each API and path once.
    """
    found: dict[tuple[str, tuple[str, ...]], list[tuple[str, int]]] = defaultdict(list)
    for api, path, hits in rows:
        found[api, tuple(_named(part) for part in path.split("/"))].append((path, hits))
    for place in range(1, max((len(parts) for _, parts in found), default=1)):
        found = _joined(found, place)
    proposals = (
        Proposal(api, "/".join(_distinct(parts)), len(paths), sum(hits for _, hits in paths), min(paths)[0])
        for (api, parts), paths in found.items()
        if len(paths) >= LEAST_PATHS and parts[0] == ""
    )
    # A path that has a brace of its own can't be written as a pattern.
    usable = (one for one in proposals if not {"{", "}"} & set(re.sub(r"(?<=/)\{[^{}/]+\}(?=/|$)", "", one.pattern)))
    return sorted(usable, key=lambda one: (-one.hits, one.api, one.pattern))


def _named(part: str) -> str:
    return next((f"{{{name}}}" for name, looks in _LOOKS if looks.fullmatch(part)), part)


def _joined(
    found: dict[tuple[str, tuple[str, ...]], list[tuple[str, int]]], place: int
) -> dict[tuple[str, tuple[str, ...]], list[tuple[str, int]]]:
    """The same with a parameter wherever there are many texts in a place of otherwise equal paths."""
    texts: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for api, parts in found:
        if place < len(parts):
            texts[api, _with(parts, place)].add(parts[place])
    joined: dict[tuple[str, tuple[str, ...]], list[tuple[str, int]]] = defaultdict(list)
    for (api, parts), paths in found.items():
        many = place < len(parts) and len(texts[api, _with(parts, place)]) >= MANY
        joined[api, _with(parts, place) if many else parts].extend(paths)
    return joined


def _with(parts: tuple[str, ...], place: int) -> tuple[str, ...]:
    return (*parts[:place], "{value}", *parts[place + 1 :])


def _distinct(parts: tuple[str, ...]) -> list[str]:
    """The parts with a number at the second and each further parameter of the same name."""
    seen: dict[str, int] = defaultdict(int)
    named = []
    for part in parts:
        if _PARAMETER.fullmatch(part):
            seen[part] += 1
            named.append(part if seen[part] == 1 else f"{part[:-1]}{seen[part]}}}")
        else:
            named.append(part)
    return named
