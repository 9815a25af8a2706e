"""Answers of the API as JSON."""

from typing import Any

import msgspec
from starlette.responses import Response


def answer(content: Any, status: int = 200) -> Response:
    """Anything as JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")
