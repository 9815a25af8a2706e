"""Pages go packed over the wire."""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class Packed:
    """Middleware that packs pages; the API's answers stay as they are, and static files are packed already.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packing = GZipMiddleware(app, minimum_size=1000, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        of_pages = scope["type"] == "http" and not scope["path"].startswith(("/api/", "/static/", "/metrics"))
        await (self._packing if of_pages else self._app)(scope, receive, send)
