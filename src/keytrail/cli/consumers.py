"""`keytrail consumers`: the directory of consumers from a CSV file or the gateway, and such a file from aliases."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from keytrail.cli import app
from keytrail.cli.options import Config, Data, Logs, Org, Token, Url, content_of, range_of, settings_of
from keytrail.errors import KeytrailError

directory = typer.Typer(help="Which key, OAuth client or tag belongs to whom.", no_args_is_help=True)
app.add_typer(directory, name="consumers")


@directory.callback()
def consumers() -> None:
    """Which key, OAuth client or tag belongs to whom."""


@directory.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV: consumer, name, kind (key, client, tag), value, from, until.")],
    org: Org = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Replace the directory of an organisation by a file."""
    from keytrail.cli.reach import asked_org, reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    content = content_of(file)
    with reach(settings_of(config, data), url, token) as reached:
        put = reached.put("/api/v1/consumers", asked_org(reached, org), content).json()
    typer.echo(f"{put['links']} links of {put['org']!r}")


@directory.command()
def sync(
    start: Annotated[str, typer.Option("--from", help="First day of the keys that are asked for, with --to.")] = "",
    end: Annotated[str, typer.Option("--to", help="Last day, included; the last 30 days if neither is given.")] = "",
    org: Org = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Add what the gateway's admin API names (`gateway.url`, `gateway.secret`) to the directory.

    What the directory has already stays as it is. Where the gateway does not list its keys, those of the records in the
    range are asked for one by one.
    """
    import csv
    import io

    import httpx
    import msgspec

    from keytrail.cli.gateway import TIMEOUT, Gateway, named
    from keytrail.cli.reach import asked_org, reach
    from keytrail.query.question import MOST_ROWS
    from keytrail.query.request import key_forms
    from keytrail.store.consumers import COLUMNS
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    settings = settings_of(config, data)
    secret = settings.gateway.secret.get_secret_value()
    if not settings.gateway.url or not secret:
        raise KeytrailError("gateway.url and gateway.secret are needed")
    question = {
        "dimensions": ["key"],
        "filter": {"dimension": "key", "operator": "is_not", "value": ""},
        "limit": MOST_ROWS,
        **range_of(start, end),
    }
    with reach(settings, url, token) as reached, httpx.Client(base_url=settings.gateway.url, timeout=TIMEOUT) as client:
        about = asked_org(reached, org)
        there = reached.get("/api/v1/consumers", {**about, "entries": "true"}).json()["data"]
        rows = [
            (one["id"], one["name"], entry["kind"], entry["value"], entry["from"] or "", entry["until"] or "")
            for one in there
            for entry in one["entries"]
        ]
        names = {one["id"]: one["name"] for one in there}
        known = {(kind, value) for _, _, kind, value, _, _ in rows}
        before = len(rows)

        def seen() -> Iterator[str]:
            found = reached.post("/api/v1/query", about, msgspec.json.encode(question)).json()
            yield from (row["key"] for row in _all_rows(found) if ("key", row["key"]) not in known)

        for consumer, kind, value in named(Gateway(client, secret), about.get("org", ""), seen()):
            if not {(kind, form) for form in key_forms(value)} & known:
                known.add((kind, value))
                rows.append((consumer, names.get(consumer, consumer), kind, value, "", ""))
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
        put = reached.put("/api/v1/consumers", about, file.getvalue().encode()).json()
    typer.echo(f"{put['links']} links of {put['org']!r}, {len(rows) - before} of them new")


@directory.command()
def suggest(
    start: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD; with --to.")] = "",
    end: Annotated[str, typer.Option("--to", help="Last day, included; the last 30 days if neither is given.")] = "",
    org: Org = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """A file for `import` from the aliases in records: keys with the same latest alias are one consumer."""
    import csv
    import sys

    import msgspec

    from keytrail.cli.reach import asked_org, reach
    from keytrail.query.question import MOST_ROWS
    from keytrail.telemetry import set_up_logging
    from keytrail.web.rows import neutral_cell

    set_up_logging(log_format, only_faults=True)
    question = {
        "dimensions": ["key"],
        "metrics": ["latest_alias"],
        "order": ["latest_alias", "key"],
        "filter": {"dimension": "alias", "operator": "is_not", "value": ""},
        "limit": MOST_ROWS,
        **range_of(start, end),
    }
    with reach(settings_of(config, data), url, token) as reached:
        found = reached.post("/api/v1/query", asked_org(reached, org), msgspec.json.encode(question)).json()
    rows = _all_rows(found)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("consumer", "name", "kind", "value"))
    for row in rows:
        alias = neutral_cell(row["latest_alias"])
        writer.writerow((alias, alias, "key", row["key"]))


def _all_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an answer about keys.

    Raises:
        KeytrailError: There are more than it holds.
    """
    rows: list[dict[str, Any]] = found["rows"]
    if found["total_rows"] > len(rows):
        raise KeytrailError(f"{found['total_rows']} keys, more than can be listed: give fewer days")
    return rows
