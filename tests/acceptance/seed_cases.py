"""The two sample answers of the vendor's documentation, and records that they come from exactly."""

from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from tests.oracle.clock import instant_of
from tests.oracle.records import SECOND, Record
from tests.oracle.sums import Where

ORG = "5e9d9544a1dcd60001d0ed20"
OTHER_ORG = "61f2b7c0a1dcd60001aa11b2"
# The samples show +05:30.
ZONE = "Asia/Kolkata"
KEY = "7f3c3ca87376cabe"
CLIENT = "27b35a9ed46e429eb2361e440cc4005c"
START, END = date(2020, 10, 13), date(2020, 10, 14)
RANGE = "13/10/2020/14/10/2020"


@dataclass(frozen=True)
class SeedCase:
    name: str
    # Below the server's root, as the documentation has it.
    path: str
    where: Where
    records: tuple[Record, ...]
    # Records that must not count: just outside the days, another's, or no REST hits.
    bystanders: tuple[Record, ...]

    @property
    def answer(self) -> str:
        """The sample, character for character, but for a comma that is no JSON."""
        return Path(__file__).with_name(f"{self.name}.json").read_text(encoding="utf-8")


def local(text: str) -> int:
    """ns since the epoch of a local time there."""
    return instant_of(datetime.fromisoformat(f"{text}+05:30"))


BY_KEY = Record(
    org_id=ORG,
    api_key=KEY,
    alias="sample",
    method="GET",
    path="/anything",
    raw_path="/anything",
    api_version="Non Versioned",
    response_code=200,
    track_path=True,
    tags=(f"key-{KEY}", f"org-{ORG}"),
)
BY_CLIENT = replace(
    BY_KEY,
    api_id="79fc7cb80df940cc5089772200bd4926",
    api_name="Payments API",
    api_key="0cf682d6a7c977da",
    oauth_id=CLIENT,
    tags=("key-0cf682d6a7c977da", f"org-{ORG}"),
)


def _bystanders(like: Record) -> tuple[Record, ...]:
    inside = replace(like, timestamp=local("2020-10-14T12:00:00"), request_time=9, latency_total=9)
    return (
        # A ns before the first day, and the first of the day after the last.
        replace(inside, timestamp=local("2020-10-13T00:00:00") - 1),
        replace(inside, timestamp=local("2020-10-15T00:00:00")),
        # In UTC these would be of the days that are asked for.
        replace(inside, timestamp=local("2020-10-15T05:29:59")),
        replace(inside, org_id=OTHER_ORG),
        replace(inside, org_id=""),
        replace(inside, api_key="7f3c3ca87376cabf", oauth_id=""),
        replace(inside, api_key="00000000", oauth_id="27b35a9ed46e429eb2361e440cc4005d"),
        replace(inside, response_code=-1),
        replace(inside, is_graphql=True),
        replace(inside, is_mcp=True),
    )


SEED_KEY = SeedCase(
    name="seed-key",
    path=f"/api/activity/keys/endpoint/{KEY}/{RANGE}",
    where=Where(org=ORG, start=START, end=END, zone=ZONE, key=KEY),
    # Each has one hit: the later comes first. RequestTime is a field of its own, and the first sample's is 0.
    records=(
        replace(
            BY_KEY,
            api_id="1793db2cbb724ad54da582ce3191d383",
            timestamp=local("2020-10-13T13:22:20.534"),
            request_time=568,
            latency_total=568,
            latency_upstream=568,
        ),
        replace(
            BY_KEY,
            api_id="41351a6a94094da05f75146a695a16f6",
            timestamp=local("2020-10-13T13:22:49.667"),
            request_time=0,
            latency_total=217,
            latency_upstream=217,
        ),
    ),
    bystanders=_bystanders(replace(BY_KEY, api_id="41351a6a94094da05f75146a695a16f6")),
)

SEED_OAUTH = SeedCase(
    name="seed-oauth",
    path=f"/api/activity/oauthid/endpoint/{CLIENT}/{RANGE}",
    where=Where(org=ORG, start=START, end=END, zone=ZONE, oauth=CLIENT),
    # `/get` has more hits, so it comes first although `/post` was called later. A minimum leaves errors out:
    # were the quick one of the two the error, the sample's minimum would be 748.
    records=(
        replace(
            BY_CLIENT,
            path="/get",
            raw_path="/get",
            timestamp=local("2020-10-13T14:48:51.582") - 3 * SECOND,
            request_time=248,
            latency_total=248,
            latency_upstream=248,
        ),
        replace(
            BY_CLIENT,
            path="/get",
            raw_path="/get",
            response_code=500,
            timestamp=local("2020-10-13T14:48:51.582"),
            request_time=748,
            latency_total=748,
            latency_upstream=747,
        ),
        replace(
            BY_CLIENT,
            method="POST",
            path="/post",
            raw_path="/post",
            timestamp=local("2020-10-13T14:49:31.541"),
            request_time=0,
            latency_total=241,
            latency_upstream=239,
        ),
    ),
    bystanders=_bystanders(replace(BY_CLIENT, path="/get", raw_path="/get")),
)

SEED_CASES = (SEED_KEY, SEED_OAUTH)
