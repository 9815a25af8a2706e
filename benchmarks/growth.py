"""A key's endpoints over 30 days, of 1 million to 100 million requests: what a longer or busier history costs.

1,000 keys call 10 endpoints each, evenly over the month. `BENCH_MILLIONS` takes other sizes, such as `1,10`.
"""

import os
from typing import Any, Final

from benchmarks import scale
from benchmarks.measure import say

_MILLIONS: Final = "1,10,36,100"


def run() -> dict[str, Any]:
    """Ask one store after the other, the smallest first."""
    figures: dict[str, Any] = {}
    first = 0.0
    for millions in map(int, os.environ.get("BENCH_MILLIONS", _MILLIONS).split(",")):
        month = scale.a_keys_month(scale.Traffic(millions * 1_000_000, tail=1))
        first = first or month.p50_ms
        say(
            f"{millions} million requests",
            f"p50 {month.p50_ms:.1f} ms, least {month.least_ms:.1f} ms, {month.rows:,.0f} rows in {month.parts} parts",
            f"{month.p50_ms / first:.2f} of the first",
        )
        figures[f"{millions}m"] = {
            "p50_ms": month.p50_ms,
            "least_ms": month.least_ms,
            "against_first": month.p50_ms / first,
            "rows": month.rows,
            "parts": month.parts,
            "bytes": month.bytes,
        }
    return figures
