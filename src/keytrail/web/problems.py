"""Errors over HTTP: one shape, and never the text of an exception that was not meant for the asker."""

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


def install(app: FastAPI) -> None:
    """Give every exception that is expected its answer."""

    @app.exception_handler(RequestError)
    async def refused(_request: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, RequestError) else 400
        return problem(status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: Exception) -> Response:
        details: Any = error.errors() if isinstance(error, RequestValidationError) else []
        text = "; ".join(f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in details)
        return problem(400, text or "bad request")

    @app.exception_handler(HTTPException)
    async def plain(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return problem(status, HTTPStatus(status).phrase, headers)

    @app.exception_handler(StoreError)
    async def store(request: Request, error: Exception) -> Response:
        status = 503 if isinstance(error, StoreAway) else 500
        log.error("query failed", request_id=request.state.request_id, error=str(error))
        return problem(status, f"{FAILED} (request {request.state.request_id})")

    @app.exception_handler(SourceError)
    async def source(request: Request, error: Exception) -> Response:
        # Only who runs the product asks what needs Redis; its client's words hold no secret.
        log.error("Redis failed", request_id=request.state.request_id, error=str(error))
        return problem(503, f"Redis: {error}")


def unexpected(request: Request, error: Exception) -> Response:
    """The answer to what no handler knows."""
    log.exception("unexpected error", request_id=request.state.request_id, exc_info=error)
    return problem(500, f"{FAILED} (request {request.state.request_id})")
