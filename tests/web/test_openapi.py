"""The description of the API says what the API does, and the page that shows it needs nobody else's server."""

import json
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from keytrail.web.ui.static import version
from tests.product import ADMIN, Product
from tests.web.raw import ask

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ERRORS = {"400", "401", "403", "404", "429", "500", "503"}
COMMON = {"p", "res", "by", "sort", "tags", "api_id", "api_version", "type", "org"}


@pytest.fixture(scope="module")
def description(running: Product) -> Any:
    return running.http.get("/openapi.json").json()


def operations(description: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def routes(running: Product) -> list[APIRoute]:
    app: Any = running.parts.service.app
    return [route for route in _flat(app.routes) if route.include_in_schema]


def _flat(found: Any) -> Iterator[APIRoute]:
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from _flat(
                getattr(route, "routes", ()) or getattr(getattr(route, "original_router", None), "routes", ())
            )


def test_every_route_is_described(running: Product, description: Any) -> None:
    described = {(path, method.upper()) for path, method, _ in operations(description)}
    assert described == {(route.path, method) for route in routes(running) for method in route.methods or ()}
    assert len(described) >= 21


def test_every_operation_and_parameter_has_its_meaning(description: Any) -> None:
    for path, method, operation in operations(description):
        assert operation["description"], (path, method)
        parameters = {(of["in"], of["name"]) for of in operation.get("parameters", ())}
        assert {name for place, name in parameters if place == "path"} == set(re.findall(r"{(\w+)}", path))
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (path, parameter["name"])


def test_the_seeds_endpoints_have_all_parameters(description: Any) -> None:
    days = {f"{end}_{part}" for end in ("start", "end") for part in ("day", "month", "year")}
    for path, owner in (("keys/endpoint/{key}", "key"), ("oauthid/endpoint/{client}", "client")):
        found = [methods for name, methods in description["paths"].items() if name.startswith(f"/api/activity/{path}/")]
        assert len(found) == 1
        assert {of["name"] for of in found[0]["get"]["parameters"]} == days | COMMON | {owner}


def test_every_error_is_described(description: Any) -> None:
    schema = description["components"]["schemas"]["Problem"]
    assert list(schema["properties"]) == schema["required"] == ["Status", "Message", "Meta"]
    for path, method, operation in operations(description):
        statuses = set(operation["responses"])
        assert "422" not in statuses
        if not operation.get("security"):
            assert path in {"/healthz", "/readyz", "/readyz/collect", "/metrics"}
            continue
        assert statuses >= ERRORS | {"200"}
        assert ("413" in statuses) == (method in {"post", "put"} and "requestBody" in operation)
        for status in statuses - {"200"}:
            content = operation["responses"][status]["content"]
            assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_a_row_is_described_as_it_is(running: Product, description: Any) -> None:
    path, _, operation = next(iter(operations(description)))
    assert path.startswith("/api/activity/keys/endpoint/")
    row = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["data"]["items"]
    answer = running.get("/api/activity/keys/endpoint/k/1/3/2026/1/3/2026?res=day", ADMIN)["data"][0]
    assert list(row["properties"]) == row["required"] == list(answer)
    assert list(row["properties"]["id"]["properties"]) == list(answer["id"])


# Requests that the description allows, and many that it does not.

# Nearly no text is a date: some requests must come further than that.
DATES = st.fixed_dictionaries(
    {
        f"{end}_{part}": st.integers(low, high).map(str)
        for end in ("start", "end")
        for part, low, high in (("day", 1, 31), ("month", 1, 13), ("year", 2024, 2026))
    }
)
SENSIBLE = {
    "p": st.integers(-2, 5).map(str),
    "res": st.sampled_from(("hour", "day", "month")),
    "by": st.sampled_from(("Hits", "last_hit", "MinLatency")),
    "sort": st.sampled_from(("1", "-1")),
    "tags": st.lists(st.text(max_size=5), max_size=3),
    "type": st.sampled_from(("csv", "json")),
    "format": st.sampled_from(("auto", "capture", "ndjson")),
    "start": st.integers(1_772_000_000, 1_772_000_100).map(str),
    "end": st.integers(1_772_000_050, 1_772_600_000).map(str),
    "group_by": st.just("mcp_primitive"),
    "limit": st.integers(1, 5).map(str),
}


@schemathesis.serializer("application/x-ndjson")
def as_it_is(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return str(value).encode("utf-8", "replace")


# Operation by operation: drawn together they are so much data that most examples would be given up halfway.
@settings(
    deadline=None,
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def answers_as_described(operation: Any, data: st.DataObject) -> None:
    case: Any = data.draw(operation.as_strategy())
    sensible_days: bool = data.draw(st.booleans())
    sensible_query: bool = data.draw(st.booleans())
    if "start_day" in case.path_parameters and sensible_days:
        case.path_parameters |= data.draw(DATES)
    if case.query and sensible_query:
        case.query = data.draw(st.fixed_dictionaries({}, optional=SENSIBLE))
    case.call_and_validate(headers={"Authorization": ADMIN}, checks=CHECKS)


@pytest.mark.hypothesis
def test_answers_are_as_described(running: Product, description: Any) -> None:
    schema = schemathesis.openapi.from_dict(description)
    schema.app = running.parts.service.app
    for _, _, described in operations(description):
        answers_as_described(schema.find_operation_by_id(described["operationId"]))


# The page


class Page(HTMLParser):
    """What a page shows, and what a browser would load for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "action", "data", "poster"} and value:
                self.loaded.append(value)


def test_the_page_lists_every_operation(running: Product, description: Any) -> None:
    text = unescape(running.http.get("/docs").text)
    for path, method, operation in operations(description):
        assert f"<code>{method.upper()} {path}</code>" in text
        # The list at the top leads to it.
        anchor = f"{method}-{path.strip('/').replace('/', '-')}"
        assert text.count(f'href="#{anchor}"') == text.count(f'id="{anchor}"') == 1
        for parameter in operation.get("parameters", ()):
            assert f"<code>{parameter['name']}</code>" in text


@pytest.mark.parametrize("path", ["/docs", "/signin"])
def test_a_page_loads_nothing_from_elsewhere(running: Product, path: str) -> None:
    answer = ask(running.parts.service.app, path)
    page = Page(answer.text)
    page.loaded = [address for address in page.loaded if not address.startswith("#")]
    assert page.loaded
    assert all(re.fullmatch(r"/(?!/).*", address) for address in page.loaded)
    assert not page.tags & {"style", "iframe", "object", "embed", "base"}
    assert not re.search(r"<script(?![^>]* src=)", answer.text)
    assert not re.search(r"url\(|@import|https?://", answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for address in page.loaded:
        if address.startswith(("/static/", "/docs", "/openapi")):
            assert ask(running.parts.service.app, address).status == 200


def test_the_style_sheet_loads_nothing(running: Product) -> None:
    answer = ask(running.parts.service.app, f"/static/{version()}/style.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert not re.search(r"url\(|@import|https?://", answer.text)


def test_static_files_are_kept_and_packed(running: Product) -> None:
    answer = running.http.get(f"/static/{version()}/app.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert running.http.get(f"/static/{version()}/nothing.js").status_code == 404
    assert running.http.get(f"/static/{version()}/..%2Ftemplates%2Fbare.html").status_code == 404


def test_no_other_documentation_is_served(running: Product) -> None:
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert ask(running.parts.service.app, path).status == 404


def test_the_description_is_json(running: Product) -> None:
    answer = ask(running.parts.service.app, "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["info"]["title"] == "keytrail"
