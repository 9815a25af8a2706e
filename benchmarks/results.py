"""Results of the benchmarks: one JSON file for each in `results/`, and `docs/benchmarks.md` made from all of them."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "results"
PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_INTRODUCTION: Final = """# Benchmarks

`make bench` runs all of them and writes this page; `make bench ARGS="NAME"` runs one. Take the ratios: each figure is
held against a baseline of the same run on the same machine. `benchmarks/results/` has the numbers as JSON.
"""


def keep(name: str, about: str, figures: Mapping[str, Any], said: Sequence[tuple[str, str, str]]) -> None:
    """Keep what a benchmark has measured."""
    FOLDER.mkdir(exist_ok=True)
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "seconds": os.environ.get("BENCH_SECONDS", ""),
        "about": about.strip(),
        "said": list(said),
        "figures": figures,
    }
    text = json.dumps(found, indent=2, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def machine() -> str:
    """What the figures were measured on."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors ({model[1] if model else platform.machine()}), {memory:.0f} GiB, "
        f"Python {platform.python_version()}, chDB {version('chdb')}"
    )


def write_page() -> None:
    """Write the page of all results that are kept."""
    parts = [_INTRODUCTION]
    for file in sorted(FOLDER.glob("*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        command = f'make bench ARGS="{file.stem}"'
        if found["seconds"]:
            command = f"BENCH_SECONDS={found['seconds']} {command}"
        rows = "".join(f"| {' | '.join(cells)} |\n" for cells in found["said"])
        about = re.sub(r"\s*`BENCH_\w+`[^.]*\.", "", found["about"])
        parts.append(
            f"## {file.stem}\n\n{about}\n\n`{command}`, {found['date']}, {found['machine']}\n\n"
            f"| figure | value | held against |\n|---|---|---|\n{rows}"
        )
    PAGE.write_text("\n".join(parts), encoding="utf-8")
