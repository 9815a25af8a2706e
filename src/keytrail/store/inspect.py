"""Look at a server or a cluster: whether what exactly-once rests on holds there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from keytrail.store.client import INSERT_SETTINGS, Engine
from keytrail.store.layout import SHARDED
from keytrail.store.tables import BATCHES, DEDUPLICATION_WINDOW

LEAST_VERSION: Final = (24, 8)
"""From here on a view's rows are deduplicated by the insert's token."""

_CLUSTER_SETTINGS: Final = ("distributed_foreground_insert", "insert_quorum", "optimize_skip_unused_shards")
_LAGGING_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that was looked at.

    Attributes:
        name: What.
        good: It is as it should be.
        text: What was seen.
        warning: It is no fault, but asks for a look.
    """

    name: str
    good: bool
    text: str
    warning: bool = False


def inspect_server(engine: Engine) -> Iterator[Seen]:
    """What a server and its cluster say of themselves.

    Raises:
        StoreError: The server does not answer, or the user may not read its system tables.
    """
    yield _version(engine)
    yield _settings(engine)
    yield _windows(engine)
    if engine.layout.cluster:
        yield from _cluster(engine)


def _version(engine: Engine) -> Seen:
    version = str(engine.query("SELECT version()").rows[0][0])
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    good = numbers >= LEAST_VERSION
    least = ".".join(map(str, LEAST_VERSION))
    return Seen("server", good, f"ClickHouse {version}" + ("" if good else f"; it must be {least} or later"))


def _settings(engine: Engine) -> Seen:
    """That each setting of an insert is known, and that this user may set it."""
    wanted = [*INSERT_SETTINGS, "insert_deduplication_token", *(_CLUSTER_SETTINGS if engine.layout.cluster else ())]
    found = dict(
        engine.query(
            "SELECT name, readonly FROM system.settings WHERE name IN {names:Array(String)}", {"names": wanted}
        ).rows
    )
    unknown = [name for name in wanted if name not in found]
    fixed = [name for name in wanted if found.get(name)]
    if unknown:
        return Seen("settings of inserts", False, f"the server does not know {', '.join(unknown)}")
    if fixed:
        return Seen("settings of inserts", False, f"this user may not set {', '.join(fixed)}")
    return Seen("settings of inserts", True, "may be set")


def _windows(engine: Engine) -> Seen:
    """That every table which counts remembers enough tokens."""
    layout = engine.layout
    wanted = {layout.local(table) for table in (*SHARDED, BATCHES)}
    found = engine.query(
        "SELECT name, extract(engine_full, 'replicated_deduplication_window = (\\\\d+)') FROM system.tables "
        "WHERE database = currentDatabase() AND name IN {names:Array(String)}",
        {"names": sorted(wanted)},
    ).rows
    windows = {str(name): int(window or 0) for name, window in found}
    short = sorted(name for name in wanted if windows.get(name, 0) < DEDUPLICATION_WINDOW)
    if short:
        text = f"{', '.join(short)} remember fewer than {DEDUPLICATION_WINDOW:,} tokens"
        return Seen("deduplication", False, text)
    return Seen("deduplication", True, f"{len(wanted)} tables remember {min(windows.values()):,} tokens each")


def _cluster(engine: Engine) -> Iterator[Seen]:
    name = engine.layout.cluster
    found = engine.query(
        "SELECT shard_num, count() FROM system.clusters WHERE cluster = {name:String} "
        "GROUP BY shard_num ORDER BY shard_num",
        {"name": name},
    ).rows
    if not found:
        yield Seen("cluster", False, f"the server knows no cluster {name!r}")
        return
    fewest = min(int(replicas) for _, replicas in found)
    shape = f"{len(found)} {'shard' if len(found) == 1 else 'shards'}, of {fewest} or more replicas each"
    if fewest == 1:
        yield Seen("cluster", True, f"{shape}: a disk that is lost takes its records along", warning=True)
    else:
        yield Seen("cluster", True, shape)
    yield from _replicas(engine)


def _replicas(engine: Engine) -> Iterator[Seen]:
    bad = engine.query(
        f"SELECT hostName() AS host, table, is_readonly, absolute_delay FROM {engine.layout.system_of_all('replicas')} "
        "WHERE database = currentDatabase() AND (is_readonly OR absolute_delay > {most:UInt64}) ORDER BY host, table",
        {"most": _LAGGING_SECONDS},
    ).rows
    for host, table, readonly, delay in bad:
        state = "is read-only: it has lost its Keeper" if readonly else f"is {int(delay):,} s behind"
        yield Seen("replica", not readonly, f"{table} on {host} {state}", warning=not readonly)
    if not bad:
        yield Seen("replicas", True, "all take part, none is behind")
