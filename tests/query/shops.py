"""Several applications over one store, as the time zone is a setting of the application, and ever new tenants in it.

To empty the store takes as long as to fill it. So each example has organisations of its own, and those of the examples
before it are strangers that must not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.oracle.records import Record, to_json, to_msgpack, to_protobuf
from tests.oracle.strategies import ORGS
from tests.product import ADMIN, Product, captured, settings, token_entry

PAGE_SIZE = 2
# Many small parts make every statement slower.
TENANTS_AT_ONCE = 20

Arrival = list[list[tuple[Record, str]]]
"""Chunks of records, each with its wire form."""


class Shops:
    """A store, and an application on it for each zone.

    Attributes:
        product: The store.
        org: The organisation that has the records of `ORGS[0]`.
    """

    def __init__(self, running: Product, directory: Path) -> None:
        self.product = running
        self.org = ""
        self._directory = directory
        self._clients: dict[tuple[str, bool], TestClient] = {}
        self._stocked = 0

    def stock(self, arrival: Arrival) -> None:
        """Store records, each list of them a chunk, as those of organisations that have no others."""
        if self._stocked % TENANTS_AT_ONCE == 0:
            self.product.empty()
        self._stocked += 1
        tenant = f"tenant {self._stocked} "
        self.org = tenant + ORGS[0]
        for chunk in arrival:
            lines = [line(replace(record, org_id=tenant + record.org_id), form) for record, form in chunk]
            taken = self.product.put_lines(lines)
            assert (taken.stored, list(taken.rejected)) == (len(lines), [])

    def ask(self, path: str, zone: str, *, track_all: bool = True, **parameters: Any) -> Any:
        """What a request answers: its JSON and the number of all rows as the header has it."""
        client = self._clients.get((zone, track_all))
        if client is None:
            client = self._clients[zone, track_all] = self._open(zone, track_all=track_all)
        given = {name: value for name, value in parameters.items() if value is not None}
        answer = client.get(path, params={**given, "org": self.org}, headers={"Authorization": ADMIN})
        assert answer.status_code == 200, answer.text
        return answer.json(), int(answer.headers["X-Total-Rows"])

    def _open(self, zone: str, *, track_all: bool) -> TestClient:
        values = settings(
            self._directory,
            tokens=[token_entry(ADMIN, org="*", permissions=["admin"])],
            timezone=zone,
            track_all_paths=track_all,
            page_size=PAGE_SIZE,
        )
        return TestClient(self.product.service(values).app, raise_server_exceptions=False)


def line(record: Record, form: str) -> bytes:
    """A line of a file that holds a record in one of its wire forms."""
    if form == "json":
        return to_json(record).encode()
    if form == "protobuf":
        return captured("analytics-tyk-system-analytics_protobuf", to_protobuf(record))
    return captured("analytics-tyk-system-analytics", to_msgpack(record))


@st.composite
def arrivals(draw: st.DrawFn, records: Sequence[Record]) -> Arrival:
    """The records in any order, in a mix of forms, cut into a few chunks."""
    forms = st.sampled_from(("msgpack", "protobuf", "json"))
    shuffled = [(record, draw(forms)) for record in draw(st.permutations(records))]
    cuts = sorted(draw(st.lists(st.integers(0, len(shuffled)), max_size=2)))
    chunks = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
    return [chunk for chunk in chunks if chunk]


def in_one(records: Iterable[Record], form: str = "msgpack") -> Arrival:
    """All records in their order, in one chunk."""
    chunk = [(record, form) for record in records]
    return [chunk] if chunk else []
