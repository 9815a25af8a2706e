"""What starting needed and nobody needs now is let go of, and what is in use stays as it was."""

import subprocess
import sys
from pathlib import Path

import pytest

from keytrail import memory

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="mappings are listed by Linux")

_DROPPED = """
import ctypes
import sys
from pathlib import Path
from keytrail import memory
from keytrail.memory import drop_code, give_back
from keytrail.config import Store
from keytrail.store.client import EmbeddedEngine

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

engine = EmbeddedEngine(Path(sys.argv[1]), Store())
# All of it is there, whatever a machine that is short of memory has dropped meanwhile.
for start, end in memory._code("_chdb"):
    for place in range(start, end, 4096):
        ctypes.c_char.from_address(place).value
before = resident()
dropped = drop_code("_chdb")
after = resident()
give_back()
assert engine.query("SELECT sum(number) FROM numbers(1000)").rows == [(499500,)]
engine.close()
print(dropped, before - after, drop_code("no such library"))
"""


def test_the_code_of_the_engine_is_let_go_of_and_still_runs(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", _DROPPED, str(tmp_path)], check=True, capture_output=True, text=True)
    dropped, less, nothing = map(int, ran.stdout.split())
    # The code has 370 MB; what other threads of the engine run meanwhile comes back.
    assert dropped > 300_000_000
    assert less > 200_000_000
    assert nothing == 0


_CHANGED = """
7f0000000000-7f0000001000 r-xp 00000000 08:01 1 /usr/lib/libx.so
Private_Dirty:         4 kB
Anonymous:             4 kB
7f0000001000-7f0000003000 r-xp 00001000 08:01 1 /usr/lib/libx.so
Private_Dirty:         0 kB
Anonymous:             0 kB
7f0000003000-7f0000004000 r--p 00003000 08:01 1 /usr/lib/libx.so
Private_Dirty:         0 kB
Anonymous:             0 kB
"""


def test_code_that_was_changed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "smaps"
    file.write_text(_CHANGED.lstrip(), encoding="ascii")
    monkeypatch.setattr(memory, "_MAPPINGS", file)
    assert list(memory._code("libx")) == [(0x7F0000001000, 0x7F0000003000)]


def test_commands_do_without_pandas() -> None:
    """Arrow would load it at the first list."""
    code = (
        "import sys; sys.argv[1:] = ['--version']\nfrom keytrail.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "import pyarrow as pa\npa.array([1])\nprint('pandas' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "False"
