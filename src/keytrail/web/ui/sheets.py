"""A page's table as CSV: all its rows, with plain numbers."""

import csv
import io
from collections.abc import Callable
from typing import Final

from keytrail.instants import zone
from keytrail.query.zones import to_moment
from keytrail.web.rows import neutral_cell
from keytrail.web.ui.ask import Desk, Names, Row
from keytrail.web.ui.tables import KINDS

MOST_ROWS: Final = 100_000


def sheet(desk: Desk, names: Names, name: str) -> str:
    """All rows of a table with the page's filters, most requests first; times as RFC 3339, latencies in ms."""
    kind = KINDS[name]
    metrics = kind.metrics
    alias = ["latest_alias"] if "key" in kind.by else []
    found = desk.ask(*alias, *metrics, by=kind.by, where=kind.where, order=("-hits", *kind.by), limit=MOST_ROWS)
    apis = names.apis(desk) if "api" in kind.by else {}
    people = names.consumers(desk) if "consumer" in kind.by else {}
    where = zone(desk.state.range.zone)
    # What things are called stands beside what they are.
    called: dict[str, Callable[[Row], str]] = {}
    if "api" in kind.by:
        called["api_name"] = lambda row: apis.get(row["api"], "")
    if "consumer" in kind.by:
        called["consumer_name"] = lambda row: people[row["consumer"]][0].name if row["consumer"] in people else ""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*kind.by, *called, *alias, *metrics])
    for row in found.rows:
        cells = [*(row[column] for column in kind.by), *(name(row) for name in called.values())]
        for metric in (*alias, *metrics):
            instant = metric in {"first_hit", "last_hit"}
            cells.append(to_moment(row[metric], where).isoformat(timespec="milliseconds") if instant else row[metric])
        writer.writerow([neutral_cell(cell) for cell in cells])
    return out.getvalue()
