"""What a process that only collects shows: that it lives, whether it collects, and its metrics."""

from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PATHS: Final = frozenset({"/healthz", "/readyz", "/readyz/collect", "/metrics"})


class Probes:
    """The paths of an application that tell of the process; every other one is not found.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"] not in PATHS:
            await PlainTextResponse("this process only collects\n", 404)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
