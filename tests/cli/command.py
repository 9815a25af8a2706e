"""The command line as the tests use it: in this process where that is enough, as a process of its own where not."""

import codecs
import contextlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from keytrail.cli import main

PYTHON = (sys.executable, "-m", "keytrail")
SECONDS = 180.0
"""How long a process may take to say or do something: the limit is for what never comes."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment without settings, whose user has none either."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("KEYTRAIL_")}
    # Commands run elsewhere than the tests.
    paths = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "XDG_CONFIG_DIRS": str(home),
        **more,
    }


def run(*arguments: object, home: Path, stdin: bytes = b"", **more: str) -> Ran:
    """Run a command in this process, in the folder `home`; variables of the environment by name."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before = Path.cwd(), signal.getsignal(signal.SIGTERM), list(logging.getLogger().handlers)
    os.chdir(home)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            # A busy server may take long to say that it lives.
            patch("keytrail.cli.reach._ALIVE_SECONDS", SECONDS),
            patch.object(sys, "argv", ["keytrail", *map(str, arguments)]),
            patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
            patch.dict(os.environ, environment(home, COLUMNS="200", **more), clear=True),
        ):
            status = _status_of_main()
    finally:
        os.chdir(before[0])
        signal.signal(signal.SIGTERM, before[1])
        logging.getLogger().handlers = before[2]
        structlog.reset_defaults()
    return Ran(status, *(each.buffer.getvalue().decode() for each in (out, err)))


def _status_of_main() -> int:
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


class Process:
    """A command as a process of its own. What it prints is read as it comes: a full pipe would stop it.

    Args:
        arguments: What comes after `keytrail`.
        home: Its working directory.
        code: Python to run before the command line.
        environ: Variables of the environment.
    """

    def __init__(
        self, *arguments: object, home: Path, code: str = "", environ: Mapping[str, str] | None = None, stderr: int = -1
    ) -> None:
        command: Sequence[str] = (
            (sys.executable, "-c", f"{code}\nfrom keytrail.cli import main\nmain()") if code else PYTHON
        )
        self.said = ""
        self._process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=home,
            env=environment(home, PYTHONUNBUFFERED="1", **(environ or {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if stderr < 0 else stderr,
        )
        self.pid = self._process.pid
        self._more = threading.Condition()
        self._silent = False
        self._reading = threading.Thread(target=self._read, name="reading")
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        text = codecs.getincrementaldecoder("utf-8")("replace")
        while data := os.read(self._process.stdout.fileno(), 65536):
            with self._more:
                self.said += text.decode(data)
                self._more.notify_all()
        with self._more:
            self._silent = True
            self._more.notify_all()

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until what it has printed matches."""
        deadline = time.monotonic() + SECONDS
        with self._more:
            while not (found := re.search(pattern, self.said)):
                waits = not self._silent and self._more.wait(deadline - time.monotonic())
                assert waits, f"no {pattern!r} in:\n{self.said}"
            return found

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def write(self, data: bytes) -> None:
        """Give it something to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and wait for the end; the exit status."""
        if number is not None and self._process.poll() is None:
            self.send(number)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        status = self._process.wait(SECONDS)
        self._reading.join(SECONDS)
        assert not self._reading.is_alive(), "something that it started goes on"
        return status

    def clear_up(self) -> None:
        """Leave nothing running."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reading.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()


@contextlib.contextmanager
def process(*arguments: object, home: Path, code: str = "", **environ: str) -> Iterator[Process]:
    """A command as a process that does not outlive the test."""
    started = Process(*arguments, home=home, code=code, environ=environ)
    try:
        yield started
    finally:
        started.clear_up()


@contextlib.contextmanager
def server(
    data: Path, home: Path, *arguments: object, settings: str = "", port: int = 0
) -> Iterator[tuple[Process, str]]:
    """A running `serve`, and its address."""
    (home / "keytrail.toml").write_text(settings, encoding="utf-8")
    with process("serve", "--data", data, "--port", port, *arguments, home=home) as started:
        yield started, address_in(started)


def address_in(started: Process) -> str:
    """The address that a server says once it is ready."""
    return started.until(r'"address": ?"(http://[^"]+)".*\n')[1]
