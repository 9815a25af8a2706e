import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from keytrail.cli.check import collection_findings
from keytrail.store.lock import DirectoryLock
from tests.cli.captures import ORG, OTHER_ORG, path_of
from tests.cli.command import Ran

Keytrail = Callable[..., Ran]
ENTRY = """
[[tokens]]
name = "{name}"
sha256 = "{sha256}"
org = "{org}"
"""


def entry(name: str, org: str, more: str = "") -> str:
    return ENTRY.format(name=name, sha256=name.encode().hex().rjust(64, "0"), org=org) + more


def test_good_store(keytrail: Keytrail, tmp_path: Path) -> None:
    keytrail("import", path_of())
    settings = entry("mine", ORG) + entry("typo", "nobody") + entry("old", ORG, "expires = 2020-01-01\n")
    (tmp_path / "keytrail.toml").write_text('timezone = "Asia/Kolkata"\n' + settings, encoding="utf-8")
    ran = keytrail("check")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[:4] == [
        "ok   settings: zone Asia/Kolkata, 3 tokens (expired: 'old')",
        "ok   store: answers, in this process",
        f"ok   organisations: '{ORG}' (1,744 records), '{OTHER_ORG}' (199 records)",
        "ok   token: 'typo' sees the organisation 'nobody', which has no records yet",
    ]
    assert ran.out.splitlines()[4].startswith("ok   retention: ")
    assert re.match(r"(ok|warn) +disk: [\d,.]+ GB free", ran.out.splitlines()[5])
    assert keytrail("check", "--quiet").out == ""


def test_before_the_first_start(keytrail: Keytrail, tmp_path: Path) -> None:
    ran = keytrail("check")
    assert ran.status == 0
    assert "ok   store: none yet" in ran.out
    assert list(tmp_path.iterdir()) == []


def test_broken_settings(keytrail: Keytrail, tmp_path: Path) -> None:
    (tmp_path / "keytrail.toml").write_text("[server]\nporr = 1\n", encoding="utf-8")
    ran = keytrail("check", "--json")
    assert ran.status == 1
    assert ran.json() == [
        {
            "name": "settings",
            "good": False,
            "text": "settings (keytrail.toml): server.porr: unknown setting",
            "level": "",
        }
    ]
    # Every command stops there, by the same name.
    for command in (["check"], ["import", "x"], ["serve"], ["endpoints", "--key", "k"]):
        ran = keytrail(*command)
        assert ran.status == 1
        assert "server.porr: unknown setting" in ran.out + ran.err


def test_held_by_who_does_not_answer(keytrail: Keytrail, tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "data")
    lock.acquire()
    try:
        found = {command: keytrail(*command.split()) for command in ("check", "endpoints --key k", "serve", "import x")}
    finally:
        lock.release()
    holder = rf"is held by process {os.getpid()} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\dT\d\d:\d\d"
    for command, ran in found.items():
        assert ran.status == 1, command
        assert re.search(holder, ran.out + ran.err), (command, ran)
    assert "which answers no requests" in found["endpoints --key k"].err


def test_data_directory_that_is_none(keytrail: Keytrail, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    ran = keytrail("check")
    assert ran.status == 1
    assert "FAIL store: data directory data" in ran.out


def test_a_gap_that_lasts_is_told_of_its_source() -> None:
    gap = {"start": "2026-11-23T12:00:00.000Z", "cause": "source_away"}
    shown = {
        "sources": [{"source": "redis://gateway", "gap": gap, "trouble": {}, "lists": []}],
        # As `/api/v1/pipeline` has it.
        "gaps": [{"source": "redis://gateway", **gap, "end": None}],
        "drift": [],
        "totals": {"taken": 0, "stored": 0, "rejected": 0, "duplicate": 0, "reasons": {}, "chunks": 0},
        "batches": [],
    }
    found = [(one.good, one.name, one.text) for one in collection_findings(shown, here=False)]
    text = "nothing is sealed since 2026-11-23T12:00:00.000Z (source_away)"
    assert (False, "collection redis://gateway", text) in found
    assert "gaps" not in [name for _, name, _ in found], "one lasts"
