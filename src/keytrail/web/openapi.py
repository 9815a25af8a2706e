"""The description of the API for machines: what FastAPI makes of the routes, and what only we know."""

from typing import Any, Final, Literal

from fastapi import FastAPI, Security
from fastapi.params import Depends
from fastapi.security import APIKeyHeader
from pydantic import BaseModel


class Problem(BaseModel):
    """An error answer."""

    Status: Literal["Error"]
    Message: str
    Meta: None


_MEANINGS: Final = {
    400: "A part of the request can't be understood; the message names it.",
    401: "No token, or not a valid one.",
    403: "The token lacks a permission, or may not see this API or organisation.",
    404: "There is no such path.",
    409: "The request contradicts an earlier one.",
    413: "The body is too large.",
    415: "The content type or encoding is not understood.",
    429: "Too many requests.",
    500: "A fault of ours; the message has the id under which the log tells more.",
    503: "The store can't be reached, or the answer took too long: trying again may help.",
}

WITH_TOKEN: Final[list[Depends]] = [
    Security(
        APIKeyHeader(
            name="Authorization",
            scheme_name="token",
            description="A token, by itself or after `Bearer `.",
            auto_error=False,
        )
    )
]
"""Dependencies of a route that needs a token: for the description only, `auth.py` looks for it."""


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of routes that need a token, for their description.

    Args:
        more: Statuses beside the usual ones.
    """
    return {
        status: {"model": Problem, "description": _MEANINGS[status]}
        for status in sorted({400, 401, 403, 404, 429, 500, 503, *more})
    }


class Application(FastAPI):
    """FastAPI without its answer 422: what a request has wrong is told with 400, in one shape."""

    def openapi(self) -> dict[str, Any]:
        """The description."""
        if self.openapi_schema is None:
            schema = super().openapi()
            for operations in schema["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
        return super().openapi()
