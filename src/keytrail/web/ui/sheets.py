"""A page's table as CSV: all its rows, with plain numbers."""

import csv
import io
from typing import Final

from keytrail.query.zones import to_moment, zone
from keytrail.web.rows import neutral_cell
from keytrail.web.ui.ask import Desk, Names
from keytrail.web.ui.tables import KINDS

MOST_ROWS: Final = 100_000


def sheet(desk: Desk, names: Names, name: str) -> str:
    """All rows of a table with the page's filters, most requests first; times as RFC 3339, latencies in ms."""
    kind = KINDS[name]
    metrics = kind.metrics
    if "key" in kind.by:
        metrics.append("latest_alias")
    found = desk.ask(*metrics, by=kind.by, where=kind.where, order=("-hits", *kind.by), limit=MOST_ROWS)
    apis = names.apis(desk) if "api" in kind.by else {}
    where = zone(desk.state.range.zone)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*kind.by, *(["api_name"] if "api" in kind.by else []), *metrics])
    for row in found.rows:
        cells = [row[column] for column in kind.by]
        if "api" in kind.by:
            cells.append(apis.get(row["api"], ""))
        for metric in metrics:
            instant = metric in {"first_hit", "last_hit"}
            cells.append(to_moment(row[metric], where).isoformat(timespec="milliseconds") if instant else row[metric])
        writer.writerow([neutral_cell(cell) for cell in cells])
    return out.getvalue()
