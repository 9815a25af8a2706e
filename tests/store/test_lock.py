"""One process at a time has a data directory, and the others learn which."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keytrail.config import Store
from keytrail.errors import StoreBusy, StoreError
from keytrail.store.client import EmbeddedEngine
from keytrail.store.lock import FILE_NAME, DirectoryLock

# Holds a directory until its input ends.
HOLDER = """
import sys
from pathlib import Path
from keytrail.store.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a directory."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.stdin.close()


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        with pytest.raises(StoreBusy) as refused:
            DirectoryLock(tmp_path).acquire()
        with pytest.raises(StoreBusy):
            EmbeddedEngine(tmp_path, Store())
    found = re.fullmatch(
        rf"data directory {re.escape(str(tmp_path))} is held by process (\d+) on (\S+) since (\S+)", str(refused.value)
    )
    assert found
    assert (int(found[1]), found[2]) == (process.pid, socket.gethostname())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found[3])


def test_waiting_for_the_holder_to_let_go(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with held_elsewhere(tmp_path) as process:
        assert process.stdin
        began = time.monotonic()
        timer = threading.Timer(0.4, process.stdin.close)
        timer.start()
        lock.acquire(wait=600)
        assert 0.3 < time.monotonic() - began < 300
        timer.join()
    assert f"process {os.getpid()} on " in lock.holder()
    lock.release()


def test_waiting_in_vain(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path):
        began = time.monotonic()
        with pytest.raises(StoreBusy):
            DirectoryLock(tmp_path).acquire(wait=0.3)
        assert time.monotonic() - began >= 0.3


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with held_elsewhere(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        lock.acquire()
    lock.release()


def test_once_more_in_the_same_process(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    with pytest.raises(StoreBusy, match=f"process {os.getpid()} on"):
        second.acquire()
    # Whoever is refused leaves the holder's name as it is.
    assert f"process {os.getpid()} on" in second.holder()
    second.release()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_an_engine_lets_go_when_it_is_closed(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path, Store())
    with pytest.raises(StoreBusy):
        DirectoryLock(tmp_path).acquire()
    engine.close()
    engine.close()
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    lock.release()


def test_the_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "some" / "data"
    lock = DirectoryLock(directory)
    lock.acquire()
    assert directory.stat().st_mode & 0o777 == 0o700
    lock.release()


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"data directory .*file/data: Not a directory"):
        DirectoryLock(tmp_path / "file" / "data").acquire()


@pytest.mark.parametrize("content", ["", "no JSON", "[]", "{}", '{"pid": 1}'])
def test_a_holder_that_did_not_say_who_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8")
    assert DirectoryLock(tmp_path).holder() == "another process"
