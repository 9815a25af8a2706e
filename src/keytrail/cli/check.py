"""`keytrail check`: settings, store and what it holds."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, settings_of
from keytrail.errors import KeytrailError

if TYPE_CHECKING:
    from keytrail.cli.reach import Reached
    from keytrail.config import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    text: str


@app.command()
def check(
    config: Config = None, data: Data = None, quiet: Quiet = False, as_json: AsJson = False, log_format: Logs = "auto"
) -> None:
    """Look at the settings and the store; exit status 1 if something is wrong."""
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, level=30)
    findings: list[Finding] = []
    try:
        # What was found before a fault is shown, too.
        findings.extend(_look(settings_of(config, data)))
    except KeytrailError as error:
        findings.append(Finding("store" if findings else "settings", good=False, text=str(error)))
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            if not (quiet and finding.good):
                typer.echo(f"{'ok  ' if finding.good else 'FAIL'} {finding.name}: {finding.text}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def _look(settings: "Settings") -> Iterator[Finding]:
    """What there is to say, one after another.

    Raises:
        KeytrailError: The store can't be looked at.
    """
    from keytrail.cli.reach import NoStore, reach
    from keytrail.cli.wiring import data_directory

    yield Finding("settings", good=True, text=f"zone {settings.timezone}, {_tokens(settings)}")
    directory = data_directory(settings)
    try:
        with reach(settings) as reached:
            yield from _look_at_store(reached, settings)
    except NoStore:
        yield Finding("store", good=True, text=f"none yet; the data directory {directory} is made at the first start")
        return
    yield _room(str(directory))


def _tokens(settings: "Settings") -> str:
    from datetime import UTC, datetime

    today = datetime.now(UTC).date()
    expired = [token.name for token in settings.tokens if token.expires and token.expires < today]
    count = len(settings.tokens)
    text = "1 token" if count == 1 else f"{count} tokens"
    return text + (f" (expired: {', '.join(map(repr, expired))})" if expired else "")


def _look_at_store(reached: "Reached", settings: "Settings") -> Iterator[Finding]:
    where = "in this process" if reached.here else "through the running server"
    ready = reached.get("/readyz").json()
    yield Finding("store", ready["status"] == "ok", f"answers, {where}")
    orgs = reached.get("/api/v1/organisations").json()["data"]
    shown = ", ".join(f"{item['org']!r} ({item['records']:,} records)" for item in orgs) or "none yet"
    yield Finding("organisations", good=True, text=shown)
    seen = {item["org"] for item in orgs}
    for token in settings.tokens:
        if seen and token.org not in seen and token.org != "*":
            text = f"{token.name!r} sees the organisation {token.org!r}, which has no records yet"
            yield Finding("token", good=True, text=text)


_LEAST_ROOM = 1_000_000_000


def _room(directory: str) -> Finding:
    import shutil

    free = shutil.disk_usage(directory).free
    return Finding("disk", free >= _LEAST_ROOM, f"{free / 1e9:,.1f} GB free")
