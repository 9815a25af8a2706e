"""A restored older copy, with a real Redis: it goes on from what Redis holds, and says what it lacks."""

import base64
import json
import signal
from pathlib import Path

import httpx

from tests.cli.captures import lines_of
from tests.cli.command import SECONDS, address_in, process, run
from tests.collect.redis_servers import servers
from tests.collect.redis_servers import wait_for as wait_until

LIST = "analytics-tyk-system-analytics"
BLOBS = [base64.b64decode(json.loads(line)["record"]) for line in lines_of()[:60]]
# The real time is a minute, so that what was noted late is no gap.
AT_ONCE = "from datetime import timedelta\nimport keytrail.collect.gaps as g\ng.RESTORED_AFTER = timedelta()"


def stored(address: str) -> int:
    with httpx.Client(base_url=address, trust_env=False, timeout=SECONDS) as client:
        for line in client.get("/metrics").text.splitlines():
            if line.startswith("keytrail_records_stored_total{"):
                return round(float(line.split()[-1]))
    return 0


def wait_for(address: str, count: int) -> None:
    wait_until(lambda: stored(address) >= count, what=f"{count} records in the store")


def test_what_was_stored_after_the_backup_is_a_gap(tmp_path: Path) -> None:
    with servers(tmp_path / "redis") as started:
        redis = started.start()
        client = redis.client()
        (tmp_path / "keytrail.toml").write_text(
            f'[redis]\nurl = "redis://127.0.0.1:{redis.port}/0"\n', encoding="utf-8"
        )
        first, second, copy = tmp_path / "first", tmp_path / "second", tmp_path / "copy.tar"
        arguments = ("serve", "--port", 0, "--data")
        with process(*arguments, first, home=tmp_path) as serving:
            address = address_in(serving)
            client.rpush(LIST, *BLOBS[:20])
            wait_for(address, 20)
            assert run("backup", copy, "--data", first, home=tmp_path).status == 0
            # What the store notes of its sealing is up to ten seconds old, so the gap begins there.
            client.rpush(LIST, *BLOBS[20:40])
            wait_for(address, 40)
            assert serving.end(signal.SIGTERM) == 0
        assert run("restore", copy, "--data", second, home=tmp_path).status == 0
        client.rpush(LIST, *BLOBS[40:])
        with process(*arguments, second, home=tmp_path, code=AT_ONCE) as serving:
            wait_for(address_in(serving), 20)
            # It notes the gap a moment after the records.
            wait_until(lambda: "(restored)" in run("check", "--data", second, home=tmp_path).out, what="gap")
            shown = run("check", "--ledger", "--data", second, home=tmp_path)
            assert serving.end(signal.SIGTERM) == 0
        assert shown.status == 0, shown
        assert "(restored)" in shown.out
        assert "organisations: " in shown.out
        assert "equal to the 40 raw records" in shown.out
