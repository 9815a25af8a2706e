"""Templates: the environment, and a page or a panel made of them."""

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
from keytrail.errors import RequestError, StoreAway, StoreError, TooCostly
from keytrail.web.ui import figures, static
from keytrail.web.ui.panels import Panel

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

_WITH_THE_PAGE: Final = 0.1
"""Seconds up to which what is slow comes with the page all the same: asking for it afterwards takes longer."""
_MOST_PACED: Final = 1_000
_SECONDS: Final[dict[tuple[str, object], float]] = {}
"""How long each slow panel took the last time."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel with its data, or with what went wrong, or with neither: then it is still to be loaded."""

    panel: Panel
    data: Any = None
    error: str = ""
    waiting: bool = False


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


def panel_page(template: str, request: Request, panels: Iterable[Panel], **values: Any) -> Response:
    """A page with its panels, or a single one of them where `?panel=` asks for it.

    Each panel is asked for by itself: where one fails the others are shown.
    """
    by_id = {panel.id: panel for panel in panels}
    wanted = request.query_params.get("panel", "")
    if wanted:
        if wanted not in by_id:
            raise RequestError(f"there is no panel {wanted[:40]!r}")
        if request.query_params.get("as") == "csv" and (made := by_id[wanted].sheet):
            return _download(made(), by_id[wanted].title)
        return page("panel.html", request, shown=_made(by_id[wanted], request.state.request_id), **values)
    later = bool(request.cookies.get(SCRIPTED))
    waiting = {
        name: Shown(panel, waiting=True)
        if later and panel.slow and _SECONDS.get((panel.id, panel.paced), 1.0) > _WITH_THE_PAGE
        else _ASKING.submit(_made, panel, request.state.request_id)
        for name, panel in by_id.items()
    }
    shown: Mapping[str, Shown] = {
        name: one if isinstance(one, Shown) else one.result() for name, one in waiting.items()
    }
    return page(template, request, shown=shown, **values)


def _download(text: str, title: str) -> Response:
    """A file to save; with the mark by which spreadsheets tell UTF-8."""
    name = "keytrail-" + "-".join(title.lower().split()) + ".csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response("\ufeff" + text, headers=headers, media_type="text/csv; charset=utf-8")


def _made(panel: Panel, request_id: str) -> Shown:
    began = time.perf_counter()
    try:
        shown = Shown(panel, panel.make())
    except TooCostly as error:
        # Its text is for the asker: it says what to do.
        return Shown(panel, error=str(error)[:1].upper() + str(error)[1:] + ".")
    except StoreAway as error:
        log.error("panel failed", panel=panel.id, request_id=request_id, error=str(error))
        return Shown(panel, error="The answer took too long, or the store is busy. A shorter range is quicker.")
    except StoreError as error:
        log.error("panel failed", panel=panel.id, request_id=request_id, error=str(error))
        return Shown(panel, error="The store could not answer this.")
    if panel.slow:
        if len(_SECONDS) >= _MOST_PACED:
            _SECONDS.clear()
        _SECONDS[panel.id, panel.paced] = time.perf_counter() - began
    return shown
