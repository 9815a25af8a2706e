"""`keytrail rebuild`: rollups from raw records."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, Token, Url, parse_day, settings_of
from keytrail.errors import KeytrailError

if TYPE_CHECKING:
    from keytrail.cli.reach import Reached


@app.command()
def rebuild(
    start: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD; its whole month.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD; its whole month.")] = None,
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Make the rollups from the raw records again: whole months, every month that has records if none is given.

    A month is put in place in one step, so this may be killed and run again at any time; answers stay as they were
    until then. Storing pauses while a table is made, sealing does not. What stands for days whose raw records are gone
    is kept as it is, and --from must not name one.
    """
    first_day, last_day = (parse_day(text).isoformat() if text else "" for text in (start, end))
    first, last = first_day[:7], last_day[:7]
    if first and last and first > last:
        raise typer.BadParameter(f"--from {start} is after --to {end}")

    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    with reach(settings_of(config, data), url, token) as reached:
        known = reached.get("/api/v1/rebuild").json()
        since = known["since"] or ""
        if first_day and first_day < since:
            raise KeytrailError(f"the raw records of {first_day} are gone (retention): --from {since} or later")
        months = [month for month in known["months"] if (first or month) <= month <= (last or month)]
        done = _rebuild(reached, months, known["tables"], since, quiet=quiet or as_json)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode({"rebuilt": done}))
    elif not quiet:
        months_text = "1 month" if len(months) == 1 else f"{len(months)} months"
        typer.echo(f"{len(done)} rollups of {months_text} are made again" if months else "No raw records there.")


def _rebuild(
    reached: "Reached", months: list[str], tables: list[str], since: str, *, quiet: bool
) -> list[dict[str, Any]]:
    """One table of one month after the other, so that storing never pauses for longer than that."""
    import time

    done: list[dict[str, Any]] = []
    total = len(months) * len(tables)
    for month in months:
        for table in tables:
            began = time.perf_counter()
            day = max(f"{month}-01", since)
            asked = {"from": day, "to": day, "table": table}
            if reached.post("/api/v1/rebuild", asked, b"").json()["rebuilt"]:
                done.append({"month": month, "table": table})
            if not quiet:
                seconds = time.perf_counter() - began
                typer.echo(f"{month} {table}: {seconds:,.1f} s ({len(done)} of {total})", err=True)
    return done
