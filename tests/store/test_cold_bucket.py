"""Cold days in a bucket, held against a server that speaks S3."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pyarrow import fs

from keytrail.config import Store
from keytrail.errors import ConfigError, StoreError
from keytrail.metrics import Metrics
from keytrail.query.export import Form
from keytrail.store.backup import restore
from keytrail.store.bucket import Bucket, Place, open_cold
from keytrail.store.erased import Subject
from keytrail.store.erasing import Erasing
from keytrail.store.raw_rows import cold_days
from keytrail.store.retention import Pruning
from keytrail.store.verify import verify
from tests.ports import free_port
from tests.product import Product, product
from tests.store import cold_store as cold
from tests.store.cold_store import KEEPS, KEYS, NOW, OLD, ORG, OTHER, RECORDS, all_right, asked, exported, names

SECRET = "a-secret-of-the-tests"


class Service:
    """A server that speaks S3, in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stderr is not None
        lines = iter(self.process.stderr.readline, "")
        self.address = next(line.split()[-1] for line in lines if "Running on http" in line)
        # Nobody reads on: the pipe must not fill.
        self._reading = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """Stop it; harmless if it has stopped."""
        self.process.terminate()
        self.process.wait(60)
        self._reading.wait(60)
        if self.process.stderr:
            self.process.stderr.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    running = Service()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def bucket(service: Service) -> fs.S3FileSystem:
    host = urlsplit(service.address).netloc
    client = fs.S3FileSystem(
        access_key="tests", secret_key=SECRET, scheme="http", endpoint_override=host, allow_bucket_creation=True
    )
    client.create_dir("records")
    return client


@pytest.fixture(scope="module")
def with_bucket(
    tmp_path_factory: pytest.TempPathFactory, service: Service, bucket: fs.S3FileSystem
) -> Iterator[Product]:
    values = {
        "store__cold": "s3://records/of/keytrail",
        "store__cold_endpoint": service.address,
        "store__cold_key_id": "tests",
        "store__cold_secret": SECRET,
    }
    with product(tmp_path_factory.mktemp("store"), **values) as running:
        yield running


@pytest.fixture
def store(with_bucket: Product) -> Product:
    """A store whose old days are in the bucket."""
    cold.clean(with_bucket)
    cold.put(with_bucket, RECORDS)
    with_bucket.came_in_time()
    steps = Pruning(with_bucket.parts.engine, with_bucket.parts.writer, KEEPS, None, Metrics()).run(NOW)
    assert cold.told(steps, "moved") == [f"{day:%Y%m%d}" for day in OLD]
    return with_bucket


def objects(bucket: fs.S3FileSystem) -> list[str]:
    found = bucket.get_file_info(fs.FileSelector("records/of/keytrail", allow_not_found=True))
    return sorted(one.base_name[:10] for one in found)


def test_days_move_into_a_bucket_and_answer(store: Product, bucket: fs.S3FileSystem) -> None:
    assert objects(bucket) == [str(day) for day in OLD]
    all_right(store)
    assert exported(store, Form.PARQUET) == names(ORG)
    assert exported(store, org=OTHER) == names(OTHER)


def test_where_it_is_and_its_secret_stay_here(store: Product) -> None:
    (statement,) = asked(store, "2026-02-01", "2026-03-20", explain=True).statements
    assert "s3(" in statement.sql
    bound = statement.statement
    for text in (SECRET, "tests", "records/of"):
        assert text not in statement.sql
        assert all(name in bound.hidden for name, value in bound.parameters.items() if text in str(value))
    assert SECRET not in repr(store.parts.settings)
    assert SECRET not in repr(store.parts.engine.cold.__dict__)
    # The engine names no bound value in its errors.
    (day, *_) = cold_days(store.parts.engine)
    place = store.parts.engine.cold
    assert isinstance(place, Bucket)
    values: dict[str, object] = {}

    def bind(value: object, kind: str) -> str:
        values[f"v{len(values)}"] = value
        return f"{{v{len(values) - 1}:{kind}}}"

    with pytest.raises(StoreError) as caught:
        store.parts.engine.query(f"SELECT count() FROM {place.table([f'{day.file}.none'], bind)}", values)
    assert SECRET not in str(caught.value)
    assert "records/of" not in str(caught.value)


def test_whoever_is_erased_is_gone_from_the_bucket(store: Product, bucket: fs.S3FileSystem) -> None:
    engine, writer = store.parts.engine, store.parts.writer
    before = {one.file for one in cold_days(engine)}
    Erasing(engine, writer).erase([Subject("key", KEYS[0])], keep_counts=False)
    left = [one.name for one in RECORDS if one.record.api_key != KEYS[0]]
    assert exported(store, org=None) == sorted(left)
    after = {one.file for one in cold_days(engine)}
    assert not before & after
    assert objects(bucket) == [str(day) for day in OLD]
    verified = verify(engine, writer)
    assert (verified.records, verified.differing, verified.damaged) == (len(left), [], [])


def test_an_object_that_is_not_as_it_was_is_told(store: Product, bucket: fs.S3FileSystem) -> None:
    name = f"records/of/keytrail/{cold_days(store.parts.engine)[0].file}"
    with bucket.open_input_stream(name) as file:
        content = file.read()
    for spoiled in (content[:-1] + b"x", b"short"):
        with bucket.open_output_stream(name) as out:
            out.write(spoiled)
        assert [one[:10] for one in verify(store.parts.engine, store.parts.writer).damaged] == [str(OLD[0])]
    with bucket.open_output_stream(name) as out:
        out.write(content)
    assert verify(store.parts.engine, store.parts.writer).damaged == []


def test_a_backup_leaves_the_bucket_where_it_is(store: Product, tmp_path: Path) -> None:
    source = tmp_path / "copy.tar"
    source.write_bytes(b"".join(store.parts.upkeep.backup()))
    restore(source, tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["engine", "lock"]


@pytest.mark.parametrize(
    ("given", "environment"), [({}, {}), ({}, {"AWS_ACCESS_KEY_ID": "a"}), ({"cold_key_id": "a"}, {})]
)
def test_a_bucket_needs_its_key(
    given: dict[str, str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"store\.cold_key_id and store\.cold_secret"):
        open_cold(Store.model_validate({"cold": "s3://records", **given}))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert isinstance(open_cold(Store(cold="s3://records")), Bucket)


def test_a_bucket_that_is_away(store: Product, tmp_path: Path) -> None:
    engine, there = store.parts.engine, store.parts.engine.cold
    nobody = Place(f"http://127.0.0.1:{free_port()}", "us-east-1", "records/of/keytrail", "tests", SECRET)
    engine.cold = Bucket(nobody, tmp_path, connect=1, answer=1)
    hot, less = cold.hot(store), KEEPS.model_copy(update={"raw_days": 2})
    try:
        with pytest.raises(StoreError):
            cold.by_country(store)
        assert sum(cold.by_country(store, "2026-03-10").values()) == 2 * cold.PER_DAY
        with pytest.raises(StoreError, match=r"store\.cold: s3://records"):
            Pruning(engine, store.parts.writer, less, None, Metrics()).run(NOW)
        assert cold.hot(store) == hot, "what can't be put away stays"
    finally:
        engine.cold = there
    all_right(store)


def test_a_folder_to_work_in_that_is_gone_is_named(tmp_path: Path) -> None:
    work = tmp_path / "tmp"
    bucket = Bucket(Place("http://127.0.0.1:1", "us-east-1", "records", "tests", SECRET), work, connect=1, answer=1)
    with pytest.raises(StoreError, match=rf"store\.cold: {work}/day\.parquet\.part: No such file"):
        bucket.working("day.parquet")
