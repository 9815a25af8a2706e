"""What became of what the gateway wrote: the ledger, the backlog, gaps, rejected records, and our metrics."""

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from keytrail.errors import NotAuthorised, RequestError
from keytrail.instants import text_of
from keytrail.query.request import ALL_TIME
from keytrail.query.request import Query as StoreQuery
from keytrail.query.run import run
from keytrail.store.kept import RAW_ROWS, kept_since, month_of, shown_since
from keytrail.store.ledger import Ledger
from keytrail.store.rebuild import months_of_raw
from keytrail.store.tables import ROLLUPS
from keytrail.web.answer import answer
from keytrail.web.app_state import app_state
from keytrail.web.auth import Asker, Principal, asker_of, everything, require
from keytrail.web.openapi import WITH_TOKEN, problems

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_TABLES: Final = [rollup.table for rollup in ROLLUPS]

router = APIRouter(tags=["operations"])


class Operations(Protocol):
    """What collection tells and can be told; `cli` passes it in, as the web knows nothing of collecting."""

    def collection(self, *, lists: bool) -> list[dict[str, Any]]:
        """Each source: what it does, what troubles it, the gap that lasts; with the lists' backlog if asked."""

    def troubles(self) -> list[str]:
        """Why collection does not go on as it should; empty when it does or when nothing is collected."""

    def complete_through(self) -> str | None:
        """RFC 3339: everything that was pushed until then, gaps apart, is in answers; None where that is not known."""

    def metrics(self, *, requests: bool) -> bytes:
        """Our metrics as Prometheus reads them; with the gateway's requests by organisation if asked."""

    def dead_letters(self, *, limit: int) -> list[dict[str, Any]]:
        """Rejected records with their bytes, base64."""

    def retry(self, *, limit: int) -> int:
        """Try rejected records again; how many."""

    def drop_rejects_with(self, texts: Collection[bytes]) -> int:
        """Delete the rejected records in whose bytes one of some texts stands; how many."""

    def rebuild(self, months: Collection[int], tables: Collection[str] = ()) -> list[str]:
        """Make rollups of months (YYYYMM) from the raw rows again; what was rebuilt: `table month`."""

    def drift(self) -> list[str]:
        """Rollups of this month and the last that differ from the raw rows: `table month`."""


Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]


@router.get("/api/v1/pipeline", dependencies=WITH_TOKEN, responses=problems())
def pipeline(request: Request, asker: Asker, limit: Limit = 50) -> Response:
    """The ledger, newest first: what became of each chunk, and of all; backlog; gaps.

    Of a chunk: its list, when it was sealed and written, the attempt, records taken, stored, rejected by reason and
    found to be duplicates, and the time until they were visible. `taken` is the sum of `stored`, `rejected` and
    `duplicate`. A chunk that was taken again, as after a kill, or a body that was sent again under its key, is an entry
    of its own, all of it `duplicate`, and has no `ms_to_visible`.

    Needs `analytics`, and then shows what was stored of the own organisation; with `admin` everything. A token that is
    limited to some APIs, keys or clients gets their number of stored records and no chunks: those know no such parts.
    """
    return answer(told(request, asker, limit))


def told(request: Request, asker: Principal, limit: int) -> dict[str, Any]:
    """What the pipeline tells an asker; see `pipeline`.

    Raises:
        Forbidden: They may not see numbers.
    """
    require(asker, "analytics")
    held = app_state(request)
    ledger, operations = Ledger(held.engine), held.operations
    org = None if asker.sees_everything else (asker.scope.org or "")
    shown: dict[str, Any] = {
        "complete_through": operations.complete_through(),
        "totals": {"stored": _records(request, asker)} if asker.scope.limited else ledger.totals(org),
        "gaps": [
            *(
                {"source": gap.source, "start": text_of(gap.start), "end": text_of(gap.end), "cause": gap.cause}
                for gap in ledger.gaps(ALL_TIME.start, ALL_TIME.end)
            ),
            *(
                {"source": one["source"], "start": one["gap"]["start"], "end": None, "cause": one["gap"]["cause"]}
                for one in operations.collection(lists=False)
                if one["gap"]
            ),
        ],
        "batches": [] if asker.scope.limited else ledger.batches(limit=limit, org=org),
    }
    if org is None:
        shown["store_id"] = ledger.store_id()
        shown["sources"] = operations.collection(lists=True)
        shown["rejects"] = ledger.rejects(limit=limit)
        shown["tables"] = ledger.tables()
        shown["drift"] = operations.drift()
        shown["upkeep"] = held.upkeep.told()
    return shown


def _records(request: Request, asker: Principal) -> int:
    question = StoreQuery(asker.scope, (ALL_TIME,), "UTC", dimensions=(), metrics=("records",), having_hits=False)
    return int(run(app_state(request).engine, question).rows[0]["records"])


@router.get("/api/v1/rejects", dependencies=WITH_TOKEN, responses=problems())
def rejects(
    request: Request,
    asker: Asker,
    limit: Limit = 100,
    with_bytes: Annotated[
        bool, Query(alias="bytes", description="False: what the store remembers of them, newest first, without bytes.")
    ] = True,
) -> Response:
    """Rejected records whose bytes are still kept, with their bytes. Needs `admin` for all organisations."""
    everything(asker)
    if not with_bytes:
        return answer({"data": Ledger(app_state(request).engine).rejects(limit=limit)})
    return answer({"data": app_state(request).operations.dead_letters(limit=limit)})


@router.post("/api/v1/rejects/retry", dependencies=WITH_TOKEN, responses=problems())
def retry(request: Request, asker: Asker, limit: Limit = 1000) -> Response:
    """Try rejected records again, after a fix. Needs `admin` for all organisations."""
    everything(asker)
    return answer({"retried": app_state(request).operations.retry(limit=limit)})


@router.get("/api/v1/rebuild", dependencies=WITH_TOKEN, responses=problems())
def rebuildable(request: Request, asker: Asker) -> Response:
    """The months that have raw records, since when these are whole, and the rollups. Needs `admin` for everything."""
    everything(asker)
    engine = app_state(request).engine
    months = [_month(number) for number in months_of_raw(engine)]
    since = kept_since(engine, RAW_ROWS)
    return answer({"months": months, "tables": _TABLES, "since": shown_since(since)})


@router.post("/api/v1/rebuild", dependencies=WITH_TOKEN, responses=problems())
def rebuild(
    request: Request,
    asker: Asker,
    start: Annotated[date | None, Query(alias="from", description="First day, YYYY-MM-DD; its whole month.")] = None,
    end: Annotated[date | None, Query(alias="to", description="Last day, YYYY-MM-DD; its whole month.")] = None,
    table: Annotated[str, Query(description="Only this rollup.")] = "",
) -> Response:
    """Make the rollups from the raw records again: whole months, writing pauses meanwhile; safe to repeat.

    What stands for days whose raw records are gone is kept as it is, and `from` must not name one. Needs `admin` for
    all organisations.
    """
    everything(asker)
    if table and table not in _TABLES:
        raise RequestError(f"table: one of {', '.join(_TABLES)}")
    first, last = month_of(start or date.min), month_of(end or date.max)
    if first > last:
        raise RequestError("from is after to")
    engine = app_state(request).engine
    since = kept_since(engine, RAW_ROWS)
    if start and start < since:
        raise RequestError(f"from: the raw records of {start} are gone (retention): begin on {since} or later")
    months = [month for month in months_of_raw(engine) if first <= month <= last]
    return answer({"rebuilt": app_state(request).operations.rebuild(months, [table] if table else [])})


def _month(number: int) -> str:
    return f"{number // 100:04}-{number % 100:02}"


@router.get("/readyz/collect", responses={503: {"description": "They are not; `reasons` says why."}})
def ready_to_collect(request: Request) -> Response:
    """Records are collected and kept as they should be.

    503 when collection lags or has stopped, or the disk is full or so nearly full that records are dropped early.
    """
    held = app_state(request)
    troubles = held.operations.troubles() + held.upkeep.troubles()
    return answer({"status": "degraded" if troubles else "ok", "reasons": troubles}, 503 if troubles else 200)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Our metrics for Prometheus; with `admin`, or with `server.open_metrics`, the gateway's requests too.

    The latter are counts and latencies by organisation, API and code class.
    """
    held = app_state(request)
    open_to_all = held.settings.server.open_metrics
    shown = held.operations.metrics(requests=open_to_all or _sees_everything(request))
    return Response(shown, media_type=METRICS_TYPE)


def _sees_everything(request: Request) -> bool:
    try:
        return asker_of(request).sees_everything
    except NotAuthorised:
        return False
