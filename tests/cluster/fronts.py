"""Start servers for the tests, and talk to them."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.cluster.front import PASSWORD, USER


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: "subprocess.Popen[str]"
    port: int
    secure: bool

    def url(self, database: str = "keytrail", *, password: str = PASSWORD) -> str:
        """Its URL as a setting."""
        secure = "?secure=true" if self.secure else ""
        return f"clickhouse://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}{secure}"

    def fault(self, match: str, **what: Any) -> None:
        """Let something go wrong with the next statement that matches."""
        httpx.post(f"http://127.0.0.1:{self.port}/test/fault", json={"match": match, **what}).raise_for_status()

    def log(self, match: str = "") -> list[dict[str, Any]]:
        """The statements that it was sent."""
        found = json.loads(httpx.get(f"http://127.0.0.1:{self.port}/test/log").content)
        return [one for one in found if match in one["statement"]]


@contextlib.contextmanager
def front(folder: Path, *arguments: str) -> Iterator[Server]:
    """A server that does not outlive the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.front", str(folder), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server(process, int(process.stdout.readline()), "--certificate" in arguments)
    finally:
        process.stdin.close()
        process.stdout.close()
        if process.poll() is None:
            process.kill()
        process.wait()
