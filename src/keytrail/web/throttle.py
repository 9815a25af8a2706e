"""How many requests a token may send in a minute, and how many at once.

Each process counts for itself. A request counts as running until its answer is sent, so the bodies that are held are
bounded, too. Nobody waits: who is over a limit is told when to come again.
"""

import math
import time
from collections import Counter
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from keytrail.config import Server
from keytrail.errors import NotAuthorised
from keytrail.web.auth import Gate, Principal
from keytrail.web.local import LOCAL_STATE
from keytrail.web.problems import problem

SOON: Final = 1
"""Seconds after which to come again where too many requests are running: nobody knows when one ends."""


class Throttle:
    """Middleware that refuses what is over a token's limits.

    Args:
        app: The application.
        gate: Tells whose a token is; who has none, or a wrong one, is refused elsewhere.
        server: The limits of tokens that have none of their own.
    """

    def __init__(self, app: ASGIApp, gate: Gate, server: Server) -> None:
        self._app = app
        self._gate = gate
        self._server = server
        self._rates = SlidingWindowCounterRateLimiter(MemoryStorage())
        # Only the event loop's thread touches it.
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with 429."""
        bearer = self._bearer(scope)
        if bearer is None:
            await self._app(scope, receive, send)
            return
        most = self._server.concurrency if bearer.concurrency is None else bearer.concurrency
        if most and self._running[bearer.name] >= most:
            await _refused(f"at most {most} requests at once", SOON)(scope, receive, send)
            return
        if wait := self._wait(bearer):
            rate = bearer.rate or self._server.rate
            await _refused(f"at most {rate} requests a minute", wait)(scope, receive, send)
            return
        self._running[bearer.name] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[bearer.name] -= 1

    def _bearer(self, scope: Scope) -> Principal | None:
        if scope["type"] != "http" or scope.get(LOCAL_STATE):
            return None
        header = Headers(scope=scope).get("authorization", "")
        try:
            return self._gate.bearer(header) if header else None
        except NotAuthorised:
            return None

    def _wait(self, bearer: Principal) -> int:
        """Seconds until another request may come; 0 where this one may, which then counts."""
        rate = self._server.rate if bearer.rate is None else bearer.rate
        if not rate:
            return 0
        item = RateLimitItemPerMinute(rate)
        if self._rates.hit(item, bearer.name):
            return 0
        return max(1, math.ceil(self._rates.get_window_stats(item, bearer.name).reset_time - time.time()))


def _refused(why: str, wait: int) -> ASGIApp:
    return problem(429, f"Too many requests: {why}.", {"Retry-After": str(wait)})
