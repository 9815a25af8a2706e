"""Real ClickHouse servers: processes of their own, each with its folder and its ports, alone or as a cluster's shards.

What they are is clickhouse-local 26.7 with its listeners. So they have a server's tables, merges, users, disks, HTTP
and native protocol, and keep everything on disk. They have no listener for other replicas and no queue of `ON CLUSTER`:
a replicated table stays read-only there, and `ON CLUSTER` is refused. And where a server logs that a connection to it
was reset, as one is when another shard is killed, clickhouse-local ends: it is started again then, as a service is.
"""

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

import httpx
import pytest

from tests.ports import free_port

VERSION: Final = "26.7.2"
LIBRARY: Final = Path(__file__).parent / "clickhouse/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
USER: Final = "keytrail"
PASSWORD: Final = "p:ss/wörd#1"  # with what a URL has to escape
CLUSTER: Final = "kt"
BACKUPS: Final = "backups"
"""A disk that backups may be written to."""

needs_clickhouse: Final = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="there is a ClickHouse server to test with for x86-64 Linux with glibc only",
)

_CONFIG: Final = """<clickhouse>
    <path>{folder}/data/</path>
    <listen_host>127.0.0.1</listen_host><http_port>{http}</http_port><tcp_port>{tcp}</tcp_port>
    <logger><level>warning</level><log>{folder}/log</log></logger>
    <users_config>{folder}/users.xml</users_config>
    <macros><shard>{shard}</shard><replica>r1</replica></macros>
    <remote_servers><{cluster}>{shards}</{cluster}></remote_servers>
    <storage_configuration><disks>
        <{backups}><type>local</type><path>{folder}/backups/</path></{backups}>
    </disks></storage_configuration>
    <backups><allowed_disk>{backups}</allowed_disk></backups>
    <background_schedule_pool_size>8</background_schedule_pool_size>
    <background_pool_size>4</background_pool_size>
</clickhouse>"""

_USERS: Final = f"""<clickhouse>
    <profiles><default/></profiles><quotas><default/></quotas>
    <users>
        <default>
            <no_password/><profile>default</profile><quota>default</quota><networks><ip>127.0.0.1</ip></networks>
        </default>
        <{USER}>
            <password>{escape(PASSWORD)}</password><profile>default</profile><quota>default</quota>
            <networks><ip>127.0.0.1</ip></networks>
            <grants>
                <query>GRANT SELECT, INSERT, ALTER, CREATE, DROP, TRUNCATE, BACKUP ON keytrail*.*</query>
                <query>GRANT SELECT ON system.*</query>
                <query>GRANT TABLE ENGINE ON *</query>
                <query>GRANT CLUSTER, REMOTE ON *.*</query>
            </grants>
        </{USER}>
    </users>
</clickhouse>"""


@dataclass(slots=True)
class ClickHouse:
    """A server that can be killed and started again on its data.

    Attributes:
        folder: Where its data, its configuration and its log are.
        port: Its port for HTTP.
        native: Its port for other servers.
    """

    folder: Path
    port: int
    native: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _changing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def url(self, database: str = "keytrail", *, password: str = PASSWORD) -> str:
        """Its URL as a setting."""
        return f"clickhouse://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def configure(self, nodes: Sequence["ClickHouse"], shard: int) -> None:
        """Write its configuration as that of a cluster's shard."""
        self.folder.mkdir(parents=True)
        shards = "".join(
            f"<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host>"
            f"<port>{node.native}</port><user>{USER}</user><password>{escape(PASSWORD)}</password></replica></shard>"
            for node in nodes
        )
        config = _CONFIG.format(
            folder=self.folder,
            http=self.port,
            tcp=self.native,
            shard=shard,
            cluster=CLUSTER,
            shards=shards,
            backups=BACKUPS,
        )
        (self.folder / "config.xml").write_text(config, encoding="utf-8")
        (self.folder / "users.xml").write_text(_USERS, encoding="utf-8")

    def start(self) -> None:
        """Start it on what its folder holds, and again whenever it aborts; it need not answer yet."""
        command = [sys.executable, str(Path(__file__).with_name("clickhouse_process.py"))]
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [*command, str(LIBRARY), str(self.folder / "config.xml")],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, "TZ": "UTC"},
            )
        threading.Thread(target=self._keep_up, args=[self._process], daemon=True).start()

    def _keep_up(self, process: "subprocess.Popen[bytes]") -> None:
        if process.wait() == -signal.SIGABRT:
            with self._changing:
                # Unless it is being killed at the same moment.
                if self._process is process:
                    _let_go(process)
                    self.start()

    def until_it_answers(self, seconds: float = 60.0) -> None:
        """Wait until it can be asked."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            said = (self.folder / "out").read_text(encoding="utf-8", errors="replace")
            assert self._process.poll() in {None, -signal.SIGABRT}, said
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.port}/ping", timeout=5).text == "Ok.\n" and _taken(self.native):
                    return
            time.sleep(0.05)
        raise AssertionError(f"no ClickHouse within {seconds} s: see {self.folder}")

    def ask(self, sql: str) -> str:
        """What it answers to a user who may do everything, as text."""
        answer = httpx.post(f"http://127.0.0.1:{self.port}/", content=sql, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text

    def kill(self) -> None:
        """As if its machine had lost its process: no chance to write anything."""
        with self._changing:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _let_go(process)


def _let_go(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def clickhouse_servers(folder: Path, shards: int = 1) -> Iterator[list[ClickHouse]]:
    """Servers that answer and do not outlive the test; several are the shards of the cluster `kt`."""
    assert LIBRARY.exists(), "the server is not there: make clickhouse"
    servers = [ClickHouse(folder / f"clickhouse{number}", free_port(), free_port()) for number in range(shards)]
    try:
        for number, server in enumerate(servers, 1):
            server.configure(servers, number)
            server.start()
        for server in servers:
            server.until_it_answers()
        yield servers
    finally:
        for server in servers:
            server.kill()
