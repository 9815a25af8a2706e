"""Days of single records become Parquet files and nothing is lost or counted twice, whatever is killed and whenever."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from keytrail.cli.opening import open_engine
from keytrail.config import Retention
from keytrail.errors import ConfigError, RequestError, StoreError
from keytrail.store.cold import Folder
from keytrail.store.kept import RAW_ROWS, kept_since
from keytrail.store.raw_rows import cold_days
from keytrail.store.rebuild import differing
from keytrail.store.retention import Disk, Step
from keytrail.store.tables import BATCHES, RAW, ROLLUPS
from keytrail.store.verify import verify
from keytrail.store.writer import Writer
from tests.product import Product, settings
from tests.store.cold_store import (
    NEW,
    NOW,
    OLD,
    ORG,
    PER_DAY,
    RECORDS,
    Breaking,
    Made,
    all_right,
    by_country,
    chunk_of,
    expected,
    files,
    folder,
    hot,
    pruning,
    put,
    run,
    told,
)
from tests.store.room import at_rest


def test_old_days_become_files_that_others_can_read(cooled: Product) -> None:
    assert hot(cooled) == [f"{day:%Y%m%d}" for day in NEW]
    assert files(cooled) == [str(day) for day in OLD]
    for file in folder(cooled).path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
        table = pq.read_table(file)
        assert sorted(map(str, table.column("raw_path").to_pylist())) == sorted(
            one.name for one in RECORDS if str(one.day) == file.name[:10]
        )
        assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "ZSTD"
        assert set(table.column("raw_request").to_pylist()) == {""}, "recorded requests go before"
    # Nothing was taken away that could be asked for.
    assert kept_since(cooled.parts.engine, RAW_ROWS) == date(1970, 1, 1)
    assert run(cooled) == []
    all_right(cooled)


def test_recorded_requests_go_with_their_day_where_they_may_stay_longer(warm: Product) -> None:
    """A cold file would have to be written once more for them."""
    longer = Retention(raw_days=10, rollup_months=2, recorded_days=15)
    steps = pruning(warm, longer).plan(NOW)
    assert told(steps, "moved") == [f"{day:%Y%m%d}" for day in OLD]
    # 9 March is 11 days ago: by its age alone it would keep them.
    assert told(steps, "recorded") == [f"{day:%Y%m%d}" for day in OLD]
    for_ever = Retention(raw_days=10, rollup_months=2, recorded_days=0)
    assert told(pruning(warm, for_ever).plan(NOW), "recorded") == []


def test_records_that_come_late_count_at_once(cooled: Product) -> None:
    late = [Made(OLD[1], n, ORG) for n in range(PER_DAY, PER_DAY + 4)]
    put(cooled, late)
    RECORDS.extend(late)
    try:
        all_right(cooled)
        assert by_country(cooled, "2026-03-01", "2026-03-01") == expected(OLD[1], OLD[2])
        # As if they were new they stay for a while, and then join the others in one file.
        assert told(run(cooled), "moved") == []
        cooled.came_in_time()
        assert told(run(cooled), "moved") == ["20260301"]
        assert hot(cooled) == [f"{day:%Y%m%d}" for day in NEW]
        assert files(cooled) == [str(day) for day in OLD]
        all_right(cooled)
    finally:
        del RECORDS[-4:]


def test_killed_between_late_records_and_their_sums(cooled: Product) -> None:
    """What comes for a cold day is compared with its file, too, when it is tried again."""
    late = [Made(OLD[1], n, ORG) for n in range(PER_DAY, PER_DAY + 4)]
    engine = cooled.parts.engine
    engine.command("DETACH TABLE by_key_day_view")
    try:
        with pytest.raises(StoreError, match="killed"):
            Writer(Breaking(engine, BATCHES, after=False)).write(chunk_of(cooled, late, attempt=1))
    finally:
        engine.command("ATTACH TABLE by_key_day_view")
    assert cooled.parts.writer.write(chunk_of(cooled, late, attempt=2)).stored == 4
    RECORDS.extend(late)
    try:
        all_right(cooled)
    finally:
        del RECORDS[-4:]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "at", ["cold_days False", "INSERT INTO FUNCTION", "cold_days True", "DROP PARTITION ID '20260227'"]
)
def test_killed_while_a_day_was_moved(warm: Product, at: str, *, after: bool) -> None:
    broken = Breaking(warm.parts.engine, at, after=after)
    with pytest.raises(StoreError, match="killed"):
        pruning(warm, engine=broken).run(NOW)
    all_right(warm)
    run(warm)
    # Whoever was killed between the row and the drop has left rows that are in the file.
    run(warm)
    assert hot(warm) == [f"{day:%Y%m%d}" for day in NEW]
    assert files(warm) == [str(day) for day in OLD]
    all_right(warm)


def test_a_file_that_is_not_the_day_is_not_taken(warm: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place = Folder.put

    def spoiled(place: Folder, name: str) -> tuple[int, str]:
        part = place.path / f"{name}.part"
        rows = pq.read_table(part)
        pq.write_table(rows.set_column(rows.schema.get_field_index("latency"), "latency", rows.column("seq")), part)
        return put_in_place(place, name)

    monkeypatch.setattr(Folder, "put", spoiled)
    with pytest.raises(StoreError, match="cold file of 2026-02-27"):
        run(warm)
    monkeypatch.undo()
    assert len(hot(warm)) == len(OLD + NEW)
    all_right(warm)
    run(warm)
    assert files(warm) == [str(day) for day in OLD]


@pytest.mark.parametrize("before", ["working", "put"])
def test_records_that_come_while_a_day_is_moved(before: str, warm: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its file is written, which is then not the day that was looked at, or after it."""
    late = [Made(OLD[0], PER_DAY, ORG)]
    real = getattr(Folder, before)

    def slow(place: Folder, name: str) -> Any:
        if name.startswith(str(OLD[0])):
            put(warm, late)
        return real(place, name)

    monkeypatch.setattr(Folder, before, slow)
    assert told(run(warm), "moved") == [f"{day:%Y%m%d}" for day in OLD[1:]]
    monkeypatch.undo()
    RECORDS.extend(late)
    try:
        all_right(warm)
        warm.came_in_time()
        run(warm)
        assert files(warm) == [str(day) for day in OLD]
        all_right(warm)
    finally:
        del RECORDS[-1:]


def test_cold_days_end_as_set(cooled: Product) -> None:
    keeps = Retention(raw_days=10, cold_days=19, rollup_months=2)
    planned = pruning(cooled, keeps).plan(NOW)
    assert told(planned, "cold") == ["20260227"]
    assert run(cooled, keeps) == planned
    assert files(cooled) == [str(day) for day in OLD[1:]]
    with pytest.raises(RequestError, match="single records of 2026-02-27, and those from before 2026-02-28 are no"):
        by_country(cooled, "2026-02-27")
    assert by_country(cooled, "2026-02-28") == expected(start=OLD[1])
    # A day that can't be asked for is not written into a file again.
    put(cooled, [Made(OLD[0], 1, ORG)])
    assert told(run(cooled, keeps), "raw") == ["20260227"]
    assert files(cooled) == [str(day) for day in OLD[1:]]
    verified = verify(cooled.parts.engine, cooled.parts.writer)
    assert (verified.missing, verified.rollups) == (0, [])


def test_cold_days_end_with_the_sums(cooled: Product) -> None:
    """Those of February and March are kept until May, beside a month that is not over."""
    last = [datetime(2026, 4, 30, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC)]
    planned = [told(pruning(cooled).plan(now), "cold") for now in last]
    assert planned == [[], ["20260227"], ["20260227"]]
    assert told(pruning(cooled).plan(datetime(2026, 6, 1, tzinfo=UTC)), "cold") == [f"{day:%Y%m%d}" for day in OLD]
    for_ever = Retention(raw_days=10, cold_days=0, rollup_months=0)
    assert told(pruning(cooled, for_ever).plan(datetime(2036, 6, 1, tzinfo=UTC)), "cold") == []


def test_sums_are_made_again_from_cold_days(cooled: Product) -> None:
    engine, writer = cooled.parts.engine, cooled.parts.writer
    damage = "DELETE WHERE toDate(bucket) IN ('2026-03-01', '2026-02-27') SETTINGS mutations_sync = 2"
    engine.command(f"ALTER TABLE by_key_day {damage}")
    engine.command(f"ALTER TABLE by_client_15m {damage}")
    # What is looked at all the time leaves their files alone.
    assert writer.drift([202602, 202603]) == []
    assert differing(engine, 202602, cold=None) == ["by_key_day", "by_client_15m"]
    assert verify(engine, writer).rollups == [
        f"{table} {month}" for month in (202602, 202603) for table in ("by_key_day", "by_client_15m")
    ]
    assert len(writer.rebuild([202602, 202603])) == 2 * len(ROLLUPS)
    all_right(cooled)


def test_the_oldest_goes_first_where_files_take_room_from_the_same_disk(cooled: Product) -> None:
    short, sizes = pruning(cooled), {one.day: one.size for one in cold_days(cooled.parts.engine)}

    def plan(leaving: int) -> list[Step]:
        short.room = Disk(0, 20 * (leaving + sizes[OLD[0]] + 1))
        return [step for step in short.plan(NOW) if step.why == "disk"]

    planned = at_rest(cooled, plan)
    assert [(step.what, step.partition.id) for step in planned] == [("cold", "20260227"), ("cold", "20260301")]
    # Nothing is moved that could not be asked for afterwards.
    short.room = Disk(0, 2**50)
    planned = short.plan(NOW + timedelta(days=1))
    assert told(planned, "moved") == []
    assert told(planned, "cold") == [f"{day:%Y%m%d}" for day in OLD]
    assert told(planned, "raw") == ["20260310", "20260319"]


def test_days_are_moved_early_where_files_lie_elsewhere(warm: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Folder, "on_disk_of", lambda *_: False)
    short = pruning(warm)
    short.room = Disk(0, 2**50)
    steps = [(step.what, step.partition.id, step.why) for step in short.plan(NOW) if step.what in {"raw", "moved"}]
    assert steps == [("moved", f"{day:%Y%m%d}", "age") for day in OLD] + [("moved", "20260310", "disk")]
    short.run(NOW)
    assert files(warm) == [str(day) for day in (*OLD, NEW[0])]
    all_right(warm)


def test_a_table_in_months(warm: Product) -> None:
    """As in stores that were made before raw rows stood in days: a partition becomes several files."""
    engine = warm.parts.engine
    made = engine.query(f"SHOW CREATE TABLE {RAW}").rows[0][0]
    engine.command(f"RENAME TABLE {RAW} TO requests_in_days")
    try:
        engine.command(made.replace("toYYYYMMDD(time)", "toYYYYMM(time)"))
        engine.command(f"INSERT INTO {RAW} SELECT * FROM requests_in_days")
        steps = run(warm, now=datetime(2026, 4, 15, tzinfo=UTC))
        assert told(steps, "moved") == ["202602", "202603"]
        assert files(warm) == [str(day) for day in (*OLD, *NEW)]
        all_right(warm)
    finally:
        engine.command(f"DROP TABLE {RAW} SYNC")
        engine.command(f"RENAME TABLE requests_in_days TO {RAW}")


def test_a_server_has_no_cold_days() -> None:
    with pytest.raises(ConfigError, match=r"store\.cold"):
        open_engine(settings(Path("x"), store__url="clickhouse://127.0.0.1:1/a", store__cold="cold"))
