"""What a running application holds for all its requests, and the typed way to it from one of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from starlette.applications import Starlette

from keytrail.config import Settings
from keytrail.store.client import Engine
from keytrail.store.upkeep import Upkeep

# These modules import this one.
if TYPE_CHECKING:
    from keytrail.web.auth import Gate
    from keytrail.web.coverage import Coverage
    from keytrail.web.ingest import Collect, Receive
    from keytrail.web.pipeline import Operations
    from keytrail.web.ui.ask import Names
    from keytrail.web.ui.panels import Underway


@dataclass(frozen=True, slots=True)
class AppState:
    """What an application holds for all its requests.

    Attributes:
        settings: The settings.
        engine: Where answers come from.
        gate: Tells who asks.
        collect: Takes the lines of files that are sent over HTTP.
        receive: Takes bodies of records that are sent over HTTP.
        operations: Tells of collection.
        upkeep: Keeps the store.
        coverage: Tells what is missing from answers about a range.
        names: Readable names for the pages.
        underway: What panels of the pages that are asked for at the same time share.
    """

    settings: Settings
    engine: Engine
    gate: "Gate"
    collect: "Collect"
    receive: "Receive"
    operations: "Operations"
    upkeep: Upkeep
    coverage: "Coverage"
    names: "Names"
    underway: "Underway"


def hold(app: Starlette, state: AppState) -> None:
    """Give an application what it holds."""
    app.state.held = state


def app_state(request: Request) -> AppState:
    """What the application holds that a request came to."""
    held: AppState = request.app.state.held
    return held
