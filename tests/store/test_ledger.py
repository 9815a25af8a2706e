"""What the ledger tells of gaps, and of what was rejected."""

from datetime import UTC, datetime, timedelta

from keytrail.record import Reason, Rejected
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
        ("a", 172, 175, "competing_reader"),
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


def test_what_attempts_rejected_alike_is_told_once(store: Product) -> None:
    """An attempt that was killed before the one that was confirmed may have left the same, or another reason."""
    for at, seq, detail in ((0, 1, "before"), (10, 2, "b"), (10, 1, "a"), (11, 1, "a"), (11, 3, "c")):
        store.parts.engine.command(
            "INSERT INTO rejects (batch_id, seq, reason, detail, rejected_at) "
            "SELECT 'body', {seq:UInt32}, 'bad_field', {detail:String}, "
            "toDateTime64('2026-03-01 00:00:00', 3, 'UTC') + {at:UInt8}",
            {"seq": seq, "detail": detail, "at": at},
        )
    found = Ledger(store.parts.engine).rejects_of("body", limit=2)
    assert found == [Rejected(1, Reason.BAD_FIELD, "a"), Rejected(2, Reason.BAD_FIELD, "b")]
