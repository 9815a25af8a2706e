"""`keytrail serve`: the API and the pages in one process."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keytrail.cli import app
from keytrail.cli.options import Config, Data, Logs, given, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keytrail.cli.wiring import Assembly


@app.command()
def serve(
    config: Config = None,
    data: Data = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    wait_lock: Annotated[
        str, typer.Option("--wait-lock", help="How long to wait for another process to let go, such as 60s.")
    ] = "0s",
    collect: Annotated[
        bool, typer.Option("--collect/--no-collect", help="Collect from Redis too; not, where keytrail collect does.")
    ] = True,
    log_format: Logs = "auto",
) -> None:
    """API and pages in one process, until SIGTERM or Ctrl-C."""
    wait = parse_seconds(wait_lock)
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format)
    run(config, given(data, server__host=host, server__port=port), wait=wait, collect=collect)


def run(config: Path | None, overrides: "Mapping[str, Any]", *, wait: float = 0, collect: bool = True) -> None:
    """Serve until told to stop.

    Args:
        config: Settings file; None looks in the usual places.
        overrides: What the command line says, by dotted name.
        wait: Seconds to wait for another process to let go of the data directory.
        collect: Collect from the Redis of the settings, too.

    Raises:
        StoreBusy: Another process holds the data directory.
        KeytrailError: The address can't be had.
    """
    import structlog

    from keytrail.cli.collecting import collecting
    from keytrail.cli.opening import shown_store
    from keytrail.cli.watched_tokens import WatchedTokens
    from keytrail.cli.wiring import assembled
    from keytrail.config import load
    from keytrail.memory import drop_code
    from keytrail.web.server import listen
    from keytrail.web.server import serve as serve_app

    log = structlog.get_logger("keytrail")
    settings = load(config, overrides=overrides)
    # Before the wait for a predecessor, in which somebody may take a token away.
    tokens = WatchedTokens(settings, lambda: load(config, overrides=overrides), config)
    directory = settings.store.directory
    # The directory first: a predecessor that is waited for has the address, too.
    with (
        assembled(settings, wait=wait, collect=collect) as parts,
        listen(settings.server.host, settings.server.port) as listening,
    ):
        parts.service.gate.follow(tokens)
        address = address_of(settings.server.host, listening.getsockname()[1])

        def ready() -> None:
            drop_code("_chdb")
            log.info("ready", address=address, data=shown_store(settings))
            if directory is None and not settings.server.secret.get_secret_value():
                log.warning("server.secret is not set: sessions hold on this process alone, until it ends")
            if not settings.tokens:
                _tell_how_to_get_in(parts, address)

        with collecting(parts.collectors), parts.upkeep.running():
            serve_app(
                parts.service.app,
                listening,
                directory,
                ready=ready,
                threads=settings.server.threads,
                trusted_proxies=settings.server.trusted_proxies,
            )
    log.info("stopped")


def _tell_how_to_get_in(parts: "Assembly", address: str) -> None:
    """Nobody could ask anything: whoever sees this terminal may sign in. Logs are seen by more people than that."""
    import structlog

    structlog.get_logger("keytrail").warning("no token is set up; keytrail token create makes one")
    if sys.stderr.isatty():
        link = f"{address}{parts.settings.server.public_path}/signin?code={parts.service.gate.link_code()}"
        typer.echo(f"Sign in once, within 15 minutes: {link}", err=True)


def address_of(host: str, port: int) -> str:
    """The address as a link that can be opened on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"
