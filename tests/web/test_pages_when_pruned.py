"""What pages and changes show where retention has taken single records away: all that sums still tell."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from html import unescape

import pytest

from keytrail.instants import to_instant
from keytrail.store.kept import RAW_ROWS, note_kept_since
from keytrail.web.ui import frame
from tests.oracle.records import SECOND, Record, to_json
from tests.product import Product, product, token_entry

ORG = "5e9d9544a1dcd60001d0ed20"
KEY = "7f3c3ca87376cabe"
HTML = {"Accept": "text/html"}
# The present of the pages, as midnight may pass between two of them.
TODAY = date(2026, 11, 20)
NOW = to_instant(datetime(2026, 11, 20, 15, 7, 11, 123_000, tzinfo=UTC))


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """An error at the end of each of the last 30 UTC days, 20 one afternoon; of six days single records are kept."""
    tokens = [token_entry("all", org=ORG, permissions=["admin"])]
    with product(tmp_path_factory.mktemp("pruned"), tokens=tokens) as started, pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "present", lambda: NOW)
        midnight = datetime.combine(TODAY, time(), UTC)
        times = [midnight - timedelta(n, seconds=1) for n in range(30)]
        times += [midnight - timedelta(9) + timedelta(hours=13, minutes=47, seconds=n) for n in range(20)]
        records = [
            Record(timestamp=int(at.timestamp()) * SECOND, org_id=ORG, api_key=KEY, path="/a", response_code=500)
            for at in times
        ]
        assert started.put_lines([to_json(one).encode() for one in records]).stored == len(times)
        note_kept_since(started.parts.engine, RAW_ROWS, (midnight - timedelta(6)).date())
        yield started


@pytest.mark.parametrize(
    ("days", "requests", "compared"),
    [
        # More than a week: sums tell the period before to the quarter of an hour.
        (10, 30, True),
        # Less: only single records could tell it to the millisecond.
        (6, 6, False),
    ],
)
def test_a_page_shows_what_is_kept(pruned: Product, days: int, requests: int, compared: bool) -> None:
    asked, headers = f"from={TODAY - timedelta(days)}&to={TODAY}", {"Authorization": "all", **HTML}
    for path in ("/", f"/keys/{KEY}", "/errors", "/keys"):
        assert pruned.http.get(f"{path}?{asked}", headers=headers).status_code == 200
    text = pruned.http.get(f"/?panel=figures&{asked}", headers=headers).text
    found = re.search(r'<dt>Requests</dt><dd class="value">(?:<[^>]*>)*(\d+)', text)
    assert (found and int(found[1]), 'class="delta' in text) == (requests, compared)
    # Only single records know countries.
    text = unescape(pruned.http.get(f"/?panel=countries&{asked}", headers=headers).text)
    assert ("This needs single records of" in text) == (days > 6)


@pytest.mark.parametrize("hours", [None, (12, 16)])
def test_what_changed_tells_the_hour_where_single_records_are_gone(
    pruned: Product, hours: tuple[int, int] | None
) -> None:
    day = str(TODAY - timedelta(9))
    first, last = (f"{day}T{hour}:00:00Z" for hour in hours) if hours else (day, day)
    asked = {"from": first, "to": last, "least_hits": 1}
    answer = pruned.http.post("/api/v1/changes", json=asked, headers={"Authorization": "all"}).json()
    assert [row["since"] for row in answer["errors"]["rows"]] == [f"{day}T13:00:00.000Z"]
