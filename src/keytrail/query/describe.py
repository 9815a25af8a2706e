"""The catalogue as data: what `GET /api/v1/catalog` and `docs/api.md` show."""

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
