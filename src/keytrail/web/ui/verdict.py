"""What changed, in sentences: the keys that the gateway refuses more, the endpoints that fail more or are slower."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Row
from keytrail.web.ui.rankings import key_name, key_path

MOST: Final = 4
"""Sentences at most."""


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
    """

    kind: str
    name: str
    beside: str
    href: str
    origin: str
    rows: list[Row] = field(default_factory=list)

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


def findings(desk: Desk, by_key: Row, by_endpoint: Row) -> Row:
    """The causes that contribute most, and the totals for where there is none.

    What the gateway gives by itself (no entry, a limit) is a matter of one key; what comes from behind it, of one
    endpoint.

    Args:
        desk: Who asks.
        by_key: What changed, told apart by key.
        by_endpoint: The same by endpoint.
    """
    refused = [row for row in by_key["errors"]["rows"] if row["origin"] == "gateway"]
    failing = [row for row in by_endpoint["errors"]["rows"] if row["origin"] != "gateway"]
    errors = _grouped(desk, "errors", [*refused, *failing])[:MOST]
    slow = _grouped(desk, "latency", by_endpoint["latency"]["rows"])
    # Errors first: a refusal ends a caller's work, slowness delays it.
    return by_endpoint | {"findings": [*errors, *slow[: max(MOST - len(errors), 1)]]}


def _grouped(desk: Desk, kind: str, rows: Sequence[Row]) -> list[Finding]:
    """The rows of one key or endpoint that went the same way, together."""
    found: dict[tuple[object, ...], Finding] = {}
    for row in rows:
        group = (row["contribution"] > 0, row["key"], row["api"], row["path"])
        if group not in found:
            if row["key"] is not None:
                name, beside = key_name(row["key"], row["alias"])
                href = desk.state.without("key").link(key_path(row["key"]))
            else:
                name, beside = row["path"] or "/", row["api_name"] or row["api"]
                href = desk.state.only("/endpoint", api=row["api"], path=row["path"])
            found[group] = Finding(kind, name, beside, href, row["origin"])
        found[group].rows.append(row)
    return sorted(found.values(), key=lambda one: -abs(one.contribution))
