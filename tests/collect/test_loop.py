"""The collector in one process: a real server, a real store, and what goes wrong between them."""

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keytrail.cli.collecting import collecting
from keytrail.collect import gaps, loop, rivals
from keytrail.collect.chunks import chunk_of
from keytrail.collect.frozen_batch import Sealed
from keytrail.collect.redis_url import RETRIES, TIMEOUT_SECONDS, parse_redis_url
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
    with collector(tmp_path, server) as running:
        state = running.parts.collectors[0].state
        pushed = datetime.now(UTC)

        def in_time() -> bool:
            """Push when a sealing has just missed it: what comes at any other moment is seen sooner."""
            nonlocal pushed
            missed, count = state.sealed_at, stored(running)
            wait_for(lambda: state.sealed_at != missed, what="sealing")
            began, sealed = state.looked_at, state.sealed_at
            assert began is not None
            assert sealed is not None
            pushed = datetime.now(UTC)
            push(client, count, 100)
            wait_for(lambda: stored(running) == count + 100, what="records")
            return began < sealed and datetime.now(UTC) - began < timedelta(seconds=2)

        # The best of some: other work on the machine only makes it slower.
        wait_for(in_time, what="records within two seconds")
        # And what is told of it follows.
        wait_for(lambda: state.complete_through is not None and state.complete_through >= pushed, what="coverage")
        wait_for(lambda: ready(running)[0] == 200, what="readiness")
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
        wait_for(lambda: "could not be decoded" in ready(running)[1], what="tripped breaker")
        push(client, 100, 10)
        # Sealing goes on, as the time to live is running, and each sealing wakes who would store.
        wait_for(lambda: client.llen(PLAIN) == 0, what="sealing")
        time.sleep(0.3)
        assert stored(running) == 0
        assert one.source.rejects(PLAIN) == []
        assert ready(running)[0] == 503
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
        wait_for(lambda: one.gaps.present() is not None, what="gap that lasts")
        assert client.llen(PLAIN) == 10, "left where it is"
        one.breaker._share = 0.9  # as after a change of the settings
        one.breaker.close()
        wait_for(lambda: stored(running) == 560, what="everything")
        wait_for(lambda: running.query("SELECT cause FROM gaps") == [("cap",)], what="gap")
        wait_for(lambda: ready(running)[0] == 200, what="readiness")


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.long)])
def test_redis_is_killed_and_comes_back(
    seconds: int, own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "SHORTEST", timedelta(seconds=1))  # of what is noted as a gap
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
        # Whoever asks Redis now waits for each of its tries.
        assert time.monotonic() - began < TIMEOUT_SECONDS * (RETRIES + 1), "Redis is not asked for an answer"
        server.process.send_signal(signal.SIGCONT)
        server.stop()
        time.sleep(seconds)
        wait_for(lambda: "seal" in ready(running)[1], what="trouble")
        assert ready(running)[0] == 503
        assert running.http.get("/metrics").status_code == 200
        wait_for(lambda: running.parts.collectors[0].gaps.present() is not None, what="gap that lasts")
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
            assert process.wait() == 0
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
        source = running.parts.collectors[0].source
        seal = source.seal

        def seal_what_is_left() -> list[Sealed]:
            """It pops between a look at the lists and the sealing that follows."""
            nonlocal popped
            popped += len(client.lpop(PLAIN, 50) or ())
            return seal()

        monkeypatch.setattr(source, "seal", seal_what_is_left)

        def noticed(times: int) -> bool:
            nonlocal pushed
            if not client.exists(PLAIN):
                push(client, pushed, 200)
                pushed += 200
            return running.query(f"SELECT count() >= {times} FROM gaps") == [(1,)]

        wait_for(partial(noticed, 1), what="gap")
        wait_for(partial(noticed, 2), what="second note of it")
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
SECONDS = 3


def test_slow_and_huge_queries_do_not_delay_sealing(own_servers: Servers, tmp_path: Path) -> None:
    client = own_servers.start().client()
    with collector(tmp_path, own_servers.running[0]) as running, ThreadPoolExecutor() as pool:
        statements = [HUGE, *[SLOW] * (running.parts.settings.store.readers - 1)]
        ask = partial(running.parts.engine.query, limits={"max_execution_time": SECONDS})
        tries = 0

        def sealed_beside_them() -> bool:
            """Sealing is due once a second, and must not wait for any of them."""
            nonlocal tries
            began = time.monotonic()
            queries = [pool.submit(ask, sql) for sql in statements]
            push(client, tries * 50, 50)
            tries += 1
            wait_for(lambda: client.llen(PLAIN) == 0, what="sealing")
            beside = not any(query.done() for query in queries[1:])
            wait(queries)
            assert isinstance(queries[-1].exception(), StoreLimited)
            assert time.monotonic() - began >= SECONDS, "nothing was slow"
            return beside

        # The best of some: other work on the machine may keep a sealing for longer than they take.
        wait_for(sealed_beside_them, what="sealing while queries run")
        wait_for(lambda: stored(running) == tries * 50, what="records")
