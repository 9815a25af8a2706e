"""Rows of answers as a table for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNLIMITED: Final = 100_000
"""Columns of what is not a terminal: nothing is wrapped or cut there."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        title: What stands over it.
        text: What it shows of a row.
        short: The same where there is little room; None leaves the column out there.
        right: Whether it stands at the right.
    """

    title: str
    text: Callable[[Row], str]
    short: Callable[[Row], str] | None = None
    right: bool = True


def _count(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:,}"


def _mean(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:,.1f}"


def _api(row: Row) -> str:
    return str(row["id"]["api_id"])


COLUMNS: Final = (
    Column("endpoint", path := lambda row: row["id"]["path"], path, right=False),
    Column("API", _api, lambda row: shortened(_api(row), 9), right=False),
    Column("hits", _count("hits"), _count("hits")),
    Column("success", _count("success")),
    Column("error", _count("error"), _count("error")),
    Column("mean ms", _mean("latency"), _mean("latency")),
    Column("min ms", _count("min_latency")),
    Column("max ms", _count("max_latency")),
    Column("upstream ms", _mean("upstream_latency")),
    Column("last hit", lambda row: row["last_hit"], lambda row: row["last_hit"][:16].replace("T", " "), right=False),
)


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def print_endpoints(rows: Sequence[Row]) -> None:
    """Print endpoint rows: all of them on a wide terminal and in a pipe, the most important of them on a narrow one."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNLIMITED)
    if not rows:
        console.print("No calls in this range.")
        return
    table = _table(rows, short=False)
    if console.measure(table, options=console.options.update(max_width=UNLIMITED)).maximum <= console.width:
        console.print(table)
    else:
        console.print(_table(rows, short=True))
        console.print("Shortened to fit; a wider terminal, a pipe or --format csv shows everything.", style="dim")


def _table(rows: Sequence[Row], *, short: bool) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = [(column, column.short if short else column.text) for column in COLUMNS]
    for column, text in shown:
        if text:
            first = column is COLUMNS[0]
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                overflow="fold",
                no_wrap=not (short and first),
            )
    for row in rows:
        table.add_row(*(Text(_harmless(text(row))) for _, text in shown if text))
    return table


def _harmless(text: str) -> str:
    """Paths come from anybody: what would steer a terminal is shown as an escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def print_rejects(rows: Sequence[Row]) -> None:
    """Print rejected records; in a pipe, and where a terminal is too narrow, in as many columns as they need."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNLIMITED)
    if not rows:
        console.print("No record was rejected.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("when", "reason", "list", "digest", "detail"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_harmless(str(row[name]))) for name in ("at", "reason", "list", "digest", "detail")))
    console.print(table)
