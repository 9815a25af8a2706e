"""What an answer says when something of ours is broken: that it is, an id to look it up by, and nothing else."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from keytrail.telemetry import set_up_logging
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product, product, token_entry
from tests.web.conftest import ORG
from tests.web.raw import Answer, ask

KEY = "7f3c3ca87376cabe"
OF_KEY = f"/api/activity/keys/endpoint/{KEY}/1/3/2026/2/3/2026"
RECORD = Record(timestamp=1_772_400_000 * SECOND, org_id=ORG, api_key=KEY, response_code=200, path="/")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged, as the server logs; the other tests log as the library does by itself."""
    before = logging.getLogger().handlers, logging.getLogger().level
    written = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", written)
        set_up_logging("json")
    yield written
    structlog.reset_defaults()
    logging.getLogger().handlers, level = before
    logging.getLogger().setLevel(level)


@pytest.fixture
def fragile(tmp_path: Path, log: io.StringIO) -> Iterator[Product]:
    """A product of this test's own, to be broken."""
    with product(tmp_path, tokens=[token_entry("t", org=ORG, permissions=["analytics", "ingest"])]) as started:
        started.put_lines([to_json(RECORD).encode()])
        assert send(started, OF_KEY).status == 200
        yield started


def send(running: Product, target: str) -> Answer:
    return ask(running.parts.service.app, target, headers={"Authorization": "t"})


def check(answer: Answer, status: int, log: io.StringIO) -> None:
    """The fixed text, an id that the log has too, and no word of the fault."""
    request_id = answer.headers["x-request-id"]
    assert answer.status == status
    assert json.loads(answer.text) == {
        "Status": "Error",
        "Message": f"Failed to fetch analytics. (request {request_id})",
        "Meta": None,
    }
    everything = answer.text + str(answer.headers)
    for word in (
        "Code:",
        "DB::",
        "Exception",
        "Traceback",
        "by_key",
        "requests",
        "closed",
        "engine",
        "attribute",
        "7f3c",
    ):
        assert word not in everything
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["request_id"] for line in lines if line["level"] == "error"][-1] == request_id
    assert KEY not in log.getvalue()
    assert answer.headers["content-security-policy"]


def test_the_engine_is_away(fragile: Product, log: io.StringIO) -> None:
    fragile.parts.engine.close()
    answer = send(fragile, OF_KEY)
    check(answer, 503, log)
    ready = send(fragile, "/readyz")
    assert (ready.status, json.loads(ready.text)["status"]) == (503, "unavailable")
    assert "closed" not in ready.text
    assert send(fragile, "/healthz").status == 200


def test_the_engine_refuses_a_statement(fragile: Product, log: io.StringIO) -> None:
    for table in ("by_key_15m", "by_key_day", "by_caller_day"):
        fragile.parts.engine.command(f"DROP TABLE {table}")
    check(send(fragile, OF_KEY), 500, log)
    check(send(fragile, f"{OF_KEY}?res=day"), 500, log)
    assert "UNKNOWN_TABLE" in log.getvalue()


def test_the_engine_answers_again(fragile: Product) -> None:
    """A handle whose statement failed is replaced."""
    fragile.parts.engine.command("RENAME TABLE by_key_day TO elsewhere")
    assert send(fragile, OF_KEY).status == 500
    fragile.parts.engine.command("RENAME TABLE elsewhere TO by_key_day")
    assert json.loads(send(fragile, OF_KEY).text)["data"][0]["hits"] == 1


def test_a_fault_in_our_own_code(fragile: Product, log: io.StringIO) -> None:
    del fragile.http.app.state.held  # type: ignore[attr-defined]
    check(send(fragile, OF_KEY), 500, log)
