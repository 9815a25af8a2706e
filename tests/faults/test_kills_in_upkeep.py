"""Servers are killed in the middle of their upkeep; afterwards every record counts once, or is gone as it should be."""

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keytrail.store.backup import restore
from keytrail.store.erased import Subject
from keytrail.store.kept import RAW_ROWS, kept_since
from keytrail.store.raw_rows import ALL_TIME, Bound, cold_days, raw_rows
from keytrail.store.rebuild import months_of_raw
from keytrail.store.tables import ROLLUPS
from tests.collect.redis_servers import Server
from tests.faults.beside import ANONYMOUS, COPY, ERASED, HOT_DAYS
from tests.faults.process import Collecting
from tests.faults.rig import RECORDS_OF_A_DAY, Feed, drain, key_of, onward, spread, with_late, write_config
from tests.product import Product, product

pytestmark = [pytest.mark.redis, pytest.mark.long]


ENOUGH = (HOT_DAYS + 2) * RECORDS_OF_A_DAY
"""Records that are pushed at least."""
INSTANTS = {"prune": onward, "cool": with_late, "cool+copy": with_late}


def kill_in(work: str, folder: Path, server: Server, kills: int, seed: int) -> Feed:
    """Kill a collector that does something beside, again and again, and let the last one store what is left."""
    chance = random.Random(seed)
    config = write_config(folder, server.port)
    if "cool" in work:
        config.write_text(f'{config.read_text(encoding="utf-8")}store.cold = "cold"\n', encoding="utf-8")
    client = server.client()
    feed = Feed(client, rate=500, instant=INSTANTS.get(work, spread))
    with feed.running():
        # On a fast machine, too, there is a day that can be moved or pruned, and time to do it.
        for number in itertools.takewhile(lambda done: done < kills or len(feed.pushed) < ENOUGH, itertools.count()):
            process = Collecting(config, number=number, work=work)
            if chance.random() < 0.95:
                process.until_it_collects()
            # On a slow machine, too, some live long enough.
            if number % 4 == 0:
                process.until_it_has_worked()
            time.sleep(chance.uniform(0, 2))
            process.kill()
            assert process.status == -9
    drain(config, client)
    return feed


def number_of(name: str) -> int:
    return int(name.rpartition("/")[2])


def sound(store: Product) -> None:
    """The ledger, single records and sums agree, and no record is there twice."""
    found = store.parts.upkeep.verify()
    assert (found.missing, found.surplus, found.unconfirmed, found.damaged) == (0, 0, 0, [])
    assert found.rollups == []
    rows, bound = raw_rows(store.parts.engine, [ALL_TIME]), Bound()
    sql = f"SELECT count(), uniqExact(batch_id, seq) FROM {rows.source(bound)}"
    ((count, different),) = store.parts.engine.query(sql, bound.values).rows
    assert count == different == found.records


def stored(store: Product) -> Counter[str]:
    """How often each record is there, in the table or in the file of a cold day."""
    rows, bound = raw_rows(store.parts.engine, [ALL_TIME]), Bound()
    sql = f"SELECT raw_path, count() FROM {rows.source(bound)} GROUP BY raw_path"
    return Counter({str(name): int(count) for name, count in store.parts.engine.query(sql, bound.values).rows})


def all_sums(store: Product, expected: Counter[str], value: str) -> None:
    """Every rollup has as many records, by something of them."""
    for rollup in ROLLUPS:
        found = store.query(f"SELECT {value}, sum(records) FROM {rollup.table} GROUP BY 1")
        assert Counter({str(one): int(count) for one, count in found}) == expected, rollup.table


def check_cold(store: Product, feed: Feed) -> None:
    assert stored(store) == Counter(feed.pushed)
    assert cold_days(store.parts.engine), "no day was moved"
    all_sums(store, Counter(f"org{number_of(name) % 2}" for name in feed.pushed), "org_id")


def check_erased(store: Product, feed: Feed) -> None:
    """Whoever was being erased when the last process was killed is erased now, as somebody who tries again would do."""
    for key in (*ERASED, *ANONYMOUS):
        store.parts.upkeep.erase([Subject("key", key)], keep_counts=key in ANONYMOUS)
    keys = {name: key_of(number_of(name)) for name in feed.pushed}
    expected = Counter(name for name, key in keys.items() if key not in (*ERASED, *ANONYMOUS))
    expected[""] = sum(key in ANONYMOUS for key in keys.values())
    assert stored(store) == expected
    left = Counter(f"org{number_of(name) % 2}" for name, key in keys.items() if key not in ERASED)
    all_sums(store, left, "org_id")


def check_pruned(store: Product, feed: Feed) -> None:
    days = {name: datetime.fromtimestamp(onward(number_of(name)) // 10**9, UTC).date() for name in feed.pushed}
    since = kept_since(store.parts.engine, RAW_ROWS)
    found = stored(store)
    assert min(days.values()) < since, "nothing was pruned"
    assert {name: count for name, count in found.items() if days[name] >= since} == {
        name: 1 for name, day in days.items() if day >= since
    }
    all_sums(store, Counter(str(day) for day in days.values()), "toDate(bucket)")


def check_copied(store: Product, feed: Feed) -> None:
    assert stored(store) == Counter(feed.pushed)


CHECKS: dict[str, Callable[[Product, Feed], None]] = {
    "cool": check_cold,
    "erase": check_erased,
    "prune": check_pruned,
    "copy": check_copied,
    "cool+copy": check_cold,
}


@pytest.mark.parametrize("work", CHECKS)
def test_killed_in(work: str, valkey: Server, tmp_path: Path) -> None:
    killed_in(work, valkey, tmp_path, kills=12, seed=6)


def killed_in(work: str, server: Server, folder: Path, *, kills: int, seed: int) -> None:
    feed = kill_in(work, folder, server, kills, seed)
    cold = {"store__cold": "cold"} if "cool" in work else {}
    with product(folder / "data", **cold) as store:
        CHECKS[work](store, feed)
        sound(store)
        taken, of_ledger, rejected = store.query("SELECT sum(taken), sum(stored), sum(rejected) FROM batches")[0]
        assert taken == of_ledger + rejected == len(feed.pushed) + feed.poison
        assert store.query("SELECT count() FROM rejects") == [(feed.poison,)]
        print(f"{work}: {kills} kills, {len(feed.pushed)} pushed, {feed.poison} rejected, {of_ledger} in the ledger")
    if "copy" in work:
        assert restore(folder / COPY, folder / "restored", folder / "restored/cold").records
        with product(folder / "restored", **cold) as store:
            # It may have been made before what a kill had left was tried again: then that is not in the sums yet.
            found = store.parts.upkeep.verify()
            assert (found.missing, found.unconfirmed, found.damaged) == (0, 0, [])
            assert all(one.expected == 0 for one in found.differing)
            store.parts.writer.rebuild(months_of_raw(store.parts.engine))
            assert store.parts.upkeep.verify().rollups == []
            assert max(stored(store).values()) == 1
