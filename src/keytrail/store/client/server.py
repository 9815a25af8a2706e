"""A ClickHouse server, or a cluster, as the engine: any number of processes, each statement to any node.

Records are inserted through the distributed table, and wait until every shard has its part: the servers know where a
row belongs, so nothing here needs to know the shards or to reach each of them. A chunk that is tried again is one block
again and so is split as before, and on each shard its token is known to that shard's tables.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError

from keytrail.config import Store
from keytrail.errors import StoreAway
from keytrail.store.address import Address
from keytrail.store.client.engine import Handles, engine_errors
from keytrail.store.layout import Layout

_CLUSTER_INSERTS: Final[Mapping[str, Any]] = {
    # Answer when every shard has its part, not when this node has queued it.
    "distributed_foreground_insert": 1,
    # ... and most replicas of the shard have it too.
    "insert_quorum": "auto",
}


class ServerEngine(Handles):
    """A server or a cluster; its database is made if it is missing.

    Args:
        address: Where it is; where there are several hosts, one that answers.
        settings: The store's settings.

    Raises:
        StoreAway: None of the hosts can be reached.
        StoreError: The server refuses the user or the database.
    """

    def __init__(self, address: Address, settings: Store) -> None:
        self.address = address
        self._settings = settings
        # Each handle begins with the next host, so that one process asks all of them.
        self._turn = itertools.count()
        layout = Layout(settings.cluster, shared=True)
        with engine_errors():
            self._make_database(layout)
            super().__init__(
                lambda: self._connect(address.database),
                readers=settings.readers,
                limits={
                    "max_execution_time": settings.max_seconds,
                    "max_memory_usage": settings.max_memory,
                    # A key of an organisation is on one shard: the others are not asked.
                    **({"optimize_skip_unused_shards": int(settings.one_shard)} if settings.cluster else {}),
                },
                layout=layout,
                inserts=_CLUSTER_INSERTS if settings.cluster else {},
            )

    def _make_database(self, layout: Layout) -> None:
        """Only if it is missing: a user who may not make one can be given it."""
        client = self._connect("")
        try:
            known = client.query(
                "SELECT count() FROM system.databases WHERE name = {name:String}", {"name": self.address.database}
            )
            if not known.result_rows[0][0]:
                client.command(f"CREATE DATABASE IF NOT EXISTS {self.address.database}{layout.on_cluster}")
        finally:
            client.close()

    def _connect(self, database: str) -> Client:
        hosts = self.address.hosts
        first = next(self._turn)
        for number in range(len(hosts)):
            host, port = hosts[(first + number) % len(hosts)]
            try:
                return self._open(host, port, database)
            except OperationalError:
                if number == len(hosts) - 1:
                    raise
        raise StoreAway("there is no host")

    def _open(self, host: str, port: int, database: str) -> Client:
        settings, secure = self._settings, self.address.secure
        return clickhouse_connect.get_client(
            interface="https" if secure else "http",
            host=host,
            port=port,
            username=self.address.user,
            password=self.address.password,
            database=database,
            verify=settings.verify,
            ca_cert=str(settings.ca_file) if settings.ca_file else None,
            client_cert=str(settings.cert_file) if settings.cert_file else None,
            client_cert_key=str(settings.key_file) if settings.key_file else None,
            connect_timeout=settings.connect_timeout,
            send_receive_timeout=settings.timeout,
            query_retries=settings.retries,
            client_name="keytrail",
            # Nothing is kept between statements, so that a balancer may send each elsewhere.
            autogenerate_session_id=False,
            # What went wrong with another host must not wait in this one's pool.
            dedicated_pool=True,
        )
