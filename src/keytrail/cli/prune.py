"""`keytrail prune`: what retention takes away."""

from typing import Annotated

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, Token, Url, settings_of


@app.command()
def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Take it away; without this it is only shown.")] = False,
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Show what the settings of retention no longer keep, or take it away now.

    A running server does so by itself, once an hour.
    """
    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    with reach(settings_of(config, data), url, token) as reached:
        answer = reached.post("/api/v1/prune", {}, b"") if apply else reached.get("/api/v1/prune")
    steps = answer.json()["data"]
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode({"pruned" if apply else "to_prune": steps}))
        return
    if quiet:
        return
    for step in steps:
        kept = ", stays while a batch with rows in it is not confirmed" if step["waits"] else ""
        size = f"{step['rows']:,} rows, {step['bytes'] / 1e6:,.1f} MB"
        typer.echo(f"{step['table']} from {step['from']} until {step['until']}: {step['what']}, {size}{kept}")
    if not steps:
        typer.echo("Nothing to take away.")
    elif not apply:
        typer.echo("Nothing was taken away: --apply does it.")
