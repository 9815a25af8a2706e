"""Answers that come piece by piece: large ones, which are never held as a whole."""

from collections.abc import Generator, Iterator
from typing import Any

import anyio
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from keytrail.errors import StoreError

log = structlog.get_logger("keytrail.web")


class Streamed(StreamingResponse):
    """An answer in pieces. The first is made at once, so that what can't be answered is told by a status.

    Args:
        pieces: The pieces; at least one. What makes them is closed with the answer, also where its client goes away.
        what: What breaks off where the others can't be made, for the log; the client misses its last chunk.
        request_id: Id of the request, for the log.
        about: Arguments of a `StreamingResponse`.
    """

    def __init__(self, pieces: Iterator[bytes], *, what: str, request_id: str, **about: Any) -> None:
        self._pieces = _told(next(pieces), pieces, what, request_id)
        super().__init__(self._pieces, **about)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # An answer that is broken off stands in a cycle of references, and so may live on for hours.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._pieces.close)


def _told(first: bytes, pieces: Iterator[bytes], what: str, request_id: str) -> Generator[bytes]:
    try:
        yield first
        yield from pieces
    except (StoreError, OSError) as error:
        log.error(f"{what} broke off", request_id=request_id, error=str(error))
        raise
