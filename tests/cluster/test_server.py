"""What only a server shows that can be told to break: exactly once whatever the connection does, no word too much."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from urllib3.exceptions import InsecureRequestWarning

from keytrail.config import Store
from keytrail.errors import StoreAway, StoreError
from keytrail.store.address import Address, parse_address
from keytrail.store.chunk import Written
from keytrail.store.client import ServerEngine
from keytrail.store.client.engine import engine_errors
from tests.cluster.conftest import answered, product_on
from tests.cluster.front import CLUSTER, PASSWORD, USER
from tests.cluster.fronts import Server, front
from tests.collect.test_redis_tls import openssl
from tests.product import Product
from tests.store.test_writer import RECORDS, ROUND, batch_of, exact, write


@pytest.fixture(scope="module", params=["", CLUSTER], ids=["server", "cluster"])
def store(server: Server, request: pytest.FixtureRequest) -> Iterator[Product]:
    with product_on(server, request.param) as running:
        yield running


@pytest.fixture(scope="module")
def plain(server: Server) -> Iterator[Product]:
    """A store on a single server."""
    with product_on(server) as running:
        yield running


def test_a_server_takes_any_password(server: Server) -> None:
    """It needs escaping in a URL, and never comes into anything that is shown."""
    address = parse_address(server.url())
    assert address == Address((("127.0.0.1", server.port),), False, USER, PASSWORD, "keytrail")


def test_nobody_there() -> None:
    with pytest.raises(StoreAway, match=r"the server gave no answer: .*refused"):
        ServerEngine(parse_address("clickhouse://ada:s3cret@127.0.0.1:1"), Store())


def test_nothing_is_kept_between_statements(plain: Product, server: Server) -> None:
    """A balancer may send each statement elsewhere."""
    assert not [one for one in server.log() if "session_id" in one["parameters"]]


def test_bound_values_stay_out_of_messages(plain: Product, server: Server) -> None:
    secret = "7f3c3ca87376cabe"
    sql = "SELECT 'of the test', {key:String} = ''"
    for fault in ({"cut": "before", "times": 3}, {"cut": "middle"}, {"code": 241, "status": 500}):
        server.fault("of the test", **fault)
        with pytest.raises(StoreError) as told:
            plain.parts.engine.query(sql, {"key": secret})
        assert secret not in str(told.value)
    assert plain.parts.engine.query(sql, {"key": secret}).rows == [("of the test", 0)]


def test_a_query_is_sent_again_to_a_busy_server(plain: Product, server: Server) -> None:
    server.fault("busy for now", code=202, status=503, times=2)
    assert plain.parts.engine.query("SELECT 'busy for now'").rows == [("busy for now",)]
    server.fault("busy for long", code=202, status=503, times=3)
    with pytest.raises(StoreAway, match=r"Code: 202"):
        plain.parts.engine.query("SELECT 'busy for long'")


def test_a_server_that_is_silent_for_too_long(server: Server) -> None:
    engine = answered(lambda: ServerEngine(parse_address(server.url()), Store(timeout=1)))
    try:
        server.fault("silent", seconds=600)
        with pytest.raises(StoreAway, match=r"Read timed out"):
            engine.query("SELECT 'silent'")
        assert answered(lambda: engine.query("SELECT 'slow'")).rows == [("slow",)]
    finally:
        engine.close()


def test_large_answers_come_whole_or_not_at_all(plain: Product, server: Server) -> None:
    sql = "SELECT toString(number) FROM numbers(300000)"
    assert plain.parts.engine.query(sql).rows[-1] == ("299999",)
    server.fault("numbers", cut="middle")
    with pytest.raises(StoreAway, match="the server gave no answer"):
        plain.parts.engine.query(sql)


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("table", ["requests", "batches"])
def test_an_insert_whose_answer_was_lost(store: Product, server: Server, table: str, cut: str) -> None:
    """Whether it was done is not known, so it is done again under the same token: that counts once."""
    store.empty()
    ROUND[store] = ROUND.get(store, 0) + 1
    before = len(server.log("INSERT INTO `requests`"))
    server.fault(f"^INSERT INTO `{table}`", cut=cut)
    with pytest.raises(StoreAway, match="the server gave no answer"):
        write(store)
    # Only of the very last step the second attempt can tell that it was done.
    confirmed = (table, cut) == ("batches", "after")
    assert write(store, attempt=2) == (Written(0, 0, duplicate=61) if confirmed else Written(60, 1, duplicate=0))
    exact(store, RECORDS[:60])
    assert store.query("SELECT count() FROM batches") == [(1,)]
    sent = server.log("INSERT INTO `requests`")[before:]
    assert {one["parameters"]["insert_deduplication_token"] for one in sent} == {f"{batch_of(store)}:0"}


def test_inserts_say_what_exactly_once_needs(store: Product, server: Server) -> None:
    store.empty()
    ROUND[store] = ROUND.get(store, 0) + 1
    write(store)
    sent = server.log("INSERT INTO `requests`")[-1]["parameters"]
    assert sent["deduplicate_blocks_in_dependent_materialized_views"] == "1"
    assert (sent["async_insert"], sent["insert_deduplicate"]) == ("0", "1")
    cluster = bool(store.parts.engine.layout.cluster)
    assert (sent.get("distributed_foreground_insert"), sent.get("insert_quorum")) == (
        ("1", "auto") if cluster else (None, None)
    )


def test_another_host_is_asked_where_one_is_away(server: Server, tmp_path: Path) -> None:
    with front(tmp_path) as other:
        address = parse_address(f"{server.url().rpartition('/')[0]},127.0.0.1:{other.port},127.0.0.1:1/default")
        engine = ServerEngine(address, Store(readers=3))
        try:
            for _ in range(4):
                assert engine.query("SELECT 1").rows == [(1,)]
            other.process.kill()
            other.process.wait()
            for _ in range(4):
                engine_answers(engine)
        finally:
            engine.close()


def engine_answers(engine: ServerEngine) -> None:
    """Once the handle to a host that has gone is dropped, the next one goes elsewhere."""
    for attempt in range(3):
        try:
            assert engine.query("SELECT 1").rows == [(1,)]
        except StoreAway:
            assert attempt < 2
        else:
            return


def test_tls(tmp_path: Path) -> None:
    """A server is believed only if its certificate is."""
    openssl(tmp_path, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=test", "-days", "2",
            "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
    files = ("--certificate", str(tmp_path / "server.crt"), "--key", str(tmp_path / "server.key"))
    with front(tmp_path / "engine", *files) as secure:
        address = parse_address(secure.url())
        assert address.secure
        engine = ServerEngine(address, Store(ca_file=tmp_path / "server.crt"))
        assert engine.query("SELECT 1").rows == [(1,)]
        engine.close()
        with pytest.warns(InsecureRequestWarning):
            ServerEngine(address, Store(verify=False)).close()
        with pytest.raises(StoreAway, match="certificate verify failed"):
            ServerEngine(address, Store())
        with pytest.raises(StoreAway, match="the server gave no answer"):
            ServerEngine(parse_address(secure.url().removesuffix("?secure=true")), Store())


@pytest.mark.parametrize(
    ("place", "away"), [("while receiving packet from ch2:9000", True), ("in file data.bin", False)]
)
def test_a_shard_that_ended_early_is_away(place: str, away: bool) -> None:
    """As a real server says of another one that was killed; of a file the same code is no reason to try again."""
    error = DatabaseError(f"Code: 32. DB::Exception: Attempt to read after eof: {place}. (ATTEMPT_TO_READ_AFTER_EOF)")
    error.code = 32
    with pytest.raises(StoreError) as told, engine_errors():
        raise error
    assert isinstance(told.value, StoreAway) is away
