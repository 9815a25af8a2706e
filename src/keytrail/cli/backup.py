"""`keytrail backup` and `keytrail restore`: a copy of the store, and a store made from one."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, Token, Url, settings_of
from keytrail.cli.outfile import write_out

if TYPE_CHECKING:
    from keytrail.config import Settings


@app.command()
def backup(
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="The file, a tar; - is standard output. Of a store on servers disk:NAME/PATH or https://BUCKET/FOLDER.",
        ),
    ],
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Copy the store while it runs: records, rollups, ledger and consumers as of one moment.

    Of an embedded store, storing pauses only while the tables are frozen. The file is there when it is whole: until
    then it has the ending `.part`. It is readable only by its owner. ClickHouse servers copy the store themselves, to a
    disk of theirs or a bucket; storing pauses until they have done so.
    """
    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    began = time.perf_counter()
    settings = settings_of(config, data)
    if settings.store.directory is None and not url:
        _on_servers(settings, out)
        if as_json:
            typer.echo(json.dumps({"place": out}))
        elif not quiet:
            typer.echo(f"{out}: copied in {time.perf_counter() - began:,.1f} s")
        return
    with reach(settings, url, token) as reached:
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
    source: Annotated[str, typer.Argument(metavar="FROM", help="What keytrail backup made: a file, or a place.")],
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Make the store of an empty data directory or database from a backup, and hold it against its ledger.

    In a data directory nothing is in place until every byte has been compared with the backup's list. What the
    gateway's Redis still holds is collected at the next start; what was stored after the backup shows as a gap of the
    cause `restored`.
    """
    from keytrail.cli.check import ledger_findings, report
    from keytrail.cli.opening import opened
    from keytrail.store.backup import restore as fill
    from keytrail.store.verify import verify
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    settings = settings_of(config, data)
    if (directory := settings.store.directory) is None:
        _from_servers(settings, source)
    else:
        made = fill(Path(source), directory, settings.store.cold_folder)
        if not (quiet or as_json):
            typer.echo(f"{directory}: {made.files:,} files of {made.made_at}, {made.records:,} records")
    with opened(settings) as store:
        found = verify(store.engine, store.writer)
    report(ledger_findings(found), quiet=quiet, as_json=as_json)


def _on_servers(settings: "Settings", out: str) -> None:
    from keytrail.cli.opening import opened
    from keytrail.store.server_backup import back_up, place_of

    place = place_of(out)
    with opened(settings) as store:
        back_up(store.engine, store.writer, place)


def _from_servers(settings: "Settings", source: str) -> None:
    from keytrail.cli.opening import open_engine
    from keytrail.store.server_backup import place_of, restore

    place = place_of(source)
    engine = open_engine(settings)
    try:
        restore(engine, place)
    finally:
        engine.close()
