"""`keytrail prune`: shown first, then taken away; old records are told of everywhere."""

import base64
import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgpack
import pytest

from tests.cli.captures import lines_of
from tests.cli.command import SECONDS, Ran, address_in, process
from tests.clock import standing

Keytrail = Callable[..., Ran]
# The capture is of 23 November 2026; one of its lines is moved to the first seconds of 2024.
OLD = 1_704_067_200
KEPT = "[retention]\nraw_days = 20000\nrollup_months = 0\nrecorded_days = 0\n"


def old_line() -> bytes:
    item = json.loads(lines_of()[0])
    record = msgpack.unpackb(base64.b64decode(item["record"]), timestamp=0)
    record["TimeStamp"] = msgpack.Timestamp(OLD, 0)
    return json.dumps({**item, "record": base64.b64encode(msgpack.packb(record)).decode()}).encode()


def test_shown_then_taken_away(keytrail: Keytrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keytrail.toml").write_text(KEPT, encoding="utf-8")
    with monkeypatch.context() as then:
        # The clock stands where the old line was made.
        then.setattr("keytrail.store.chunk.datetime", standing(datetime.fromtimestamp(OLD, UTC)))
        ran = keytrail("import", "--json", "-", stdin=old_line() + b"\n")
    assert ran.json()["stored"] == 1, ran
    assert keytrail("prune").out == "Nothing to take away.\n"
    (tmp_path / "keytrail.toml").write_text(KEPT.replace("20000", "400"), encoding="utf-8")
    assert "ok   retention: 1 rows (raw) go next; keytrail prune shows them\n" in keytrail("check").out
    shown = keytrail("prune")
    assert re.fullmatch(
        r"requests from 2024-01-01 until 2024-01-02: raw, 1 rows, 0\.0 MB\n"
        r"Nothing was taken away: --apply does it\.\n",
        shown.out,
    )
    assert [step["waits"] for step in keytrail("prune", "--json").json()["to_prune"]] == [False]
    assert [step["table"] for step in keytrail("prune", "--apply", "--json").json()["pruned"]] == ["requests"]
    assert keytrail("prune").out == "Nothing to take away.\n"
    assert "ok   retention: nothing is to go\n" in keytrail("check").out
    days = ("--from", "2024-01-01", "--to", "2024-01-01")
    for day in ("2024-01-01", "2024-1-1"):
        ran = keytrail("rebuild", "--from", day)
        assert (ran.status, ran.err) == (
            1,
            "keytrail: the raw records of 2024-01-01 are gone (retention): --from 2024-01-02 or later\n",
        )
    ran = keytrail("export", "out.csv", *days)
    assert ran.status == 1
    assert "single records of 2024-01-01, and those from before 2024-01-02 are no longer kept" in ran.err
    assert keytrail("export", "all.csv").status == 0
    assert "ok   ledger: every row of 1 batches is there" in keytrail("check", "--ledger").out
    again = keytrail("import", "--json", "-", stdin=old_line() + b"\n").json()
    assert (again["stored"], again["duplicate"]) == (0, 1)


def test_a_server_makes_room_by_itself_and_says_so(keytrail: Keytrail, tmp_path: Path) -> None:
    (tmp_path / "keytrail.toml").write_text(KEPT, encoding="utf-8")
    assert keytrail("import", "--json", "-", stdin=old_line() + b"\n").json()["stored"] == 1
    (tmp_path / "keytrail.toml").write_text(f"{KEPT}free_share = 0.999999999\n", encoding="utf-8")
    ran = keytrail("check")
    assert re.search(
        r"warn disk: .* GB free; below [\d,.]+ GB the oldest days of single records are dropped", ran.out
    ), ran
    at_once = "import keytrail.store.upkeep as u\nu.LOOK_EVERY = 0.1"
    with process("serve", "--port", 0, "--data", tmp_path / "data", home=tmp_path, code=at_once) as serving:
        with httpx.Client(base_url=address_in(serving), trust_env=False, timeout=SECONDS) as client:
            answer = client.get("/readyz/collect")
            assert (answer.status_code, "less than retention.free_share" in answer.text) == (503, True)
        serving.until(r'"pruned".*\n')
        assert serving.end(signal.SIGTERM) == 0
    (pruned,) = (json.loads(line) for line in serving.said.splitlines() if '"pruned"' in line)
    assert (pruned["from"], pruned["rows"], pruned["why"], pruned["level"]) == ("2024-01-01", 1, "disk", "warning")
    assert keytrail("prune").out == "Nothing to take away.\n"
