"""The command line as such: quick to answer, and with the exit statuses that it promises."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import keytrail as package
from tests.cli.command import Ran, environment

Keytrail = Callable[..., Ran]
# Importing any of these takes longer than answering --help does.
HEAVY = (
    "chdb",
    "clickhouse_connect",
    "fastapi",
    "httpx",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic_settings",
    "structlog",
    "uvicorn",
)


def test_version_and_help(keytrail: Keytrail) -> None:
    assert keytrail("--version").out == f"keytrail {package.__version__}\n"
    shown = keytrail("--help")
    assert shown.status == 0
    for command in ("check", "demo", "endpoints", "import", "rebuild", "rejects", "serve", "token"):
        assert f"\n  {command} " in shown.out
    assert keytrail("serv").status == 2


@pytest.mark.parametrize("arguments", [["--version"], ["import", "--help"]])
def test_what_is_instant_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    # Not by the clock: how long it takes depends on what else the machine does.
    code = f"import sys; sys.argv[1:] = {arguments!r}\nfrom keytrail.cli import main\n"
    code += f"try: main()\nfinally: print(sorted(set(sys.modules) & set({HEAVY!r})), len(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), check=True, capture_output=True, text=True
    )
    heavy, _, count = ran.stdout.splitlines()[-1].rpartition(" ")
    assert heavy == "[]"
    # Half as many again as there are: something else that is heavy comes with many.
    assert int(count) < 450
