from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cli.command import Ran, run


@pytest.fixture
def keytrail(tmp_path: Path) -> Callable[..., Ran]:
    """Runs a command in this process, in an empty folder."""
    return partial(run, home=tmp_path)
