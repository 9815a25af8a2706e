"""What the ledger tells of gaps."""

from datetime import UTC, datetime, timedelta

from keytrail.store.ledger import GapRow, Ledger
from tests.product import Product

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_competing_reader_is_one_gap_while_it_goes_on(store: Product) -> None:
    """(source, start, end, cause) in seconds: noted each minute, and told as one interval."""
    ledger = Ledger(store.parts.engine)
    noted = [
        ("a", 0, 60, "competing_reader"),
        ("a", 10, 20, "down"),
        ("a", 61, 118, "competing_reader"),
        ("b", 100, 130, "competing_reader"),
        # Each minute it was seen for a moment only.
        ("a", 170, 180, "competing_reader"),
        # A minute passed without it.
        ("a", 241, 250, "competing_reader"),
        # Each of these has its own start and end.
        ("a", 300, 310, "down"),
        ("a", 310, 320, "down"),
    ]

    def at(second: int) -> datetime:
        return BEGAN + timedelta(seconds=second)

    for source, start, end, cause in noted:
        ledger.add_gap(GapRow(source, at(start), at(end), cause))
    found = ledger.gaps(0, round(at(1000).timestamp() * 1000))
    told = [(gap.source, (gap.start - BEGAN).seconds, (gap.end - BEGAN).seconds, gap.cause) for gap in found]
    assert told == [
        ("a", 0, 180, "competing_reader"),
        ("a", 10, 20, "down"),
        ("b", 100, 130, "competing_reader"),
        ("a", 241, 250, "competing_reader"),
        ("a", 300, 310, "down"),
        ("a", 310, 320, "down"),
    ]
