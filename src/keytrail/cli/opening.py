"""Open the store and the ways into it, without what answers requests: a command that only stores starts sooner."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from keytrail.collect.intake import Intake
from keytrail.collect.privacy import Privacy
from keytrail.config import Settings
from keytrail.errors import ConfigError
from keytrail.store.address import parse_address
from keytrail.store.client import EmbeddedEngine, Engine, ServerEngine
from keytrail.store.migrate import migrate
from keytrail.store.raw_rows import find_cold
from keytrail.store.replacing import finish_replacing
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
        ConfigError: `store.url` or `store.cluster` can't be used.
    """
    engine = open_engine(settings, wait=wait)
    try:
        finish_replacing(engine)
        migrate(engine)
        find_cold(engine)
        writer = Writer(engine)
        yield Opened(engine, writer, Intake(writer, privacy_of(settings)))
    finally:
        engine.close()


def open_engine(settings: Settings, *, wait: float = 0) -> Engine:
    """The engine of the settings; its schema as it was found.

    Args:
        settings: The settings.
        wait: Seconds to wait for another process to let go of the data directory.

    Raises:
        StoreBusy: Another process holds the data directory.
        StoreError: The store can't be opened.
        ConfigError: `store.url`, `store.cluster` or `store.cold` can't be used.
    """
    store = settings.store
    if store.directory is None:
        address = parse_address(store.url, store.password.get_secret_value())
        if len(address.hosts) > 1 and not store.cluster:
            # Each would keep a part of the records, and answer from it.
            raise ConfigError("settings: store.url: several hosts must be nodes of one cluster; store.cluster names it")
        if store.cold:
            raise ConfigError("settings: store.cold: this version keeps cold days only beside the embedded engine")
        return ServerEngine(address, store)
    if store.cluster:
        raise ConfigError("settings: store.cluster: the embedded engine has no cluster; store.url must be a server")
    return EmbeddedEngine(store.directory, store, wait=wait)


def shown_store(settings: Settings) -> str:
    """Where the store is, for people: without user and password."""
    store = settings.store
    return str(store.directory) if store.directory is not None else str(parse_address(store.url))


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
