"""Who is asking, and what they may do and see.

A request names its bearer by a token (`Authorization: <token>` or `Authorization: Bearer <token>`), by a session
that a one-time link or a token began, or by coming through the socket in the data directory, whose file mode lets in
only who may read the data anyway.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Annotated, Final

from fastapi import Depends, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from keytrail.config import Permission, Token
from keytrail.errors import Forbidden, NotAuthorised
from keytrail.query.request import Scope, key_forms
from keytrail.web.app_state import app_state
from keytrail.web.local import LOCAL_STATE

ALL_ORGS: Final = "*"
SESSION_COOKIE: Final = "keytrail_session"
SESSION_SECONDS: Final = 30 * 24 * 3600
LINK_SECONDS: Final = 15 * 60
_EVERYTHING: Final = frozenset[Permission]({"analytics", "logs", "ingest", "admin"})
_READING: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""
_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""What a browser's `Sec-Fetch-Site` says of a page of ours, and of an address that somebody typed."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whose request is answered.

    Attributes:
        name: Name for logs.
        scope: What they see.
        permissions: What they may do.
        rate: Requests a minute that they may send; 0 is no limit, None the server's.
        concurrency: Their requests that may run at once; 0 is no limit, None the server's.
    """

    name: str
    scope: Scope
    permissions: frozenset[Permission]
    rate: int | None = None
    concurrency: int | None = None

    def may(self, permission: str) -> bool:
        """Whether they have a permission; `admin` has them all."""
        return permission in self.permissions or "admin" in self.permissions

    @property
    def sees_everything(self) -> bool:
        """Whether they are an admin of all organisations, and of the whole of each."""
        return "admin" in self.permissions and self.scope.whole

    def narrowed(self, org: str) -> Scope:
        """The scope of one organisation.

        Args:
            org: The organisation asked for; "" leaves the scope as it is.

        Raises:
            Forbidden: They do not see it.
        """
        if not org or org == self.scope.org:
            return self.scope
        if self.scope.org is not None:
            raise Forbidden(f"no access to the organisation {org!r}")
        return replace(self.scope, org=org)


LOCAL: Final = Principal("local", Scope(None), _EVERYTHING)
"""Whoever can open the socket in the data directory, or was given a one-time link by who can."""


def hash_token(token: str) -> str:
    """What the settings hold of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Gate:
    """Tells who is asking.

    Args:
        tokens: The tokens of the settings.
        secret: Signs sessions.
        today: The day in UTC, for expiry.
    """

    def __init__(
        self,
        tokens: Iterable[Token],
        secret: str,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        fixed = tuple(tokens)
        self._tokens: Callable[[], Iterable[Token]] = lambda: fixed
        self._today = today
        self._sessions = URLSafeTimedSerializer(secret, salt="session")
        self._links: dict[str, float] = {}

    def follow(self, tokens: Callable[[], Iterable[Token]]) -> None:
        """Ask for the tokens at every request from now on."""
        self._tokens = tokens

    def principal(self, request: Request) -> Principal:
        """Who sent a request.

        Raises:
            NotAuthorised: Nobody whom we know.
            Forbidden: A page of somebody else's has a browser send it with the session.
        """
        if request.scope.get(LOCAL_STATE):
            return LOCAL
        header = request.headers.get("authorization", "")
        if header:
            return self.bearer(header)
        cookie = request.cookies.get(SESSION_COOKIE, "")
        if cookie:
            if request.method not in _READING and _from_elsewhere(request):
                raise Forbidden("a session does not change anything for a page of another address; a token may")
            return self._session(cookie)
        raise NotAuthorised

    def bearer(self, header: str) -> Principal:
        """Who bears a token.

        Takes the same time whichever token it is and whether there is one: every entry is compared.

        Raises:
            NotAuthorised: No such token, or it has expired.
        """
        digest = self._digest(header)
        return self._entry(lambda entry: hmac.compare_digest(entry.sha256.lower(), digest))

    @staticmethod
    def _digest(header: str) -> str:
        scheme, _, rest = header.strip().partition(" ")
        return hash_token(rest.strip() if scheme.lower() == "bearer" and rest else header.strip())

    def _entry(self, is_it: Callable[[Token], bool]) -> Principal:
        found: Token | None = None
        for entry in self._tokens():
            if is_it(entry):
                found = entry
        if found is None or (found.expires is not None and found.expires < self._today()):
            raise NotAuthorised
        return _of_token(found)

    def link_code(self) -> str:
        """A code for a one-time link; it is good once, for a quarter of an hour."""
        code = secrets.token_urlsafe(24)
        self._links[code] = time.monotonic() + LINK_SECONDS
        return code

    def redeem(self, code: str) -> str:
        """Turn a link's code into the value of a session cookie.

        Raises:
            NotAuthorised: The code was never given, was used, or is too old.
        """
        deadline = self._links.pop(code, 0.0)
        if deadline < time.monotonic():
            raise NotAuthorised
        return self._sessions.dumps({"local": True})

    def sign_in(self, token: str) -> str:
        """Turn a token into the value of a session cookie, which lasts no longer than the token does.

        Raises:
            NotAuthorised: No such token, or it has expired.
        """
        self.bearer(token)
        # The digest of the entry's own digest: the cookie is signed, not secret.
        return self._sessions.dumps({"token": hash_token(self._digest(token))})

    def _session(self, cookie: str) -> Principal:
        try:
            content = self._sessions.loads(cookie, max_age=SESSION_SECONDS)
        except BadSignature:
            raise NotAuthorised from None
        if isinstance(content, dict) and content.get("local") is True:
            return LOCAL
        known = content.get("token") if isinstance(content, dict) else None
        if isinstance(known, str):
            return self._entry(lambda entry: hmac.compare_digest(hash_token(entry.sha256.lower()), known))
        raise NotAuthorised


def asker_of(request: Request) -> Principal:
    """Who asks, noted beside the request for the log.

    Raises:
        NotAuthorised: Nobody whom we know.
        Forbidden: A page of somebody else's has a browser send it with the session.
    """
    found = app_state(request).gate.principal(request)
    request.state.principal = found
    return found


Asker = Annotated[Principal, Depends(asker_of)]
"""The parameter of an endpoint that needs to know who asks."""


def _from_elsewhere(request: Request) -> bool:
    """Whether a browser says that a page of another origin sent a request.

    The cookie's `SameSite` does not keep it back from all of them: another port of this machine, or a neighbour under
    the same domain, is the same site.
    """
    headers = request.headers
    if site := headers.get("sec-fetch-site", ""):
        return site not in _OWN_SITES
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def own_pages_only(request: Request) -> None:
    """Refuse to begin or end a session for a page of another address, which could put its own token in its place.

    Only by `Sec-Fetch-Site`: the origin can't be compared behind a proxy that changes the host, and nobody may be kept
    from signing in there.

    Raises:
        Forbidden: A browser says that such a page sent the request.
    """
    if request.headers.get("sec-fetch-site", "none") not in _OWN_SITES:
        raise Forbidden("a page of another address does not sign anybody in or out")


def _of_token(token: Token) -> Principal:
    org = None if token.org == ALL_ORGS and "admin" in token.permissions else token.org
    keys = None if token.keys is None else [form for key in token.keys for form in key_forms(key)]
    scope = Scope(org, _only(token.apis), _only(keys), _only(token.oauth_clients), _only(token.consumers))
    return Principal(token.name, scope, frozenset(token.permissions), token.rate, token.concurrency)


def _only(values: Iterable[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def require(principal: Principal, permission: Permission) -> None:
    """Refuse who lacks a permission; `admin` has them all.

    Raises:
        Forbidden: They lack it.
    """
    if not principal.may(permission):
        raise Forbidden(f"the token lacks the permission {permission!r}")


def everything(principal: Principal) -> None:
    """Make sure of an admin of all organisations, for what can't be told apart by organisation.

    Raises:
        Forbidden: They are none.
    """
    require(principal, "admin")
    if not principal.sees_everything:
        raise Forbidden("this is for an admin of all organisations: it can't be told apart by organisation")
