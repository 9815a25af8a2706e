"""What is exported can be imported again, and is the same, record by record; here and through a server."""

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keytrail.web.auth import hash_token
from tests.cli.captures import ORG, OTHER_ORG, path_of
from tests.cli.command import Ran, run, server
from tests.product import product

NAMES = ("msgpack", "msgpack-detailed-graphql-tcp", "protobuf-many-lists")
COUNT = 1943 + 775 + 1460
FORMS = ("ndjson", "csv", "parquet")


def stored(data: Path) -> list[tuple[Any, ...]]:
    """Every column of every row but for where it came from."""
    with product(data) as found:
        return sorted(found.query("SELECT * EXCEPT (batch_id, seq) FROM requests"), key=repr)


@dataclass(frozen=True)
class Exported:
    home: Path
    data: Path
    rows: list[tuple[Any, ...]]

    def run(self, *arguments: object) -> Ran:
        return run(*arguments, "--data", self.data, home=self.home)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    home = tmp_path_factory.mktemp("home")
    data = home / "data"
    assert run("import", "--data", data, *map(path_of, NAMES), home=home).status == 0
    rows = stored(data)
    assert len(rows) == COUNT
    return Exported(home, data, rows)


@pytest.mark.parametrize("form", FORMS)
def test_imported_again_it_is_the_same(exported: Exported, form: str, tmp_path: Path) -> None:
    out = tmp_path / f"rows.{form}"
    ran = exported.run("export", out, "--json")
    assert (ran.status, ran.json()) == (0, {"file": str(out), "format": form, "bytes": out.stat().st_size})
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [out]
    again = tmp_path / "again"
    for count, duplicate in ((COUNT, 0), (0, COUNT)):
        ran = run("import", "--json", "--data", again, out, home=tmp_path)
        assert (ran.status, ran.json()["stored"], ran.json()["duplicate"]) == (0, count, duplicate)
    assert stored(again) == exported.rows


def test_only_some(exported: Exported, tmp_path: Path) -> None:
    ran = exported.run("export", "-", "--quiet", "--filter", "code.greater=399", "--filter", "method=GET", "--org", ORG)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert {(row["method"], row["org_id"], row["response_code"] > 399) for row in rows} == {("GET", ORG, True)}
    with product(exported.data) as found:
        condition = f"method = 'GET' AND code > 399 AND org_id = '{ORG}'"
        assert found.query(f"SELECT count() FROM requests WHERE {condition}") == [(len(rows),)]
    assert exported.run("export", "-", "--quiet", "--from", "2026-11-24").out == ""
    assert len(exported.run("export", "-", "--quiet", "--to", "2026-11-23").out.splitlines()) == COUNT


@pytest.mark.parametrize("chosen", [("--org", ORG), ("--filter", f"org={ORG}")])
def test_one_organisation_however_it_is_named(exported: Exported, chosen: tuple[str, str]) -> None:
    found = [json.loads(line)["org_id"] for line in exported.run("export", "-", "--quiet", *chosen).out.splitlines()]
    assert set(found) == {ORG}
    with product(exported.data) as store:
        assert store.query(f"SELECT count() FROM requests WHERE org_id = '{ORG}'") == [(len(found),)]
    assert len(found) < COUNT


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--filter", "nosuch=1"), 1, "unknown parameter 'nosuch'"),
        (("--filter", "code"), 2, "is not NAME=VALUE"),
        (("--from", "yesterday"), 2, "is not a day"),
        (("--from", "2026-11-24", "--to", "2026-11-23"), 1, "from: it lies after to"),
    ],
)
def test_wrong_use(exported: Exported, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str) -> None:
    ran = exported.run("export", tmp_path / "x.csv", *arguments)
    assert (ran.status, said in ran.err) == (status, True), ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(exported: Exported, tmp_path: Path) -> None:
    ran = exported.run("export", tmp_path / "missing" / "x.csv")
    assert (ran.status, "No such file or directory" in ran.err) == (1, True)


def test_through_a_server(exported: Exported, tmp_path: Path) -> None:
    entries = "".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{hash_token(name)}"\norg = "{org}"\npermissions = ["{permission}"]\n'
        for name, org, permission in (("logs", OTHER_ORG, "logs"), ("sender", ORG, "ingest"))
    )
    alone = exported.run("export", "-", "--quiet").out
    with server(exported.data, tmp_path, settings=entries) as (_, url):
        assert exported.run("export", "-", "--quiet").out == alone
        ran = exported.run("export", tmp_path / "x.ndjson", "--org", OTHER_ORG, "--filter", "kind=rest")
        assert ran.status == 0
        elsewhere = ("export", "-", "--quiet", "--url", url, "--filter", "kind=rest")
        ran = run(*elsewhere, "--token", "logs", home=tmp_path)
        assert ran.out.encode() == (tmp_path / "x.ndjson").read_bytes()
        assert {json.loads(line)["org_id"] for line in ran.out.splitlines()} == {OTHER_ORG}
        ran = run(*elsewhere, "--token", "sender", home=tmp_path)
        assert (ran.status, "(403): the token lacks the permission 'logs'" in ran.err) == (1, True)
