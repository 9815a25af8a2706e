"""Captured traffic is pushed as a gateway does while the server is killed again and again; its totals are all the same.

What must come out is known from elsewhere: from the vendor's own decoder, and from the client that made the traffic.
"""

import base64
import gzip
import json
import random
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.acceptance import test_captures as answers
from tests.acceptance import test_ledger as sent
from tests.cli.command import address_in, process
from tests.collect.redis_servers import Server, wait_for
from tests.faults.rig import TTL, group_drift, waiting
from tests.product import product, token_entry

pytestmark = [pytest.mark.redis, pytest.mark.long]

KILLS = 12
"""For each capture."""
SLICES = 3 * KILLS


def command(*parts: bytes) -> bytes:
    """A command as it goes over the wire."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def push(port: int, records: Sequence[tuple[str, bytes]]) -> None:
    """Push records, one command each, as a gateway does, and give each list its time to live."""
    commands = [command(b"RPUSH", name.encode(), blob) for name, blob in records]
    commands += [command(b"EXPIRE", name.encode(), b"%d" % TTL, b"NX") for name in dict(records)]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"".join(commands))
        answered = b""
        while answered.count(b"\r\n") < len(commands):
            answered += connection.recv(65536)
    assert answered.startswith(b":")
    assert b"-" not in answered, answered


@pytest.mark.parametrize("name", answers.NAMES)
def test_totals_are_those_of_the_traffic(name: str, valkey: Server, tmp_path: Path) -> None:
    folder = answers.CAPTURES / name
    lines = [json.loads(line) for line in gzip.decompress((folder / "records.ndjson.gz").read_bytes()).splitlines()]
    records = [(line["list"], base64.b64decode(line["record"])) for line in lines]
    size = len(records) // SLICES + 1
    slices = [records[at : at + size] for at in range(0, len(records), size)]
    chance = random.Random(name)
    client, data = valkey.client(), tmp_path / "data"
    (tmp_path / "keytrail.toml").write_text(f'redis.url = "redis://127.0.0.1:{valkey.port}/0"\n', encoding="utf-8")
    serve = ("serve", "--data", data, "--port", 0)
    for _ in range(KILLS):
        push(valkey.port, slices.pop(0))
        with process(*serve, home=tmp_path) as started:
            push(valkey.port, slices.pop(0))
            address_in(started)
            push(valkey.port, slices.pop(0))
            time.sleep(chance.uniform(0, 1.5))
            assert started.end(signal.SIGKILL) == -signal.SIGKILL
    assert not slices
    with process(*serve, home=tmp_path) as started:
        address_in(started)
        wait_for(lambda: waiting(client, dict(records)) == 0, what="empty lists")
        assert started.end(signal.SIGTERM) == 0
    check(name, data)


def check(name: str, data: Path) -> None:
    """Hold the store against both."""
    tokens = [token_entry(answers.token_of(org), org=org) for org in answers.ORGS]
    expected, ledger = answers.read_expected(name), sent.read_ledger(name)
    with product(data, tokens=tokens) as running:
        count = expected["records"]
        counted = running.query("SELECT sum(taken), sum(stored), sum(rejected), max(attempt) FROM batches")[0]
        print(f"{name}: taken, stored, rejected, most attempts: {counted}")
        assert counted[:3] == (count, count, 0)
        assert counted[3] > 1, "no kill came while something was stored"
        assert running.query("SELECT count(), uniqExact(batch_id, seq) FROM requests") == [(count, count)]
        assert list(group_drift(running.parts.engine)) == []
        for test in (answers.test_every_key, answers.test_every_oauth_client):
            test((running, expected))
        for test_of_client in (
            sent.test_by_api_method_path_and_code,
            sent.test_by_oauth_client,
            sent.test_by_key,
            sent.test_by_rollup,
            sent.test_connections_are_no_requests,
        ):
            test_of_client((running, ledger))
