"""Behind a reverse proxy that serves us under a path of its own, and takes that path off."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keytrail.demo.world import ORG_ID
from tests.browser.conftest import Open, Site, busiest, served
from tests.product import TOKEN, settings, token_entry

PREFIX = "/stats"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length"}


def proxy(behind: str) -> Starlette:
    """A reverse proxy: what is under the prefix goes to the address behind it, and nothing else is there."""

    async def forward(request: Request) -> Response:
        url = behind + "/" + request.scope["raw_path"].decode().removeprefix(PREFIX + "/")
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            asked = client.build_request(
                request.method,
                url + (f"?{request.url.query}" if request.url.query else ""),
                headers=[(name, value) for name, value in request.headers.raw if name != b"connection"],
                content=await request.body(),
            )
            answer = await client.send(asked, stream=True)
            # As it came, packed or not.
            body = b"".join([piece async for piece in answer.aiter_raw()])
        response = Response(body, answer.status_code)
        response.raw_headers += [
            (name.lower(), value) for name, value in answer.headers.raw if name.lower().decode() not in HOP_BY_HOP
        ]
        return response

    return Starlette(routes=[Route(PREFIX + "/{path:path}", forward, methods=["GET", "POST"])])


@pytest.fixture
def public(site: Site) -> Iterator[str]:
    """The address that people know."""
    tokens = [token_entry(TOKEN, org=ORG_ID, permissions=["analytics", "logs"])]
    chosen = settings(site.folder, tokens=tokens, server__public_path=PREFIX)
    with served(site.product.service(chosen).app) as behind, served(proxy(behind)) as address:
        yield address + PREFIX


def test_everything_is_under_the_path_of_the_proxy(site: Site, opened: Open, public: str) -> None:
    key = busiest(site, "api_key")
    seen = opened(token="")
    page = seen.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.goto(public + f"/keys/{key}?range=7d")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{public}/keys/{key}?range=7d")
    seen.settled()
    assert page.locator("canvas").count() == 2
    # A click, a panel by itself, a file, the theme, the way back, another page by the keyboard.
    page.locator("#p-all-codes a.to").first.click()
    page.wait_for_url("**code=*")
    seen.settled()
    page.keyboard.press("r")
    seen.settled()
    page.locator("#p-table summary").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    assert download.value.suggested_filename.endswith(".csv")
    page.keyboard.press("Escape")
    page.locator("[data-theme-switch]").click()
    page.go_back()
    page.wait_for_url(f"{public}/keys/{key}?range=7d")
    seen.settled()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    seen.chord("g", "k")
    page.wait_for_url(f"{public}/keys?range=7d")
    seen.settled()
    assert page.locator("#p-table tbody tr").count() == 50
    assert {path for path in asked if not path.startswith(PREFIX + "/")} == set()
    assert {cookie["path"] for cookie in page.context.cookies()} == {PREFIX}
    assert seen.faults == []
