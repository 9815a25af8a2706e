"""The made-up traffic has a real gateway's form, and tells the story that the demo shows."""

import base64
import ipaddress
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from keytrail.demo.traffic import between, history, live
from keytrail.demo.world import NO_KEY, ORG_ID, World, build_world

# A Wednesday afternoon, so that the last eight days hold one whole weekend.
END = datetime(2026, 11, 25, 15, 4, 5, tzinfo=UTC)
DAYS = 8
RECORDS = 40_000
HOUR = 3600

Record = dict[str, Any]


@pytest.fixture(scope="module")
def world() -> World:
    return build_world()


@pytest.fixture(scope="module")
def wire(world: World) -> list[bytes]:
    return list(history(world, end=END, days=DAYS, records=RECORDS))


@pytest.fixture(scope="module")
def records(wire: list[bytes]) -> list[Record]:
    return [msgpack.unpackb(one) for one in wire]


@pytest.fixture(scope="module")
def real_wire() -> list[bytes]:
    """What a gateway 5.8 wrote: two plain requests (with and without a known city), a GraphQL one, a TCP counter."""
    lines = Path(__file__).with_name("real_records.txt").read_text().split()
    return [base64.b64decode(line) for line in lines]


@pytest.fixture(scope="module")
def real(real_wire: list[bytes]) -> list[Record]:
    return [msgpack.unpackb(one) for one in real_wire]


def seconds(record: Record) -> float:
    second, nanosecond = record["TimeStamp"]
    return float(second + nanosecond / 1e9)


def ago(record: Record) -> float:
    """Seconds before the end."""
    return END.timestamp() - seconds(record)


def shapes(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Give the type found at every place of a record; the languages of a city and the GraphQL types are data."""
    yield at, type(value).__name__
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from shapes(inner, f"{at}.*" if at.endswith((".Names", ".Types")) else f"{at}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from shapes(inner, f"{at}[]")


def is_mcp(record: Record) -> bool:
    return "MCPStats" in record


def test_fields_stand_in_the_order_of_a_real_record(records: list[Record], real: list[Record]) -> None:
    names = list(real[0])
    with_mcp = [*names[:-1], "MCPStats", names[-1]]
    assert all(list(one) == names for one in real)
    assert all(list(one) == (with_mcp if is_mcp(one) else names) for one in records)


def test_every_value_has_a_type_that_a_real_record_has_there(records: list[Record], real: list[Record]) -> None:
    known = {shape for one in real for shape in shapes(one)}
    graph, mcp = ".GraphQLStats.Errors", ".MCPStats"
    # No real record of these is at hand: this is the shape that the wire format describes.
    known |= {(graph, "list"), (f"{graph}[]", "dict"), (f"{graph}[].Message", "str"), (f"{graph}[].Path", "list")}
    known |= {(f"{graph}[].Path[]", "str"), (mcp, "dict"), (f"{mcp}.IsMCP", "bool"), (f"{mcp}.JSONRPCMethod", "str")}
    known |= {(f"{mcp}.PrimitiveType", "str"), (f"{mcp}.PrimitiveName", "str")}
    found = {shape for one in records for shape in shapes(one)}
    assert found == known


def test_fragments_join_to_what_encoding_the_whole_record_gives(wire: list[bytes], real_wire: list[bytes]) -> None:
    for one in (*real_wire, *wire):
        assert msgspec.msgpack.encode(msgpack.unpackb(one)) == one


def test_records_come_in_the_order_of_time_up_to_the_end(records: list[Record]) -> None:
    assert all(earlier["TimeStamp"] <= later["TimeStamp"] for earlier, later in pairwise(records))
    assert 0 < ago(records[-1]) < 1
    assert DAYS * 24 * HOUR - HOUR < ago(records[0]) <= DAYS * 24 * HOUR


def test_date_and_hour_are_those_of_the_time(records: list[Record]) -> None:
    for one in records:
        at = datetime.fromtimestamp(one["TimeStamp"][0], UTC)
        assert (one["Year"], one["Month"], one["Day"], one["Hour"]) == (at.year, at.month, at.day, at.hour)
        assert one["ExpireAt"][0] > one["TimeStamp"][0] + 99 * 365 * 24 * HOUR


@pytest.mark.parametrize(("count", "days"), [(0, 1), (1, 30), (7, 30), (1000, 1), (5003, 30)])
def test_there_are_exactly_as_many_as_asked_for(world: World, count: int, days: int) -> None:
    assert sum(1 for _ in history(world, end=END, days=days, records=count)) == count


def test_a_seed_decides_everything(world: World) -> None:
    def first(made: World) -> list[bytes]:
        return list(islice(history(made, end=END, records=RECORDS), 500))

    assert build_world() == world
    assert first(build_world()) == first(world)
    assert build_world(8) != world
    assert first(build_world(8)) != first(world)


def test_a_history_is_made_while_it_is_read(world: World) -> None:
    tracemalloc.start()
    try:
        assert next(history(world, end=END, records=10_000_000))
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()


def test_few_keys_make_most_of_the_traffic(records: list[Record]) -> None:
    hits = Counter(one["APIKey"] for one in records if one["APIKey"] != NO_KEY)
    ranked = [count for _, count in hits.most_common()]
    assert len(ranked) > 400
    assert sum(ranked[: len(ranked) // 10]) > sum(ranked) / 2
    assert ranked[0] < sum(ranked) / 5


def test_days_are_busier_than_nights_and_weekends(records: list[Record]) -> None:
    def at(one: Record) -> datetime:
        return datetime.fromtimestamp(seconds(one), UTC)

    working = Counter(at(one).hour for one in records if at(one).weekday() < 5)
    assert sum(working[hour] for hour in range(9, 16)) > 1.4 * sum(working[hour] for hour in (20, 21, 22, 23, 0, 1, 2))
    days = Counter(at(one).date() for one in records)
    saturday, wednesday = END.date() - timedelta(days=4), END.date() - timedelta(days=7)
    assert saturday.weekday() == 5
    assert days[saturday] < 0.8 * days[wednesday + timedelta(days=1)]


def test_an_upstream_was_down_for_forty_minutes_three_days_ago(world: World) -> None:
    day = timedelta(days=1)
    span = [
        msgpack.unpackb(one)
        for one in between(world, start=END - 4 * day, end=END - 2 * day, records=40_000, story=END)
    ]
    api, endpoint = world.flaky
    asked = (api.api_id, endpoint.method, endpoint.path)
    there = [one for one in span if (one["APIID"], one["Method"], one["Path"]) == asked]
    failed = [one for one in there if one["ResponseCode"] in {502, 503, 504}]
    times = sorted(ago(one) for one in failed)
    middle = times[len(times) // 2]
    cluster = [time for time in times if abs(time - middle) < HOUR]
    assert len(cluster) > 0.9 * len(times)
    assert 30 * 60 < cluster[-1] - cluster[0] <= 40 * 60
    during = [one for one in there if cluster[0] <= ago(one) <= cluster[-1]]
    outside = [one for one in there if abs(ago(one) - middle) > HOUR]
    assert len(cluster) > 0.7 * len(during) > 20
    assert sum(one["ResponseCode"] >= 500 for one in outside) < 0.02 * len(outside)
    assert {one["ResponseCode"] for one in failed} == {502, 503, 504}
    assert all(one["Latency"]["Upstream"] > 0 for one in failed)
    assert max(one["Latency"]["Upstream"] for one in failed) >= 30_000


def test_a_deployment_broke_one_endpoint_twenty_hours_ago(world: World, records: list[Record]) -> None:
    api, endpoint = world.broken
    broken = [one for one in records if one["APIID"] == api.api_id and one["ResponseCode"] == 500]
    after = [one for one in broken if ago(one) < 20 * HOUR]
    assert Counter(one["Path"] for one in after)[endpoint.path] > 0.7 * len(after)
    assert any(ago(one) < HOUR for one in after)
    everywhere = [one for one in records if ago(one) < 20 * HOUR and one["ResponseCode"] == 500]
    assert len(after) > 0.7 * len(everywhere)
    # The seven days before had fewer than these twenty hours.
    assert len(after) > 2 * (len(broken) - len(after))


def test_one_key_has_most_of_the_last_days_client_errors(world: World, records: list[Record]) -> None:
    key = world.failing.key
    refused = [one for one in records if ago(one) < 24 * HOUR and 400 <= one["ResponseCode"] < 500]
    its = [one for one in refused if one["APIKey"] == key]
    assert len(its) > len(refused) / 2
    assert {one["ResponseCode"] for one in its} >= {403, 429}
    late = [one for one in records if one["APIKey"] == key and ago(one) < 6 * HOUR]
    early = [one for one in records if one["APIKey"] == key and ago(one) > 6 * HOUR]
    assert sum(one["ResponseCode"] in {403, 429} for one in late) > 0.8 * len(late)
    assert sum(one["ResponseCode"] >= 400 for one in early) < 0.05 * len(early)


def test_times_add_up(records: list[Record]) -> None:
    for one in records:
        total, upstream = one["Latency"]["Total"], one["Latency"]["Upstream"]
        assert one["RequestTime"] == total
        if upstream or one["ResponseCode"] < 400 < total:
            assert 1 <= total - upstream <= 3
        if one["ResponseCode"] in {401, 403, 429, -1}:
            assert upstream == 0
            assert total <= 2
    times = [one["Latency"]["Upstream"] for one in records if one["ResponseCode"] == 200]
    ranked = sorted(times)
    # Log-normal: the mean lies well above the median.
    assert sum(times) / len(times) > 1.3 * ranked[len(ranked) // 2]


def test_every_record_carries_the_gateways_own_tags(records: list[Record]) -> None:
    for one in records:
        assert one["OrgID"] == ORG_ID
        assert one["Tags"][-3:] == [f"key-{one['APIKey']}", f"org-{ORG_ID}", f"api-{one['APIID']}"]
    tags = {tag.split("-")[0] for one in records for tag in one["Tags"]}
    assert tags >= {"pol", "team", "plan", "oauth"}


def test_all_kinds_of_records_are_there(records: list[Record]) -> None:
    kinds = Counter(
        "tcp" if one["ResponseCode"] == -1
        else "mcp" if is_mcp(one)
        else "graphql" if one["GraphQLStats"]["IsGraphQL"]
        else "rest"
        for one in records
    )  # fmt: skip
    assert set(kinds) == {"rest", "graphql", "mcp", "tcp"}
    assert 0 < kinds["tcp"] < kinds["mcp"] < 0.1 * RECORDS
    assert 0 < kinds["graphql"] < 0.1 * RECORDS
    assert all(one["MCPStats"]["IsMCP"] for one in records if is_mcp(one))
    assert any(one["Network"]["BytesIn"] for one in records if one["ResponseCode"] == -1)
    assert len({one["OauthID"] for one in records}) == 1 + 25
    assert {one["APIVersion"] for one in records} == {"v1", "v2", "Non Versioned", ""}
    assert {one["ResponseCode"] // 100 for one in records} == {-1, 2, 3, 4, 5}


def test_requests_without_a_key_are_refused_unless_the_api_is_open(world: World, records: list[Record]) -> None:
    opened = {api.api_id for api in world.apis if api.access == "open"}
    without = [one for one in records if one["APIKey"] == NO_KEY]
    shut = Counter(one["ResponseCode"] for one in without if one["APIID"] not in opened)
    assert set(shut) == {401, 403}
    assert any(one["ResponseCode"] == 200 for one in without)
    assert not any(one["Alias"] for one in without)


def test_names_paths_and_addresses_are_the_awkward_ones_of_real_life(records: list[Record]) -> None:
    aliases = {one["Alias"] for one in records}
    assert any("Größe" in alias for alias in aliases)
    assert any("日本" in alias for alias in aliases)
    untracked = {one["RawPath"] for one in records if not one["TrackPath"]}
    assert any(" " in path for path in untracked)
    assert any("ü" in path for path in untracked)
    assert all(one["Path"] == one["RawPath"] for one in records if not one["TrackPath"])
    assert any(one["Path"] != one["RawPath"] for one in records if one["TrackPath"])
    assert not any("{" in one["RawPath"] for one in records)
    countries = {one["Geo"]["Country"]["ISOCode"] for one in records}
    assert "" in countries
    assert len(countries) > 10


def test_no_address_is_a_real_persons(records: list[Record]) -> None:
    reserved = [
        ipaddress.ip_network(block)
        for block in (
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "198.18.0.0/15",
            "10.0.0.0/8",
            "2001:db8::/32",
        )
    ]
    for address in {one["IPAddress"] for one in records} - {""}:
        assert any(ipaddress.ip_address(address) in block for block in reserved)


def test_detailed_records_hold_the_request_that_they_describe(records: list[Record]) -> None:
    detailed = [one for one in records if one["RawRequest"]]
    assert len({one["APIID"] for one in detailed}) == 1
    for one in detailed:
        head, body = base64.b64decode(one["RawRequest"]).decode().split("\r\n\r\n")
        assert head.startswith(f"{one['Method']} {one['RawPath']} HTTP/1.1\r\n")
        assert f"X-Forwarded-For: {one['IPAddress']}" in head
        assert len(body.encode()) == one["ContentLength"]
        status = base64.b64decode(one["RawResponse"]).decode().split()[1]
        assert status == str(one["ResponseCode"])


def test_a_live_feed_goes_on_where_the_history_ends(world: World) -> None:
    feed = list(islice(live(world, start=END, rate=50), 50 * 600))
    due = [moment - END.timestamp() for moment, _ in feed]
    assert due == sorted(due)
    assert 0 <= due[0] < 1
    assert 595 < due[-1] < 600
    records = [msgpack.unpackb(one) for _, one in feed]
    assert all(abs(seconds(one) - moment) < 0.001 for (moment, _), one in zip(feed, records, strict=True))
    refused = Counter(one["APIKey"] for one in records if one["ResponseCode"] in {403, 429})
    assert refused.most_common(1)[0][0] == world.failing.key
    _, endpoint = world.broken
    assert any(one["ResponseCode"] == 500 and one["Path"] == endpoint.path for one in records)
    assert len({one["APIID"] for one in records}) == len(world.apis)


def test_a_span_can_be_told_from_another_instant(world: World) -> None:
    def refusals(story: datetime) -> int:
        span = between(world, start=END - timedelta(hours=1), end=END, records=2000, story=story)
        return sum(msgpack.unpackb(one)["ResponseCode"] in {403, 429} for one in span)

    assert refusals(END) > 5 * refusals(END + timedelta(days=10))


def test_impossible_spans_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        history(world, end=END.replace(tzinfo=None))
    with pytest.raises(ValueError, match="cannot put"):
        history(world, end=END, days=0)
    with pytest.raises(ValueError, match="cannot put"):
        history(world, end=END, records=-1)
    with pytest.raises(ValueError, match="rate above 0"):
        live(world, start=END, rate=0)
    with pytest.raises(ValueError, match="more than 11 keys"):
        build_world(keys=11)
