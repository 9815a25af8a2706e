"""`keytrail demo`: made-up traffic, real answers."""

from typing import Annotated

import typer

from keytrail.cli import app
from keytrail.cli.options import Logs


@app.command()
def demo(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    rate: Annotated[
        float, typer.Option("--rate", min=0, max=5000, help="Requests per second that go on arriving; 0 for none.")
    ] = 0.5,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0, help="End by itself after so many seconds.")
    ] = None,
    records: Annotated[int | None, typer.Option("--records", min=1, hidden=True)] = None,
    log_format: Logs = "auto",
) -> None:
    """Fill a store with 30 days of made-up gateway traffic, serve it while more arrives, until Ctrl-C."""
    from keytrail.demo.run import RECORDS, run
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    run(host, port, rate=rate, seconds=seconds, records=records or RECORDS)
