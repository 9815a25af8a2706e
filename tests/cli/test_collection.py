"""The commands around collection, with a real Redis: check, rejects, rebuild."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keytrail.collect import radar
from keytrail.collect.access import acl_command
from keytrail.metrics import Metrics
from keytrail.store.tables import ROLLUPS
from tests.cli.captures import lines_of, path_of
from tests.cli.command import Ran, run, server
from tests.collect.redis_servers import Server, Servers, servers, wait_for
from tests.ports import free_port
from tests.product import product

Keytrail = Callable[..., Ran]
DOCS = Path(__file__).parents[2] / "docs"
LIST = "analytics-tyk-system-analytics"
POISON = b"\xc1 a secret that nobody may see"
TABLES = [rollup.table for rollup in ROLLUPS]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="module")
def redis_server(started: Servers) -> Server:
    return started.start()


def settings(port: int, more: str = "") -> str:
    return f'[redis]\nurl = "redis://someone:s3cret@127.0.0.1:{port}/3"\n{more}'


def configure(folder: Path, port: int, more: str = "") -> None:
    (folder / "keytrail.toml").write_text(settings(port, more), encoding="utf-8")


def allow(redis_server: Server) -> Any:
    """A client; the user of the settings has just the rights that are documented."""
    client = redis_server.client()
    client.select(3)
    client.flushdb()
    client.execute_command(
        *acl_command(database=3).replace("keytrail", "someone", 1).replace("PASSWORD", "s3cret").split(" ")
    )
    return client


def lines_about(ran: Ran, name: str) -> list[str]:
    return [line for line in ran.out.splitlines() if line[5:].startswith(name)]


# check, where no server runs ------------------------------------------------------------------------------------------


def test_redis_away(keytrail: Keytrail, tmp_path: Path) -> None:
    port = free_port()
    configure(tmp_path, port)
    keytrail("import", path_of())
    ran = keytrail("check")
    assert ran.status == 1
    assert "ok   store: answers, in this process" in ran.out, "a command that does not collect needs no Redis"
    (line,) = lines_about(ran, "redis")
    assert line.startswith(f"FAIL redis redis://127.0.0.1:{port}/3: ")
    assert "s3cret" not in ran.out + ran.err
    assert "someone" not in ran.out + ran.err


def test_wrong_password(keytrail: Keytrail, tmp_path: Path, redis_server: Server) -> None:
    allow(redis_server).execute_command("ACL", "SETUSER", "someone", "resetpass", ">other")
    configure(tmp_path, redis_server.port)
    ran = keytrail("check")
    assert ran.status == 1
    assert lines_about(ran, "redis")[0].startswith(f"FAIL redis redis://127.0.0.1:{redis_server.port}/3: ")
    assert "s3cret" not in ran.out + ran.err


def test_good_redis_before_the_first_start(keytrail: Keytrail, tmp_path: Path, redis_server: Server) -> None:
    allow(redis_server)
    configure(tmp_path, redis_server.port)
    ran = keytrail("check")
    assert ran.status == 0, ran
    assert "ok   store: none yet" in ran.out
    name = f"redis redis://127.0.0.1:{redis_server.port}/3: "
    assert lines_about(ran, "redis") == [
        f"ok   {name}persistence: the append-only file is off: a crash of Redis loses the records that it held; "
        "set appendonly yes where that matters",
        f"ok   {name}answers; nothing that would lose records",
    ]
    assert not (tmp_path / "data").exists()


def test_dangers_say_what_to_change(
    keytrail: Keytrail, tmp_path: Path, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = allow(redis_server)
    configure(tmp_path, redis_server.port)
    client.set("version-check-pump", "1.13.1")
    client.execute_command("ACL", "SETUSER", "someone", "-info")
    ran = keytrail("check", "--json")
    assert ran.status == 0, "neither a warning nor what is unknown is a fault"
    levels = {found["text"].partition(":")[0]: found["level"] for found in ran.json() if "redis" in found["name"]}
    assert levels == {"pump": "warning", "memory": "unknown", "persistence": "unknown"}
    ran = keytrail("check")
    assert "warn redis" in ran.out
    assert "?    redis" in ran.out
    assert all("; " in line for line in lines_about(ran, "redis"))
    client.rpush(LIST, *[b"x"] * 7)
    # The real limit is 20 seconds; Redis might have deleted the list before it is looked at.
    monkeypatch.setattr(radar, "TTL_NEAR_MS", 3_600_000)
    client.expire(LIST, 3_000)
    ran = keytrail("check")
    assert ran.status == 1
    (line,) = [line for line in lines_about(ran, "redis") if line.startswith("FAIL")]
    assert "list_ttl: Redis will delete 7 records" in line
    assert client.llen(LIST) == 7
    client.flushdb()


def test_smallest_rights(keytrail: Keytrail, tmp_path: Path) -> None:
    assert keytrail("check", "--acl").out == acl_command() + "\n"
    (tmp_path / "keytrail.toml").write_text(
        '[redis]\nurl = "redis+cluster://h"\nprefix = "{a}-"\nforward_prefix = "{a}pump-"\n', encoding="utf-8"
    )
    shown = keytrail("check", "--acl").out
    assert "~{a}pump-tyk-system-analytics* " in shown
    assert " +cluster|slots " in shown


def test_documented_rights_are_the_smallest() -> None:
    text = (DOCS / "delivery.md").read_text(encoding="utf-8")
    assert f"\n{acl_command()}\n" in text
    # What the rules are for a cluster and for a pump beside us is what they add.
    added = set(acl_command(forward_prefix="pump-", cluster=True, database=3).split()) - set(acl_command().split())
    assert added == {"~pump-tyk-system-analytics*", "+cluster|slots", "+command", "+select"}
    assert all(f"`{rule}`" in text for rule in added)


# rebuild and rejects, where no server runs ----------------------------------------------------------------------------


def test_rebuild_in_this_process(keytrail: Keytrail, tmp_path: Path) -> None:
    (tmp_path / "keytrail.toml").write_text("", encoding="utf-8")
    keytrail("import", path_of())
    day = "2026-11-23"
    asked = ["endpoints", "--key", "0cf682d6a7c977da", "--from", day, "--to", day]
    asked += ["--org", "5e9d9544a1dcd60001d0ed20", "--format", "json"]
    before = keytrail(*asked).out
    with product(tmp_path / "data") as broken:
        broken.parts.engine.command("TRUNCATE TABLE by_key_day")
        broken.parts.engine.command("TRUNCATE TABLE by_key_15m")
    assert keytrail(*asked).out != before
    assert keytrail("rebuild", "--from", "2026-12-01").out == "No raw records there.\n"
    ran = keytrail("rebuild", "--from", "2026-11-30")
    assert (ran.status, ran.out) == (0, f"{len(ROLLUPS)} rollups of 1 month are made again\n")
    shown = [line.partition(":")[0] for line in ran.err.splitlines()]
    assert shown == [f"2026-11 {table}" for table in TABLES]
    assert keytrail(*asked).out == before
    assert keytrail("rebuild", "--json").json() == {"rebuilt": [{"month": "2026-11", "table": one} for one in TABLES]}
    assert keytrail("rebuild", "--quiet") == Ran(0, "", "")
    assert keytrail("rebuild", "--from", "2026-12-01", "--to", "2026-11-30").status == 2
    assert keytrail("rebuild", "--to", "soon").status == 2


def test_rejects_need_a_collector_to_be_tried_again(keytrail: Keytrail, tmp_path: Path) -> None:
    assert keytrail("rejects").status == 1, "there is no store"
    for _ in range(2):
        ran = keytrail("rejects", "retry")
        assert ran.status == 1
        assert "start keytrail serve with redis.url first" in ran.err
        keytrail("import", path_of())
    assert keytrail("rejects").out == "No record was rejected.\n"
    assert keytrail("rejects", "--limit", "0").status == 2


# Beside a running server ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    client: Any
    data: Path
    home: Path

    def run(self, *arguments: object) -> Ran:
        return run(*arguments, "--data", self.data, home=self.home)

    def kept(self) -> int:
        """Rejected records whose bytes are in Redis."""
        return sum(self.client.xlen(key) for key in self.client.keys("keytrail:*:rejects:*"))

    def rejected(self) -> list[Any]:
        found: list[Any] = self.run("rejects", "--json").json()
        return found


@pytest.fixture(scope="module")
def running(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    client = allow(redis_server)
    with server(home / "data", home, settings=settings(redis_server.port)):
        yield Running(client, home / "data", home)


def test_collection_is_checked_and_the_rejected_are_tried_again(running: Running) -> None:
    items = [json.loads(line) for line in lines_of()[:200]]
    for item in items:
        running.client.rpush(LIST, base64.b64decode(item["record"]))
    running.client.rpush(LIST, POISON, POISON + b"!")
    # Their bytes are the last that is kept, after all of the chunk is noted in the store.
    wait_for(lambda: running.kept() == 2, what="rejected bytes")
    assert len(running.rejected()) == 2
    for one in running.rejected():
        assert set(one) == {"batch_id", "seq", "source", "list", "reason", "detail", "digest", "at"}
        assert (one["reason"], one["list"].endswith(f"/3/{LIST}")) == ("not_a_record", True)
    shown = running.run("rejects")
    assert shown.out.splitlines()[0].split() == ["when", "reason", "list", "digest", "detail"]
    assert len(shown.out.splitlines()) == 3
    for ran in (shown, running.run("rejects", "--json")):
        assert "secret" not in ran.out
        assert base64.b64encode(POISON).decode() not in ran.out
    assert len(running.run("rejects", "--limit", "1", "--json").json()) == 1

    check = running.run("check")
    assert check.status == 0, check
    assert "ok   store: answers, through the running server" in check.out
    (line,) = lines_about(check, "collection")
    assert line.startswith("ok   collection redis://127.0.0.1:")
    # As of the collector's last look.
    assert re.search(r"[\d,]+ records in lists, [\d,]+ sealed \([\d.]+ MB\), the oldest for [\d.]+ s", line)
    assert "ok   gaps: none in the last day" in check.out
    assert "ok   rollups: equal to the raw records" in check.out
    assert "ok   rejected: 2 not_a_record; keytrail rejects" in check.out
    (line,) = lines_about(check, "taken")
    assert re.search(
        r"^ok   taken: 202 records in \d+ chunks: 200 stored, 2 rejected \(2 not_a_record\), 0 duplicate$", line
    )
    batches = lines_about(check, "batch ")
    assert batches
    for line in batches:
        assert re.search(
            rf": \S+/3/{LIST}, sealed 20\S+Z, [\d,]+ taken: [\d,]+ stored, .* rejected.*, 0 duplicate", line
        )
        assert re.search(r"; attempt 1, visible after \d+\.\d s$", line)
    assert "nothing that would lose records" in check.out, "our own server is no competing reader"

    assert running.run("rejects", "retry", "--limit", "1").out.startswith("1 records are tried again")
    wait_for(lambda: len(running.rejected()) == 3, what="record that is rejected again")
    # The store knows of it a moment before Redis keeps it.
    wait_for(lambda: running.kept() == 2, what="rejected bytes")
    assert running.run("rejects", "retry", "--json").json() == {"retried": 2}
    wait_for(lambda: len(running.rejected()) == 5, what="records that are rejected again")


def test_rebuild_beside_a_running_server(running: Running) -> None:
    running.client.rpush(LIST, base64.b64decode(json.loads(lines_of()[0])["record"]))
    wait_for(lambda: running.run("rebuild", "--json").json()["rebuilt"] != [], what="month with records")
    ran = running.run("rebuild", "--from", "2026-11-01", "--to", "2026-11-01")
    assert (ran.status, len(ran.err.splitlines())) == (0, len(ROLLUPS))


def test_every_metric_is_documented() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    metrics = Metrics()
    found = [family for registry in (metrics.registry, metrics.traffic) for family in registry.collect()]
    assert len(found) > 15
    for family in found:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"| `{name}` | {family.documentation} |" in text, name
