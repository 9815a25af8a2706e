"""Every example of the own endpoints in the documentation, run as it stands by a shell against a server that runs."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keytrail.web.auth import hash_token
from tests.cli.command import SECONDS, run, server

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "tests" / "captures" / "msgpack" / "records.ndjson.gz"
ORG = "5e9d9544a1dcd60001d0ed20"
TOKENS = {ORG: "of one", "*": "of all"}
WRITTEN = "localhost:8080"
FAILING_CURL = 'curl() { command curl --fail-with-body "$@"; }\n'
# What needs a token of all organisations.
EVERYTHING = re.compile(r"/api/v1/(?:rejects|prune|verify|backup|erase|rebuild|organisations)")
RECORD = {"timestamp": "2026-11-23T12:00:00Z", "org_id": ORG, "api_key": "7f3c3ca87376cabe", "response_code": 200}
# What `keytrail import` sends, and nobody by hand.
NOT_BY_HAND = {"/api/v1/imports/{batch}/{offset}"}
HTTPX: dict[str, Any] = {"trust_env": False, "timeout": SECONDS}
COMPATIBLE = re.compile(r"/api/(?:activity|usage|errors|logs)")


def commands(text: str) -> Iterator[str]:
    """The commands of the indented blocks: a line, and what follows until quotes and here-documents are closed."""
    lines = iter([line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ")])
    for line in lines:
        if not re.match(r"(?:gzip .*\| )?curl ", line):
            continue
        command = line
        while (
            command.endswith("\\") or command.count("'") % 2 or ("<<END" in command and not command.endswith("\nEND"))
        ):
            command += "\n" + next(lines)
        yield command


DOCS = (ROOT / "docs" / "api.md").read_text(encoding="utf-8") + (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = list(dict.fromkeys(one for one in commands(DOCS) if not COMPATIBLE.search(one)))


def asked(command: str) -> tuple[str, str]:
    """Method and path of a command's request."""
    path = re.search(rf"{WRITTEN}(/[^?\" ]*)", command)
    if path is None:
        raise AssertionError(command)
    method = re.search(r"-X (\w+)", command)
    if method:
        return method[1], path[1]
    return "POST" if re.search(r" (?:-d|--data-binary) ", command) else "GET", path[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the server is, who asks, and a request that there is."""
    home = tmp_path_factory.mktemp("home")
    permissions = 'permissions = ["analytics", "logs", "ingest", "admin"]'
    entries = "".join(
        f'[[tokens]]\nname = "{org}"\nsha256 = "{hash_token(token)}"\norg = "{org}"\n{permissions}\n'
        for org, token in TOKENS.items()
    )
    with server(home / "data", home, settings=entries) as (_, url):
        assert run("import", "--data", home / "data", CAPTURE, home=home).status == 0
        found = httpx.get(f"{url}/api/v1/requests?limit=1", headers={"Authorization": TOKENS[ORG]}, **HTTPX)
        row = found.json()["data"][0]["id"]
        (home / "records.ndjson").write_text(json.dumps(RECORD) + "\n", encoding="utf-8")
        yield {**os.environ, "SERVER": url.removeprefix("http://"), "ID": row, "HOME": str(home)}


def test_examples_of_the_documentation(environment: dict[str, str]) -> None:
    """One after the other, as some need what those before them put there."""
    assert len(EXAMPLES) > 25
    for command in EXAMPLES:
        _, path = asked(command)
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", FAILING_CURL + command.replace(WRITTEN, environment["SERVER"])],
            cwd=environment["HOME"],
            env={**environment, "TOKEN": TOKENS["*" if EVERYTHING.match(path) else ORG]},
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
        told = (command, ran.stdout[:1000], ran.stderr)
        assert ran.returncode == 0, told
        if " -o " not in command and path != "/metrics":
            assert isinstance(json.loads(ran.stdout), dict), told


def test_every_endpoint_has_an_example(environment: dict[str, str]) -> None:
    described = httpx.get(f"http://{environment['SERVER']}/openapi.json", **HTTPX).json()["paths"]
    own = {
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if method != "parameters" and not COMPATIBLE.match(path) and path not in NOT_BY_HAND
    }
    shown = {asked(command) for command in EXAMPLES}
    without = {
        (method, path)
        for method, path in own
        if not any(m == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), p) for m, p in shown)
    }
    assert without == set()
