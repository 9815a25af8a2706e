"""An answer in pieces ends with its client, and tells by its status what can't be answered."""

import gc
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from starlette.types import Message

from keytrail.errors import StoreError
from keytrail.web.streamed import Streamed


def pieces(told: list[str], *, fails: bool = False) -> Iterator[bytes]:
    try:
        yield b"one"
        if fails:
            raise StoreError("gone")
        while True:
            yield b"more"
    finally:
        told.append("closed")


def answer(made: Streamed, *, leaves_after: int, cancelled: bool = False) -> list[Message]:
    """What a client is sent that leaves after so many messages; with it, what is around the answer may be cancelled."""
    sent: list[Message] = []
    left = anyio.Event()
    around: list[anyio.CancelScope] = []

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == leaves_after:
            left.set()
            for scope in around if cancelled else ():
                scope.cancel()
        await anyio.sleep(0)

    async def run() -> None:
        # As the server says it: then a client that left is only told by `receive`.
        scope: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "GET", "headers": []}
        with anyio.fail_after(60), anyio.CancelScope() as cancelling:
            around.append(cancelling)
            await made(scope, receive, send)

    anyio.run(run)
    return sent


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("leaves_after", [1, 2, 5])
def test_what_makes_the_pieces_is_closed_when_the_client_leaves(leaves_after: int, cancelled: bool) -> None:
    told: list[str] = []
    gc.disable()
    try:
        made = Streamed(pieces(told), what="a test", request_id="1")
        assert len(answer(made, leaves_after=leaves_after, cancelled=cancelled)) >= leaves_after
        assert told == ["closed"]
    finally:
        gc.enable()


def test_the_first_piece_is_made_before_the_answer() -> None:
    def failing(*given: bytes) -> Iterator[bytes]:
        yield from given
        raise StoreError("away")

    with pytest.raises(StoreError, match="away"):
        Streamed(failing(), what="a test", request_id="1")


def test_an_answer_that_breaks_off_is_logged_and_has_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    made = Streamed(pieces(told, fails=True), what="a test", request_id="42")
    with pytest.raises(BaseException, match=r"gone|unhandled"):
        answer(made, leaves_after=100)
    assert told == ["closed"]
    assert "a test broke off" in (said := "".join(capsys.readouterr()))
    assert "42" in said
