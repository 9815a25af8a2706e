"""`keytrail erase`: a receipt that names nobody, and nobody left, in files and in the gateway's Redis either."""

import base64
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.captures import lines_of, text
from tests.cli.command import Ran, address_in, process, run
from tests.cli.test_restored import BLOBS, LIST, wait_for
from tests.collect.redis_servers import servers
from tests.collect.redis_servers import wait_for as wait_until

Keytrail = Callable[..., Ran]
KEY = "00000000"
DAYS = ("--from", "2026-11-23", "--to", "2026-11-23", "--format", "json")


def test_a_key_and_what_brings_it_back(keytrail: Keytrail, tmp_path: Path) -> None:
    lines = lines_of()[:200]
    broken = b'{"list": "l", "record": "' + base64.b64encode(b"\xc1 of " + KEY.encode()) + b'"}'
    ran = keytrail("import", "--json", "-", stdin=text([*lines, broken]))
    before = ran.json()["stored"]
    kept = tmp_path / ran.json()["rejects_file"]
    assert keytrail("backup", "old.tar").status == 0
    keytrail("consumers", "import", "--org", "5e9d9544a1dcd60001d0ed20", write(tmp_path, KEY))
    ran = keytrail("erase", "--key", KEY)
    assert ran.status == 0, ran
    receipt = ran.json()
    assert KEY not in ran.out
    assert (receipt["raw"] > 10, receipt["rejects"], receipt["directory"]) == (True, {"redis": 0, "files": 1}, 1)
    assert kept.read_bytes() == b""
    assert keytrail("endpoints", "--org", "5e9d9544a1dcd60001d0ed20", "--key", KEY, *DAYS).json()["data"] == []
    assert keytrail("check", "--ledger").status == 0
    again = keytrail("import", "--again", "--json", "-", stdin=text(lines)).json()
    assert (again["stored"], again["rejected"]) == (before - receipt["raw"], {"erased": receipt["raw"]})
    assert again["rejects_file"] is None
    put = keytrail("consumers", "import", "--org", "5e9d9544a1dcd60001d0ed20", tmp_path / "consumers.csv")
    assert put.out.startswith("0 links")
    # An older copy lacks the erasure; the receipt carries it there.
    (tmp_path / "receipt.json").write_text(ran.out, encoding="utf-8")
    other = ("--data", tmp_path / "other")
    assert keytrail("restore", "old.tar", *other).status == 0
    assert keytrail("erase", "--again", "receipt.json", *other).json()["raw"] == receipt["raw"]
    shown = keytrail("check", "--ledger", *other)
    assert (shown.status, f"equal to the {before - receipt['raw']:,} raw records" in shown.out) == (0, True)


def kept(client: Any) -> list[bytes]:
    """The rejected records whose bytes are in Redis."""
    streams = [name for name in client.keys("keytrail:*") if client.type(name) == b"stream"]
    return [entry[b"record"] for stream in streams for _, entry in client.xrange(stream)]


def write(folder: Path, key: str) -> Path:
    file = folder / "consumers.csv"
    file.write_text(f"consumer,kind,value\nshop,key,{key}\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "one of --key, --consumer, --ip and --again"),
        (("--key", "a", "--ip", "b"), 2, "one of --key, --consumer, --ip and --again"),
        (("--again", "nowhere.json"), 1, "nowhere.json: No such file"),
        (("--again", "keytrail.toml"), 1, "keytrail.toml is no receipt of an erasure"),
        (("--consumer", "nobody"), 1, "no consumer 'nobody' is in the directory"),
    ],
)
def test_whom(keytrail: Keytrail, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str) -> None:
    (tmp_path / "keytrail.toml").write_text("", encoding="utf-8")
    keytrail("import", "--json", "-", stdin=lines_of()[0])
    ran = keytrail("erase", *arguments)
    assert (ran.status, said in " ".join(ran.err.split())) == (status, True), ran


def test_bytes_that_redis_keeps(tmp_path: Path) -> None:
    with servers(tmp_path / "redis") as started:
        redis = started.start()
        client = redis.client()
        (tmp_path / "keytrail.toml").write_text(
            f'[redis]\nurl = "redis://127.0.0.1:{redis.port}/0"\n', encoding="utf-8"
        )
        with process("serve", "--port", 0, "--data", tmp_path / "data", home=tmp_path) as serving:
            address = address_in(serving)
            client.rpush(LIST, *BLOBS[:20], b"\xc1 of " + KEY.encode(), b"\xc1 of somebody")
            wait_for(address, 20)
            # Their records are stored a moment before the bytes of the others are kept.
            wait_until(lambda: bool(kept(client)), what="rejected bytes")
            receipt = json.loads(run("erase", "--key", KEY, "--data", tmp_path / "data", home=tmp_path).out)
            assert receipt["rejects"]["redis"] == 1
            assert kept(client) == [b"\xc1 of somebody"]
            left = 20 - receipt["raw"]
            client.rpush(LIST, *BLOBS[:20])
            wait_for(address, 20 + left)
            shown = run("check", "--ledger", "--data", tmp_path / "data", home=tmp_path)
            assert serving.end(signal.SIGTERM) == 0
        assert f"equal to the {2 * left} raw records" in shown.out, shown
        assert f"{receipt['raw']} erased" in shown.out
