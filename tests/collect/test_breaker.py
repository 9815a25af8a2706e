"""When most records can't be decoded, collection stops instead of emptying Redis into the dead letters."""

from keytrail.collect.breaker import Breaker


def test_it_trips_over_its_share_of_at_least_a_hundred() -> None:
    breaker = Breaker(0.5)
    assert not breaker.judge(99, list(range(99))), "too few to judge"
    assert breaker.judge(1, [])
    assert breaker.reason == "99 of the last 100 records could not be decoded"


def test_exactly_its_share_is_still_good() -> None:
    breaker = Breaker(0.5)
    assert not breaker.judge(200, list(range(100)))
    assert breaker.judge(1, [0])


def test_only_the_last_thousand_count() -> None:
    breaker = Breaker(0.5)
    assert not breaker.judge(5_000, list(range(3_000)))
    assert Breaker(0.5).judge(5_000, list(range(4_400, 5_000)))
    assert not breaker.judge(1_000, [])
    assert not breaker.judge(499, list(range(499)))
    assert breaker.judge(2, [0, 1])


def test_it_stays_open_until_it_is_closed() -> None:
    breaker = Breaker(0.5)
    assert breaker.judge(100, list(range(100)))
    assert breaker.judge(1_000, []), "good records do not close it"
    breaker.close()
    assert breaker.reason == ""
    assert not breaker.judge(99, list(range(99))), "what was judged is forgotten"
