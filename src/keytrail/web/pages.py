"""The pages: sign-in by a one-time link, a first page, and the documentation of the API."""

from typing import Any, Final

import jinja2
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from keytrail import __version__
from keytrail.errors import NotAuthorised
from keytrail.web.auth import SESSION_COOKIE, SESSION_SECONDS

router = APIRouter(include_in_schema=False)

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("keytrail.web"), autoescape=True, undefined=jinja2.StrictUndefined
)


def _page(template: str, request: Request, status: int = 200, **values: Any) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    return HTMLResponse(_TEMPLATES.get_template(template).render(root=root, version=__version__, **values), status)


@router.get("/static/style.css")
def style() -> Response:
    """The style sheet of these pages."""
    loader = _TEMPLATES.get_template("style.css")
    return Response(loader.render(), media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.get("/signin")
def sign_in(request: Request, code: str = "") -> Response:
    """Begin a session with the code of a one-time link."""
    try:
        session = request.app.state.gate.redeem(code)
    except NotAuthorised:
        return _page(
            "message.html",
            request,
            401,
            title="This link is no longer good",
            text=(
                "A sign-in link works once, for a quarter of an hour. Start keytrail again for a new one, "
                "or call the API with a token."
            ),
        )
    response = RedirectResponse(request.scope.get("root_path", "") + "/", 303)
    response.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.get("/")
def first_page(request: Request) -> Response:
    """Where one is, and where to go."""
    try:
        name = request.app.state.gate.principal(request).name
    except NotAuthorised:
        name = ""
    return _page("first.html", request, name=name)


@router.get("/docs")
def documentation(request: Request) -> Response:
    """Every endpoint of the API, from its OpenAPI description."""
    schema = request.app.openapi()
    operations = [
        {"description": "", "parameters": [], **operation, "path": path, "method": method.upper()}
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return _page("docs.html", request, operations=operations)
