"""`keytrail consumers import`: the directory of consumers from a CSV file."""

from pathlib import Path
from typing import Annotated

import typer

from keytrail.cli import app
from keytrail.cli.options import Config, Data, Logs, Token, Url, settings_of
from keytrail.errors import KeytrailError

directory = typer.Typer(help="Which key, OAuth client or tag belongs to whom.", no_args_is_help=True)
app.add_typer(directory, name="consumers")


@directory.callback()
def consumers() -> None:
    """Which key, OAuth client or tag belongs to whom."""


@directory.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV: consumer, name, kind (key, client, tag), value, from, until.")],
    org: Annotated[str, typer.Option("--org", help="Organisation; needed where the store holds several.")] = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Replace the directory of an organisation by a file."""
    from keytrail.cli.endpoints import only_org
    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, level=30)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise KeytrailError(f"{file}: {error.strerror}") from error
    with reach(settings_of(config, data), url, token) as reached:
        chosen = org or only_org(reached)
        put = reached.put("/api/v1/consumers", {"org": chosen} if chosen else {}, content).json()
    typer.echo(f"{put['links']} links of {put['org']!r}")
