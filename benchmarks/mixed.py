"""Eight clients at once on 10 million stored requests while 20,000 records/s arrive. `BENCH_SECONDS` says for how long.

`BENCH_STORES` names a folder that keeps the filled store for the next run.
"""

import os
from pathlib import Path

from benchmarks.api import LARGE, at_once, fed, served

RATE = 20_000


def run() -> dict[str, float]:
    """Ask and push."""
    kept = Path(os.environ["BENCH_STORES"]) if "BENCH_STORES" in os.environ else None
    with fed(RATE) as (port, feed), served(LARGE, kept, redis_url=f"redis://127.0.0.1:{port}/0") as (client, pid):
        return at_once(client, pid, feed)
