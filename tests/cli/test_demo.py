import json
import re
import shlex
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.cli.command import SECONDS, process
from tests.collect.redis_servers import wait_for


def ask(command: str) -> Any:
    """What a printed curl command answers."""
    curl, option, header, url = shlex.split(command)
    assert (curl, option) == ("curl", "-H")
    name, value = header.split(": ")
    return httpx.get(url, headers={name: value}, trust_env=False, timeout=SECONDS).raise_for_status().json()


def test_short_demo(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    options = ("--port", 0, "--records", 4000, "--rate", 400)
    with process("demo", *options, home=tmp_path, TMPDIR=str(temporary)) as running:
        address = running.until(r"keytrail answers at (http://\S+)\n")[1]
        link = running.until(r"Sign in once, within 15 minutes: (\S+)\n")[1]
        token = running.until(r"signs in with the token (\S+)\n")[1]
        running.until("Ctrl-C ends it")
        assert link.startswith(address)
        answer = httpx.get(link, headers={"X-Forwarded-Proto": "https"}, trust_env=False, timeout=SECONDS)
        # Nobody who is not named is believed to be a proxy.
        assert (answer.status_code, "Secure" in answer.headers["set-cookie"]) == (303, False)
        # A colleague has no link, but the token.
        colleague = httpx.post(
            address + "/signin", data={"token": token, "next": "/changes"}, trust_env=False, timeout=SECONDS
        )
        assert (colleague.status_code, colleague.headers["location"]) == (303, "/changes")
        assert [path.name.startswith("keytrail-demo-") for path in temporary.iterdir()] == [True]

        commands = re.findall(r"^  (curl .*)$", running.said, re.MULTILINE)
        assert ["keys/endpoint" in command for command in commands] == [True, False]
        assert "oauthid/endpoint" in commands[1]
        printed = [
            json.loads(text) for text in re.findall(r'^  (\{"data": \[.*?"pages": \d+\})$', running.said, re.M | re.S)
        ]
        answers = [ask(command) for command in commands]
        for shown, answer in zip(printed, answers, strict=True):
            assert len(shown["data"]) >= 2
            assert {row["id"]["path"] for row in shown["data"]} & {row["id"]["path"] for row in answer["data"]}

        # More arrives while it runs, and may do so after midnight.
        later = datetime.now(UTC) + timedelta(days=2)
        ever = re.sub(r"\d+/\d+/\d+$", f"{later.day}/{later.month}/{later.year}?p=-1", commands[0])

        def hits() -> int:
            return sum(row["hits"] for row in ask(ever)["data"])

        first = hits()
        wait_for(lambda: hits() > first, what="more traffic")
        assert running.end(signal.SIGINT) == 0
        assert running.said.rstrip().endswith("The demo has ended; its data is gone.")
        assert "Traceback" not in running.said
    assert list(temporary.iterdir()) == []


def test_it_ends_by_itself(tmp_path: Path) -> None:
    with process("demo", "--port", 0, "--records", 10, "--seconds", 0, "--rate", 0, home=tmp_path) as running:
        assert running.end() == 0
        assert running.said.rstrip().endswith("The demo has ended; its data is gone.")


def test_interrupted_while_it_fills(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with process("demo", "--port", 0, "--records", 2_000_000, home=tmp_path, TMPDIR=str(temporary)) as running:
        running.until("Making 2,000,000 records")
        time.sleep(0.5)
        assert running.end(signal.SIGTERM) == 130
        assert "Traceback" not in running.said
    assert list(temporary.iterdir()) == []
