"""Eight clients at once on 10 million stored requests while 20,000 records/s arrive.

`BENCH_SECONDS` says for how long, 30 by default.
"""

from benchmarks.api import LARGE, at_once, fed, served

RATE = 20_000


def run() -> dict[str, float]:
    """Ask and push."""
    with fed(RATE) as (port, feed), served(LARGE, redis_url=f"redis://127.0.0.1:{port}/0") as (client, pid):
        return at_once(client, pid, feed)
