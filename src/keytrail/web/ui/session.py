"""Signing in with a one-time link or a token, signing out, and what a browser remembers of its user's taste."""

from typing import Annotated, Final
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from keytrail.errors import NotAuthorised, RequestError
from keytrail.instants import zone
from keytrail.web.app_state import app_state
from keytrail.web.auth import SESSION_COOKIE, SESSION_SECONDS, own_pages_only
from keytrail.web.body import read_body
from keytrail.web.ui.render import THEMES, page

router = APIRouter(include_in_schema=False)

_A_YEAR: Final = 365 * 24 * 3600
_LONGEST_FORM: Final = 10_000
"""Bytes of a sign-in form."""


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        RequestError: It is no form, or too long.
    """
    content = await read_body(request, _LONGEST_FORM, "the form has at most")
    try:
        fields = parse_qs(content.decode(), keep_blank_values=True)
    except ValueError:
        raise RequestError("the form can't be read") from None
    return {name: values[-1] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(form)]


def inside(request: Request, target: str) -> str:
    """A path of ours that somebody may be sent to; anything else becomes the first page."""
    root = str(request.scope.get("root_path", ""))
    ours = target.startswith(root + "/") and not target.startswith(("//", "/\\"))
    return target if ours and not any(ord(sign) < 32 or sign == "\\" for sign in target) else root + "/"


def sign_in_url(request: Request) -> str:
    """Where to sign in, and to come back from."""
    root = request.scope.get("root_path", "")
    here = root + quote(request.scope["path"].encode("utf-8", "surrogateescape"))
    if request.url.query:
        here += "?" + request.url.query
    return f"{root}/signin?next={quote(here, safe='')}" if here != root + "/" else f"{root}/signin"


@router.get("/signin")
def sign_in(request: Request, code: str = "", next: str = "") -> Response:
    """The form; with the code of a one-time link a session at once."""
    if not code:
        return page("signin.html", request, next=inside(request, next), wrong="")
    try:
        session = app_state(request).gate.redeem(code)
    except NotAuthorised:
        wrong = (
            "This link is no longer good: it works once, for a quarter of an hour. Start keytrail again for a new "
            "one, or sign in with a token."
        )
        return page("signin.html", request, 401, next=inside(request, next), wrong=wrong)
    return _begin(request, session, inside(request, next))


@router.post("/signin", dependencies=[Depends(own_pages_only)])
def sign_in_with_token(request: Request, fields: Form) -> Response:
    """Begin a session with a token."""
    target = inside(request, fields.get("next", ""))
    try:
        session = app_state(request).gate.sign_in(fields.get("token", "").strip())
    except NotAuthorised:
        wrong = "No such token, or it has expired."
        return page("signin.html", request, 401, next=target, wrong=wrong)
    return _begin(request, session, target)


@router.post("/signout", dependencies=[Depends(own_pages_only)])
def sign_out(request: Request) -> Response:
    """End the session."""
    root = request.scope.get("root_path", "")
    response = RedirectResponse(root + "/signin", 303)
    response.delete_cookie(SESSION_COOKIE, path=root or "/")
    return response


@router.get("/prefer")
def prefer(request: Request, theme: str = "", next: str = "") -> Response:
    """Remember a theme, for who has no scripts."""
    response = RedirectResponse(inside(request, next), 303)
    root = request.scope.get("root_path", "")
    if theme in THEMES:
        response.set_cookie("keytrail_theme", theme, max_age=_A_YEAR, samesite="lax", path=root or "/")
    return response


def remember_zone(request: Request, response: Response) -> None:
    """Remember the zone that a URL names."""
    chosen, root = request.query_params.get("zone", ""), request.scope.get("root_path", "")
    if not chosen or chosen == request.cookies.get("keytrail_zone"):
        return
    try:
        zone(chosen)
    except KeyError:
        return
    response.set_cookie("keytrail_zone", chosen, max_age=_A_YEAR, samesite="lax", path=root or "/")


def _begin(request: Request, session: str, target: str) -> Response:
    root = request.scope.get("root_path", "")
    response = RedirectResponse(target, 303)
    response.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=SESSION_SECONDS,
        path=root or "/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response
