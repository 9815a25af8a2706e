"""The application: what it is made of and the middleware around it."""

import time
import uuid
from dataclasses import dataclass
from typing import Final

import structlog
from fastapi import Request
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response
from starlette.types import ASGIApp

from keytrail import __version__
from keytrail.config import Settings
from keytrail.store.client import Engine
from keytrail.store.upkeep import Upkeep
from keytrail.web import (
    analytics,
    changes,
    compatible,
    compatible_logs,
    compatible_mcp,
    consumers,
    export,
    ingest,
    path_templates,
    pipeline,
    problems,
    requests,
    system,
    upkeep,
)
from keytrail.web.app_state import AppState, hold
from keytrail.web.auth import Gate
from keytrail.web.coverage import Coverage
from keytrail.web.head import HeadAsGet
from keytrail.web.ingest import Collect, Receive
from keytrail.web.openapi import Application
from keytrail.web.paths import RawPaths
from keytrail.web.pipeline import Operations
from keytrail.web.throttle import Throttle
from keytrail.web.ui import changed, components, flow, log_pages, pages, people, session, static, subjects
from keytrail.web.ui.ask import Names
from keytrail.web.ui.errors import error_page
from keytrail.web.ui.packing import Packed
from keytrail.web.ui.panels import Underway

log = structlog.get_logger("keytrail.web")

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; "
    "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
}


_ROUTERS: Final = (
    compatible.router,
    compatible_logs.router,
    compatible_mcp.router,
    analytics.router,
    changes.router,
    consumers.router,
    path_templates.router,
    requests.router,
    export.router,
    ingest.router,
    pipeline.router,
    upkeep.router,
    system.router,
    session.router,
    pages.router,
    subjects.router,
    people.router,
    changed.router,
    flow.router,
    log_pages.router,
    components.router,
    static.router,
)
"""What answers, the API first."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running application and the gate that lets people into it."""

    app: ASGIApp
    gate: Gate


def make_service(
    settings: Settings,
    engine: Engine,
    *,
    secret: str,
    collect: Collect,
    receive: Receive,
    operations: Operations,
    keeper: Upkeep,
) -> Service:
    """Put the application together.

    Args:
        settings: The settings.
        engine: Where answers come from.
        secret: Signs sessions.
        collect: Takes the lines of files that are sent over HTTP.
        receive: Takes bodies of records that are sent over HTTP.
        operations: Tells of collection.
        keeper: Keeps the store.
    """
    app = Application(
        title="keytrail",
        version=__version__,
        description="Traffic analytics for API gateways.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    gate = Gate(settings.tokens, secret)
    hold(
        app,
        AppState(
            settings=settings,
            engine=engine,
            gate=gate,
            collect=collect,
            receive=receive,
            operations=operations,
            upkeep=keeper,
            coverage=Coverage(engine, operations),
            names=Names(),
            underway=Underway(),
        ),
    )
    problems.install(app, error_page)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_middleware(Packed)
    app.add_middleware(Throttle, gate=gate, server=settings.server)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RawPaths, public_path=settings.server.public_path)

    # Added last, so the outermost: every answer passes through it.
    app.middleware("http")(_accompany)
    return Service(app, gate)


async def _accompany(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Give each request an id, log it without what it asked for, and set the headers that every answer has."""
    request.state.request_id = uuid.uuid4().hex[:16]
    request.state.principal = None
    began = time.perf_counter()
    try:
        response = await call_next(request)
    except Exception as error:
        response = problems.unexpected(request, error, error_page)
    response.headers["X-Request-ID"] = request.state.request_id
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    route = request.scope.get("route")
    log.info(
        "request",
        request_id=request.state.request_id,
        method=request.method,
        # The route, not the path: a path may hold a key.
        route=getattr(route, "path", "none"),
        status=response.status_code,
        ms=round((time.perf_counter() - began) * 1000, 1),
        token=request.state.principal.name if request.state.principal else None,
    )
    return response
