"""`keytrail collect`: the collector alone, beside a ClickHouse server."""

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from keytrail.cli import app
from keytrail.cli.options import Config, Logs, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from keytrail.cli.wiring import Assembly
    from keytrail.config import Settings


@app.command()
def collect(
    config: Config = None,
    host: Annotated[str, typer.Option("--host", help="Address for health and metrics.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port for health and metrics; without it there are none."),
    ] = None,
    log_format: Logs = "auto",
) -> None:
    """Collect from Redis into a ClickHouse server, until SIGTERM or Ctrl-C; any number may do so at once.

    With `--port` it answers `/healthz`, `/readyz`, `/readyz/collect` and `/metrics` there.
    """
    import structlog

    from keytrail.cli.collecting import collecting
    from keytrail.cli.opening import shown_store
    from keytrail.cli.wiring import assembled
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format)
    settings = settings_of(config)
    _check(settings)
    log = structlog.get_logger("keytrail")
    with assembled(settings) as parts:

        def ready(address: str) -> None:
            log.info("ready", address=address, store=shown_store(settings), sources=len(parts.collectors))

        if port is None:
            stopped = _stopped_by_signal()
            with collecting(parts.collectors):
                ready("")
                stopped.wait()
        else:
            _collect_with_probes(parts, host, port, ready)
    log.info("stopped")


def _check(settings: "Settings") -> None:
    """Refuse what can't work.

    Raises:
        ConfigError: The store is embedded, or there is no Redis.
    """
    from keytrail.errors import ConfigError

    if settings.store.directory is not None:
        raise ConfigError("settings: store.url: the embedded engine has one process; keytrail serve collects too")
    if not settings.redis.urls:
        raise ConfigError("settings: redis.url: there is nothing to collect from")


def _collect_with_probes(parts: "Assembly", host: str, port: int, ready: "Callable[[str], None]") -> None:
    from keytrail.cli.collecting import collecting
    from keytrail.cli.serve import address_of
    from keytrail.web.probes import Probes
    from keytrail.web.server import listen
    from keytrail.web.server import serve as serve_app

    with listen(host, port) as listening, collecting(parts.collectors):
        address = address_of(host, listening.getsockname()[1])
        serve_app(Probes(parts.service.app), listening, None, ready=lambda: ready(address), threads=2)


def _stopped_by_signal() -> threading.Event:
    import signal

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
