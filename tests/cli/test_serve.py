import json
import os
import pty
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from keytrail.web.auth import hash_token
from tests.cli.command import SECONDS, Process, Ran, address_in, process, server
from tests.collect.redis_servers import wait_for
from tests.ports import free_port

Keytrail = Callable[..., Ran]


def entry(token: str) -> str:
    return f'[[tokens]]\nname = "name of {token}"\nsha256 = "{hash_token(token)}"\norg = "o"\n'


def asked(url: str, token: str) -> int:
    """Status of a question with a token."""
    path = "/api/activity/keys/endpoint/k/1/1/2026/2/1/2026"
    return httpx.get(url + path, headers={"Authorization": token}, trust_env=False, timeout=SECONDS).status_code


def test_tokens_are_read_again_and_a_successor_takes_over(tmp_path: Path) -> None:
    file = tmp_path / "keytrail.toml"
    with server(tmp_path / "data", tmp_path, settings=entry("first"), port=free_port()) as (running, url):
        assert (asked(url, "first"), asked(url, "second")) == (200, 401)
        assert httpx.get(url + "/readyz", trust_env=False, timeout=SECONDS).json() == {"status": "ok", "reasons": []}
        file.write_text(entry("second"), encoding="utf-8")
        wait_for(lambda: asked(url, "second") == 200)
        assert asked(url, "first") == 401
        # A broken edit leaves all as it was, and says what is wrong.
        file.write_text(entry("third") + 'colour = "red"\n', encoding="utf-8")
        wait_for(lambda: asked(url, "second") == 200 and "tokens.0.colour" in running.said)
        assert (asked(url, "second"), asked(url, "third")) == (200, 401)
        logged = json.loads(next(line for line in running.said.splitlines() if "colour" in line))
        assert logged["level"] == "error"
        assert logged["error"].endswith("tokens.0.colour: unknown setting")
        file.write_text("page_size = 5\n" + entry("third"), encoding="utf-8")
        wait_for(lambda: asked(url, "third") == 200)
        running.until("other settings have changed, too; they take effect after a restart")

        port = url.rpartition(":")[2]
        with process("serve", "--data", "data", "--port", port, "--wait-lock", "60s", home=tmp_path) as successor:
            assert f"process {running.pid} on" in successor.until(r'"held_by": ?"([^"]+)"')[1]
            # Who was let in when it was started, and must not be any more.
            file.write_text("page_size = 5\n" + entry("fourth"), encoding="utf-8")
            assert running.end(signal.SIGTERM) == 0
            assert '"stopped"' in running.said
            assert address_in(successor) == url
            wait_for(lambda: asked(url, "fourth") == 200)
            assert asked(url, "third") == 401
            assert successor.end(signal.SIGINT) == 0
    assert not (tmp_path / "data" / "keytrail.sock").exists()


def test_one_time_link_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "keytrail.toml").write_text('server.trusted_proxies = ["127.0.0.1"]', encoding="utf-8")
    ours, theirs = pty.openpty()
    try:
        started = Process("serve", "--data", "data", "--port", "0", home=tmp_path, stderr=theirs)
        os.close(theirs)
        said = ""
        try:
            while not (found := re.search(r"Sign in once, within 15 minutes: (http://\S+)\r\n", said)):
                said += os.read(ours, 65536).decode(errors="replace")
            link = found[1]
            with httpx.Client(trust_env=False, timeout=SECONDS) as client:
                first = client.get(link, headers={"X-Forwarded-Proto": "https"})
                assert (first.status_code, first.headers["location"]) == (303, "/")
                # The proxy is believed, so the browser must not send the session in clear.
                assert "Secure" in first.headers["set-cookie"]
                session = {"Cookie": first.headers["set-cookie"].partition(";")[0]}
                organisations = link.partition("/signin")[0] + "/api/v1/organisations"
                assert client.get(organisations, headers=session).status_code == 200
            assert httpx.get(link, trust_env=False, timeout=SECONDS).status_code == 401
            assert started.end(signal.SIGTERM) == 0
        finally:
            started.clear_up()
    finally:
        os.close(ours)


def test_no_link_in_a_log(tmp_path: Path) -> None:
    with process("serve", "--data", "data", "--port", "0", home=tmp_path) as running:
        running.until("no token is set up; keytrail token create makes one")
        assert running.end(signal.SIGTERM) == 0
        assert "signin" not in running.said
        # Off a terminal every line is JSON.
        assert all(json.loads(line)["event"] for line in running.said.splitlines())


def test_address_that_is_taken(keytrail: Keytrail) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = keytrail("serve", "--data", "data", "--port", port)
    assert ran.status == 1
    assert ran.err.splitlines()[-1] == f"keytrail: can't listen on 127.0.0.1:{port}: Address already in use"
    ran = keytrail("serve", "--data", "data", "--host", "no.such.host.invalid", "--port", port)
    assert (ran.status, "can't listen on no.such.host.invalid" in ran.err) == (1, True)


@pytest.mark.parametrize(
    "options", [["--port", "70000"], ["--wait-lock", "soon"], ["--wait-lock", "-1s"], ["--wait-lock", "nan"]]
)
def test_wrong_usage(keytrail: Keytrail, options: list[str]) -> None:
    assert keytrail("serve", *options).status == 2


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("2m", 120), ("500ms", 0.5), ("7", 7), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    from keytrail.cli.options import parse_seconds

    assert parse_seconds(text) == seconds
