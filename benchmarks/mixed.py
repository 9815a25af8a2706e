"""Eight clients at once on 10 million stored requests while 20,000 records/s arrive, for ten minutes.

`BENCH_SECONDS` takes another length.
"""

import os
from typing import Final

from benchmarks.api import LARGE, at_once, fed, served

RATE: Final = 20_000
SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "600"))


def run() -> dict[str, float]:
    """Ask and push."""
    with fed(RATE) as (port, feed), served(LARGE, redis_url=f"redis://127.0.0.1:{port}/0") as (client, pid):
        return at_once(client, pid, feed, SECONDS)
