import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keytrail.cli import tables
from tests.cli.captures import ORG, OTHER_ORG, path_of
from tests.cli.command import Ran, run

Keytrail = Callable[..., Ran]
DAYS = ("--from", "2026-11-23", "--to", "2026-11-23")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of a capture of two organisations."""
    found = tmp_path_factory.mktemp("home")
    assert run("import", path_of(), home=found).status == 0
    return found


@pytest.fixture(scope="module")
def expected() -> Any:
    import gzip

    return json.loads(gzip.decompress(path_of().with_name("expected.json.gz").read_bytes()))["orgs"][ORG]


@pytest.fixture(scope="module")
def key(expected: Any) -> str:
    """The key that called the most endpoints."""
    found: str = max(expected["endpoints_by_key"], key=lambda name: len(expected["endpoints_by_key"][name]))
    return found


def test_json(home: Path, expected: Any, key: str) -> None:
    ran = run("endpoints", "--org", ORG, "--key", key, *DAYS, "--format", "json", home=home)
    assert (ran.status, ran.err) == (0, "")
    assert ran.json() == {"data": expected["endpoints_by_key"][key], "pages": 0}


def test_the_command_of_the_readme(home: Path, expected: Any) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"keytrail (endpoints [^`\n]+)", text)
    ran = run(*command.split(), "--format", "json", home=home)
    assert (ran.status, ran.err) == (0, "")
    assert ran.json()["data"] == expected["endpoints_by_key"]["0cf682d6a7c977da"]


def test_json_of_a_client(home: Path, expected: Any) -> None:
    client, rows = next(iter(expected["endpoints_by_oauth_client"].items()))
    ran = run("endpoints", "--org", ORG, "--oauth-client", client, *DAYS, "--format", "json", home=home)
    assert ran.json()["data"] == rows


def test_csv(home: Path, expected: Any, key: str) -> None:
    ran = run("endpoints", "--org", ORG, "--key", key, *DAYS, "--format", "csv", home=home)
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["path"], row["api_id"], int(row["hits"]), float(row["latency"]), row["last_hit"]) for row in rows] == [
        (row["id"]["path"], row["id"]["api_id"], row["hits"], row["latency"], row["last_hit"])
        for row in expected["endpoints_by_key"][key]
    ]


def test_table_in_a_pipe_is_whole(home: Path, expected: Any, key: str) -> None:
    ran = run("endpoints", "--org", ORG, "--key", key, *DAYS, home=home)
    head, *lines = ran.out.splitlines()
    assert head.split()[:5] == ["endpoint", "API", "hits", "success", "error"]
    for line, row in zip(lines, expected["endpoints_by_key"][key], strict=True):
        assert row["id"]["path"] in line
        assert line.split()[-9:-5] == [
            row["id"]["api_id"],
            *(f"{row[name]:,}" for name in ("hits", "success", "error")),
        ]
        assert line.split()[-1] == row["last_hit"]


def row(path: str) -> dict[str, Any]:
    counts = dict.fromkeys(("hits", "success", "error", "min_latency", "max_latency"), 1_234_567)
    return {
        "id": {"path": path, "api_id": "41351a6a94094da05f75146a695a16f6"},
        **counts,
        "latency": 12.25,
        "upstream_latency": 3,
        "last_hit": "2026-11-23T12:28:31.667Z",
    }


def printed(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, columns: int) -> str:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    tables.print_endpoints(rows)
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())


def test_table_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed([row("/a/rather/long/path/{id}/that/goes/on")], monkeypatch, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["endpoint", "API", "hits", "error", "mean", "ms", "last", "hit"]
    assert lines[1].split()[1:] == ["41351a6a…", "1,234,567", "1,234,567", "12.2", "2026-11-23", "12:28"]
    assert lines[-1].startswith("Shortened to fit")
    wide = printed([row("/a")], monkeypatch, 160)
    assert "41351a6a94094da05f75146a695a16f6" in wide
    assert "Shortened" not in wide


@pytest.mark.parametrize("path", ["/[bold]x[/red]", "/a\x1b[2Jb", "/\u202e", "/Größe/日本"])
def test_table_of_any_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = printed([row(path)], monkeypatch, 200)
    assert path in out if path.isprintable() else path not in out
    assert "\x1b[2J" not in out
    assert "1,234,567" in out


def test_the_organisation_must_be_said_where_there_are_several(home: Path, key: str) -> None:
    ran = run("endpoints", "--key", key, *DAYS, home=home)
    assert ran.status == 1
    assert f"choose one with --org: {ORG!r}, {OTHER_ORG!r}" in ran.err
    nothing = run("endpoints", "--key", "nobody", "--org", ORG, home=home)
    assert (nothing.status, nothing.out) == (0, "No calls in this range.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either --key or --oauth-client"),
        (["--key", ""], "give either --key or --oauth-client"),
        (["--key", "a", "--oauth-client", "b"], "give either --key or --oauth-client"),
        (["--key", "a", "--from", "2026-02-30"], "'2026-02-30' is not a day as YYYY-MM-DD"),
        (["--key", "a", "--to", "23/11/2026"], "'23/11/2026' is not a day as YYYY-MM-DD"),
        (["--key", "a", "--from", "2026-11-24", "--to", "2026-11-23"], "--from 2026-11-24 is after --to 2026-11-23"),
        (["--key", "a", "--format", "xml"], "'xml' is not one of 'table', 'json', 'csv'"),
    ],
)
def test_wrong_usage(keytrail: Keytrail, arguments: list[str], said: str) -> None:
    ran = keytrail("endpoints", *arguments)
    assert ran.status == 2
    assert said in " ".join(ran.err.replace("│", " ").split())


def test_no_store_is_said_and_not_made(keytrail: Keytrail, tmp_path: Path) -> None:
    ran = keytrail("endpoints", "--key", "a", "--data", tmp_path / "nowhere")
    assert ran.status == 1
    assert f"there is no data directory {tmp_path}/nowhere" in ran.err
    assert not (tmp_path / "nowhere").exists()
