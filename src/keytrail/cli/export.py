"""`keytrail export`: raw rows as a file."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, Token, Url, parse_day, settings_of
from keytrail.cli.outfile import write_out

if TYPE_CHECKING:
    from keytrail.cli.reach import Reached

Parameters = list[tuple[str, str]]

_ENDINGS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}


@app.command(name="export")
def export_rows(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The file; - is standard output.")],
    start: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day, included.")] = None,
    form: Annotated[
        Literal["parquet", "ndjson", "csv"] | None,
        typer.Option("--format", help="Form of the rows; by the name's ending if not given, else ndjson."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="EXPR",
            help="Only these: key=HASH, code.greater=399, path.prefix=/v1, min_latency=250, search=TEXT; repeatable.",
        ),
    ] = None,
    org: Annotated[str, typer.Option("--org", help="Only this organisation.")] = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Write raw rows to a file that can be imported again: Parquet, JSON lines or CSV.

    The file is there when it is whole: until then it has the ending `.part`.
    """
    parameters: Parameters = []
    for name, day in (("from", start), ("to", end)):
        if day:
            parameters.append((name, parse_day(day).isoformat()))
    for expression in filters or ():
        name, sign, value = expression.partition("=")
        if not sign:
            raise typer.BadParameter(f"--filter {expression!r} is not NAME=VALUE")
        parameters.append((name, value))
    chosen = form or _ENDINGS.get(Path(out).suffix.lower(), "ndjson")

    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    settings = settings_of(config, data)
    began = time.perf_counter()
    with reach(settings, url, token) as reached:
        pieces = _pieces(reached, parameters, chosen, org)
        size = write_out(out, pieces)
    seconds = time.perf_counter() - began
    if as_json:
        import msgspec

        shown = msgspec.json.encode({"file": out, "format": chosen, "bytes": size})
        typer.echo(shown, err=out == "-")
    elif not quiet:
        typer.echo(f"{out}: {size:,} bytes of {chosen} in {seconds:,.1f} s", err=out == "-")


def _pieces(reached: "Reached", parameters: Parameters, form: str, org: str) -> Iterator[bytes]:
    asked = [*parameters, *([("org", org)] if org else [])]
    if reached.here is None:
        yield from reached.stream("/api/v1/export", [*asked, ("format", form)])
        return
    from starlette.datastructures import QueryParams

    from keytrail.query.export import Form, export
    from keytrail.web.auth import LOCAL
    from keytrail.web.filters import understand

    # Without the application in between, which in this process would hold the whole answer.
    given = QueryParams(asked)
    search = understand(given, LOCAL.narrowed(given.get("org", "")), reached.here.settings.timezone)
    yield from export(reached.here.engine, search, Form(form))
