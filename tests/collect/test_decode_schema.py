"""The generated code is that of the schema."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
COLLECT = Path("keytrail") / "collect"


@pytest.mark.parametrize("name", ["analytics_pb2.py", "analytics_pb2.pyi"])
def test_make_proto_was_run(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(SOURCE)]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", str(SOURCE / COLLECT / "analytics.proto")]
    subprocess.run(command, check=True)
    fresh = (tmp_path / COLLECT / name).read_text(encoding="utf-8")
    assert (SOURCE / COLLECT / name).read_text(encoding="utf-8") == fresh, "run `make proto`"
