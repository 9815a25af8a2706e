"""The world's requests, as the bytes that a gateway 5.8 pushes to Redis.

The story, told from its end: three days ago one endpoint's upstream was down for 40 minutes; 20 hours ago a
deployment broke one endpoint of one API; six hours ago one key ran into its limits and has been retrying ever since.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count
from math import exp, floor, log
from random import Random
from typing import Final, NamedTuple

from keytrail.demo.fragments import (
    LEAST_NANOSECOND,
    MOST_MS,
    NOT_RECORDED,
    Call,
    Holder,
    Source,
    assemble,
    call,
    clock,
    exchange,
    holder,
    source,
)
from keytrail.demo.world import NO_KEY, Api, Caller, Curve, Endpoint, Manner, World

NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_NS: Final = 86_400 * NS
_SLICE_NS: Final = 600 * NS
_FOREVER_NS: Final = 2**63
_CALLS: Final = 240
"""How many different calls (paths, bodies) are made of each endpoint."""


class Outcome(NamedTuple):
    """How a request ends.

    Attributes:
        code: The response code.
        share: How often: in a thousand requests, or relative to the others of its incident.
        stretch: Factor on the endpoint's usual upstream time; 0 where the gateway answered by itself.
        fixed_ms: Upstream time in milliseconds that replaces the usual one, or 0.
    """

    code: int
    share: float = 1.0
    stretch: float = 1.0
    fixed_ms: int = 0


_FAULTS: Final[dict[Manner, tuple[Outcome, ...]]] = {
    "careful": (Outcome(404, 1), Outcome(400, 0.5, 0.5), Outcome(429, 0.3, 0)),
    "ordinary": (Outcome(404, 4), Outcome(400, 2.5, 0.5), Outcome(422, 1, 0.7), Outcome(429, 1.5, 0)),
    "careless": (Outcome(404, 14), Outcome(400, 9, 0.5), Outcome(403, 4, 0), Outcome(429, 7, 0)),
}
_UNCHANGED: Final = (Outcome(304, 30, 0.4),)
_MISHAPS: Final = (
    Outcome(500, 0.7), Outcome(502, 0.25, 1, 12), Outcome(503, 0.2, 1, 60), Outcome(504, 0.15, 1, 30_000),
)  # fmt: skip
_NO_ENTRY: Final = (Outcome(401, 700, 0), Outcome(403, 300, 0))
_OUTAGE: Final = (Outcome(503, 50, 1, 45), Outcome(502, 30, 1, 9), Outcome(504, 20, 1, 30_000))
_DEFECT: Final = (Outcome(500, 1, 1.8),)
_LIMITS: Final = (Outcome(429, 78, 0), Outcome(403, 22, 0))

# Requests by hour of the local day, from midnight on, and a weekend day's factor.
_HOURS: Final[dict[Curve, tuple[int, ...]]] = {
    "office": (4, 3, 3, 3, 4, 8, 20, 48, 84, 100, 98, 92, 74, 84, 96, 94, 86, 66, 40, 24, 16, 12, 8, 6),
    "consumer": (24, 14, 9, 7, 8, 14, 28, 44, 54, 58, 62, 70, 76, 70, 64, 64, 68, 78, 90, 99, 98, 86, 64, 40),
    "machine": (66, 60, 99, 92, 64, 60, 60, 62, 64, 66, 66, 66, 66, 66, 66, 66, 64, 64, 62, 62, 62, 62, 64, 64),
}
_WEEKEND: Final[dict[Curve, float]] = {"office": 0.18, "consumer": 1.12, "machine": 0.9}


@dataclass(slots=True, eq=False)
class _Lane:
    """One caller on one endpoint of one version of an API."""

    holder: Holder
    api: Api
    endpoint: Endpoint
    passed: tuple[Call, ...]
    refused: tuple[Call, ...]
    sources: tuple[Source, ...]  # the most used more than once
    usual: Outcome
    unusual: tuple[Outcome, ...]
    steps: tuple[float, ...]  # how many requests in a thousand end so, added up
    mu: float  # the logarithm of the upstream's usual milliseconds


@dataclass(slots=True)
class _Incident:
    """From `start` to `end` (Unix ns), the given share of each lane's requests ends in one of the outcomes."""

    start: int
    end: int
    shares: dict[_Lane, float]
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class _Crowd:
    """Lanes with the same rhythm, or those that an incident adds traffic to while it lasts."""

    lanes: list[_Lane]
    steps: list[float]
    curve: Curve = "machine"
    utc_offset: int = 0
    incident: _Incident | None = None

    def weight(self, at: int) -> float:
        """How much traffic there is at an instant (Unix ns), where all crowds together are 1 on average."""
        if self.incident:
            return self.steps[-1] if self.incident.start <= at < self.incident.end else 0.0
        hour = at / NS / 3600 + self.utc_offset
        shape = _HOURS[self.curve]
        here, there = shape[int(hour) % 24], shape[(int(hour) + 1) % 24]
        # 1 January 1970 was a Thursday.
        factor = _WEEKEND[self.curve] if int(hour) // 24 % 7 in {2, 3} else 1.0
        return self.steps[-1] * factor * (here + (there - here) * (hour % 1)) * 24 / sum(shape)


def history(world: World, *, end: datetime, days: int = 30, records: int = 500_000) -> Iterator[bytes]:
    """Give the past, oldest record first.

    Args:
        world: The cast.
        end: When it ends: the last record is a moment earlier, and the story is told from here. Needs a zone.
        days: How many days it takes.
        records: How many records it has, exactly.

    Raises:
        ValueError: `end` has no zone, or `days` or `records` is out of range.
    """
    return between(world, start=end - timedelta(days=days), end=end, records=records)


def between(
    world: World, *, start: datetime, end: datetime, records: int, story: datetime | None = None
) -> Iterator[bytes]:
    """Give exactly `records` records with times from `start` to before `end`, oldest first.

    Args:
        world: The cast.
        start: The earliest time.
        end: After the latest time.
        records: How many records.
        story: The instant from which the incidents are told, by default `end`.

    Raises:
        ValueError: A time has no zone, the span is empty, or `records` is negative.
    """
    first, last = _unix_ns(start), _unix_ns(end)
    if last <= first or records < 0:
        raise ValueError(f"cannot put {records} records between {start} and {end}")
    stage = _Stage(world, _unix_ns(story or end))
    return (record for _, record in stage.play(first, last, records))


def live(world: World, *, start: datetime, rate: float = 20.0) -> Iterator[tuple[float, bytes]]:
    """Go on without an end from `start`, where a history that ends there left off.

    Args:
        world: The cast.
        start: The first record comes soon after, and the story is told from here. Needs a zone.
        rate: Records per second.

    Returns:
        For each record when it happened and is due to be sent (Unix time in seconds), and its bytes.

    Raises:
        ValueError: `start` has no zone, or `rate` is not above 0.
    """
    first = _unix_ns(start)
    if rate <= 0:
        raise ValueError(f"a live feed needs a rate above 0, not {rate}")
    return _endless(_Stage(world, first), first, rate)


def _endless(stage: _Stage, first: int, rate: float) -> Iterator[tuple[float, bytes]]:
    for minute in count():
        begin, end = first + minute * 60 * NS, first + (minute + 1) * 60 * NS
        due = floor(rate * 60 * (minute + 1)) - floor(rate * 60 * minute)
        for moment, record in stage.play(begin, end, due):
            yield moment / NS, record


def _unix_ns(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone")
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


class _Stage:
    """The world as fragments, and its incidents as told from one instant (Unix ns)."""

    def __init__(self, world: World, told: int) -> None:
        self._told = told
        self._rng = Random(f"keytrail demo traffic {world.seed} {told}")
        lanes = list(_lanes(world))
        total = sum(share for _, share in lanes)
        shares = {lane: share / total for lane, share in lanes}
        self._incidents = outage, _, limits = _incidents(world, shares, told)
        habits: dict[tuple[Curve, int], dict[_Lane, float]] = {}
        for lane, share in shares.items():
            habits.setdefault((lane.holder.caller.curve, lane.holder.caller.utc_offset), {})[lane] = share
        self._crowds = [
            _Crowd(list(members), list(accumulate(members.values())), *habit) for habit, members in habits.items()
        ]
        # Clients try again while an upstream is down, and the failing key does so without any pause.
        for incident, extra in ((outage, 0.06), (limits, 0.12)):
            members = {lane: shares[lane] for lane in incident.shares}
            steps = accumulate(share * extra / sum(members.values()) for share in members.values())
            self._crowds.append(_Crowd(list(members), list(steps), incident=incident))

    def play(self, first: int, last: int, records: int) -> Iterator[tuple[int, bytes]]:
        """Give `records` records from `first` to before `last` (Unix ns), each with its time, in order."""
        rng, crowds = self._rng, self._crowds
        starts = range(first, last, _SLICE_NS)
        weights = [[crowd.weight(at) * self._growth(at) * rng.uniform(0.85, 1.15) for crowd in crowds] for at in starts]
        lengths = [min(_SLICE_NS, last - at) for at in starts]
        scale = records / sum(sum(row) * length for row, length in zip(weights, lengths, strict=True))
        # Systematic sampling: whole numbers that add up to the total, each fair on average however small.
        drawn, mark = 0, rng.random()
        for at, row, length in zip(starts, weights, lengths, strict=True):
            cast: list[_Lane] = []
            for crowd, weight in zip(crowds, row, strict=True):
                mark += weight * length * scale
                if (due := min(floor(mark), records) - drawn) > 0:
                    cast += rng.choices(crowd.lanes, cum_weights=crowd.steps, k=due)
                    drawn += due
            if at + length == last:
                cast += rng.choices(crowds[0].lanes, cum_weights=crowds[0].steps, k=records - drawn)
            rng.shuffle(cast)
            moments = sorted(rng.choices(range(at, at + length), k=len(cast)))
            if cast and at + length == last:
                moments[-1] = max(moments[-1], last - 50_000_000)
            yield from zip(moments, self._records(moments, cast, 0.85 + 0.2 * sum(row)), strict=True)

    def _growth(self, at: int) -> float:
        return max(0.5, 1 + (at - self._told) / (200 * _DAY_NS))

    def _records(self, moments: list[int], cast: list[_Lane], strain: float) -> Iterator[bytes]:
        """Encode a slice; `strain` is the factor on upstream times when there is much to do."""
        random, gauss = self._rng.random, self._rng.gauss
        running = [it for it in self._incidents if moments and it.start <= moments[-1] and it.end > moments[0]]
        hours, hour = -1, b""
        for moment, lane in zip(moments, cast, strict=True):
            second, nanosecond = divmod(moment, NS)
            nanosecond = max(nanosecond, LEAST_NANOSECOND)
            if second // 3600 != hours:
                hours, hour = second // 3600, clock(second)
            chance, steps, outcome = random() * 1000, lane.steps, lane.usual
            if chance < steps[-1]:
                outcome = lane.unusual[bisect(steps, chance)]
            for it in running:
                if lane in it.shares and it.start <= moment < it.end and random() < it.shares[lane]:
                    outcome = self._rng.choices(it.outcomes, [one.share for one in it.outcomes])[0]
            upstream, gateway, calls = 0, int(random() * 3), lane.passed
            if outcome.fixed_ms:
                upstream, gateway = outcome.fixed_ms + int(random() * 25), gateway + 1
            elif outcome.stretch:
                usual = exp(gauss(lane.mu, lane.endpoint.sigma))
                upstream, gateway = min(int(usual * outcome.stretch * strain), MOST_MS - 3), gateway + 1
            elif outcome.code > 0:
                calls = lane.refused
            else:
                gateway = 0
            asked = calls[int(random() * _CALLS)]
            at = lane.sources[int(random() * len(lane.sources))]
            yield assemble(
                asked,
                lane.holder,
                at,
                hour=hour,
                code=outcome.code,
                time=(second, nanosecond),
                total=upstream + gateway,
                upstream=upstream,
                raw=exchange(asked, lane.holder, at, outcome.code, second, passed=outcome.stretch > 0)
                if lane.api.detailed
                else NOT_RECORDED,
            )


def _incidents(world: World, lanes: Iterable[_Lane], told: int) -> tuple[_Incident, _Incident, _Incident]:
    def of(api: Api, endpoint: Endpoint, there: float, beside: float = 0.0) -> dict[_Lane, float]:
        # What the gateway refuses never meets the upstream.
        met = [lane for lane in lanes if lane.api == api and lane.usual.stretch]
        shares = {lane: there if lane.endpoint == endpoint else beside for lane in met}
        return {lane: share for lane, share in shares.items() if share}

    # The outage is told for 11:00 UTC, moved to a whole slice before the end.
    ago = told - (told // _DAY_NS * _DAY_NS - 3 * _DAY_NS + 11 * 3600 * NS)
    down = told - round(ago / _SLICE_NS) * _SLICE_NS
    failing = {lane: 0.92 for lane in lanes if lane.holder.caller is world.failing}
    return (
        _Incident(down, down + 2400 * NS, of(*world.flaky, 0.85), _OUTAGE),
        _Incident(told - 20 * 3600 * NS, _FOREVER_NS, of(*world.broken, 0.18, 0.004), _DEFECT),
        _Incident(told - 6 * 3600 * NS, _FOREVER_NS, failing, _LIMITS),
    )


def _lanes(world: World) -> Iterator[tuple[_Lane, float]]:
    """Give every lane with its share of all requests, relative."""
    rng = Random(f"keytrail demo calls {world.seed}")
    calls = {
        (api.api_id, endpoint, passed): tuple(call(api, endpoint, rng, passed=passed) for _ in range(_CALLS))
        for api in world.apis
        for endpoint in api.endpoints
        for passed in (True, False)
    }
    for caller in world.callers:
        sources = tuple(
            one for rank, origin in enumerate(caller.origins) for one in [source(origin)] * max(1, 4 - rank)
        )
        used = sum(share for _, share in caller.use)
        for api, share in caller.use:
            offered = sum(endpoint.weight for endpoint in api.endpoints)
            for version, part in api.versions:
                by = holder(caller, api, version)
                for endpoint in api.endpoints:
                    usual, unusual = _outcomes(caller, api, endpoint)
                    lane = _Lane(
                        holder=by,
                        api=api,
                        endpoint=endpoint,
                        passed=calls[api.api_id, endpoint, True],
                        refused=calls[api.api_id, endpoint, False],
                        sources=sources,
                        usual=usual,
                        unusual=unusual,
                        steps=tuple(accumulate(outcome.share for outcome in unusual)) or (0.0,),
                        mu=log(endpoint.median_ms or 1),
                    )
                    yield lane, caller.weight * share / used * part * endpoint.weight / offered


def _outcomes(caller: Caller, api: Api, endpoint: Endpoint) -> tuple[Outcome, tuple[Outcome, ...]]:
    """Give how a caller's requests end as a rule, and how the others in a thousand do."""
    if api.kind == "tcp":
        return Outcome(-1, stretch=0), ()
    if caller.key == NO_KEY and api.access != "open":
        return Outcome(401, stretch=0), _NO_ENTRY
    unusual = _FAULTS[caller.manner] + _MISHAPS
    if api.kind != "rest":
        return Outcome(200), unusual
    if endpoint.method == "GET" and "{" in endpoint.path:
        return Outcome(200), unusual + _UNCHANGED
    return Outcome({"POST": 201, "DELETE": 204}.get(endpoint.method, 200)), unusual
