import json
from pathlib import Path

import pytest

from keytrail.cli.templates import read_file
from tests.cli.captures import ORG
from tests.cli.command import run

OPENAPI = """
openapi: 3.0.3
paths:
  /users/{id}: {get: {responses: {200: {description: A user.}}}}
  /users/me: {get: {responses: {200: {description: Oneself.}}}}
  /report.{format}: {get: {responses: {200: {description: A report.}}}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    records = [
        {
            "timestamp": f"2026-03-01T12:00:0{n}Z",
            "org_id": ORG,
            "api_id": "a",
            "path": path,
            "api_key": "aaaaaaaa",
            "response_code": 200,
        }
        for n, path in enumerate(("/users/1", "/users/2", "/users/me", "/users/2"))
    ]
    file = tmp_path / "records.ndjson"
    file.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    assert run("import", str(file), home=tmp_path).status == 0
    return tmp_path


def listed(home: Path) -> list[str]:
    ran = run("templates", "list", home=home)
    assert (ran.status, ran.err) == (0, "")
    head, *rows = ran.out.splitlines()
    assert head == "api,pattern"
    return rows


def test_templates_by_hand(home: Path) -> None:
    assert listed(home) == []
    assert run("templates", "add", "/users/{id}", home=home).out.strip() == f"1 templates of {ORG!r}"
    assert run("templates", "add", "/users/{user}", "--api", "a", home=home).status == 0
    assert listed(home) == ["a,/users/{user}", ",/users/{id}"]
    ran = run(
        "endpoints", "--key", "aaaaaaaa", "--from", "2026-03-01", "--to", "2026-03-01", "--format", "json", home=home
    )
    assert [(row["id"]["path"], row["hits"]) for row in json.loads(ran.out)["data"]] == [("/users/{user}", 4)]
    assert run("templates", "remove", "/users/{user}", "--api", "a", home=home).status == 0
    ran = run("templates", "remove", "/users/{user}", home=home)
    assert (ran.status, "there is no template '/users/{user}' of all APIs" in ran.err) == (1, True)
    ran = run("templates", "add", "/a{b}", home=home)
    assert (ran.status, "templates[1].pattern: a parameter is" in ran.err) == (1, True)
    assert listed(home) == [",/users/{id}"]


def test_an_openapi_file(home: Path) -> None:
    for name, text in (
        ("api.yaml", OPENAPI),
        ("api.json", json.dumps({"paths": {"/users/{id}": {}, "/users/me": {}}})),
    ):
        file = home / name
        file.write_text(text, encoding="utf-8")
        ran = run("templates", "import", str(file), "--api", "a", home=home)
        assert (ran.status, ran.out.strip()) == (0, f"2 templates of {ORG!r}")
        assert ("Left out /report.{format}" in ran.err) == (name == "api.yaml")
        assert listed(home) == ["a,/users/me", "a,/users/{id}"]
    assert run("templates", "import", str(file), "--prefix", "/v1/", home=home).status == 0
    assert listed(home)[2:] == [",/v1/users/me", ",/v1/users/{id}"]


def test_what_is_proposed_can_be_imported(home: Path) -> None:
    ran = run("templates", "suggest", "--from", "2026-03-01", "--to", "2026-03-01", home=home)
    assert ran.out.splitlines() == ["api,pattern,paths,hits,example", "a,/users/{id},2,3,/users/1"]
    file = home / "templates.csv"
    file.write_text(ran.out, encoding="utf-8")
    assert run("templates", "import", str(file), home=home).status == 0
    assert listed(home) == ["a,/users/{id}"]
    ran = run("templates", "suggest", "--from", "2026-03-01", "--to", "2026-03-01", home=home)
    assert ran.out.splitlines() == ["api,pattern,paths,hits,example"]


def test_a_csv_file_made_by_hand(tmp_path: Path) -> None:
    rows = [{"api": "a", "pattern": "/users/{id}"}, {"api": "b", "pattern": "/me"}]
    for head in ("api,pattern", "api ,pattern ", '"api","pattern"', "pattern, api"):
        order = "{1},{0}" if head.startswith("pattern") else "{0},{1}"
        lines = [head, order.format("a", "/users/{id}"), order.format("", "/me")]
        assert read_file(tmp_path, "\n".join(lines).encode(), "b", "") == rows, head


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "it is not UTF-8"),
        (b"a: [", "it is neither JSON nor YAML in line 1"),
        (b"[]", "it has no paths"),
        (b"", "it has no paths"),
    ],
)
def test_a_file_that_holds_no_templates(home: Path, content: bytes, message: str) -> None:
    file = home / "file"
    file.write_bytes(content)
    ran = run("templates", "import", str(file), home=home)
    assert ran.status == 1
    assert message in ran.err
