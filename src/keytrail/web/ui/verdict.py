"""What changed, in sentences: the keys that the gateway refuses more, the endpoints that fail more or are slower."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from keytrail.query.changes_question import BOTH, WORSE
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Row
from keytrail.web.ui.rankings import key_name, subject_href

MOST: Final = 4
"""Sentences at most."""
LEAST_SPREAD: Final = 0.1
"""Share of what was before by which errors or p95 change at least, to be told where no key or endpoint stands out: of
many requests, the least change is more than chance."""
NEARLY_ALL: Final = 0.8
"""Share of an endpoint's errors from which on they are told to be one key's, and of a key's, to be at one endpoint."""


@dataclass(slots=True)
class Finding:
    """Rows that have one cause in common: a key that is refused, or an endpoint that fails or is slow.

    Attributes:
        kind: `errors` or `latency`.
        name: Of the key or endpoint.
        beside: Further name.
        href: The page about it.
        origin: `gateway` or `upstream`.
        rows: The rows, the greatest contribution first.
        alone: The one key that nearly all errors of an endpoint are of, or the one endpoint that those of a key are
            at; "" where there is none.
        alone_href: The page about it.
        requests_href: The requests behind it, the newest first, "" for who may not see any.
    """

    kind: str
    name: str
    beside: str
    href: str
    origin: str
    rows: list[Row] = field(default_factory=list)
    alone: str = ""
    alone_href: str = ""
    requests_href: str = ""

    @property
    def contribution(self) -> float:
        """What the rows contribute together: errors, or a share of requests that are slow."""
        return sum(float(row["contribution"]) for row in self.rows)

    @property
    def share(self) -> float:
        """The same as a share of everything that went that way."""
        return sum(float(row["share"]) for row in self.rows)

    @property
    def classes(self) -> list[str]:
        """Classes of the response codes."""
        return sorted({row["code_class"] for row in self.rows})

    @property
    def first(self) -> Row:
        """The row that contributes most."""
        return self.rows[0]

    @property
    def began(self) -> int | None:
        """Since when the greatest row contributes, ms; None for what became less."""
        return figures.instant(self.first["since"])


def findings(desk: Desk, by_key: Row, by_endpoint: Row, by_both: Row | None, direction: str) -> Row:
    """The causes that contribute most, and the totals for where there is none.

    What the gateway gives by itself (no entry, a limit) is a matter of one key; what comes from behind it, of one
    endpoint.

    Args:
        desk: Who asks.
        by_key: What changed, told apart by key.
        by_endpoint: The same by endpoint.
        by_both: The same by key and endpoint, where that was asked for.
        direction: Which changes are asked for.

    Returns:
        What `by_endpoint` has, the `findings`, and in `spread` what changed (`errors`, `latency`) though none of them
        is about it.
    """
    refused = [row for row in by_key["errors"]["rows"] if row["origin"] == "gateway"]
    failing = [row for row in by_endpoint["errors"]["rows"] if row["origin"] != "gateway"]
    errors = _grouped(desk, "errors", [*refused, *failing])[:MOST]
    slow = _grouped(desk, "latency", by_endpoint["latency"]["rows"])
    for one in errors:
        _narrow(desk, one, by_both["errors"]["rows"] if by_both else ())
    # Errors first: a refusal ends a caller's work, slowness delays it.
    found = [*errors, *slow[: max(MOST - len(errors), 1)]]
    others = [kind for kind in ("errors", "latency") if kind not in {one.kind for one in found}]
    return by_endpoint | {
        "findings": found,
        "spread": [kind for kind in others if _spread(by_endpoint, kind, direction)],
    }


def _spread(told: Row, kind: str, direction: str) -> bool:
    """Whether everything together changed the way that is asked for, by more than chance and by much."""
    found, latency = told[kind], told["latency"]
    if latency["p95_latency"] is None or latency["earlier_p95_latency"] is None:
        # There is no request in one of the ranges, which is said instead.
        return False
    if not found["change"] or found["sigma"] < told["judged"]["least_sigma"]:
        return False
    if direction != BOTH and (found["change"] > 0) != (direction == WORSE):
        return False
    now, before = ("now", "expected") if kind == "errors" else ("p95_latency", "earlier_p95_latency")
    moved = found[now] - found[before]
    # The share of slow hits may rise where p95, told in whole buckets, stays.
    return bool(moved) and (moved > 0) == (found["change"] > 0) and abs(moved) >= found[before] * LEAST_SPREAD


def _grouped(desk: Desk, kind: str, rows: Sequence[Row]) -> list[Finding]:
    """The rows of one key or endpoint that went the same way, together."""
    found: dict[tuple[object, ...], Finding] = {}
    for row in rows:
        group = (row["contribution"] > 0, row["key"], row["api"], row["path"])
        if group not in found:
            found[group] = Finding(kind, *_subject(desk, row, of_key=row["key"] is not None), row["origin"])
        found[group].rows.append(row)
    return sorted(found.values(), key=lambda one: -abs(one.contribution))


def _subject(desk: Desk, row: Row, *, of_key: bool) -> tuple[str, str, str]:
    """The name of a row's key, or of its endpoint, what to say beside it, and the page about it."""
    if of_key:
        return *key_name(row["key"], row["alias"]), subject_href(desk.state, "key", row["key"])
    href = desk.state.only("/endpoint", api=row["api"], path=row["path"])
    return row["path"] or "/", row["api_name"] or row["api"], href


def _narrow(desk: Desk, one: Finding, rows: Sequence[Row]) -> None:
    """Tell of one key, or of one endpoint, where nearly all errors are there, and where their requests are."""
    first = one.first
    where = {name: first[name] for name in ("key", "api", "path") if first[name] is not None}
    same = (*where, "code_class", "origin")
    these = [row for row in rows if all(row[name] == first[name] for name in same)]
    most = max(these, key=lambda row: abs(row["contribution"]), default=None)
    if most and most["contribution"] / one.contribution >= NEARLY_ALL:
        one.alone, _, one.alone_href = _subject(desk, most, of_key=first["key"] is None)
        where = {name: most[name] for name in ("key", "api", "path")}
    if desk.may("logs"):
        one.requests_href = desk.state.only("/requests", **where, code_class=first["code_class"])
