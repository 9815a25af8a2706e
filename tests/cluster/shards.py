"""A real cluster of shards, and what stands in for the queue of `ON CLUSTER`, which its servers have not.

A front hands every statement to the first server as it is, and its answer back; what is inserted into all shards or
asked of them goes from server to server by ClickHouse's own protocol. Only a statement with `ON CLUSTER` goes to each
server, without that clause and with plain tables in the place of replicated ones. So tables that a real cluster has
whole on every node are filled on the first server only.
"""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from tests.cluster.clickhouse_server import PASSWORD, USER, ClickHouse, clickhouse_servers
from tests.cluster.unreplicated import without_replication

_ON_CLUSTER: Final = b" ON CLUSTER '"
_OF_ONE_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Shards(ThreadingHTTPServer):
    """The servers of a cluster behind one address.

    Attributes:
        nodes: The servers; the first one is asked.
        log: The statements that were sent, each with its parameters.
    """

    daemon_threads = True

    def __init__(self, nodes: list[ClickHouse]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.nodes = nodes
        self.log: list[dict[str, Any]] = []
        self.port = int(self.server_address[1])

    def url(self, database: str = "keytrail") -> str:
        """Its URL as a setting."""
        return f"clickhouse://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def handle_error(self, *_: object) -> None:
        """A connection that was cut."""


class _Handler(BaseHTTPRequestHandler):
    server: Shards
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body, nodes = self._body(), self.server.nodes[:1]
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        statement = parameters.get("query") or body.decode(errors="replace")
        self.server.log.append({"statement": statement, "parameters": parameters})
        if _ON_CLUSTER in body:
            body, nodes = without_replication(body.decode()).encode(), self.server.nodes
        try:
            answers = [self._ask(node, body) for node in nodes]
        except (OSError, http.client.HTTPException):
            # The server has gone, and so has the answer.
            self.close_connection = True
            return
        status, headers, content = next((one for one in answers if one[0] != 200), answers[0])
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _ask(self, node: ClickHouse, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=300)) as connection:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()


@contextlib.contextmanager
def sharded(folder: Path, shards: int = 2) -> Iterator[Shards]:
    """A cluster that does not outlive the test."""
    with clickhouse_servers(folder, shards) as nodes, Shards(nodes) as front:
        serving = threading.Thread(target=front.serve_forever, daemon=True)
        serving.start()
        try:
            yield front
        finally:
            front.shutdown()
            serving.join()
