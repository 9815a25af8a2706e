"""Whether the process lives, whether it can answer, and which organisations it knows."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from keytrail import __version__
from keytrail.errors import StoreError
from keytrail.query.request import ALL_TIME, Order, Query
from keytrail.query.run import run
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, require
from keytrail.web.openapi import WITH_TOKEN, problems

router = APIRouter(tags=["system"])


@router.get("/healthz")
def healthz() -> Response:
    """The process lives."""
    return answer({"status": "ok", "version": __version__})


@router.get("/readyz", responses={503: {"description": "They can not; `reasons` says why."}})
def readyz(request: Request) -> Response:
    """Queries can be answered."""
    try:
        app_state(request).engine.query("SELECT 1")
    except StoreError:
        return answer({"status": "unavailable", "reasons": ["the store does not answer"]}, 503)
    return answer({"status": "ok", "reasons": []})


@router.get("/api/v1/organisations", dependencies=WITH_TOKEN, responses=problems())
def organisations(request: Request, asker: Asker) -> Response:
    """The organisations that have records, with the number of records of each. Needs `admin`."""
    require(asker, "admin")
    question = Query(
        scope=asker.scope,
        spans=(ALL_TIME,),
        zone="UTC",
        dimensions=("org",),
        metrics=("records",),
        order=(Order("org"),),
        having_hits=False,
    )
    return answer({"data": run(app_state(request).engine, question).rows})
