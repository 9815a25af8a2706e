"""Commands beside a running server: through its socket, and from elsewhere with a token."""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from keytrail.web.auth import hash_token
from keytrail.web.local import SOCKET_NAME
from tests.cli.captures import ORG, OTHER_ORG, lines_of, path_of, text
from tests.cli.command import SECONDS, Process, Ran, run, server

GOOD = lines_of()
DAYS = ("--from", "2026-11-23", "--to", "2026-11-23", "--format", "json")
TOKENS = {
    "sender": (ORG, ["analytics", "ingest"]),
    "other": (OTHER_ORG, ["ingest"]),
    "reader": (ORG, ["analytics"]),
    "admin": ("*", ["admin"]),
}


@dataclass(frozen=True)
class Running:
    process: Process
    url: str
    data: Path
    home: Path

    def run(self, *arguments: object, stdin: bytes = b"") -> Ran:
        """A command that goes through the socket."""
        return run(*arguments, "--data", self.data, home=self.home, stdin=stdin)

    def from_elsewhere(self, token: str, *arguments: object, stdin: bytes = b"") -> Ran:
        """A command that knows nothing but the address and a token."""
        more = {"KEYTRAIL_CLI_TOKEN": token} if token else {}
        return run(*arguments, "--url", self.url, "--data", "/nonexistent", home=self.home, stdin=stdin, **more)

    def http(self) -> httpx.Client:
        """Asks with a token for everything."""
        return httpx.Client(base_url=self.url, headers={"Authorization": "admin"}, trust_env=False, timeout=SECONDS)

    def records(self) -> int:
        """Records in the store."""
        with self.http() as client:
            return sum(item["records"] for item in client.get("/api/v1/organisations").json()["data"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    # A socket's path has at most 108 bytes.
    data = home / ("deep" * 20) / ("deeper" * 10) / "data"
    entries = "".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{hash_token(name)}"\norg = "{org}"\npermissions = {permissions}\n'
        for name, (org, permissions) in TOKENS.items()
    )
    with server(data, home, settings=entries) as (process, url):
        yield Running(process, url, data, home)


def test_socket_is_its_owners_alone(running: Running) -> None:
    about = (running.data / SOCKET_NAME).stat()
    assert len(str(running.data / SOCKET_NAME)) > 108
    assert stat.S_ISSOCK(about.st_mode)
    assert stat.S_IMODE(about.st_mode) == 0o600
    assert stat.S_IMODE(running.data.stat().st_mode) == 0o700


def test_import_and_endpoints_through_the_socket(running: Running) -> None:
    before = running.records()
    lines = GOOD[:500]
    ran = running.run("import", "--json", "-", stdin=text([*lines, b"no record"]))
    assert (ran.status, ran.json()["stored"], ran.json()["rejected"]) == (1, 500, {"bad_line": 1})
    rejects = Path(ran.json()["rejects_file"])
    assert rejects.parent == running.data / "rejects"
    assert rejects.read_bytes() == b"no record\n"
    assert running.run("import", "--json", "-", stdin=text([*lines, b"no record"])).json()["duplicate"] == 501
    assert running.records() == before + 500
    check = running.run("check")
    assert check.status == 0
    assert "ok   store: answers, through the running server" in check.out
    rows = running.run("endpoints", "--org", ORG, "--key", "00000000", *DAYS).json()["data"]
    assert len(rows) > 3


def test_format_goes_along(running: Running) -> None:
    ran = running.run("import", "--json", "--format", "ndjson", "-", stdin=text(GOOD[1900:1903]))
    assert ran.json()["rejected"] == {"bad_timestamp": 3}


def test_tenants_send_their_own_records_only(running: Running) -> None:
    before = running.records()
    lines = GOOD[500:900]
    own = running.from_elsewhere("sender", "import", "--json", "-", stdin=text(lines))
    foreign = own.json()["rejected"]["foreign_org"]
    assert own.status == 1
    assert 0 < foreign < 100
    assert own.json()["stored"] == len(lines) - foreign
    # Nobody else may look into the working directory's file either.
    assert stat.S_IMODE((running.home / own.json()["rejects_file"]).stat().st_mode) == 0o600
    # What one organisation sent does not keep out what another sends, though it is the same file.
    other = running.from_elsewhere("other", "import", "--json", "-", stdin=text(lines))
    assert (other.json()["stored"], other.json()["rejected"]) == (foreign, {"foreign_org": len(lines) - foreign})
    assert running.records() == before + len(lines)
    for token in ("sender", "other"):
        again = running.from_elsewhere(token, "import", "--json", "-", stdin=text(lines))
        assert (again.status, again.json()["duplicate"]) == (0, len(lines))
    assert running.records() == before + len(lines)


def test_what_was_imported_for_all_is_known_to_each(running: Running) -> None:
    lines = GOOD[900:1200]
    assert running.run("import", "--json", "-", stdin=text(lines)).json()["stored"] == 300
    again = running.from_elsewhere("sender", "import", "--json", "-", stdin=text(lines))
    assert (again.status, again.json()["duplicate"]) == (0, 300)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("reader", "the server refused (403): the token lacks the permission 'ingest'"),
        ("nobody", "the server refused (401): Not authorised"),
        ("", "the server refused (401): Not authorised"),
    ],
)
def test_who_may_not_send(running: Running, token: str, said: str) -> None:
    before = running.records()
    ran = running.from_elsewhere(token, "import", path_of())
    assert (ran.status, said in ran.err) == (1, True)
    assert running.records() == before


def test_endpoints_from_elsewhere(running: Running) -> None:
    running.run("import", path_of("protobuf-many-lists"))
    days = (*DAYS, "--key", "00000000")
    own: Any = running.from_elsewhere("reader", "endpoints", *days)
    assert own.status == 0
    assert own.json() == running.from_elsewhere("admin", "endpoints", "--org", ORG, *days).json()
    ran = running.from_elsewhere("admin", "endpoints", *days)
    assert (ran.status, "choose one with --org" in ran.err) == (1, True)
    ran = running.from_elsewhere("reader", "endpoints", "--org", OTHER_ORG, *days)
    assert (ran.status, "no access to the organisation" in ran.err) == (1, True)


def test_backup_of_a_running_store(running: Running, tmp_path: Path) -> None:
    records = running.records()
    ran = running.run("backup", "--json", tmp_path / "copy.tar")
    assert ran.json() == {"file": str(tmp_path / "copy.tar"), "bytes": (tmp_path / "copy.tar").stat().st_size}
    assert stat.S_IMODE((tmp_path / "copy.tar").stat().st_mode) == 0o600
    assert running.from_elsewhere("admin", "backup", tmp_path / "other.tar").status == 0
    ran = running.from_elsewhere("reader", "backup", tmp_path / "none.tar")
    assert (ran.status, "lacks the permission 'admin'" in ran.err) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tar", "other.tar"]
    ran = run("restore", tmp_path / "copy.tar", "--data", tmp_path / "data", home=running.home)
    assert ran.status == 0, ran
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/data: [\d,]+ files of \S+Z, {records:,} records\n"
        rf"ok   ledger: every row of \d+ batches is there\n"
        rf"ok   rollups: equal to the {records:,} raw records\n",
        ran.out,
    )
    ran = run("check", "--ledger", "--data", tmp_path / "data", home=running.home)
    assert (ran.status, "ok   ledger: every row" in ran.out) == (0, True)
    assert "ok   ledger: every row" in running.run("check", "--ledger").out
    ran = run("restore", tmp_path / "copy.tar", "--data", tmp_path / "data", home=running.home)
    assert (ran.status, "holds a store already" in ran.err) == (1, True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "localhost:8080", "http://[::"])
def test_no_server_at_the_address(running: Running, url: str) -> None:
    ran = run("endpoints", "--key", "a", "--url", url, home=running.home)
    assert ran.status == 1
    assert ran.err.startswith("keytrail: ")


@pytest.mark.parametrize("offset", ["-1", str(2**32), str(2**32 - 1), "x"])
def test_places_that_no_line_has(running: Running, offset: str) -> None:
    with running.http() as client:
        answer = client.post(f"/api/v1/imports/abc/{offset}", content=text(GOOD[:2]))
    assert (answer.status_code, "offset" in answer.json()["Message"]) == (400, True)


def test_the_log_names_tokens_and_shows_none(running: Running) -> None:
    running.from_elsewhere("sender", "endpoints", "--key", "a-secret-of-somebody")
    running.process.until(r'"token": ?"sender"')
    assert "a-secret-of-somebody" not in running.process.said
