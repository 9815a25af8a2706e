"""The endpoints of operation in a process that collects nothing: who may ask, and rebuilding."""

import pytest

from keytrail.store.tables import ROLLUPS
from tests.cli.captures import lines_of
from tests.product import ADMIN, TOKEN, Product
from tests.web.conftest import ORG

EVERYTHING = [
    ("GET", "rejects"),
    ("POST", "rejects/retry"),
    ("GET", "rebuild"),
    ("POST", "rebuild"),
    ("GET", "verify"),
    ("GET", "backup"),
    ("GET", "prune"),
    ("POST", "prune"),
]


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
@pytest.mark.parametrize(("token", "status"), [("", 401), (TOKEN, 403), ("admin of one", 403), (ADMIN, 200)])
def test_only_an_admin_of_everything(running: Product, method: str, path: str, token: str, status: int) -> None:
    headers = {"Authorization": token} if token else {}
    assert running.http.request(method, f"/api/v1/{path}", headers=headers).status_code == status


def test_the_pipeline_shows_others_nothing(running: Product) -> None:
    running.put_lines([*lines_of()[:20], b"no record"])
    everything, own = running.get("/api/v1/pipeline", ADMIN), running.get("/api/v1/pipeline")
    assert set(everything) - set(own) == {"store_id", "sources", "rejects", "tables", "drift", "upkeep"}
    assert everything["totals"]["rejected"] == 1
    assert everything["drift"] == []
    assert set(own["totals"]) == {"stored"}
    assert not any("reasons" in batch for batch in own["batches"])
    assert running.get("/api/v1/organisations", ADMIN)["data"][0]["org"] == ORG
    assert running.http.get("/api/v1/pipeline", headers={"Authorization": "sender"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "the body: "),
        (b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "the body: "),
        (b'{"key": 1}', 400, "the body: Expected `str`, got `int`"),
        (b"{}", 400, "one of key, ip, consumer and again says whom to erase"),
        (b'{"key": "a", "ip": "b"}', 400, "one of key, ip, consumer and again says whom to erase"),
        (b'{"consumer": "nobody"}', 404, "no consumer 'nobody' is in the directory"),
        (b" " * (1024 * 1024 + 1), 413, "an erasure has at most 1048576 bytes"),
    ],
)
def test_whom_to_erase(running: Product, body: bytes, status: int, said: str) -> None:
    answer = running.http.post("/api/v1/erase", content=body, headers={"Authorization": ADMIN})
    assert (answer.status_code, said in answer.json()["Message"]) == (status, True), answer.text
    for token in ("", TOKEN, "admin of one"):
        refused = running.http.post("/api/v1/erase", content=b"{}", headers={"Authorization": token} if token else {})
        assert refused.status_code == (403 if token else 401)


def test_rebuild(running: Product) -> None:
    running.put_lines(lines_of()[20:40])
    tables = [rollup.table for rollup in ROLLUPS]
    assert running.get("/api/v1/rebuild", ADMIN) == {"months": ["2026-11"], "tables": tables, "since": None}

    def rebuilt(question: str) -> list[str]:
        answer = running.http.post(f"/api/v1/rebuild{question}", headers={"Authorization": ADMIN})
        assert answer.status_code == 200, answer.text
        found: list[str] = answer.json()["rebuilt"]
        return found

    assert rebuilt("") == [f"{table} 202611" for table in tables]
    assert rebuilt("?from=2026-11-30&table=by_key_day") == ["by_key_day 202611"]
    assert rebuilt("?from=2026-12-01") == rebuilt("?to=2026-10-31") == []
    for wrong in ("?from=2026-12-01&to=2026-11-30", "?table=requests", "?from=yesterday"):
        answer = running.http.post(f"/api/v1/rebuild{wrong}", headers={"Authorization": ADMIN})
        assert answer.status_code == 400, wrong
