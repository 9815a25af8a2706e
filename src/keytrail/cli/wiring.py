"""Put the parts together: settings, store, collector and application."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from keytrail.cli.collecting import make_collectors
from keytrail.cli.opening import opened, privacy_of
from keytrail.cli.operations import CountingListener, Operations
from keytrail.collect.ingest import Ingest
from keytrail.collect.intake import Intake
from keytrail.collect.loop import Collector
from keytrail.config import Settings
from keytrail.metrics import Metrics
from keytrail.store.client import Engine
from keytrail.store.ledger import Ledger
from keytrail.store.upkeep import Upkeep
from keytrail.store.writer import Writer
from keytrail.web.app import Service, make_service


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of one process.

    Attributes:
        settings: The settings.
        engine: The store's engine, its schema up to date.
        writer: The way into the store.
        intake: Takes the lines of files.
        service: The application.
        collectors: One for each Redis of the settings, not started.
        metrics: The metrics of this process.
        upkeep: The upkeep of the store.
    """

    settings: Settings
    engine: Engine
    writer: Writer
    intake: Intake
    service: Service
    collectors: list[Collector]
    metrics: Metrics
    upkeep: Upkeep


@contextlib.contextmanager
def assembled(settings: Settings, *, wait: float = 0, collect: bool = True) -> Iterator[Assembly]:
    """Open the store and put everything on it; closed in the end.

    Args:
        settings: The settings.
        wait: Seconds to wait for another process to let go of the data directory.
        collect: Make the collectors; a command that does not collect needs no Redis.

    Raises:
        StoreBusy: Another process holds the data directory.
        StoreError: The store can't be opened or brought up to date.
        ConfigError: A setting that this version can't serve.
    """
    with opened(settings, wait=wait) as store:
        metrics = Metrics()
        ledger, listener = Ledger(store.engine), CountingListener(metrics)
        upkeep = Upkeep(store.engine, store.writer, settings.retention, metrics)
        collectors = make_collectors(
            settings.redis if collect else settings.redis.model_copy(update={"url": ""}),
            ledger=ledger,
            writer=store.writer,
            privacy=privacy_of(settings),
            listener=listener,
            # Beside a server other collectors may be at work: a lease is over when its time is.
            alone=settings.store.directory is not None,
        )
        service = make_service(
            settings,
            store.engine,
            secret=session_secret(settings),
            collect=store.intake,
            receive=Ingest(store.writer, ledger, privacy_of(settings), listener),
            operations=Operations(collectors, metrics, store.writer),
            keeper=upkeep,
        )
        yield Assembly(settings, store.engine, store.writer, store.intake, service, collectors, metrics, upkeep)


def session_secret(settings: Settings) -> str:
    """The secret that signs sessions: of the settings, else one that is made once in the data directory.

    Beside a server that has none it is this process's own, so a session ends with the process.
    """
    if given := settings.server.secret.get_secret_value():
        return given
    directory = settings.store.directory
    if directory is None:
        return secrets.token_urlsafe(32)
    file = directory / "secret"
    made = file.read_text(encoding="ascii").strip() if file.exists() else ""
    if not made:
        # Under another name until it is whole: with an empty secret anybody could make a session.
        part, made = file.with_name("secret.part"), secrets.token_urlsafe(32)
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_text(made, encoding="ascii")
        part.replace(file)
    return made
