"""Open the store and the ways into it, without what answers requests: a command that only stores starts sooner."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keytrail.collect.intake import Intake
from keytrail.collect.privacy import Privacy
from keytrail.config import Settings
from keytrail.errors import ConfigError
from keytrail.store.client import EmbeddedEngine, Engine
from keytrail.store.migrate import migrate
from keytrail.store.writer import Writer


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store.

    Attributes:
        engine: Its engine, the schema up to date.
        writer: The way into it.
        intake: Takes the lines of files.
    """

    engine: Engine
    writer: Writer
    intake: Intake


@contextlib.contextmanager
def opened(settings: Settings, *, wait: float = 0) -> Iterator[Opened]:
    """Open the store; closed in the end.

    Args:
        settings: The settings.
        wait: Seconds to wait for another process to let go of the data directory.

    Raises:
        StoreBusy: Another process holds the data directory.
        StoreError: The store can't be opened or brought up to date.
        ConfigError: The store is a server.
    """
    engine = EmbeddedEngine(data_directory(settings), settings.store, wait=wait)
    try:
        migrate(engine)
        writer = Writer(engine)
        yield Opened(engine, writer, Intake(writer, privacy_of(settings)))
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
