"""Records that come in over HTTP: the lines of a file, chunk by chunk, each exactly once."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from keytrail.errors import Forbidden, RequestError
from keytrail.record import MOST_ORIGIN, Taken
from keytrail.web.auth import Principal, require
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.paths import segment
from keytrail.web.problems import problem
from keytrail.web.system import principal

LARGEST_BODY: Final = 256 * 1024 * 1024
"""Bytes of one chunk of lines."""

MOST_LINES: Final = 2**32
"""Lines of a batch: a row remembers its place in 32 bits."""

router = APIRouter(tags=["ingest"], dependencies=WITH_TOKEN, responses=problems())


class Collect(Protocol):
    """What takes records; `cli.py` passes it in, as the web knows nothing of collecting."""

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


def _collect(request: Request, asker: Principal) -> Collect:
    require(asker, "ingest")
    if asker.scope.apis is not None:
        raise Forbidden("a token that is limited to some APIs can't send records")
    collect: Collect | None = request.app.state.collect
    if collect is None:
        raise RequestError("this process does not take records")
    return collect


Asker = Annotated[Principal, Depends(principal)]
Offset = Annotated[int, Path(ge=0, lt=MOST_LINES, description="Place of the chunk's first line in the batch.")]
BatchId = Annotated[str, Path(description="The batch: any text by which the sender knows the file again.")]
LineFormat = Literal["auto", "capture", "ndjson"]


@router.get("/api/v1/imports/{batch}/{offset}")
def confirmed(request: Request, asker: Asker, batch: BatchId, offset: Offset) -> Response:
    """What is already stored of a chunk of a file. Needs `ingest`."""
    found = _collect(request, asker).seen(segment(batch), offset, asker.scope.org)
    return Response(
        msgspec.json.encode({"data": [{"taken": row["taken"], "next": row["next"]} for row in found]}),
        media_type="application/json",
    )


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

    The same chunk sent again is not counted again.
    """
    collect = _collect(request, asker)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            return problem(413, f"a chunk has at most {LARGEST_BODY} bytes")
    lines = bytes(body).split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if offset + len(lines) > MOST_LINES:
        raise RequestError(f"offset: a batch has at most {MOST_LINES} lines")
    taken = await run_in_threadpool(
        collect.take,
        segment(batch),
        offset,
        lines,
        following=following,
        attempt=attempt,
        origin=origin,
        org=asker.scope.org,
        form=form,
    )
    answer = {
        "stored": taken.stored,
        "duplicate": taken.duplicate,
        "rejected": [{"line": r.index, "reason": r.reason.value, "detail": r.detail} for r in taken.rejected],
    }
    return Response(msgspec.json.encode(answer), media_type="application/json")
