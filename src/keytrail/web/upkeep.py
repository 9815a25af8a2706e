"""Upkeep of the store over HTTP: a copy, holding it against its ledger, taking away what is not to be kept, erasing."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from keytrail.errors import RequestError
from keytrail.query.request import key_forms
from keytrail.store.erased import COLUMNS, Remembered
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, everything
from keytrail.web.body import read_body
from keytrail.web.openapi import WITH_TOKEN, problems
from keytrail.web.streamed import Streamed

LARGEST: Final = 1024 * 1024
"""Bytes of a body that says whom to erase; a receipt has 400 for each value."""

router = APIRouter(tags=["operations"], dependencies=WITH_TOKEN)


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
    return Streamed(
        app_state(request).upkeep.backup(),
        what="backup",
        request_id=request.state.request_id,
        media_type="application/x-tar",
        headers={"Content-Disposition": 'attachment; filename="keytrail.tar"'},
    )


@router.get("/api/v1/verify", responses=problems())
def verify(request: Request, asker: Asker) -> Response:
    """Hold the store against its ledger: the rows of every batch, every rollup against the raw rows.

    Reads something of every raw row. Needs `admin` for all organisations.
    """
    everything(asker)
    return answer(asdict(app_state(request).upkeep.verify()))


@router.get("/api/v1/prune", responses=problems())
def to_prune(request: Request, asker: Asker) -> Response:
    """What retention would take away now, partition by partition. Needs `admin` for all organisations."""
    everything(asker)
    return answer({"data": [step.shown() for step in app_state(request).upkeep.to_prune()]})


@router.post("/api/v1/prune", responses=problems())
def prune(request: Request, asker: Asker) -> Response:
    """Take away now what retention does not keep; what was. Needs `admin` for all organisations."""
    everything(asker)
    return answer({"data": [step.shown() for step in app_state(request).upkeep.prune()]})


@dataclass(frozen=True, slots=True)
class Erasure:
    """Whom to erase: one of the first three, or `again` with the digests of a receipt.

    Attributes:
        key: A key, as stored or the secret.
        ip: A client address, as stored.
        consumer: Id of a consumer: all that belongs or belonged to it.
        again: The digests of a receipt, to carry out in this store what was erased in another.
        org: Only this organisation.
        keep_counts: Keep the records for their counts, without what says whose they are.
    """

    key: str = ""
    ip: str = ""
    consumer: str = ""
    again: list[Remembered] = field(default_factory=list)
    org: str = ""
    keep_counts: bool = False


@router.post(
    "/api/v1/erase",
    responses=problems(413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            **{name: {"type": "string"} for name in ("key", "ip", "consumer", "org")},
                            "keep_counts": {"type": "boolean"},
                            "again": {"type": "array", "items": {"type": "object"}},
                        },
                    }
                }
            },
        }
    },
)
async def erase(request: Request, asker: Asker) -> Response:
    """Erase a key, a client address or a consumer everywhere, and remember it as a digest; the receipt of that.

    The body says whom, so that no log of addresses has it. Needs `admin` for all organisations.
    """
    everything(asker)
    body = await read_body(request, LARGEST, "an erasure has at most")
    try:
        wanted = msgspec.json.decode(body, type=Erasure)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the body: {error}") from None
    return answer(await run_in_threadpool(_erase, request, wanted))


def _erase(request: Request, wanted: Erasure) -> dict[str, Any]:
    named = [(kind, value) for kind in ("key", "ip", "consumer") if (value := getattr(wanted, kind))]
    if len(named) + bool(wanted.again) != 1:
        raise RequestError("one of key, ip, consumer and again says whom to erase")
    held = app_state(request)
    upkeep, operations = held.upkeep, held.operations
    if wanted.again:
        if not all(one.kind in COLUMNS and _is_hex(one.salt) and _is_hex(one.digest) for one in wanted.again):
            raise RequestError("again: these are no digests of a receipt")
        return asdict(upkeep.erase_again(wanted.again))
    ((kind, value),) = named
    values = key_forms(value) if kind == "key" else [value]
    subjects = upkeep.subjects_of(kind, values, wanted.org)
    receipt = upkeep.erase(subjects, keep_counts=wanted.keep_counts)
    # Bytes that could not be read as a record are theirs if their key or address stands in them.
    texts = [one.value.encode() for one in subjects]
    rejects = {"redis": operations.drop_rejects_with(texts), "files": upkeep.drop_rejected_lines_with(texts)}
    return {**asdict(receipt), "rejects": rejects}


def _is_hex(text: str) -> bool:
    return bool(re.fullmatch(r"(?:[0-9a-f]{2})+", text))
