"""No secret that a client of a real gateway ever sent reaches the disk, the logs or the rejects."""

import base64
import gzip
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgpack
import pytest

from keytrail.web.auth import hash_token
from tests.cli.command import SECONDS, run, server
from tests.product import product

CAPTURES = Path(__file__).parents[1] / "captures"
NAMES = ("msgpack", "msgpack-detailed-graphql-tcp", "protobuf-many-lists")
UNHASHED = NAMES[:2]
ORG = "5e9d9544a1dcd60001d0ed20"
DAY = "23/11/2026/23/11/2026"
ADMIN = "an-admin-of-the-tests"


def lines_of(file: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def ledger(name: str) -> list[dict[str, Any]]:
    return [entry for entry in lines_of(CAPTURES / name / "ledger.ndjson.gz") if "key" in entry]


def secrets() -> set[str]:
    """Every key and credential that the clients sent, and the ids within the keys."""
    found = set()
    for name in NAMES:
        for entry in ledger(name):
            for sent in (entry["key"], entry["auth"]):
                if sent:
                    secret = sent.removeprefix("Bearer ")
                    found |= {secret, inner_id(secret)}
    return found - {""}


def inner_id(secret: str) -> str:
    """A gateway's key is base64 of JSON with an id of its own."""
    try:
        return str(json.loads(base64.b64decode(secret))["id"])
    except ValueError:
        return ""


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it might be written; in base64 also with something before and after it."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    yield quote(quote(secret, safe=""), safe="").encode()
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + secret.encode())
        # The ends depend on what stands beside them.
        yield encoded[4 if before else 0 : -4]


SECRETS = secrets()
FORMS = frozenset(form for secret in SECRETS for form in forms(secret))


def found_in(text: bytes) -> list[bytes]:
    return sorted(form for form in FORMS if form in text)


def keys(name: str) -> dict[str, str]:
    """The key that a client sent, by the hash that the gateway made of it."""
    return {entry["hash"]: entry["key"] for entry in ledger(name) if entry["hash"] and entry["key"]}


def unhashed(name: str) -> list[bytes]:
    """A capture as a gateway writes it that does not hash keys: the secret in the key and in the key's tag."""
    secret_of = keys(name)
    lines = []
    for line in lines_of(CAPTURES / name / "records.ndjson.gz"):
        record = msgpack.unpackb(base64.b64decode(line["record"]))
        hashed = record["APIKey"]
        if secret := secret_of.get(hashed):
            record["APIKey"] = secret
            record["Tags"] = [tag.replace(hashed, secret) for tag in record["Tags"] or []]
            # A day before the records with hashed keys.
            seconds, nanoseconds = record["TimeStamp"]
            record["TimeStamp"] = [seconds - 86400, nanoseconds]
        lines.append(json.dumps({**line, "record": base64.b64encode(msgpack.packb(record)).decode()}).encode())
    return lines


@dataclass(frozen=True)
class Left:
    """What is there after it all.

    Attributes:
        data: The data directory.
        said: What the server and the commands printed.
        answers: Answers over HTTP: errors, and single requests.
    """

    data: Path
    said: str
    answers: list[bytes]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    home = tmp_path_factory.mktemp("home")
    data = home / "data"
    files = [CAPTURES / name / "records.ndjson.gz" for name in NAMES]
    for name in UNHASHED:
        files.append(home / f"{name}.unhashed")
        files[-1].write_bytes(b"\n".join(unhashed(name)) + b"\n")
    entry = f'[[tokens]]\nname = "admin"\nsha256 = "{hash_token(ADMIN)}"\norg = "*"\npermissions = ["admin"]\n'
    answers = []
    with server(data, home, settings=entry) as (running, url):
        imported = run("import", "--data", data, *files, home=home)
        assert imported.status == 0, imported
        some = sorted(keys(UNHASHED[0]).values())[:3]
        with httpx.Client(base_url=url, headers={"Authorization": ADMIN}, trust_env=False, timeout=SECONDS) as client:
            for secret in some:
                path = f"/api/activity/keys/endpoint/{quote(secret, safe='')}"
                assert client.get(f"{path}/{DAY}?org={ORG}&api_id={quote(secret)}").status_code == 200
                for wrong in (
                    client.get(f"{path}/31/2/2026/1/3/2026"),
                    client.get(f"/{quote(secret, safe='')}"),
                    # A part is missing: what is no date stands in a date's place.
                    client.get(f"/api/activity/keys/{quote(secret, safe='')}/1/3/2026/2/3"),
                    client.get(f"{path}/1/3/2026/2/3"),
                    client.get(f"/api/activity/keys/aggregate/{quote(secret, safe='')},/1/3/2026/2/3"),
                    client.get(f"/signin?code={quote(secret)}"),
                    client.get(f"{path}/{DAY}?org={ORG}&res=x&p=y"),
                    client.get(f"{path}/{DAY}", headers={"Authorization": f"Bearer {secret}"}),
                    client.post(f"/api/v1/imports/x/0?attempt={quote(secret)}", content=b""),
                ):
                    assert 400 <= wrong.status_code < 500
                    answers.append(wrong.content)
            rows: list[Any] = []
            cursor: Any = ""
            while cursor is not None:
                page = client.get("/api/v1/requests", params={"limit": 1000, "cursor": cursor})
                answers.append(page.content)
                rows += page.json()["data"]
                cursor = page.json()["next"]
            # Some in full, with what was recorded of it.
            # Not all: they are many and alike.
            chosen = list({(row["path"], row["api"], row["key"]): row["id"] for row in rows}.values())[::4]
            answers.extend(client.get(f"/api/v1/requests/{row_id}").content for row_id in chosen)
            answers.extend(client.get(f"/api/v1/export?format={form}").content for form in ("csv", "ndjson"))
            # The secret itself finds its records, and stands in none of them.
            found = client.get("/api/v1/requests", params={"key": some[0]})
            assert found.json()["data"]
            answers.append(found.content)
            shown = run("endpoints", "--data", data, "--org", ORG, "--key", some[0], "--to", "2026-11-22", home=home)
            # It is known by the secret all the same.
            assert "No calls" not in shown.out
            assert "2026-11-22T" in shown.out
        assert running.end(signal.SIGTERM) == 0
    for file in files[len(NAMES) :]:
        file.unlink()
    return Left(data, running.said + imported.out + imported.err + shown.out + shown.err, answers)


def test_the_captures_do_hold_secrets() -> None:
    assert len(SECRETS) > 40
    raw = b"".join(base64.b64decode(line["record"]) for line in lines_of(CAPTURES / NAMES[1] / "records.ndjson.gz"))
    assert found_in(raw), "the recorded requests hold the header in base64"
    for name in UNHASHED:
        raw = b"".join(base64.b64decode(json.loads(line)["record"]) for line in unhashed(name))
        assert len(found_in(raw)) > 5


def test_no_file_holds_a_secret(left: Left) -> None:
    read = 0
    for path in left.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            read += len(content)
            assert found_in(content) == [], path
            assert found_in(str(path).encode()) == []
    assert read > 100_000
    assert not (left.data / "rejects").exists(), "a good record is no reject"


def test_nothing_that_was_said_holds_a_secret(left: Left) -> None:
    assert left.said.count('"status"') > 10
    assert found_in(left.said.encode()) == []
    assert [found_in(answer) for answer in left.answers] == [[]] * len(left.answers)
    assert sum(b'"request":{"line":"' in answer for answer in left.answers) >= 5


def test_no_column_of_any_table_holds_a_secret(left: Left) -> None:
    with product(left.data) as running:
        tables = [name for (name,) in running.query("SELECT name FROM system.tables WHERE database = 'keytrail'")]
        assert "requests" in tables
        assert len(tables) > 8
        for table in tables:
            text = "\n".join(map(str, running.query(f"SELECT * FROM {table}"))).encode()
            assert found_in(text) == [], table
            if table == "requests":
                # The look is at the texts themselves: what is no secret is found there.
                assert b"/items" in text
                assert b"user-agent" in text.lower()
        # Encodings that the records' own texts may be in.
        for column in ("raw_request", "raw_response"):
            decoded = [row for (row,) in running.query(f"SELECT tryBase64Decode({column}) FROM requests")]
            assert found_in("\n".join(map(str, decoded)).encode()) == []
        # The keys are there all the same, hashed by us: one each, and it answers to the secret.
        hashes = running.query("SELECT uniqExact(api_key) FROM requests WHERE length(api_key) = 64")
        assert hashes[0][0] > 5
