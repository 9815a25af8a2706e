"""A small ClickHouse server for the tests: the HTTP interface of one, over the embedded engine in a process of its own.

Run as `python -m tests.cluster.front FOLDER`; prints its port. What it speaks: statements in the body or in `query`,
values bound by `param_…`, settings as parameters, user and password, `database`, sessions (refused: keytrail has none),
bodies and answers packed with gzip or zstd, answers in pieces, the exception header. A test may tell it to break
(`POST /test/fault`), and ask it what it was asked (`GET /test/log`).

The engine in it is a cluster of one shard (`kt`), as it has no port for others. It can neither run a statement on a
cluster nor write to a replicated table, so of each statement this takes away what makes it one: `ON CLUSTER`,
`Replicated…(path, replica)`, and `replicated_` of the windows. Nothing else is changed.
"""

import argparse
import email
import gzip
import json
import os
import re
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

import chdb
import zstandard

from tests.cluster.unreplicated import without_replication

_connect: Any = chdb.connect

USER: Final = "keytrail"
PASSWORD: Final = "p:ss/wörd#1"  # with what a URL has to escape
CLUSTER: Final = "kt"
FOUR: Final = "four"
"""A cluster whose four shards are all this one: what a statement asks of whom can be seen in its plan."""

CONFIG: Final = f"""<clickhouse>
    <tcp_port>9000</tcp_port>
    <macros><shard>01</shard><replica>r1</replica></macros>
    <remote_servers><{CLUSTER}><shard>
        <internal_replication>true</internal_replication>
        <replica><host>127.0.0.1</host><port>9000</port></replica>
    </shard></{CLUSTER}>
    <{FOUR}>{"<shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>" * 4}</{FOUR}>
    </remote_servers>
</clickhouse>"""

_NO_SETTINGS: Final = frozenset(
    {"query", "database", "query_id", "session_id", "wait_end_of_query", "client_protocol_version", "buffer_size"}
    | {"enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms"}
)
_NOT_FOUND: Final = {60, 81}


class Refused(Exception):
    """An answer that is an error: its number and text."""

    def __init__(self, code: int, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class Front(ThreadingHTTPServer):
    """The server and its engine.

    Args:
        folder: Where the engine keeps its data.
        port: Port to listen on; 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.xml"
        config.write_text(CONFIG, encoding="utf-8")
        self._path = f"{folder / 'engine'}?config-file={config}"
        self._files = tempfile.mkdtemp(dir=folder)
        # One is always open: the engine lives as long as any handle.
        self._first = _connect(self._path)
        self._lock = threading.Lock()
        self.faults: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []

    def handle_error(self, *_: object) -> None:
        """A connection that was cut, or that its client gave up."""

    def fault(self, statement: str) -> dict[str, Any]:
        """What is to go wrong with a statement, once; empty if nothing."""
        with self._lock:
            for fault in self.faults:
                if re.search(fault["match"], statement):
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                    return fault
        return {}

    def run(self, statement: str, data: bytes, parameters: dict[str, str]) -> bytes:
        """Run a statement as a server would.

        Raises:
            Refused: The engine says no.
        """
        handle = _connect(self._path)
        try:
            database = parameters.get("database")
            if database:
                handle.query(f"USE `{database}`", "TabSeparated")
            for name, value in parameters.items():
                if name not in _NO_SETTINGS and not name.startswith("param_"):
                    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                    handle.query(f"SET {name} = '{quoted}'", "TabSeparated")
            bound = {name.removeprefix("param_"): value for name, value in parameters.items() if name[:6] == "param_"}
            if data:
                return self._insert(handle, statement, data)
            result = handle.query(without_replication(statement), "TabSeparated", params=bound)
            return bytes(result.bytes() or b"")
        except RuntimeError as error:
            text = str(error)
            code = re.search(r"Code: (\d+)", text)
            raise Refused(int(code[1]) if code else 1, text[text.find("Code:") :]) from error
        finally:
            handle.close()

    def _insert(self, handle: Any, statement: str, data: bytes) -> bytes:
        head, _, form = statement.partition(" FORMAT ")
        file, name = tempfile.mkstemp(dir=self._files)
        try:
            with os.fdopen(file, "wb") as out:
                out.write(data)
            handle.query(f"{head} FROM INFILE '{name}' FORMAT {form.strip()}", "TabSeparated")
        finally:
            Path(name).unlink()
        return b""


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Front
    protocol_version = "HTTP/1.1"
    # A head and its body in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """A statement without a body, or what was asked so far."""
        if self.path == "/test/log":
            self._answer(json.dumps(self.server.log).encode())
        else:
            self._statement()

    def do_POST(self) -> None:
        """A statement, or what is to go wrong."""
        if self.path == "/test/fault":
            self.server.faults.append({"times": 1, **json.loads(self._body())})
            self._answer(b"")
        else:
            self._statement()

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _statement(self) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body, packed = self._body(), self.headers.get("Content-Encoding", "")
        if (kind := self.headers.get("Content-Type", "")).startswith("multipart/form-data"):
            # So many bound values that they would not go into a URL.
            form = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
            for part in cast(list[Message], form.get_payload()):
                name = part.get_param("name", header="content-disposition")
                parameters[str(name)] = cast(bytes, part.get_payload(decode=True)).decode()
            body = b""
        if packed == "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        elif packed == "gzip":
            body = gzip.decompress(body)
        statement, data = self._taken_apart(parameters, body)
        began = time.perf_counter()
        noted = {"statement": statement, "parameters": parameters, "bytes": len(data), "at": time.time()}
        fault = self.server.fault(statement)
        try:
            self._check(parameters)
            self._break(fault, "before")
            given = self.server.run(statement, data, parameters)
            self.server.log.append({**noted, "ok": True, "ms": (time.perf_counter() - began) * 1000})
            self._break(fault, "after")
        except Refused as error:
            self.server.log.append({**noted, "ok": False})
            status = 404 if error.code in _NOT_FOUND else error.status
            self._answer(str(error).encode(), status, {"X-ClickHouse-Exception-Code": str(error.code)})
        except ConnectionAbortedError:
            self.close_connection = True
        else:
            self._answer(given, cut="middle" in fault.get("cut", ""), packed=parameters.get("enable_http_compression"))

    @staticmethod
    def _taken_apart(parameters: dict[str, str], body: bytes) -> tuple[str, bytes]:
        """The statement and the rows after it."""
        if "query" in parameters:
            return parameters["query"], body
        found = re.match(rb"\s*INSERT INTO [^\n]* FORMAT (\w+)\s*\n", body)
        return (found[0].decode().strip(), body[found.end() :]) if found else (body.decode(), b"")

    def _check(self, parameters: dict[str, str]) -> None:
        import base64

        given = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        if self.headers.get("Authorization") != given:
            raise Refused(
                516, "Code: 516. DB::Exception: keytrail: Authentication failed. (AUTHENTICATION_FAILED)", 403
            )
        if "session_id" in parameters:
            raise Refused(372, "Code: 372. DB::Exception: Session not found. (SESSION_NOT_FOUND)", 404)

    def _break(self, fault: dict[str, Any], when: str) -> None:
        if fault.get("cut") == when:
            self.connection.shutdown(2)
            raise ConnectionAbortedError
        if when == "before":
            time.sleep(fault.get("seconds", 0))
            if "code" in fault:
                text = f"Code: {fault['code']}. DB::Exception: told to fail. (TOLD_TO)"
                raise Refused(fault["code"], text, fault.get("status", 500))

    def _answer(
        self,
        content: bytes,
        status: int = 200,
        headers: dict[str, str] | None = None,
        *,
        cut: bool = False,
        packed: str | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("X-ClickHouse-Summary", json.dumps({"read_rows": "0"}))
        self.send_header("X-ClickHouse-Timezone", "UTC")
        if packed == "1" and "zstd" in self.headers.get("Accept-Encoding", ""):
            content = zstandard.compress(content)
            self.send_header("Content-Encoding", "zstd")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(content), 1 << 16):
            piece = content[start : start + (1 << 16)]
            self.wfile.write(b"%x\r\n" % len(piece) + (piece[: len(piece) // 2] if cut else piece + b"\r\n"))
            if cut:
                self.wfile.flush()
                self.connection.shutdown(2)
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")


def main() -> None:
    """Serve until the parent goes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    arguments = parser.parse_args()
    front = Front(arguments.folder, arguments.port)
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)
        front.socket = context.wrap_socket(front.socket, server_side=True)
    print(front.server_address[1], flush=True)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
