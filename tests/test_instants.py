"""Instants as moments and texts."""

from datetime import UTC, datetime, timedelta, timezone

from keytrail.instants import moment_of, text_of


def test_a_moment_is_exact_to_the_millisecond() -> None:
    assert moment_of(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert moment_of(253_402_300_799_999) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert moment_of(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_a_text_ends_with_z_only_where_the_offset_is_zero() -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 7_999, tzinfo=UTC)
    assert text_of(moment) == "2026-03-01T12:00:00.007Z"
    assert text_of(moment, "seconds") == "2026-03-01T12:00:00Z"
    there = timezone(timedelta(hours=5, minutes=30))
    assert text_of(moment.astimezone(there)) == "2026-03-01T17:30:00.007+05:30"
