"""A change of everything that is no endpoint's alone."""

from collections.abc import Iterator

from tests.oracle.records import SECOND, Record


def thin(org: str, noon: int) -> Iterator[Record]:
    """An hour and the one before, of 40 endpoints with a key each: 25 hits of each in either hour.

    Of those 25, before: 1 is an error, and 2 take 100 ms; after: 4 are, and 3 take 400 ms.

    Args:
        org: Whose they are.
        noon: When the later hour begins, seconds since 1970.
    """
    for number in range(40):
        for start, errors, slow, latency in ((-3600, 1, 2, 100), (0, 4, 3, 400)):
            for place in range(25):
                yield Record(
                    timestamp=(noon + start + 100 * place + number) * SECOND,
                    org_id=org,
                    api_id="thin",
                    api_key=f"{number:08x}",
                    path=f"/{number}",
                    response_code=502 if place < errors else 200,
                    latency_total=latency if place >= 25 - slow else 10,
                    latency_upstream=8,
                )
