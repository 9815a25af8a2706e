"""The disk is full: collection stops cleanly, says so, answers go on, and it goes on by itself when there is room."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collect.redis_servers import Servers, wait_for
from tests.collect.test_loop import collector, push, ready, stored
from tests.faults.rig import waiting
from tests.product import ADMIN

pytestmark = pytest.mark.redis


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("a file system can be mounted by root only")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small: Path, tmp_path: Path) -> None:
    servers = Servers(tmp_path / "redis")
    server = servers.start()
    client = server.client()
    try:
        with collector(small / "data", server) as running:
            push(client, 0, 500)
            wait_for(lambda: stored(running) == 500, 10, "records")
            fill(small / "filler")
            push(client, 500, 20_000)
            wait_for(lambda: "store" in running.parts.collectors[0].state.trouble, 20, "trouble")
            status, said = ready(running)
            assert status == 503
            assert "store" in said
            time.sleep(1)
            assert client.llen("analytics-tyk-system-analytics") == 0, "sealing goes on"
            path = "/api/activity/keys/endpoint/00000003/01/09/2026/01/12/2026"
            assert running.http.get(path, headers={"Authorization": ADMIN}).status_code == 200
            source = running.parts.collectors[0].source.name
            assert f'keytrail_collecting{{source="{source}"}} 0.0' in running.http.get("/metrics").text
            (small / "filler").unlink()
            wait_for(lambda: waiting(client) == 0, 40, "what had waited")
            wait_for(lambda: stored(running) == 20_500, 5, "records")
            assert running.query("SELECT uniqExact(raw_path) FROM requests") == [(20_500,)]
            assert running.query("SELECT sum(records) FROM by_key_day") == [(20_500,)]
            wait_for(lambda: ready(running)[0] == 200, 5, "readiness")
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
