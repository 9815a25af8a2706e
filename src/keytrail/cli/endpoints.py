"""`keytrail endpoints`: the two answers on the command line."""

from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

import typer

from keytrail.cli import app
from keytrail.cli.options import Config, Data, Logs, Org, Token, Url, parse_day, settings_of

DEFAULT_DAYS = 30


@app.command()
def endpoints(
    key: Annotated[str | None, typer.Option("--key", help="The key as stored, or the secret itself.")] = None,
    oauth_client: Annotated[str | None, typer.Option("--oauth-client", help="OAuth client id.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First day, YYYY-MM-DD; 30 days before the last if not given.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day, included; today if not given.")] = None,
    org: Org = "",
    form: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="Form of the rows.")] = "table",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Which endpoints were called with a key, or by an OAuth client: how often, how fast, with what result."""
    asked = [(kind, value) for kind, value in (("keys", key), ("oauthid", oauth_client)) if value]
    if len(asked) != 1:
        raise typer.BadParameter("give either --key or --oauth-client")
    last = parse_day(end) if end else None
    first = parse_day(start) if start else None

    from keytrail.cli.reach import asked_org, reach
    from keytrail.instants import zone
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    settings = settings_of(config, data)
    last = last or datetime.now(zone(settings.timezone)).date()
    first = first or last - timedelta(days=DEFAULT_DAYS)
    if first > last:
        raise typer.BadParameter(f"--from {first} is after --to {last}")
    kind, value = asked[0]
    path = f"/api/activity/{kind}/endpoint/{quote(value, safe='')}/{_parts(first)}/{_parts(last)}"
    with reach(settings, url, token) as reached:
        parameters = {"p": "-1", **asked_org(reached, org)}
        if form == "csv":
            parameters["type"] = "csv"
        answer = reached.get(path, parameters)
    if form == "csv":
        typer.echo(answer.text, nl=False)
    elif form == "json":
        import msgspec

        typer.echo(msgspec.json.format(answer.content, indent=2))
    else:
        from keytrail.cli.tables import print_endpoints

        print_endpoints(answer.json()["data"])


def _parts(day: date) -> str:
    return f"{day.day}/{day.month}/{day.year}"
