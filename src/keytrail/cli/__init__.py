"""The command line; the only place, with `demo`, that sees all parts.

A module of a command imports at its top only what its options need, so that `--help` is instant.
"""

import signal
import sys
from typing import Annotated, NoReturn

import typer

from keytrail import __version__
from keytrail.errors import KeytrailError

app = typer.Typer(
    name="keytrail",
    help="Traffic analytics for API gateways: which endpoints were called with which key.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"keytrail {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Traffic analytics for API gateways: which endpoints were called with which key."""


def main() -> None:
    """Run the command that was given.

    Exit status: 0 done, 1 a fault that was reported, 2 wrong usage, 130 interrupted.
    """
    from keytrail.memory import without_pandas

    without_pandas()
    # Each registers its command on `app`.
    from keytrail.cli import (  # noqa: F401
        backup,
        check,
        collect,
        consumers,
        demo,
        endpoints,
        erase,
        export,
        imports,
        prune,
        rebuild,
        rejects,
        serve,
        size,
        templates,
        token,
    )

    # A command that does not say otherwise ends on SIGTERM as on Ctrl-C, so that it leaves nothing behind.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(prog_name="keytrail")
    except KeytrailError as error:
        print(f"keytrail: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
