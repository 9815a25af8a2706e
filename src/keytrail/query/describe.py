"""The catalogue as data and as text: what `GET /api/v1/catalog`, OpenAPI and `docs/api.md` show."""

from collections.abc import Iterable
from typing import Any

from keytrail.query.catalog import DIMENSIONS, INSTANT, METRICS, OPERATORS
from keytrail.query.plan import rollups_having
from keytrail.query.question import FIELDS
from keytrail.query.ranges import PRESETS
from keytrail.query.zones import Step

_TYPES = {"String": "text", "Int64": "number", "Bool": "flag"}


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Everything that a question can name, each with its meaning.

    `raw_only` says that no sums have it, so that only single requests answer a question with it, slower and bounded.
    Of a consumer it depends on the directory, as its meaning says.
    """
    return {
        "metrics": [
            {
                "name": metric.name,
                "meaning": metric.meaning,
                "unit": "RFC 3339" if metric.unit == INSTANT else metric.unit,
                "sortable": metric.sortable,
                "raw_only": not rollups_having((), (metric.name,)),
            }
            for metric in METRICS.values()
        ],
        "dimensions": [
            {
                "name": dimension.name,
                "meaning": dimension.meaning,
                "type": _TYPES[dimension.type],
                "several": bool(dimension.array),
                "raw_only": not rollups_having((dimension.name,), ()),
                "operators": [operator.name for operator in OPERATORS.values() if operator.fits(dimension)],
            }
            for dimension in DIMENSIONS.values()
        ],
        "operators": [
            {"name": operator.name, "meaning": operator.meaning, "many": operator.many}
            for operator in OPERATORS.values()
        ],
        "steps": [{"name": step.value} for step in Step],
        "ranges": [{"name": name, "meaning": meaning} for name, meaning in PRESETS.items()],
        "fields": [{"name": name, "meaning": meaning} for name, meaning in FIELDS.items()],
    }


def markdown() -> str:
    """The catalogue as tables of a documentation page; a test holds `docs/api.md` equal to it."""
    found = catalogue()
    return "\n".join(
        [
            *_table(("field", "meaning"), ((f"`{one['name']}`", one["meaning"]) for one in found["fields"])),
            "",
            "Metrics:",
            "",
            *_table(
                ("metric", "meaning", "unit", "only from single requests"),
                (
                    (f"`{one['name']}`", one["meaning"], one["unit"], "yes" if one["raw_only"] else "")
                    for one in found["metrics"]
                ),
            ),
            "",
            "Dimensions:",
            "",
            *_table(
                ("dimension", "meaning", "type", "only from single requests"),
                (
                    (f"`{one['name']}`", one["meaning"], one["type"], "yes" if one["raw_only"] else "")
                    for one in found["dimensions"]
                ),
            ),
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


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |".replace("  ", " ") for row in rows),
    ]
