"""Templates that are proposed from paths."""

import pytest

from keytrail.query.suggest import MANY, Proposal, suggest

UUIDS = ("6f1c2a9e-0f5b-4f0e-9c55-2b1d8f6a7c01", "0b9f6d1c-7a41-4b60-8f37-5c2e9d3a4e02")


def proposed(*paths: str) -> list[tuple[str, int]]:
    return [(one.pattern, one.paths) for one in suggest(("api", path, 1) for path in paths)]


@pytest.mark.parametrize(
    ("paths", "patterns"),
    [
        (("/users/1", "/users/22", "/users"), [("/users/{id}", 2)]),
        (("/users/1/orders/2", "/users/3/orders/4"), [("/users/{id}/orders/{id2}", 2)]),
        (tuple(f"/things/{one}" for one in UUIDS), [("/things/{uuid}", 2)]),
        (("/t/5e9d9544a1dcd60001d0ed20", "/t/61f2b7c0a1dcd60001aa11b2"), [("/t/{id}", 2)]),
        (("/k/sk_live_4eC39HqLyjWD", "/k/sk_live_9fK02ZbQwpXA"), [("/k/{id}", 2)]),
        # Words, versions, and what is there once, are endpoints.
        (("/users/me", "/users/all", "/v1/x", "/v2/x", "/decade/abcdefab", "/one/1"), []),
        (("/status/{code}", "/status/{other}"), []),
        (("/a{b/1", "/a{b/2"), []),
        (("no path 1", "no path 2"), []),
        (tuple(f"/city/{chr(97 + n)}/weather" for n in range(MANY)), [("/city/{value}/weather", MANY)]),
        (tuple(f"/city/{chr(97 + n)}/weather" for n in range(MANY - 1)), []),
    ],
)
def test_what_is_proposed(paths: tuple[str, ...], patterns: list[tuple[str, int]]) -> None:
    assert proposed(*paths) == patterns


def test_by_api_and_most_hits_first() -> None:
    rows = [("a", "/x/1", 5), ("a", "/x/2", 1), ("b", "/x/1", 4), ("b", "/x/3", 4), ("b", "/y/1", 100)]
    assert suggest(rows) == [Proposal("b", "/x/{id}", 2, 8, "/x/1"), Proposal("a", "/x/{id}", 2, 6, "/x/1")]
