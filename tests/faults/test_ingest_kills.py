"""A server that is killed in the middle of a body, and the body sent again: each record counts once."""

import signal
from pathlib import Path

import httpx
import pytest

from keytrail.store.rebuild import differing
from keytrail.store.tables import BATCHES, RAW, ROLLUPS
from keytrail.web.auth import hash_token
from tests.cli.command import SECONDS, Process, address_in, process
from tests.oracle.records import SECOND, Record, to_json
from tests.product import product

ORG = "5e9d9544a1dcd60001d0ed20"
# Over two months, so that one insert is several parts.
RECORDS = [
    Record(timestamp=(1_780_000_000 + n * 86_400) * SECOND, org_id=ORG, api_key="7f3c3ca87376cabe", response_code=200)
    for n in range(40)
]
BODY = "\n".join([*map(to_json, RECORDS), "no record"]).encode()
SETTINGS = f'[[tokens]]\nname = "sender"\nsha256 = "{hash_token("t")}"\norg = "{ORG}"\npermissions = ["ingest"]\n'

# Where it is killed: before or after the n-th insert of the first body.
KILL = """
import os, signal
from keytrail.store import client
inserts, real = [], client.Handles.insert
def insert(self, table, rows, token):
    if rows.num_rows:
        inserts.append(table)
    if len(inserts) == {place} and not {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, table, rows, token)
    if len(inserts) == {place} and {after}:
        os.kill(os.getpid(), signal.SIGKILL)
client.Handles.insert = insert
"""


def send(started: Process) -> httpx.Response:
    headers = {"Authorization": "t", "Content-Type": "application/x-ndjson", "Idempotency-Key": "a body"}
    with httpx.Client(base_url=address_in(started), trust_env=False, timeout=SECONDS) as client:
        return client.post("/api/v1/ingest", content=BODY, headers=headers)


@pytest.mark.parametrize(
    ("table", "after"),
    [
        (RAW, True),
        pytest.param(RAW, False, marks=pytest.mark.long),
        pytest.param(BATCHES, True, marks=pytest.mark.long),
    ],
)
def test_killed_and_sent_again(table: str, after: bool, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (tmp_path / "keytrail.toml").write_text(SETTINGS, encoding="utf-8")
    code = KILL.format(place=[RAW, "rejects", BATCHES].index(table) + 1, after=after)
    with process("serve", "--data", data, "--port", 0, home=tmp_path, code=code) as started:
        with pytest.raises(httpx.TransportError):
            send(started)
        assert started.end() == -signal.SIGKILL
    with process("serve", "--data", data, "--port", 0, home=tmp_path) as started:
        answer = send(started)
        assert answer.status_code == 200
        counts = answer.json()
        assert (counts["taken"], counts["stored"], counts["reasons"]) == (41, 40, {"not_a_record": 1})
        assert send(started).content == answer.content
        assert started.end(signal.SIGTERM) == 0
    with product(data) as found:
        assert found.query(f"SELECT count(), uniqExact(batch_id, seq) FROM {RAW}") == [(40, 40)]
        for rollup in ROLLUPS:
            assert found.query(f"SELECT sum(records) FROM {rollup.table}") == [(40,)]
        months = [month for (month,) in found.query(f"SELECT DISTINCT toYYYYMM(time) FROM {RAW}")]
        assert len(months) > 1
        assert [differing(found.parts.engine, month) for month in months] == [[]] * len(months)
        assert found.query(f"SELECT sum(taken), sum(stored), sum(rejected) FROM {BATCHES}") == [(41, 40, 1)]
