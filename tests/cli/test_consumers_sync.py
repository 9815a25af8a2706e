"""The directory from the gateway's admin API: a real HTTP server that answers as the gateway's source says."""

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.cli.captures import ORG
from tests.cli.command import Ran, run
from tests.product import product

SECRET = "the gateway's own"
HASHES = {"aaaaaaaa": ("ACME", ORG), "bbbbbbbb": ("ACME", ORG), "cccccccc": ("", ORG), "dddddddd": ("Other", "else")}
CLIENTS = [
    {"client_id": "portal", "secret": "never kept", "redirect_uri": "", "policy_id": "p", "description": "ACME"},
    {"client_id": "batch", "secret": "never kept", "redirect_uri": "", "policy_id": "p"},
]


class Tyk(BaseHTTPRequestHandler):
    """`gateway/api.go` of the open gateway, as far as it is asked for."""

    hashing: ClassVar[bool] = True
    listing: ClassVar[bool] = False
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.split("/")]
        if self.headers["X-Tyk-Authorization"] != SECRET:
            self.say(403, error("Attempted administrative access with invalid or missing key!"))
        elif parts[:3] == ["", "tyk", "keys"]:
            self.keys(parts[3:], hashed="hashed" in parse_qs(address.query))
        elif parts == ["", "tyk", "apis"]:
            apis = [("o1", ORG, True), ("plain", ORG, False), ("o2", "else", True)]
            self.say(200, [{"api_id": a, "org_id": o, "use_oauth2": oauth} for a, o, oauth in apis])
        elif parts == ["", "tyk", "oauth", "clients", "o1"]:
            self.say(200, CLIENTS)
        else:
            self.say(404, error("Not found"))

    def keys(self, named: list[str], *, hashed: bool) -> None:
        self.asked.extend(named)
        alias, org = (HASHES.get(named[0], ("", "")) if hashed else ("ACME", ORG)) if named else ("", "")
        if not named and self.hashing and not self.listing:
            self.say(404, error("Hashed key listing is disabled in config (enable_hashed_keys_listing)"))
        elif not named:
            self.say(200, {"keys": list(HASHES) if self.hashing else ["a secret key"]})
        elif hashed and not self.hashing:
            self.say(400, error("Key requested by hash but key hashing is not enabled"))
        elif not org:
            self.say(404, error("Key not found"))
        else:
            self.say(200, {"alias": alias, "org_id": org, "rate": 1000, "access_rights": {}})

    def say(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        return


def error(message: str) -> dict[str, str]:
    return {"status": "error", "message": message}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The settings of a gateway that runs."""
    monkeypatch.setattr(Tyk, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Tyk) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield {
            "KEYTRAIL_GATEWAY__URL": f"http://127.0.0.1:{server.server_port}",
            "KEYTRAIL_GATEWAY__SECRET": SECRET,
        }
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    put_in(tmp_path, "aaaaaaaa", "bbbbbbbb", "eeeeeeee")
    return tmp_path


def put_in(home: Path, *keys: str) -> None:
    """Store a call with each key."""
    lines = [
        json.dumps(
            {"timestamp": "2026-03-01T12:00:00Z", "org_id": ORG, "api_key": key, "alias": "a", "response_code": 200}
        )
        for key in keys
    ]
    file = home / "records.ndjson"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run("import", str(file), home=home).status == 0


def sync(home: Path, settings: Mapping[str, str]) -> Ran:
    options: dict[str, Any] = dict(settings)
    return run("consumers", "sync", "--from", "2026-03-01", "--to", "2026-03-01", home=home, **options)


def entries(home: Path) -> set[tuple[Any, ...]]:
    """Each link's consumer, kind and value."""
    with product(home / "data") as running:
        return {*running.query("SELECT consumer, kind, value FROM consumers ORDER BY version DESC LIMIT 1 WITH TIES")}


def test_key_by_key_where_listing_is_forbidden(home: Path, gateway: dict[str, str]) -> None:
    file = home / "consumers.csv"
    file.write_text("consumer,name,kind,value,until\nby hand,By hand,key,aaaaaaaa,2026-04-01\n", encoding="utf-8")
    assert run("consumers", "import", str(file), home=home).status == 0
    ran = sync(home, gateway)
    assert (ran.status, ran.out.strip()) == (0, f"4 links of {ORG!r}, 3 of them new")
    # Not the one that the directory has.
    assert sorted(Tyk.asked) == ["bbbbbbbb", "eeeeeeee"]
    ran = sync(home, gateway)
    assert (ran.status, ran.out.strip()) == (0, f"4 links of {ORG!r}, 0 of them new")
    assert entries(home) == {
        ("by hand", "key", "aaaaaaaa"),
        ("ACME", "key", "bbbbbbbb"),
        ("ACME", "client", "portal"),
        ("batch", "client", "batch"),
    }


def test_from_a_list_of_hashes(home: Path, gateway: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tyk, "listing", True)
    assert sync(home, gateway).out.strip() == f"4 links of {ORG!r}, 4 of them new"
    keys = {value for _, kind, value in entries(home) if kind == "key"}
    assert keys == {"aaaaaaaa", "bbbbbbbb"}


def test_keys_that_are_not_hashed_are_kept_hashed(
    home: Path, gateway: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tyk, "hashing", False)
    for new in (3, 0):
        assert sync(home, gateway).out.strip() == f"3 links of {ORG!r}, {new} of them new"
    keys = {value for _, kind, value in entries(home) if kind == "key"}
    # printf 'a secret key' | sha256sum
    assert keys == {"2f0061e8dd15b396aaabbe3e543be7cd3bf1357be9f33366c0b323c347655922"}


def test_more_keys_than_the_directory_holds_are_refused(
    home: Path, gateway: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(home, *(f"{number:08x}" for number in range(100_001)))
    days = ("--from", "2026-03-01", "--to", "2026-03-01")
    for ran in (sync(home, gateway), run("consumers", "suggest", *days, home=home)):
        assert (ran.status, "give fewer days" in ran.err) == (1, True), ran.err
        assert ran.out == ""
    # Nothing was done halfway.
    assert Tyk.asked == []
    assert entries(home) == set()
    # A gateway that lists its keys need not be asked for those.
    monkeypatch.setattr(Tyk, "listing", True)
    assert sync(home, gateway).out.strip() == f"4 links of {ORG!r}, 4 of them new"


def test_faults_are_told_without_the_secret(home: Path, gateway: dict[str, str]) -> None:
    wrong = {**gateway, "KEYTRAIL_GATEWAY__SECRET": "wrong one"}
    away = {**gateway, "KEYTRAIL_GATEWAY__URL": "http://127.0.0.1:1"}
    other = {**gateway, "KEYTRAIL_GATEWAY__URL": gateway["KEYTRAIL_GATEWAY__URL"] + "/elsewhere"}
    for settings, message in (
        (wrong, "the gateway refused: gateway.secret is not its secret"),
        (away, "the gateway does not answer: ConnectError"),
        (other, "the gateway answers otherwise than Tyk's admin API"),
        ({}, "gateway.url and gateway.secret are needed"),
    ):
        ran = sync(home, settings)
        assert (ran.status, message in ran.err) == (1, True), ran.err
        assert SECRET not in ran.out + ran.err
        assert "wrong one" not in ran.out + ran.err
