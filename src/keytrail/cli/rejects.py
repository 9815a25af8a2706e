"""`keytrail rejects`: records that could not be stored, and another try for them."""

from typing import Annotated

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Token, Url, settings_of
from keytrail.errors import KeytrailError

rejected = typer.Typer(help="Rejected records of gateway lists: list them, try them again.", no_args_is_help=False)
app.add_typer(rejected, name="rejects")

NEEDS_COLLECTOR = (
    "rejected records are tried again by the collector that runs: start keytrail serve with redis.url first"
)


@rejected.callback(invoke_without_command=True)
def rejects(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most, the newest first.")] = 100,
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Rejected records: why, of which list, when, and their digest; never their bytes."""
    if context.invoked_subcommand:
        return
    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    with reach(settings_of(config, data), url, token) as reached:
        found = reached.get("/api/v1/rejects", {"bytes": "false", "limit": str(limit)}).json()["data"]
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(found))
    else:
        from keytrail.cli.tables import print_rejects

        print_rejects(found)


@rejected.command()
def retry(
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="How many at most, the oldest of each list first.")
    ] = 1000,
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Try rejected records again, after a fix; also lets collection go on where it stopped at too many of them."""
    from keytrail.cli.reach import NoStore, reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    try:
        with reach(settings_of(config, data), url, token) as reached:
            if reached.here:
                raise KeytrailError(NEEDS_COLLECTOR)
            count = reached.post("/api/v1/rejects/retry", {"limit": str(limit)}, b"").json()["retried"]
    except NoStore:
        raise KeytrailError(NEEDS_COLLECTOR) from None
    if as_json:
        typer.echo(f'{{"retried":{count}}}')
    elif count:
        typer.echo(f"{count:,} records are tried again; keytrail rejects lists those that fail once more.")
    else:
        typer.echo("Redis keeps no rejected records.")
