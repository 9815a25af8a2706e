"""`keytrail import`: files of records, each record once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, Token, Url, settings_of


@app.command(name="import")
def import_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE|- …", help="Files of records; - is standard input.")],
    form: Annotated[
        Literal["auto", "capture", "ndjson", "csv", "parquet"],
        typer.Option("--format", help="What the files hold; auto looks at each file and line."),
    ] = "auto",
    again: Annotated[bool, typer.Option("--again", help="Count records that were imported before.")] = False,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="File for the lines that could not be stored.")
    ] = None,
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Store the records of files: captures, JSON lines or CSV, plain, gzip or zstd, or Parquet.

    The same file a second time changes nothing, and a file that has grown counts only what is new. Lines that can't
    be stored are kept in a file that can be imported again; then the exit status is 1. Ctrl-C stops after the records
    that are under way; the same command goes on from there.
    """
    from keytrail.cli.importing import Importing, Rejects
    from keytrail.cli.reach import reach_intake
    from keytrail.collect.stop import Stop
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    settings = settings_of(config, data)
    with (
        Stop() as stop,
        reach_intake(settings, url, token) as reached,
        Rejects(rejects, None if url else settings.store.directory) as kept,
    ):
        work = Importing(reached, kept, stop, form=form, again=again, quiet=quiet, as_json=as_json)
        for name in files:
            if not stop.asked:
                work.take(name)
    raise typer.Exit(work.report())
