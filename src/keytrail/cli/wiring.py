"""Put the parts together: settings, store, collector and application."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keytrail.cli.collecting import make_collectors
from keytrail.cli.operations import CountingListener, Operations
from keytrail.collect.intake import Intake
from keytrail.collect.loop import Collector
from keytrail.collect.privacy import Privacy
from keytrail.config import Settings
from keytrail.errors import ConfigError
from keytrail.metrics import Metrics
from keytrail.store.client import EmbeddedEngine, Engine
from keytrail.store.ledger import Ledger
from keytrail.store.migrate import migrate
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
    """

    settings: Settings
    engine: Engine
    writer: Writer
    intake: Intake
    service: Service
    collectors: list[Collector]
    metrics: Metrics


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
    directory = data_directory(settings)
    engine = EmbeddedEngine(directory, settings.store, wait=wait)
    try:
        migrate(engine)
        writer = Writer(engine)
        intake = Intake(writer, privacy_of(settings))
        metrics = Metrics()
        collectors = make_collectors(
            settings.redis if collect else settings.redis.model_copy(update={"url": ""}),
            ledger=Ledger(engine),
            writer=writer,
            privacy=privacy_of(settings),
            listener=CountingListener(metrics),
        )
        service = make_service(
            settings,
            engine,
            secret=session_secret(settings, directory),
            collect=intake,
            operations=Operations(collectors, metrics, writer),
        )
        yield Assembly(settings, engine, writer, intake, service, collectors, metrics)
    finally:
        engine.close()


def data_directory(settings: Settings) -> Path:
    """The folder of the embedded engine.

    Raises:
        ConfigError: The store is a server.
    """
    directory = settings.store.directory
    if directory is None:
        raise ConfigError("settings: store.url: this version serves only the embedded engine (chdb:<folder>)")
    return directory


def privacy_of(settings: Settings) -> Privacy:
    """The settings' section as the steps take it."""
    section = settings.privacy
    return Privacy(
        keys=section.keys,
        headers=tuple(section.headers),
        bodies=section.bodies,
        body_limit=section.body_limit,
        query_values=section.query_values,
        client_ip=section.client_ip,
    )


def session_secret(settings: Settings, directory: Path) -> str:
    """The secret that signs sessions: of the settings, else one that is made once in the data directory."""
    if given := settings.server.secret.get_secret_value():
        return given
    file = directory / "secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32), encoding="ascii")
    return file.read_text(encoding="ascii").strip()
