"""`keytrail backup` and `keytrail restore`: a copy of the embedded store, and a data directory made from one."""

import time
from pathlib import Path
from typing import Annotated

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, Token, Url, settings_of
from keytrail.cli.outfile import write_out


@app.command()
def backup(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The file, a tar; - is standard output.")],
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Copy the embedded store while it runs: records, rollups, ledger and consumers as of one moment.

    Storing pauses only while the tables are frozen. The file is there when it is whole: until then it has the ending
    `.part`. It is readable only by its owner.
    """
    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, level=30)
    began = time.perf_counter()
    with reach(settings_of(config, data), url, token) as reached:
        # Without the application in between, which in this process would hold the whole answer.
        here = reached.here
        size = write_out(out, here.upkeep.backup() if here else reached.stream("/api/v1/backup", []))
    seconds = time.perf_counter() - began
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode({"file": out, "bytes": size}), err=out == "-")
    elif not quiet:
        typer.echo(f"{out}: {size:,} bytes in {seconds:,.1f} s", err=out == "-")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A file that keytrail backup made.")],
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Make the store of an empty data directory from a backup, and hold it against its ledger.

    Nothing is in place until every byte has been compared with the backup's list. What the gateway's Redis still holds
    is collected at the next start; what was stored after the backup shows as a gap of the cause `restored`.
    """
    from keytrail.cli.check import ledger_findings, report
    from keytrail.cli.opening import data_directory, opened
    from keytrail.store.backup import restore as fill
    from keytrail.store.verify import verify
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, level=30)
    settings = settings_of(config, data)
    directory = data_directory(settings)
    made = fill(source, directory, directory / settings.store.cold if settings.store.cold else None)
    if not (quiet or as_json):
        typer.echo(f"{directory}: {made.files:,} files of {made.made_at}, {made.records:,} records")
    with opened(settings) as store:
        found = verify(store.engine, store.writer)
    report(ledger_findings(found), quiet=quiet, as_json=as_json)
