"""Temporary folders in memory, the longest tests first, and nothing that depends on chance or the machine's speed.

Most of what a test of the store waits for is the making and removing of small files. A test that kills keeps what it
claims: the kernel holds what a killed process has written, on a disk or in memory.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
"""Bytes that the folders of all tests take at most, with room to spare."""

LONGEST = ("faults/", "browser/", "web/test_tenancy.py")
"""Folders and files that take longest: begun last, one of them would leave the other workers idle."""


# An example that takes long says that the machine is busy, not that the code is wrong. `make test` draws the same
# examples each time, so that a change fails by what it changed; `make test-long` looks for new ones.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", UNHURRIED, derandomize=True)
settings.register_profile("new", UNHURRIED, print_blob=True)
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    if "TMPDIR" in os.environ or config.option.basetemp:
        return
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        # In the environment, so that the workers and the processes that tests start go there too.
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: tests of collection, processes and pages wait for a good part of their time."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    items.sort(key=lambda item: not item.path.relative_to(here).as_posix().startswith(LONGEST))
