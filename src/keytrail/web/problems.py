"""Errors over HTTP: one shape, and never the text of an exception that was not meant for the asker."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from keytrail.errors import RequestError, SourceError, StoreAway, StoreError

log = structlog.get_logger("keytrail.web")

FAILED: Final = "Failed to fetch analytics."


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error answer: `{"Status":"Error","Message":"…","Meta":null}`."""
    body = msgspec.json.encode({"Status": "Error", "Message": message, "Meta": None})
    return Response(body, status, headers, "application/json")


Page = Callable[[Request, int, str], Response | None]
"""Makes a page for an error; None where a program asked."""


def install(app: FastAPI, page: Page) -> None:
    """Give every exception that is expected its answer.

    Args:
        app: The application.
        page: Makes the answer for a person.
    """

    def reply(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        return page(request, status, message) or problem(status, message, headers)

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, RequestError) else 400
        return reply(request, status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Exception) -> Response:
        details: Any = error.errors() if isinstance(error, RequestValidationError) else []
        text = "; ".join(f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in details)
        return reply(request, 400, text or "bad request")

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return reply(request, status, HTTPStatus(status).phrase, headers)

    @app.exception_handler(StoreError)
    async def store(request: Request, error: Exception) -> Response:
        status = 503 if isinstance(error, StoreAway) else 500
        log.error("query failed", request_id=request.state.request_id, error=str(error))
        return reply(request, status, f"{FAILED} (request {request.state.request_id})")

    @app.exception_handler(SourceError)
    async def source(request: Request, error: Exception) -> Response:
        # Only who runs the product asks what needs Redis; its client's words hold no secret.
        log.error("Redis failed", request_id=request.state.request_id, error=str(error))
        return problem(503, f"Redis: {error}")


def unexpected(request: Request, error: Exception, page: Page) -> Response:
    """The answer to what no handler knows."""
    log.exception("unexpected error", request_id=request.state.request_id, exc_info=error)
    return page(request, 500, "") or problem(500, f"{FAILED} (request {request.state.request_id})")
