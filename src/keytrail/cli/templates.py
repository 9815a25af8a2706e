"""`keytrail templates`: which paths are one endpoint."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keytrail.cli import app
from keytrail.cli.options import Config, Data, Logs, Org, Token, Url, content_of, range_of, settings_of
from keytrail.errors import KeytrailError

if TYPE_CHECKING:
    from keytrail.cli.reach import Reached

rules = typer.Typer(help="Which paths with ids in them are one endpoint.", no_args_is_help=True)
app.add_typer(rules, name="templates")

Api = Annotated[str, typer.Option("--api", help="Only paths of this API; of all if not given.")]
Rule = dict[str, str]

_PART = r"[^{}]+|\{[^{}]+\}"
"""A fixed part of a path, or a parameter that is a whole part."""


@rules.callback()
def templates() -> None:
    """Which paths with ids in them are one endpoint."""


@rules.command("list")
def list_rules(
    org: Org = "", url: Url = "", token: Token = "", config: Config = None, data: Data = None, log_format: Logs = "auto"
) -> None:
    """The templates as CSV, which `import` reads again, in the order in which they are meant."""
    with _reached(url, token, config, data, log_format) as reached:
        _print(("api", "pattern"), ((one["api"], one["pattern"]) for one in _get(reached, _chosen(reached, org))))


@rules.command()
def add(
    pattern: Annotated[str, typer.Argument(help="Path with {name} for one part of it, such as /users/{id}.")],
    api: Api = "",
    org: Org = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Add a template; it counts for all records, also old ones."""
    with _reached(url, token, config, data, log_format) as reached:
        chosen = _chosen(reached, org)
        _put(reached, chosen, [*_get(reached, chosen), {"api": api, "pattern": pattern}])


@rules.command()
def remove(
    pattern: Annotated[str, typer.Argument(help="A pattern as `list` shows it.")],
    api: Api = "",
    org: Org = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Take a template away; its paths are endpoints of their own again."""
    with _reached(url, token, config, data, log_format) as reached:
        chosen = _chosen(reached, org)
        before = _get(reached, chosen)
        left = [one for one in before if (one["api"], one["pattern"]) != (api, pattern)]
        if len(left) == len(before):
            raise KeytrailError(f"there is no template {pattern!r} of {api or 'all APIs'}")
        _put(reached, chosen, left)


@rules.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="An OpenAPI file (JSON or YAML), or CSV with the columns api, pattern.")],
    api: Api = "",
    prefix: Annotated[str, typer.Option("--prefix", help="Stands before each path of an OpenAPI file.")] = "",
    org: Org = "",
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Add the templates of a file to those that there are."""
    found = read_file(file, content_of(file), api, prefix)
    with _reached(url, token, config, data, log_format) as reached:
        chosen = _chosen(reached, org)
        before = _get(reached, chosen)
        known = {(one["api"], one["pattern"]) for one in before}
        _put(reached, chosen, [*before, *(one for one in found if (one["api"], one["pattern"]) not in known)])


@rules.command()
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
    """A file for `import` from the paths in records, with how many each template would join; to be looked through."""
    import msgspec

    from keytrail.query.question import MOST_ROWS
    from keytrail.query.suggest import suggest as proposed

    question = {
        "dimensions": ["api", "path"],
        "filter": {"dimension": "kind", "operator": "is", "value": "rest"},
        "limit": MOST_ROWS,
        **range_of(start, end),
    }
    with _reached(url, token, config, data, log_format) as reached:
        found = reached.post("/api/v1/query", _chosen(reached, org), msgspec.json.encode(question)).json()
    if found["total_rows"] > len(found["rows"]):
        typer.echo(f"Of {found['total_rows']} paths, the {len(found['rows'])} with most hits were looked at.", err=True)
    proposals = proposed((row["api"], row["path"], row["hits"]) for row in found["rows"])
    _print(
        ("api", "pattern", "paths", "hits", "example"),
        ((one.api, one.pattern, str(one.paths), str(one.hits), one.example) for one in proposals),
    )


def read_file(file: Path, content: bytes, api: str, prefix: str) -> list[Rule]:
    """The templates of a file: the paths of an OpenAPI description, or the rows of a CSV file.

    Args:
        file: Its name, for errors.
        content: What it holds.
        api: API of the templates of an OpenAPI file, and of rows that name none; "" for all.
        prefix: Stands before each path of an OpenAPI file.

    Raises:
        KeytrailError: It is neither.
    """
    import csv
    import re

    import yaml

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KeytrailError(f"{file}: it is not UTF-8") from None
    lines = iter(text.splitlines())
    try:
        head = [name.strip() for name in next(csv.reader(lines, skipinitialspace=True), [])]
    except csv.Error:
        # A description that is one long line.
        head = []
    if {"api", "pattern"} <= set(head):
        # A line that is too short lacks its last cells.
        rows = csv.DictReader(lines, head, restval="", skipinitialspace=True)
        return [{"api": row["api"] or api, "pattern": row["pattern"]} for row in rows]
    try:
        # JSON is YAML.
        description = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        place = f" in line {where.line + 1}" if where else ""
        raise KeytrailError(f"{file}: it is neither JSON nor YAML{place}") from None
    paths = description.get("paths") if isinstance(description, dict) else None
    if not isinstance(paths, dict) or not all(isinstance(path, str) for path in paths):
        raise KeytrailError(f"{file}: it has no paths, as an OpenAPI file has, nor the columns api, pattern of CSV")
    fitting = [path for path in paths if all(not part or re.fullmatch(_PART, part) for part in path.split("/"))]
    for path in paths.keys() - set(fitting):
        typer.echo(f"Left out {path}: a parameter is less than a part between slashes.", err=True)
    # Paths without parameters, too: /users/me is no /users/{id}.
    return [{"api": api, "pattern": prefix.rstrip("/") + path} for path in fitting]


def _reached(
    url: str, token: str, config: Path | None, data: Path | None, log_format: Literal["auto", "json", "text"]
) -> AbstractContextManager["Reached"]:
    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    return reach(settings_of(config, data), url, token)


def _chosen(reached: "Reached", org: str) -> dict[str, str]:
    from keytrail.cli.reach import asked_org

    return asked_org(reached, org)


def _get(reached: "Reached", org: dict[str, str]) -> list[Rule]:
    found = reached.get("/api/v1/templates", org).json()["data"]
    return [{"api": one["api"], "pattern": one["pattern"]} for one in found]


def _put(reached: "Reached", org: dict[str, str], wanted: list[Rule]) -> None:
    import msgspec

    put = reached.put("/api/v1/templates", org, msgspec.json.encode({"templates": wanted})).json()
    typer.echo(f"{put['templates']} templates of {put['org']!r}")


def _print(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    import csv
    import sys

    from keytrail.web.rows import neutral_cell

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([neutral_cell(cell) for cell in row] for row in rows)
