"""Records that come in over HTTP, each exactly once: bodies of records, and the lines of a file chunk by chunk."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from keytrail.errors import Forbidden, RequestError, TooLarge
from keytrail.record import MOST_ORIGIN, Received, Taken
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, Principal, require
from keytrail.web.body import read_body
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.paths import segment

LARGEST_BODY: Final = 256 * 1024 * 1024
"""Bytes of one chunk of lines."""

LARGEST_INGEST: Final = 64 * 1024 * 1024
"""Bytes of a body of records as it is sent."""

MOST_KEY: Final = 255
"""Characters of an `Idempotency-Key`."""
MOST_LINES: Final = 2**32
"""Lines of a batch: a row remembers its place in 32 bits."""
MOST_CHUNK_LINES: Final = 100_000
"""Lines of one chunk: twice those that `keytrail import` sends at once."""

router = APIRouter(tags=["ingest"], dependencies=WITH_TOKEN, responses=problems())


class Collect(Protocol):
    """What takes records; `cli` passes it in, as the web knows nothing of collecting."""

    def seen(self, batch_id: str, offset: int, org: str | None) -> list[dict[str, Any]]:
        """What was confirmed of a chunk, for a sender of one organisation or all: `taken` and `next` of each."""

    def take(  # noqa: D417 - the first two are as above
        self,
        batch_id: str,
        offset: int,
        lines: Sequence[bytes],
        *,
        following: str,
        attempt: int,
        origin: str,
        org: str | None,
        form: str,
    ) -> Taken:
        """Store lines.

        Args:
            lines: Lines of a capture or of JSON records.
            following: What the chunk's successor is found by.
            attempt: 1 if nobody can have tried before.
            origin: Name for the ledger.
            org: The only organisation whose records are taken; None for all.
            form: What the lines hold.
        """


class Receive(Protocol):
    """What takes bodies of records; `cli` passes it in."""

    def receive(
        self, body: bytes, *, content_type: str, encoding: str, key: str, org: str | None, sender: str
    ) -> Received:
        """Store a body.

        Args:
            body: The body as it came.
            content_type: Its form.
            encoding: Its content encoding; "" for none.
            key: By which the sender knows the body again; "" for none.
            org: The only organisation whose records are taken; None for all.
            sender: Name for the ledger.

        Raises:
            RequestError: The body can't be taken as a whole.
        """


def _check(asker: Principal) -> None:
    require(asker, "ingest")
    if asker.scope.limited:
        raise Forbidden("a token that is limited to some APIs, keys or clients can't send records")


Offset = Annotated[int, Path(ge=0, lt=MOST_LINES, description="Place of the chunk's first line in the batch.")]
BatchId = Annotated[str, Path(description="The batch: any text by which the sender knows the file again.")]
LineFormat = Literal["auto", "capture", "ndjson"]


@router.get("/api/v1/imports/{batch}/{offset}")
def confirmed(request: Request, asker: Asker, batch: BatchId, offset: Offset) -> Response:
    """What is already stored of a chunk of a file. Needs `ingest`."""
    _check(asker)
    found = app_state(request).collect.seen(segment(batch), offset, asker.scope.org)
    return answer({"data": [{"taken": row["taken"], "next": row["next"]} for row in found]})


@router.post(
    "/api/v1/imports/{batch}/{offset}",
    responses=problems(413),
    # The body is read as it comes, so only we know what it is.
    openapi_extra={"requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def take(
    request: Request,
    asker: Asker,
    batch: BatchId,
    offset: Offset,
    following: Annotated[str, Query(alias="next", description="Digest that the next chunk is found by.")] = "",
    attempt: Annotated[int, Query(ge=1, le=1000, description="1 if nobody can have tried before.")] = 2,
    origin: Annotated[str, Query(max_length=MOST_ORIGIN, description="Name of the file, for the ledger.")] = "",
    form: Annotated[LineFormat, Query(alias="format", description="What the lines hold.")] = "auto",
) -> Response:
    """Store a chunk of a file's lines: of a capture, or JSON records. Needs `ingest`.

    The same chunk sent again is not counted again. It has at most 256 MiB and 100,000 lines.
    """
    _check(asker)
    body = await read_body(request, LARGEST_BODY)
    # Before they are told apart: empty lines of a large body would take gigabytes.
    if body.count(b"\n") > MOST_CHUNK_LINES:
        raise TooLarge(f"body: at most {MOST_CHUNK_LINES} lines")
    lines = body.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if offset + len(lines) > MOST_LINES:
        raise RequestError(f"offset: a batch has at most {MOST_LINES} lines")
    taken = await run_in_threadpool(
        app_state(request).collect.take,
        segment(batch),
        offset,
        lines,
        following=following,
        attempt=attempt,
        origin=origin,
        org=asker.scope.org,
        form=form,
    )
    return answer(
        {
            "stored": taken.stored,
            "duplicate": taken.duplicate,
            "rejected": [{"line": r.index, "reason": r.reason.value, "detail": r.detail} for r in taken.rejected],
        }
    )


_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}
_RECEIVED: Final[dict[str, Any]] = {
    "description": "What became of the records.",
    "headers": {
        "Idempotent-Replayed": {
            "description": "`true`: the answer to the first request with this key; nothing was stored again.",
            "schema": {"type": "string"},
        }
    },
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["taken", "stored", "duplicate", "rejected", "reasons", "rejects"],
                "properties": {
                    **{name: {"type": "integer"} for name in ("taken", "stored", "duplicate", "rejected")},
                    "reasons": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "rejects": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["index", "reason", "detail"],
                            "properties": {
                                "index": {"type": "integer"},
                                "reason": {"type": "string"},
                                "detail": {"type": "string"},
                            },
                        },
                    },
                },
            }
        }
    },
}


@router.post(
    "/api/v1/ingest",
    responses={200: _RECEIVED, **problems(409, 413, 415)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "JSON lines, a JSON array, msgpack maps (in an array or one after the other) or protobuf "
            "messages (each after its length as a varint); `Content-Encoding` may be `gzip` or `zstd`.",
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
                "application/msgpack": _BYTES,
                "application/protobuf": _BYTES,
            },
        }
    },
)
async def ingest(
    request: Request,
    asker: Asker,
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            max_length=MOST_KEY,
            description="By which the records are known when they are sent again: they count once, and the answer is "
            "the same. Without it they count whenever they are sent.",
        ),
    ] = "",
) -> Response:
    """Store a body of records, each under its own time stamp. Needs `ingest`.

    Records of another organisation than the token's are rejected as `foreign_org`. At most 64 MiB, packed and
    unpacked, and 100,000 records; at most 1,000 of the rejected are listed in `rejects`, all are counted.
    """
    _check(asker)
    body = await read_body(request, LARGEST_INGEST)
    received = await run_in_threadpool(
        app_state(request).receive.receive,
        body,
        content_type=request.headers.get("content-type", ""),
        encoding=request.headers.get("content-encoding", ""),
        key=key,
        org=asker.scope.org,
        sender=asker.name,
    )
    shown = answer(
        {
            "taken": received.taken,
            "stored": received.stored,
            # A repeated body gets the first answer, and two records that look alike are two records.
            "duplicate": 0,
            "rejected": received.rejected,
            "reasons": received.reasons,
            "rejects": [
                {"index": item.index, "reason": item.reason.value, "detail": item.detail} for item in received.listed
            ],
        }
    )
    if received.replayed:
        shown.headers["Idempotent-Replayed"] = "true"
    return shown
