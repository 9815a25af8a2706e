"""Options that several commands share, and the settings that they give."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from keytrail.config import Settings

Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]
Data = Annotated[Path | None, typer.Option("--data", help="Data directory of the embedded engine.")]
Url = Annotated[str, typer.Option("--url", help="Address of a running server elsewhere.")]
Token = Annotated[str, typer.Option("--token", envvar="KEYTRAIL_CLI_TOKEN", help="Token for that server.")]
Org = Annotated[str, typer.Option("--org", help="Organisation; needed where the store holds several.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only faults.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Logs = Annotated[
    Literal["auto", "json", "text"],
    typer.Option("--log-format", help="Form of the log on standard error; auto is text on a terminal, else JSON."),
]


def settings_of(config: Path | None, data: Path | None = None) -> "Settings":
    """The settings with what the command line says.

    Args:
        config: Settings file; None looks in the usual places.
        data: Data directory; None leaves it to the settings.

    Raises:
        ConfigError: A setting is wrong; names it.
    """
    from keytrail.config import load

    return load(config, overrides=given(data))


def given(data: Path | None = None, **overrides: Any) -> dict[str, Any]:
    """What the command line says, by dotted name.

    Args:
        data: Data directory; None leaves it to the settings.
        overrides: Settings by their names with `__` for the dot; those that are None are not given.
    """
    values = {name.replace("__", "."): value for name, value in overrides.items() if value is not None}
    if data is not None:
        values["store.url"] = f"chdb:{data}"
    return values


def content_of(file: Path) -> bytes:
    """What a file holds.

    Raises:
        FileError: It can't be read; names it.
    """
    from keytrail.errors import FileError

    try:
        return file.read_bytes()
    except OSError as error:
        raise FileError(f"{file}: {error.strerror}") from error


def range_of(start: str, end: str) -> dict[str, str]:
    """The fields of a question that name its range: the days that were given, or the last 30."""
    return {"from": start, "to": end} if start or end else {"range": "last_30_days"}


def parse_day(text: str) -> date:
    """A day as YYYY-MM-DD, for an option."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day as YYYY-MM-DD") from None


def parse_seconds(text: str) -> float:
    """A duration such as `60s` or `2m`, in seconds, for an option."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    unit = next((u for u in units if text.endswith(u)), "")
    try:
        seconds = float(text.removesuffix(unit)) * units.get(unit, 1)
    except ValueError:
        seconds = -1
    # Neither "nan" nor "inf" is a time to wait.
    if not 0 <= seconds < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a duration such as 60s or 2m")
    return seconds
