"""What the benchmarks share: times, percentiles, memory and a running server."""

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx


def times(call: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each of several calls, sorted."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return sorted(taken)


def at(sorted_values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies."""
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]


def peak_memory(pid: int | str = "self") -> int:
    """Most bytes of memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def forget_peak_memory() -> None:
    """Let this process's `peak_memory` count from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def keytrail(*arguments: str) -> list[str]:
    """The command line of keytrail."""
    return [sys.executable, "-m", "keytrail", *arguments]


def processor_seconds(pid: int) -> float:
    """Processor time that a process has taken so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_memory(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


LOOK_EVERY = 2.0
"""Seconds from one look at a process's memory to the next."""
_A_MINUTE = round(60 / LOOK_EVERY)


def watched(pid: int, until: float) -> list[int]:
    """Bytes that a process holds, again and again until a moment of `time.monotonic`."""
    found = []
    while (left := until - time.monotonic()) > 0:
        found.append(resident_memory(pid))
        time.sleep(min(LOOK_EVERY, left))
    return found


def say_memory(memory: Sequence[int]) -> dict[str, float]:
    """Tell how memory went: it goes up and down with merges, so of each minute the median.

    As growth, how much more the last quarter's median is than that of the quarter before.
    """
    minutes = [statistics.median(memory[start : start + _A_MINUTE]) for start in range(0, len(memory), _A_MINUTE)]
    quarter = max(len(memory) // 4, 1)
    growth = statistics.median(memory[-quarter:]) - statistics.median(memory[-2 * quarter : -quarter] or memory)
    say("memory, minute by minute", ", ".join(f"{size / 1e6:.0f}" for size in minutes), "MB")
    say("memory at the end", f"{minutes[-1] / 1e6:,.0f} MB", f"{growth / 1e6:+,.0f} MB from third to last quarter")
    return {"memory_bytes": minutes[-1], "growth_bytes": growth}


@contextlib.contextmanager
def server(directory: Path, config: Path, redis_url: str = "") -> Iterator[tuple[httpx.Client, float, int]]:
    """A running server on a store: a client for it, the seconds until it was ready, its process id.

    Args:
        directory: The store's data directory.
        config: The configuration file.
        redis_url: What it collects from; "" collects nothing.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        keytrail("serve", "--data", str(directory), "--config", str(config), "--port", "0", "--log-format", "text"),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "KEYTRAIL_REDIS__URL": redis_url},
    )
    try:
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            found = re.search(r"address=(\S+)", line)
            if found:
                address = found[1]
                break
        ready = time.perf_counter() - began
        # Nobody reads on: the pipe must not fill.
        subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client, ready, process.pid
    finally:
        process.terminate()
        process.wait(30)


def stores() -> Path:
    """The folder of the filled stores, which the benchmarks of a run share."""
    return Path(os.environ["BENCH_STORES"])


def progress(text: str) -> None:
    """How far it is; no figure."""
    print(f"   … {text}", flush=True)


SAID: list[tuple[str, str, str]] = []
"""Every figure so far, as it was said."""


def say(what: str, value: str, against: str = "") -> None:
    """One figure, and what it is held against."""
    SAID.append((what, value, against))
    print(f"   {what}: {value}" + (f"   ({against})" if against else ""), flush=True)
