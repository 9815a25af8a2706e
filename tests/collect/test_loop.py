"""The collector in one process: a real server, a real store, and what goes wrong between them."""

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keytrail.cli.collecting import collecting
from keytrail.collect import gaps, loop, rivals
from keytrail.collect.chunks import chunk_of
from keytrail.collect.redis_url import TIMEOUT_SECONDS, parse_redis_url
from keytrail.collect.source import Source
from keytrail.errors import StoreLimited
from keytrail.store.tables import BATCHES, RAW
from tests.collect.conftest import PLAIN
from tests.collect.redis_servers import Server, Servers, connect, wait_for
from tests.faults.process import Collecting
from tests.faults.rig import Feed, drain, encoded, reckon, waiting, write_config
from tests.product import ADMIN, Product, product, token_entry

pytestmark = pytest.mark.redis


@contextlib.contextmanager
def collector(folder: Path, *servers: Server, **values: Any) -> Iterator[Product]:
    urls = [f"redis://127.0.0.1:{one.port}/0" for one in servers]
    tokens = [token_entry(ADMIN, org="*", permissions=["admin"])]
    with product(folder, tokens=tokens, redis__url=urls, **values) as running, collecting(running.parts.collectors):
        yield running


def push(client: Any, first: int, count: int, name: str = PLAIN) -> None:
    client.rpush(name, *[encoded(number, name) for number in range(first, first + count)])


def stored(running: Product) -> int:
    return int(running.query("SELECT count() FROM requests")[0][0])


def ready(running: Product) -> tuple[int, str]:
    answer = running.http.get("/readyz/collect")
    return answer.status_code, answer.text


def test_records_are_visible_within_two_seconds(own_servers: Servers, tmp_path: Path) -> None:
    server = own_servers.start()
    client = server.client()
    delays: list[timedelta] = []
    with collector(tmp_path, server) as running:
        for number in range(3):
            pushed = datetime.now(UTC)
            push(client, number * 100, 100)
            wait_for(lambda n=number: stored(running) == (n + 1) * 100, what="records")  # type: ignore[misc]
            delays.append(datetime.now(UTC) - pushed)
        # The best of some: other work on the machine only makes it slower.
        assert min(delays) < timedelta(seconds=2)
        # And what is told of it follows.
        state = running.parts.collectors[0].state
        wait_for(lambda: state.complete_through is not None and state.complete_through >= pushed, what="coverage")
        assert ready(running)[0] == 200
        path = "/api/activity/keys/endpoint/k/01/09/2026/01/12/2026"
        header = running.http.get(path, headers={"Authorization": ADMIN}).headers["Keytrail-Coverage"]
        assert header.startswith("complete-through=20")
        assert header.endswith("gaps=0")


def test_a_poison_record_in_the_middle(own_servers: Servers, tmp_path: Path) -> None:
    server = own_servers.start()
    client = server.client()
    blobs = [encoded(number, PLAIN) for number in range(20)]
    client.rpush(PLAIN, *blobs[:10], b"\xc1 no record", *blobs[10:])
    with collector(tmp_path, server) as running:
        wait_for(lambda: stored(running) == 20, what="the other records")
        source = running.parts.collectors[0].source
        wait_for(lambda: len(source.rejects(PLAIN)) == 1, what="dead letter")
        assert source.rejects(PLAIN)[0].record == b"\xc1 no record"
        assert running.query("SELECT seq FROM rejects") == [(10,)]


def test_the_breaker_stops_and_goes_on_when_closed(own_servers: Servers, tmp_path: Path) -> None:
    server = own_servers.start()
    client = server.client()
    client.rpush(PLAIN, *[b"\xc1"] * 60, *[encoded(number, PLAIN) for number in range(50)])
    with collector(tmp_path, server) as running:
        one = running.parts.collectors[0]
        wait_for(lambda: bool(one.breaker.reason), what="tripped breaker")
        push(client, 100, 10)
        time.sleep(1.5)
        assert stored(running) == 0
        assert one.source.rejects(PLAIN) == []
        assert client.llen(PLAIN) == 0, "sealing goes on: the time to live is running"
        status, said = ready(running)
        assert status == 503
        assert "could not be decoded" in said
        one.breaker._share = 0.9  # as after a change of the settings
        one.breaker.close()
        wait_for(lambda: stored(running) == 60, what="records after closing")
        wait_for(lambda: ready(running)[0] == 200, what="readiness")
        # What is tried again and fails again was refused before: it tells nothing of what a gateway writes now.
        wait_for(lambda: len(one.source.rejects(PLAIN)) == 60, what="dead letters")
        one.breaker._share = 0.5
        one.source.retry_rejects(PLAIN, [letter.id for letter in one.source.rejects(PLAIN)])
        push(client, 110, 10)
        wait_for(lambda: running.query("SELECT count() FROM rejects") == [(120,)], what="dead letters once more")
        wait_for(lambda: stored(running) == 70, what="records after them")
        assert one.breaker.reason == ""


def test_the_cap_stops_sealing_and_is_said(
    own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "SHORTEST", timedelta(seconds=1))  # of what is noted as a gap
    server = own_servers.start()
    client = server.client()
    client.rpush(PLAIN, *[b"\xc1"] * 60, *[encoded(number, PLAIN) for number in range(50)])
    with collector(tmp_path, server, redis__cap_bytes=100_000) as running:
        one = running.parts.collectors[0]
        wait_for(lambda: bool(one.breaker.reason), what="tripped breaker")
        push(client, 50, 500)
        wait_for(lambda: client.llen(PLAIN) == 0, what="sealing up to the cap")
        push(client, 550, 10)
        wait_for(lambda: "held in Redis" in one.state.trouble.get("seal", ""), what="alarm")
        status, said = ready(running)
        assert status == 503
        assert "held in Redis" in said
        time.sleep(1)
        assert client.llen(PLAIN) == 10, "left where it is"
        one.breaker._share = 0.9  # as after a change of the settings
        one.breaker.close()
        wait_for(lambda: stored(running) == 560, what="everything")
        wait_for(lambda: running.query("SELECT cause FROM gaps") == [("cap",)], what="gap")
        wait_for(lambda: ready(running)[0] == 200, what="readiness")


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.long)])
def test_redis_is_killed_and_comes_back(seconds: int, own_servers: Servers, tmp_path: Path) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    server = own_servers.start(*durable)
    with collector(tmp_path / "data", server) as running:
        push(server.client(), 0, 100)
        wait_for(lambda: stored(running) == 100, what="records")
        wait_for(lambda: ready(running)[0] == 200, what="readiness")
        server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert ready(running)[0] == 200
        assert running.http.get("/metrics").status_code == 200
        assert time.monotonic() - began < TIMEOUT_SECONDS, "Redis is not asked for an answer"
        server.process.send_signal(signal.SIGCONT)
        server.stop()
        time.sleep(seconds)
        status, said = ready(running)
        assert status == 503
        assert "seal" in said
        assert running.http.get("/metrics").status_code == 200
        assert running.parts.collectors[0].gaps.present() is not None
        revived = again(own_servers, server, *durable)
        push(revived.client(), 100, 100)
        wait_for(lambda: stored(running) == 200, what="records afterwards")
        wait_for(lambda: running.query("SELECT cause FROM gaps") == [("source_away",)], what="gap")
        wait_for(lambda: ready(running)[0] == 200, what="readiness")


def again(servers: Servers, server: Server, *options: str) -> Server:
    """Start a server anew on its port and its files."""
    return servers.start(*options, "--dir", str(server.log.parent), port=server.port)


def test_a_term_at_any_moment_loses_nothing_and_leaves_no_lease(own_servers: Servers, tmp_path: Path) -> None:
    server = own_servers.start()
    client = server.client()
    config = write_config(tmp_path, server.port)
    chance = random.Random(7)
    feed = Feed(client)
    with feed.running():
        for _ in range(3):
            process = Collecting(config)
            process.until_it_collects()
            time.sleep(chance.uniform(0, 1.5))
            process.terminate()
            assert process.wait(30) == 0
            process.kill()
            now = time.time() * 1000
            for key in client.scan_iter("keytrail:*"):
                if client.type(key) == b"zset":
                    held = client.zrangebyscore(key, now, "+inf")
                    assert held == [], "a lease that lasts"
    drain(config, client)
    found = reckon(tmp_path, feed)
    assert (found.lost, found.doubled, found.strange, found.drift) == (0, 0, 0, ())
    assert found.rejected == feed.poison


def test_each_record_is_handed_on_exactly_once(own_servers: Servers, tmp_path: Path) -> None:
    server = own_servers.start()
    client = server.client()
    with collector(tmp_path, server, redis__forward_prefix="pump-", redis__forward_ttl=600) as running:
        for number in range(3):
            push(client, number * 50, 50)
            wait_for(lambda n=number: stored(running) == (n + 1) * 50, what="records")  # type: ignore[misc]
        wait_for(lambda: waiting(client) == 0, what="the end")
        pump_list = running.parts.collectors[0].source.keys[PLAIN].forward
    assert pump_list.startswith("pump-")
    assert client.lrange(pump_list, 0, -1) == [encoded(number, PLAIN) for number in range(150)]


def test_two_gateways_at_once(own_servers: Servers, tmp_path: Path) -> None:
    one, two = own_servers.start(), own_servers.start()
    with collector(tmp_path, one, two) as running:
        push(one.client(), 0, 70)
        push(two.client(), 70, 30)
        wait_for(lambda: running.query("SELECT sum(stored) FROM batches") == [(100,)], what="records of both")
        assert running.query("SELECT origin, sum(stored) FROM batches GROUP BY origin ORDER BY sum(stored)") == [
            (f"redis://127.0.0.1:{two.port}/0/{PLAIN}", 30),
            (f"redis://127.0.0.1:{one.port}/0/{PLAIN}", 70),
        ]


def test_another_store_is_a_competing_reader(own_servers: Servers, tmp_path: Path) -> None:
    server = own_servers.start()
    client = server.client()
    rival = Source(
        connect(parse_redis_url(f"redis://127.0.0.1:{server.port}")), name="rival", owner="them", store_id="theirs"
    )
    push(client, 0, 40)
    assert [sealed.records for sealed in rival.seal()] == [40]
    with collector(tmp_path, server) as running:
        push(client, 40, 10)
        wait_for(lambda: stored(running) == 10, what="our records")
        state = running.parts.collectors[0].state
        wait_for(lambda: [one.store_id for one in state.other_stores] == ["theirs"], what="warning")
        wait_for(lambda: running.query("SELECT DISTINCT cause FROM gaps") == [("competing_reader",)], what="gap")
        assert stored(running) == 10
    taken = rival.take()
    assert taken is not None
    assert (taken.count, taken.takes) == (40, 1), "theirs was never touched"
    rival.close()


def test_a_list_that_shrinks_has_a_competing_reader(
    own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that pops leaves no other trace than a list shorter than it was a moment ago."""
    monkeypatch.setattr(rivals, "LOOK_FOR_RIVALS_EVERY", 0.5)  # What is found is kept as often.
    client = own_servers.start().client()
    pushed = popped = 0
    with collector(tmp_path, own_servers.running[0]) as running:

        def noticed() -> bool:
            nonlocal pushed, popped
            for _ in range(5):
                push(client, pushed, 200)
                pushed += 200
                popped += sum(client.lpop(PLAIN) is not None for _ in range(150))
            return running.query("SELECT DISTINCT cause FROM gaps") == [("competing_reader",)]

        wait_for(noticed, what="gap")
        wait_for(lambda: noticed() and running.query("SELECT count() FROM gaps")[0][0] > 1, what="second note of it")
        wait_for(lambda: stored(running) == pushed - popped, what="what was left")
        answer = running.http.get("/api/v1/pipeline", headers={"Authorization": ADMIN}).json()
        assert [gap["cause"] for gap in answer["gaps"]] == ["competing_reader"], "it went on: one gap"


def test_a_sealing_wakes_the_worker(own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "IDLE", 300.0)  # Until it looks by itself: longer than the test waits.
    client = own_servers.start().client()
    with collector(tmp_path, own_servers.running[0]) as running:
        for number in range(3):
            push(client, number * 10, 10)
            wait_for(lambda n=number: stored(running) == (n + 1) * 10, what="records")  # type: ignore[misc]


def test_a_token_without_its_rows_is_counted(own_servers: Servers, tmp_path: Path) -> None:
    """As after a kill between the engine's note of a token and the part that belongs to it."""
    server = own_servers.start()
    push(server.client(), 0, 30)
    with product(tmp_path, redis__url=[f"redis://127.0.0.1:{server.port}/0"]) as running:
        one = running.parts.collectors[0]
        url = parse_redis_url(f"redis://127.0.0.1:{server.port}/0")
        killed = Source(connect(url), name="killed", owner="killed", store_id=one.source.store_id)
        killed.seal()
        batch = killed.take()
        assert batch is not None
        killed.close()
        running.parts.writer.write(chunk_of(one.source.name, batch, one._read(batch), batch.attempt))
        running.parts.engine.command(f"ALTER TABLE {RAW} DELETE WHERE 1 SETTINGS mutations_sync = 2")
        running.parts.engine.command(f"TRUNCATE TABLE {BATCHES}")
        with collecting(running.parts.collectors):
            wait_for(lambda: not any(found.batches for found in one.source.backlog()), what="batch let go of")
        assert stored(running) == 30
        assert "\nkeytrail_phantom_tokens_total 1.0\n" in running.http.get("/metrics").text


# One adds up until it is cut off, the other makes a million rows into objects of the interpreter.
SLOW = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)"
HUGE = "SELECT number, toString(number), toString(number + 1) FROM numbers(1000000)"
SECONDS = 4


def test_slow_and_huge_queries_do_not_delay_sealing(own_servers: Servers, tmp_path: Path) -> None:
    client = own_servers.start().client()
    with collector(tmp_path, own_servers.running[0]) as running, ThreadPoolExecutor() as pool:
        statements = [HUGE, *[SLOW] * (running.parts.settings.store.readers - 1)]
        ask = partial(running.parts.engine.query, limits={"max_execution_time": SECONDS})
        began = time.monotonic()
        queries = [pool.submit(ask, sql) for sql in statements]
        number = 0
        while not all(query.done() for query in queries):
            push(client, number * 50, 50)
            number += 1
            # Sealing is due once a second, and must not wait for any of them.
            wait_for(lambda: client.llen(PLAIN) == 0, what="sealing")
        assert time.monotonic() - began >= SECONDS, "nothing was slow"
        assert number > 1, "the first was sealed when they had ended"
        assert isinstance(queries[-1].exception(), StoreLimited)
        wait_for(lambda: stored(running) == number * 50, what="records")
