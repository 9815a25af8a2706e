"""What is over a token's limits is refused at once and told when to come again, and nobody else is."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from keytrail.config import Server, Token
from keytrail.web.auth import Gate
from keytrail.web.throttle import Throttle
from tests.product import ADMIN, Product, product, token_entry


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    tokens = [
        token_entry(org="o"),
        token_entry("other", org="o"),
        token_entry("own", org="o", rate=1),
        token_entry(ADMIN, org="*", permissions=["admin"], rate=0),
    ]
    with product(tmp_path_factory.mktemp("store"), tokens=tokens, server__rate=3) as started:
        yield started


@pytest.fixture
def within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands at half past a minute: where one begins, a little of what the last one took is given back."""
    half_past = time.time() // 60 * 60 + 30
    monkeypatch.setattr(time, "time", lambda: half_past)


@pytest.mark.usefixtures("within_a_minute")
def test_a_rate(running: Product) -> None:
    def statuses(token: str) -> list[int]:
        headers = {"Authorization": f"Bearer {token}"}
        return [running.http.get("/api/v1/catalog", headers=headers).status_code for _ in range(5)]

    assert statuses("a-token-of-the-tests") == [200, 200, 200, 429, 429]
    assert statuses("other") == [200, 200, 200, 429, 429]
    assert statuses("own") == [200, 429, 429, 429, 429]
    assert statuses(ADMIN) == [200] * 5
    assert statuses("unknown") == [401] * 5


@pytest.mark.usefixtures("within_a_minute")
def test_the_refusal(running: Product) -> None:
    for _ in range(4):
        answer = running.http.get("/api/v1/catalog", headers={"Authorization": "own"})
    assert answer.status_code == 429
    assert answer.json() == {
        "Status": "Error",
        "Message": "Too many requests: at most 1 requests a minute.",
        "Meta": None,
    }
    assert answer.headers["Retry-After"] == "30"
    assert answer.headers["X-Request-ID"]


def test_what_runs_at_once() -> None:
    """A body that is still being sent counts; another token's request does not wait for it."""

    async def scenario() -> None:
        sent, begun = asyncio.Event(), asyncio.Semaphore(0)

        async def app(_: Scope, receive: Receive, send: Send) -> None:
            begun.release()
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"done"})

        entries = [
            Token(**token_entry("slow", org="o", concurrency=2)),
            Token(**token_entry("quick", org="o")),
        ]
        asked = Throttle(app, Gate(entries, "secret"), Server(concurrency=1))

        async def body() -> AsyncIterator[bytes]:
            yield b"begun"
            await sent.wait()

        transport = httpx.ASGITransport(asked)
        async with httpx.AsyncClient(transport=transport, base_url="http://keytrail.test") as client:
            slow, quick = {"Authorization": "slow"}, {"Authorization": "quick"}
            held = [asyncio.create_task(client.post("/", headers=slow, content=body())) for _ in range(2)]
            for _ in held:
                await begun.acquire()
            third = await client.get("/", headers=slow)
            assert (third.status_code, third.headers["Retry-After"]) == (429, "1")
            assert third.json()["Message"] == "Too many requests: at most 2 requests at once."
            assert [(await client.get("/", headers=quick)).status_code for _ in range(2)] == [200, 200]
            sent.set()
            assert [(await one).status_code for one in held] == [200, 200]
            assert (await client.get("/", headers=slow)).status_code == 200

    asyncio.run(scenario())
