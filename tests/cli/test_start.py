"""The command line as such: quick to answer, and with the exit statuses that it promises."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keytrail as package
from tests.cli.command import PYTHON, Ran, environment

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


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; sys.argv[1:] = ['import', '--help']\nfrom keytrail.cli import main\n"
    code += f"try: main()\nfinally: print(sorted(set(sys.modules) & set({HEAVY!r})))"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), check=True, capture_output=True, text=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_version_is_instant(tmp_path: Path) -> None:
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([*PYTHON, "--version"], env=environment(tmp_path), check=True, capture_output=True)
        return time.perf_counter() - began

    # The best of some: other work on the machine only makes it slower.
    assert min(seconds() for _ in range(5)) < 0.5
