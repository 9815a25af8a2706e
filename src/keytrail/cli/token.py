"""`keytrail token create`: a token and its settings entry."""

from enum import Enum
from typing import Annotated

import typer

from keytrail.cli import app


class Allowed(Enum):
    """What a token may do."""

    ANALYTICS = "analytics"
    LOGS = "logs"
    INGEST = "ingest"
    ADMIN = "admin"


tokens = typer.Typer(help="Tokens for the API.", no_args_is_help=True)
app.add_typer(tokens, name="token")


@tokens.callback()
def token() -> None:
    """Tokens for the API."""


@tokens.command()
def create(
    org: Annotated[str, typer.Option("--org", help="Organisation that it sees; * with admin for all.")],
    permission: Annotated[
        list[Allowed] | None, typer.Option("--permission", help="What it may do; analytics if not given; repeatable.")
    ] = None,
    api: Annotated[list[str] | None, typer.Option("--api", help="Only this API id; may be repeated.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Only this key, as stored (its hash) or the secret; repeatable.")
    ] = None,
    oauth_client: Annotated[
        list[str] | None, typer.Option("--oauth-client", help="Only this OAuth client's id; may be repeated.")
    ] = None,
    consumer: Annotated[
        list[str] | None, typer.Option("--consumer", help="Only this consumer of the directory; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name for logs.")] = "",
) -> None:
    """Make a token: it is printed once, with the entry for the settings file that lets it in."""
    import secrets

    from keytrail.web.auth import hash_token

    permissions = list(dict.fromkeys(allowed.value for allowed in permission or [Allowed.ANALYTICS]))
    if org == "*" and "admin" not in permissions:
        raise typer.BadParameter("--org '*' needs --permission admin")
    value = secrets.token_urlsafe(32)
    lines = [
        "",
        "[[tokens]]",
        f"name = {_text(name or f'token-{secrets.token_hex(3)}')}",
        f'sha256 = "{hash_token(value)}"',
        f"org = {_text(org)}",
        f"permissions = [{', '.join(_text(p) for p in permissions)}]",
    ]
    limits = (("apis", api), ("keys", key), ("oauth_clients", oauth_client), ("consumers", consumer))
    for setting, values in limits:
        if values:
            lines.append(f"{setting} = [{', '.join(_text(value) for value in values)}]")
    typer.echo(f"The token, shown only now: {value}\n", err=True)
    typer.echo("Its entry for keytrail.toml:", err=True)
    typer.echo("\n".join(lines))


def _text(value: str) -> str:
    # A JSON string is a TOML basic string.
    import msgspec

    return msgspec.json.encode(value).decode()
