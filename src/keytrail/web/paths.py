"""Paths as they were asked for: split first, decoded afterwards.

A key may hold any URL-encoded text, also a slash. The server's own decoding comes before routing and would turn that
slash into a new segment, so routing works on the raw path: split at `/`, empty segments dropped, each decoded once
and strictly.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from keytrail.errors import RequestError
from keytrail.web.problems import problem

_SLASH: Final = "\udc2f"
"""Stands for a decoded slash while routing: a lone surrogate, which no decoded text can hold."""

_ADDRESS: Final = re.compile(rb"^https?://[^/]*", re.IGNORECASE)

KEY_NOT_DECODED: Final = "Key could not be decoded."


def segment(value: str) -> str:
    """A path parameter as it was meant, its slashes back in place."""
    return value.replace(_SLASH, "/")


def split(raw_path: bytes) -> list[str]:
    """The decoded segments of a raw path, or of a whole address as a client sends it to a proxy (RFC 9112, 3.2.2).

    Raises:
        RequestError: A segment is not UTF-8, or its percent signs are not followed by two hex digits.
    """
    segments = []
    for raw in _ADDRESS.sub(b"", raw_path.split(b"?")[0]).split(b"/"):
        if not raw:
            continue
        try:
            text = _decoded(raw)
        except ValueError as error:
            raise RequestError(KEY_NOT_DECODED) from error
        segments.append(text.replace("/", _SLASH))
    return segments


def _decoded(raw: bytes) -> str:
    for piece in raw.split(b"%")[1:]:
        # The library leaves what it can't decode as it is; here that is an error.
        int(piece[:2].decode("ascii"), 16)
        if len(piece) < 2 or not piece[:2].isalnum():
            raise ValueError(piece)
    return unquote_to_bytes(raw).decode("utf-8")


class RawPaths:
    """Middleware that replaces the decoded path by one made of decoded segments, and takes off the public prefix.

    Args:
        app: The application.
        public_path: Prefix under which a reverse proxy serves it, "" for none.
    """

    def __init__(self, app: ASGIApp, public_path: str = "") -> None:
        self._app = app
        self._public_path = public_path
        self._prefix = [part for part in public_path.split("/") if part]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            try:
                segments = split(scope.get("raw_path") or scope["path"].encode())
            except RequestError as error:
                await problem(400, str(error))(scope, receive, send)
                return
            if self._prefix and segments[: len(self._prefix)] == self._prefix:
                segments = segments[len(self._prefix) :]
            scope["path"] = "/" + "/".join(segments)
            # What the addresses in answers begin with.
            scope["root_path"] = self._public_path
        await self._app(scope, receive, send)
