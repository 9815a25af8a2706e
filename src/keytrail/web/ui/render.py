"""Templates: the environment, and a page or a panel made of them."""

import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import jinja2
import structlog
from fastapi import Request
from starlette.responses import HTMLResponse, Response

from keytrail import __version__
from keytrail.errors import NoLongerKept, RequestError, StoreAway, StoreError, TooCostly
from keytrail.instants import zone
from keytrail.query.zones import to_moment
from keytrail.web.ui import figures, static
from keytrail.web.ui.panels import Panel
from keytrail.web.ui.ranges import Range

log = structlog.get_logger("keytrail.web")

THEMES: Final = ("system", "light", "dark")
SCRIPTED: Final = "keytrail_js"
"""Cookie that our script sets: then what is slow may come after the page."""

ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("keytrail.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.globals.update(figures=figures, version=__version__)

# As many as an engine has readers by default; waiting for it is what these threads do.
_ASKING: Final = ThreadPoolExecutor(3, "panel")

_WITH_THE_PAGE: Final = {True: 0.1, False: 0.4}
"""Seconds up to which a panel comes with the page, by whether it is known to be slow: what takes longer comes after it,
as nobody should wait for one panel to see the others; asking once more costs some time, too."""
_MOST_PACED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a panel took the last time, in seconds, and how many rows it had; None where it is none of rows."""

    seconds: float
    rows: int | None = None


_PACES: Final[dict[tuple[str, object], Pace]] = {}
"""Of each panel, by what its time depends on most."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel with its data, or with what went wrong, or with neither: then it is still to be loaded.

    Attributes:
        panel: The panel.
        data: What it shows.
        error: What went wrong.
        waiting: It comes after the page.
        rows: The rows that it is expected to have; None is not known.
    """

    panel: Panel
    data: Any = None
    error: str = ""
    waiting: bool = False
    rows: int | None = None


def common(request: Request, **values: Any) -> dict[str, Any]:
    """What every template may use."""
    root = request.scope.get("root_path", "")
    theme = request.cookies.get("keytrail_theme", "system")
    vendor = "vendor/echarts.js" in static.assets()
    return {
        "root": root,
        "static": f"{root}/static/{static.version()}",
        "theme": theme if theme in THEMES else "system",
        "libraries": vendor,
        "here": root + request.scope["path"],
        "request_id": request.state.request_id,
        "principal": getattr(request.state, "principal", None),
        "refreshing": request.cookies.get("keytrail_refresh", "on") != "off",
        **values,
    }


def page(template: str, request: Request, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page."""
    text = ENVIRONMENT.get_template(template).render(common(request, **values))
    # A shared cache must not keep it, and going back must show what is signed in now.
    return HTMLResponse(text, status, {"Cache-Control": "private, no-store", "Vary": "Cookie, HX-Request"})


def panel_page(template: str, request: Request, panels: Iterable[Panel], paced: object, **values: Any) -> Response:
    """A page with its panels, or a single one of them where `?panel=` asks for it.

    Each panel is asked for by itself: where one fails the others are shown.

    Args:
        template: The page's template.
        request: The request.
        panels: Its panels.
        paced: What their time depends on most, such as the range: as long as the last one took, is expected.
        values: What the template uses beside that.
    """
    by_id = {panel.id: panel for panel in panels}
    wanted = request.query_params.get("panel", "")
    if wanted:
        if wanted not in by_id:
            raise RequestError(f"there is no panel {wanted[:40]!r}")
        if request.query_params.get("as") == "csv" and (made := by_id[wanted].sheet):
            return _download(made(), [values["title"], by_id[wanted].title], values["state"].range)
        return page("panel.html", request, shown=_made(by_id[wanted], paced, request.state.request_id), **values)
    scripted = bool(request.cookies.get(SCRIPTED))
    waiting = {
        name: (scripted and _later(panel, paced)) or _ASKING.submit(_made, panel, paced, request.state.request_id)
        for name, panel in by_id.items()
    }
    shown: Mapping[str, Shown] = {
        name: one if isinstance(one, Shown) else one.result() for name, one in waiting.items()
    }
    return page(template, request, shown=shown, **values)


def _download(text: str, titles: list[str], period: Range) -> Response:
    """A file to save, named by what it is about and its days; with the mark by which spreadsheets tell UTF-8."""
    last = max(min(period.end, period.now) - 1, period.start)
    days = (to_moment(at, zone(period.zone)).date().isoformat() for at in (period.start, last))
    words = (re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:60] for title in titles)
    name = "-".join(("keytrail", *filter(None, dict.fromkeys(words)), *dict.fromkeys(days))) + ".csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response("\ufeff" + text, headers=headers, media_type="text/csv; charset=utf-8")


def _later(panel: Panel, paced: object) -> Shown | None:
    """A panel that comes after the page, as it is expected to take long."""
    pace = _PACES.get((panel.id, paced), Pace(1.0 if panel.slow else 0.0))
    return Shown(panel, waiting=True, rows=pace.rows) if pace.seconds > _WITH_THE_PAGE[panel.slow] else None


def _made(panel: Panel, paced: object, request_id: str) -> Shown:
    began = time.perf_counter()
    try:
        shown = Shown(panel, panel.make())
    except (NoLongerKept, TooCostly) as error:
        # Its text is for the asker: it says what to do.
        return Shown(panel, error=str(error)[:1].upper() + str(error)[1:] + ".")
    except StoreAway as error:
        log.error("panel failed", panel=panel.id, request_id=request_id, error=str(error))
        return Shown(panel, error="The answer took too long, or the store is busy. A shorter range is quicker.")
    except StoreError as error:
        log.error("panel failed", panel=panel.id, request_id=request_id, error=str(error))
        return Shown(panel, error="The store could not answer this.")
    if len(_PACES) >= _MOST_PACED:
        _PACES.clear()
    rows = shown.data if isinstance(shown.data, list) else getattr(shown.data, "rows", None)
    _PACES[panel.id, paced] = Pace(time.perf_counter() - began, None if rows is None else len(rows))
    return shown
