"""The demo: 30 days of made-up traffic through the real decoders into a real store, then the server."""

import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keytrail.cli.collecting import collecting
from keytrail.cli.serve import address_of
from keytrail.cli.wiring import Assembly, assembled
from keytrail.config import Settings, Token, load
from keytrail.demo.directory import directory
from keytrail.demo.feed import chunk_of, feeding, gateway_redis
from keytrail.demo.traffic import history
from keytrail.demo.world import NO_KEY, ORG_ID, World, build_world
from keytrail.store.chunk import Written
from keytrail.store.consumers import replace_links
from keytrail.web.auth import hash_token
from keytrail.web.server import listen, serve

DAYS: Final = 30
RECORDS: Final = 300_000
_CHUNK: Final = 50_000


@dataclass(frozen=True, slots=True)
class Example:
    """A curl command and what it answers."""

    title: str
    command: str
    answer: str


def run(host: str, port: int, *, rate: float = 0.5, seconds: float | None = None, records: int = RECORDS) -> None:
    """Fill a store of its own with traffic, serve it while more arrives, and print how to ask; until Ctrl-C.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        rate: Records per second that go on arriving; 0 for none.
        seconds: End by itself so many seconds after the introduction; None never does.
        records: Records of the past.
    """
    console = Console(soft_wrap=True)
    world = build_world()
    token = secrets.token_urlsafe(16)
    with (
        tempfile.TemporaryDirectory(prefix="keytrail-demo-") as folder,
        gateway_redis(Path(folder) / "redis") as gateway,
        listen(host, port) as listening,
    ):
        settings = _settings(Path(folder), token, f"redis://127.0.0.1:{gateway.port}/0")
        address = address_of(host, listening.getsockname()[1])
        with assembled(settings) as parts:
            now = datetime.now(UTC)
            _fill(parts, world, console, end=now, records=records)

            def introduce() -> None:
                _introduce(console, parts, world, address, token)
                if seconds is not None:
                    time.sleep(seconds)
                    # As Ctrl-C would: what runs is finished first.
                    os.kill(os.getpid(), signal.SIGINT)

            def ready() -> None:
                # The server answers on the thread that calls this, so the questions are asked on another one.
                threading.Thread(target=introduce, daemon=True).start()

            client = redis.Redis(port=gateway.port)
            with collecting(parts.collectors), client, feeding(client, world, start=now, rate=rate):
                serve(parts.service.app, listening, Path(folder), ready=ready)
    console.print("The demo has ended; its data is gone.")


def _settings(folder: Path, token: str, gateway: str) -> Settings:
    demo = Token(name="demo", sha256=hash_token(token), org=ORG_ID, permissions=["analytics", "logs"])
    return load(overrides={"store.url": f"chdb:{folder}", "redis.url": gateway, "tokens": [demo.model_dump()]})


def _fill(parts: Assembly, world: World, console: Console, *, end: datetime, records: int) -> None:
    began = time.perf_counter()
    if not console.is_terminal:
        console.print(f"Making {records:,} records of {DAYS} days of traffic …", highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeRemainingColumn(),
    )
    blobs = history(world, end=end, days=DAYS, records=records)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{DAYS} days of traffic", total=records)
        for written in _written(parts, blobs):
            progress.update(task, advance=written.stored)
    replace_links(parts.engine, ORG_ID, directory(world))
    seconds = time.perf_counter() - began
    console.print(f"{records:,} records of {DAYS} days made, decoded and stored in {seconds:.1f} s.", highlight=False)


def _written(parts: Assembly, blobs: Iterator[bytes]) -> Iterator[Written]:
    """Chunk after chunk: one thread makes and decodes records while another inserts them."""
    with ThreadPoolExecutor(1, "insert") as inserts:
        waiting: Future[Written] | None = None
        offset = 0
        while portion := list(islice(blobs, _CHUNK)):
            chunk = chunk_of(portion, "demo", offset)
            if waiting:
                yield waiting.result()
            waiting = inserts.submit(parts.writer.write, chunk)
            offset += len(portion)
        if waiting:
            yield waiting.result()


def _introduce(console: Console, parts: Assembly, world: World, address: str, token: str) -> None:
    console.print()
    try:
        for example in examples(world, address, token):
            console.print(f"{example.title}:\n  {example.command}\n{example.answer}\n", markup=False, highlight=False)
    except httpx.HTTPError:
        # It was ended before it could answer.
        return
    # Last, where it is in sight: answers are long.
    console.print(f"keytrail answers at {address}", highlight=False)
    console.print(f"Sign in once, within 15 minutes: {address}/signin?code={parts.service.gate.link_code()}\n")
    console.print(
        "What changed, beside the overview, says whose errors rose, on which endpoint, since when and whose fault."
    )
    console.print(f"Who gets the address of a page from you signs in with the token {token}", highlight=False)
    console.print("Ctrl-C ends it.")


def examples(world: World, address: str, token: str) -> Iterator[Example]:
    """The two answers, asked as a user would ask: for the busiest key and the busiest OAuth client."""
    today = datetime.now(UTC).date()
    start = today - timedelta(days=DAYS)
    span = f"{start.day}/{start.month}/{start.year}/{today.day}/{today.month}/{today.year}"
    by_weight = sorted(world.callers, key=lambda caller: caller.weight, reverse=True)
    key = next(caller for caller in by_weight if caller.key != NO_KEY and not caller.client)
    client = next(caller for caller in by_weight if caller.client)
    for title, path in (
        (f"Endpoints called with the key of {key.alias}", f"keys/endpoint/{quote(key.key, safe='')}"),
        ("Endpoints called by an OAuth client", f"oauthid/endpoint/{quote(client.client, safe='')}"),
    ):
        url = f"{address}/api/activity/{path}/{span}"
        answer = httpx.get(url, headers={"Authorization": token}, timeout=60, trust_env=False)
        yield Example(title, f"curl -H 'Authorization: {token}' {url}", _one_row_a_line(answer.json()))


def _one_row_a_line(answer: dict[str, Any]) -> str:
    rows = ",\n".join("    " + msgspec.json.encode(row).decode() for row in answer["data"])
    return f'  {{"data": [\n{rows}\n  ], "pages": {answer["pages"]}}}'
