"""The tables of the catalogue in `docs/api.md`, made from what answers `/api/v1/catalog`.

`python -m tests.catalogue_table` writes them again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keytrail.query.describe import catalogue

FILE = Path(__file__).parents[1] / "docs" / "api.md"
BEGIN, END = "<!-- catalogue -->\n", "\n<!-- /catalogue -->"


def page(text: str) -> str:
    """A page with the tables between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{markdown()}{END}{after}"


def markdown() -> str:
    """The tables."""
    found = catalogue()
    return "\n".join(
        [
            *_table(("field", "meaning"), ((f"`{one['name']}`", one["meaning"]) for one in found["fields"])),
            "",
            "Metrics:",
            "",
            *_named("metric", "unit", found["metrics"]),
            "",
            "Dimensions:",
            "",
            *_named("dimension", "type", found["dimensions"]),
            "",
            "Operators:",
            "",
            *_table(
                ("operator", "holds if the dimension", "value"),
                (
                    (f"`{one['name']}`", one["meaning"], "a list" if one["many"] else "one")
                    for one in found["operators"]
                ),
            ),
        ]
    )


def _named(kind: str, about: str, rows: Iterable[dict[str, Any]]) -> list[str]:
    """The table of metrics, or of dimensions, with what is told about each of the one or the other."""
    return _table(
        (kind, "meaning", about, "only from single requests"),
        ((f"`{one['name']}`", one["meaning"], one[about], "yes" if one["raw_only"] else "") for one in rows),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |".replace("  ", " ") for row in rows),
    ]


if __name__ == "__main__":
    FILE.write_text(page(FILE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{FILE} written")
