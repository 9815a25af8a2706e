"""Upkeep of the store over HTTP: a copy of it, holding it against its ledger, taking away what is not to be kept."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response, StreamingResponse

from keytrail.errors import Forbidden, StoreError
from keytrail.store.upkeep import Upkeep
from keytrail.web.auth import Principal, everything
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.system import answer, principal

log = structlog.get_logger("keytrail.web")

router = APIRouter(tags=["operations"], dependencies=WITH_TOKEN)

Asker = Annotated[Principal, Depends(principal)]


def _upkeep(request: Request) -> Upkeep:
    found: Upkeep | None = request.app.state.upkeep
    if found is None:
        raise Forbidden("this process may not write to the store")
    return found


@router.get(
    "/api/v1/backup",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The copy.",
            "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(409),
    },
)
def backup(request: Request, asker: Asker) -> Response:
    """A copy of the embedded store as of now, for `keytrail restore`. Needs `admin` for all organisations.

    An answer that ends without its end (the connection breaks off) is not whole, and is not restored.
    """
    everything(asker)
    pieces = _upkeep(request).backup()
    # The first here, so that what can't be done is said by a status.
    first = next(pieces)
    return StreamingResponse(
        _rest(first, pieces, request.state.request_id),
        media_type="application/x-tar",
        headers={"Content-Disposition": 'attachment; filename="keytrail.tar"'},
    )


def _rest(first: bytes, pieces: Iterator[bytes], request_id: str) -> Iterator[bytes]:
    yield first
    try:
        yield from pieces
    except (StoreError, OSError) as error:
        log.error("backup broke off", request_id=request_id, error=str(error))
        raise


@router.get("/api/v1/verify", responses=problems())
def verify(request: Request, asker: Asker) -> Response:
    """Hold the store against its ledger: the rows of every batch, every rollup against the raw rows.

    Reads something of every raw row. Needs `admin` for all organisations.
    """
    everything(asker)
    return answer(asdict(_upkeep(request).verify()))


@router.get("/api/v1/prune", responses=problems())
def to_prune(request: Request, asker: Asker) -> Response:
    """What retention would take away now, partition by partition. Needs `admin` for all organisations."""
    everything(asker)
    return answer({"data": [step.shown() for step in _upkeep(request).to_prune()]})


@router.post("/api/v1/prune", responses=problems())
def prune(request: Request, asker: Asker) -> Response:
    """Take away now what retention does not keep; what was. Needs `admin` for all organisations."""
    everything(asker)
    return answer({"data": [step.shown() for step in _upkeep(request).prune()]})
