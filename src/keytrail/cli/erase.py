"""`keytrail erase`: take somebody out of everything, and keep a receipt."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from keytrail.cli import app
from keytrail.cli.options import Config, Data, Logs, Token, Url, settings_of
from keytrail.errors import FileError


@app.command()
def erase(
    key: Annotated[str, typer.Option("--key", help="A key: as stored (the hash), or the secret.")] = "",
    consumer: Annotated[str, typer.Option("--consumer", help="A consumer: all that belongs or belonged to it.")] = "",
    ip: Annotated[str, typer.Option("--ip", help="A client address, as stored.")] = "",
    again: Annotated[
        Path | None, typer.Option("--again", help="A receipt: erase in this store what was erased in another.")
    ] = None,
    org: Annotated[str, typer.Option("--org", help="Only this organisation.")] = "",
    keep_counts: Annotated[
        bool, typer.Option("--keep-counts", help="Keep the records for their counts, under an anonymous key.")
    ] = False,
    url: Url = "",
    token: Token = "",
    config: Config = None,
    data: Data = None,
    log_format: Logs = "auto",
) -> None:
    """Take a key, a consumer or a client address out of records, sums, rejected records and the directory.

    Prints a receipt (JSON) that names nobody. The store remembers a digest, so that nothing brings them back; keep the
    receipt for stores that are restored from older backups. Killed halfway, the same again does the rest.
    """
    if sum(map(bool, (key, consumer, ip, again))) != 1:
        raise typer.BadParameter("one of --key, --consumer, --ip and --again says whom to erase")

    from keytrail.cli.reach import reach
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    asked: dict[str, Any] = {"key": key, "consumer": consumer, "ip": ip, "org": org, "keep_counts": keep_counts}
    if again:
        asked["again"] = _digests(again)
    with reach(settings_of(config, data), url, token) as reached:
        receipt = reached.post("/api/v1/erase", {}, json.dumps(asked).encode()).json()
    typer.echo(json.dumps(receipt, indent=2))


def _digests(receipt: Path) -> list[Any]:
    try:
        found: list[Any] = json.loads(receipt.read_text(encoding="utf-8"))["digests"]
    except OSError as error:
        raise FileError(f"{receipt}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{receipt} is no receipt of an erasure") from error
    return found
