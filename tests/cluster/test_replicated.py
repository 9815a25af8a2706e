"""A cluster's tables in a real Keeper's place: ZooKeeper. Long, as it starts one.

The embedded engine makes replicated tables, but can't write to them: it has no port for its replicas.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from keytrail.store.layout import SHARDED, Layout
from keytrail.store.migrate import migrations
from keytrail.store.tables import ROLLUPS
from keytrail.store.turns import _TABLE as TURNS
from tests.collect.redis_servers import wait_for
from tests.ports import free_port

ZOOKEEPER: Final = Path("/usr/share/java/zookeeper.jar")
CLUSTER: Final = "stats"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (ZOOKEEPER.exists() and shutil.which("java")), reason="needs Debian's zookeeper"),
]


@contextlib.contextmanager
def zookeeper(folder: Path) -> Iterator[int]:
    """A server that does not outlive the test, and its port."""
    port = free_port()
    (folder / "zoo.cfg").write_text(
        f"tickTime=500\ndataDir={folder / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
        "admin.enableServer=false\n"
    )
    command = ["java", "-Xmx128m", "-cp", "/usr/share/java/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, str(folder / "zoo.cfg")], stdout=log, stderr=log, cwd=folder)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"srvr")
            return b"Mode: standalone" in connection.recv(4096)
        return False

    try:
        wait_for(answers, seconds=60, what=f"ZooKeeper: see {folder}")
        yield port
    finally:
        process.kill()
        process.wait()


def config(port: int, shard: int) -> str:
    return f"""<clickhouse>
    <tcp_port>9000</tcp_port>
    <zookeeper><node><host>127.0.0.1</host><port>{port}</port></node></zookeeper>
    <macros><shard>{shard}</shard><replica>r1</replica></macros>
    <remote_servers><{CLUSTER}>
        <shard><internal_replication>true</internal_replication>
            <replica><host>127.0.0.1</host><port>9000</port></replica></shard>
        <shard><internal_replication>true</internal_replication>
            <replica><host>127.0.0.2</host><port>9000</port></replica></shard>
    </{CLUSTER}></remote_servers>
</clickhouse>"""


_MAKE: Final = """
import json, os, sys
import chdb

path, statements = sys.argv[1], json.load(sys.stdin)
engine = chdb.connect(path)
for statement in statements:
    try:
        engine.query(statement)
    except RuntimeError as error:
        # Without a port for its replicas a replicated table is read-only: its settings can't be changed.
        if not (statement.startswith("ALTER TABLE") and "Code: 242" in str(error)):
            raise
for sql, end in (
    ("SELECT table, replica_path FROM system.replicas", "|"),
    ("SELECT name, engine FROM system.tables WHERE database = 'keytrail'", ""),
):
    print(engine.query(sql, "JSONCompactColumns"), end=end, flush=True)
# It would wait for its replicas, which it can't have.
os._exit(0)
"""


def test_every_table_of_a_cluster_is_made(tmp_path: Path) -> None:
    """As the queue would run it on a node: each statement without its `ON CLUSTER`; twice, as two processes would."""
    layout = Layout(CLUSTER, shared=True)
    released = [statement for _, _, statements in migrations() for statement in statements]
    laid = [each.replace(layout.on_cluster, "") for each in (*released, TURNS) for each in layout.over(each)]
    with zookeeper(tmp_path) as port:
        (tmp_path / "config.xml").write_text(config(port, 1))
        ran = subprocess.run(
            [sys.executable, "-c", _MAKE, f"{tmp_path / 'engine'}?config-file={tmp_path / 'config.xml'}"],
            input=json.dumps(["CREATE DATABASE keytrail", "USE keytrail", *laid, *laid]),
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
    assert ran.returncode == 0, ran.stderr
    replicas, tables = (dict(zip(*json.loads(part), strict=True)) for part in ran.stdout.split("|"))
    made = {statement.split()[2] for statement in released if statement.startswith("CREATE TABLE")}
    for name in (*made, "turns"):
        local = layout.local(name)
        where, replica = ("1", "r1") if name in SHARDED else ("all", "1-r1")
        assert replicas[local] == f"/clickhouse/tables/{where}/keytrail/{local}/replicas/{replica}"
    assert {name for name, engine in tables.items() if engine == "Distributed"} == SHARDED
    assert sum(engine == "MaterializedView" for engine in tables.values()) == len(ROLLUPS)
