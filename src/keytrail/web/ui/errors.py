"""Errors as pages: in words, with the request's id, and what to do next."""

from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from keytrail.web.ui.render import page
from keytrail.web.ui.session import sign_in_url

_TITLES: Final = {
    400: "This address can't be understood",
    403: "You may not see this",
    404: "There is no such page",
    405: "This can't be done here",
    429: "Too many requests",
    503: "The store does not answer",
}
_ADVICE: Final = {
    403: "Sign in with a token that may, or ask whoever gave you this one.",
    404: "The address may be cut off, or what it names may be gone.",
    429: "Wait a moment and try again.",
    503: "Try again in a moment. A shorter range is quicker.",
}


def error_page(request: Request, status: int, message: str) -> Response | None:
    """The page for an error; None for a program, which gets the API's form of it."""
    path = request.scope["path"]
    by_program = path.startswith(("/api/", "/static/")) or "text/html" not in request.headers.get("accept", "")
    if by_program and not _swapped(request):
        return None
    if status == 401:
        target = sign_in_url(request)
        # A swap would put the form into a panel: the browser has to go there.
        return Response(headers={"HX-Redirect": target}) if _swapped(request) else RedirectResponse(target, 303)
    return page(
        "error.html",
        request,
        status,
        title=_TITLES.get(status, "Something went wrong"),
        text=message if status in {400, 403} else "",
        advice=_ADVICE.get(status, "" if status < 500 else "Try again; if it stays, the log tells more."),
        again=_again(request) if status >= 500 or status == 429 else "",
        code=f"{status} {HTTPStatus(status).phrase}",
    )


def _again(request: Request) -> str:
    """The address that was asked for, where asking again changes nothing."""
    query = request.url.query
    return (
        request.scope.get("root_path", "") + request.scope["path"] + (f"?{query}" if query else "")
        if request.method == "GET"
        else ""
    )


def _swapped(request: Request) -> bool:
    return request.headers.get("HX-Request") == "true"
