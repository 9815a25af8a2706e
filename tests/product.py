"""The product as the tests use it: a real store in a folder, the real application, a real HTTP client."""

import base64
import contextlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from keytrail.cli.wiring import Assembly, assembled
from keytrail.config import Settings, load
from keytrail.record import Taken
from keytrail.store.tables import BATCHES, DUPLICATES, RAW, ROLLUPS
from keytrail.web.app import Service, make_service
from keytrail.web.app_state import AppState
from keytrail.web.auth import hash_token

TOKEN = "a-token-of-the-tests"
ADMIN = "an-admin-of-the-tests"


def token_entry(token: str = TOKEN, *, org: str, permissions: Sequence[str] = ("analytics",), **more: Any) -> Any:
    """A settings entry for a token."""
    name = f"{org}/{token}/{'-'.join(permissions)}"
    return {"name": name, "sha256": hash_token(token), "org": org, "permissions": list(permissions), **more}


class Product:
    """A store with its application.

    Attributes:
        parts: What the process is made of.
        http: Sends requests as a client would, the raw path untouched.
    """

    def __init__(self, parts: Assembly) -> None:
        self.parts = parts
        self.http = TestClient(parts.service.app, base_url="http://keytrail.test", raise_server_exceptions=False)

    def put(self, blobs: Iterable[bytes], list_name: str = "analytics-tyk-system-analytics") -> Taken:
        """Store records that stood in a Redis list."""
        return self.put_lines([captured(list_name, blob) for blob in blobs])

    def put_lines(self, lines: Sequence[bytes]) -> Taken:
        """Store lines of a file as a chunk of its own."""
        return self.parts.intake.take(uuid.uuid4().hex, 0, lines, following="", attempt=1, origin="test", org=None)

    def get(self, path: str, token: str = TOKEN, **headers: str) -> Any:
        """What a GET answers, of which status 200 is expected."""
        answer = self.http.get(path, headers={"Authorization": token, **headers})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def service(self, settings: Settings) -> Service:
        """Another application on the same store, with other settings."""
        held: AppState = self.http.app.state.held  # type: ignore[attr-defined]
        return make_service(
            settings,
            held.engine,
            secret="a secret of the tests",
            collect=held.collect,
            receive=held.receive,
            operations=held.operations,
            keeper=held.upkeep,
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a statement, for what no endpoint shows."""
        return self.parts.engine.query(sql).rows

    def came_in_time(self) -> None:
        """Let every chunk have been stored when its first record was made."""
        self.parts.engine.command(
            f"ALTER TABLE {BATCHES} UPDATE written_at = oldest WHERE stored > 0 SETTINGS mutations_sync = 2"
        )

    def empty(self) -> None:
        """Take all records away."""
        layout = self.parts.engine.layout
        for table in (RAW, BATCHES, DUPLICATES, *(rollup.table for rollup in ROLLUPS)):
            self.parts.engine.command(f"TRUNCATE TABLE {layout.local(table)}{layout.on_cluster}")


def captured(list_name: str, blob: bytes) -> bytes:
    """A line of a capture."""
    return json.dumps({"list": list_name, "record": base64.b64encode(blob).decode()}).encode()


def settings(directory: Path, *, tokens: Sequence[Any] = (), **values: Any) -> Settings:
    """Settings for a store in a folder; values by dotted name with `__` for the dot."""
    overrides = {name.replace("__", "."): value for name, value in values.items()}
    return load(overrides={"store.url": f"chdb:{directory}", "tokens": list(tokens), **overrides})


@contextlib.contextmanager
def product(directory: Path, *, tokens: Sequence[Any] = (), **values: Any) -> Iterator[Product]:
    """A product over a folder; the engine allows one folder at a time in a process."""
    with assembled(settings(directory, tokens=tokens, **values)) as parts:
        running = Product(parts)
        with running.http:
            yield running
