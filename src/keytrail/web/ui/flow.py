"""The page about the pipeline: what became of what the gateway wrote, told as `/api/v1/pipeline` tells it."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from keytrail.web import pipeline
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk
from keytrail.web.ui.charts import Figure
from keytrail.web.ui.frame import AtDesk, show
from keytrail.web.ui.panels import Panel, once

router = APIRouter(include_in_schema=False)

BATCHES: Final = 50


@router.get("/pipeline")
def flow(request: Request, desk: AtDesk) -> Response:
    """The ledger, the backlog, gaps, rejected records and the store; a tenant sees what was stored of its own."""
    told = once(lambda: pipeline.told(request, desk.principal, BATCHES))

    def of(name: str) -> Callable[[], Any]:
        return lambda: told()[name]

    whole = desk.principal.sees_everything
    menu = (("As JSON", f"{desk.state.root}/api/v1/pipeline?limit={BATCHES}"),)
    gaps = Panel(
        "gaps",
        "Gaps",
        "gaps",
        lambda: _gaps(told()),
        note="when nothing was collected",
        size="text",
        wide="w4 x4" if whole else "",
    )
    batches = Panel("batches", "Batches", "batches", of("batches"), note="newest first", menu=menu, size="table")
    panels = [Panel("figures", "Key figures", "figures", lambda: _figures(desk, told()), size="figures")]
    # What troubles collection comes first: whoever looks here asks whether it goes on.
    if whole:
        panels += [
            Panel("sources", "Sources", "sources", lambda: _sources(told()), size="text", wide="w8 x8"),
            gaps,
            batches,
            Panel("rejects", "Rejected records", "rejects", of("rejects"), size="table", wide="w8 x8"),
            Panel("tables", "Storage", "storage", lambda: _storage(told()), wide="w4 x4", live=False),
        ]
    else:
        panels += [gaps, batches]
    return show(
        request,
        desk,
        "pipeline.html",
        panels,
        ranged=False,
        title="Pipeline",
        names=[panel.id for panel in panels[1:]],
    )


def _gaps(told: dict[str, Any]) -> dict[str, Any]:
    """Gaps, the latest first, and whether anything is collected that could have one."""
    rows = sorted(told["gaps"], key=lambda gap: str(gap["start"]), reverse=True)
    return {"rows": rows, "collected": told["complete_through"] is not None}


def _sources(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Each Redis, and what troubles it: each message once, with the parts of collection that met it."""
    found = []
    for source in told["sources"]:
        faults: dict[str, list[str]] = {}
        for part, why in source["trouble"].items():
            faults.setdefault(why, []).append(part)
        found.append({**source, "faults": list(faults.items())})
    return found


_KEPT: Final = {"raw": "single records", "rollups": "sums", "recorded": "recorded requests"}


def _storage(told: dict[str, Any]) -> dict[str, Any]:
    """The tables, from when on what is kept, the room on the disk, and what is wrong with that."""
    upkeep = told["upkeep"]
    since = [f"{_KEPT[what]} since {day}" for what, day in upkeep["kept_since"].items() if day]
    return {
        "tables": told["tables"],
        "since": since,
        "cold": upkeep["cold"],
        "disk": upkeep["disk"],
        "troubles": upkeep["troubles"],
    }


def _figures(desk: Desk, told: dict[str, Any]) -> list[Figure]:
    totals, now, where = told["totals"], desk.state.range.now, desk.state.range.zone
    through = figures.instant(told["complete_through"])
    found = [
        Figure(
            "Complete through",
            figures.ago(through, now, where) if through else figures.UNKNOWN,
            note="all that was pushed until then is in answers" if through else "nothing is collected here",
        ),
        Figure("Stored", figures.count(totals["stored"]), note="records, each once"),
    ]
    if "taken" in totals:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in totals["reasons"].items())
        found[1:1] = [Figure("Taken", figures.count(totals["taken"]), note=f"in {totals['chunks']:,} chunks")]
        rejected = figures.count(totals["rejected"])
        found += [
            Figure(
                "Rejected",
                Markup('<span class="bad">{}</span>').format(rejected) if totals["rejected"] else rejected,
                note=reasons,
                href="#p-rejects" if totals["rejected"] else "",
            ),
            Figure("Duplicate", figures.count(totals["duplicate"]), note="taken again, not stored again"),
        ]
    visible = [one["ms_to_visible"] for one in told["batches"] if one["source"] == "redis" and not one.get("duplicate")]
    if visible:
        found.append(
            Figure("Freshness", figures.ms(sorted(visible)[len(visible) // 2]), note="from sealed to visible, median")
        )
    return found
