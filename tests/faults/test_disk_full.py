"""The disk is full: collection stops cleanly, says so, answers go on, and it goes on by itself when there is room."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keytrail.cli.check import collection_findings
from tests.collect.redis_servers import Servers, wait_for
from tests.collect.test_loop import collector, push, ready, stored
from tests.faults.rig import waiting
from tests.product import ADMIN

pytestmark = pytest.mark.redis


SPACE = ("unshare", "--user", "--map-root-user", "--mount")
"""Runs a command as the root of a space of its own, in which any user may mount."""
INSIDE = "TESTS_RUN_IN_A_SPACE_OF_THEIR_OWN"


def mount(folder: Path) -> str:
    """Mount a small file system; what kept it from being mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr
    except FileNotFoundError as error:
        return str(error)


def may_have_a_space() -> bool:
    return bool(shutil.which(SPACE[0])) and not subprocess.run([*SPACE, "true"], check=False).returncode


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path | None]:
    """A small disk; None where only the root of a space of its own can have one."""
    folder = tmp_path / "small"
    trouble = mount(folder)
    if not trouble:
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)
    elif INSIDE not in os.environ and may_have_a_space():
        yield None
    else:
        pytest.skip(f"no file system can be mounted here: {trouble}")


def test_a_full_disk(small: Path | None, tmp_path: Path) -> None:
    if small is None:
        command = [*SPACE, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
        done = subprocess.run(command, env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "1 passed" in done.stdout
        return
    servers = Servers(tmp_path / "redis")
    server = servers.start()
    client = server.client()
    try:
        with collector(small / "data", server) as running:
            push(client, 0, 500)
            wait_for(lambda: stored(running) == 500, what="records")
            fill(small / "filler")
            push(client, 500, 20_000)
            wait_for(lambda: "store" in running.parts.collectors[0].state.trouble, what="trouble")
            status, said = ready(running)
            assert status == 503
            assert "store" in said
            wait_for(lambda: client.llen("analytics-tyk-system-analytics") == 0, what="sealing, which goes on")
            path = "/api/activity/keys/endpoint/00000003/01/09/2026/01/12/2026"
            assert running.http.get(path, headers={"Authorization": ADMIN}).status_code == 200
            source = running.parts.collectors[0].source.name
            assert f'keytrail_collecting{{source="{source}"}} 0.0' in running.http.get("/metrics").text
            shown = running.http.get("/api/v1/pipeline", headers={"Authorization": ADMIN}).json()
            faults = [one.text for one in collection_findings(shown, here=False) if not one.good]
            assert "store" in [text.split(":")[0] for text in faults]
            (small / "filler").unlink()
            wait_for(lambda: waiting(client) == 0, 240, what="empty lists")
            wait_for(lambda: stored(running) == 20_500, 240, what="records")
            assert running.query("SELECT uniqExact(raw_path) FROM requests") == [(20_500,)]
            assert running.query("SELECT sum(records) FROM by_key_day") == [(20_500,)]
            wait_for(lambda: ready(running)[0] == 200, what="readiness")
    finally:
        servers.stop()


def fill(file: Path) -> None:
    """Take all room."""
    with file.open("wb", buffering=0) as out:
        for size in (1 << 20, 4096):
            try:
                while True:
                    out.write(b"\0" * size)
            except OSError:
                continue
