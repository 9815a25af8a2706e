"""The store held against its ledger: what is missing, what nobody has confirmed."""

from keytrail.cli.check import ledger_findings
from keytrail.store.tables import BATCHES, RAW
from keytrail.store.verify import Differing
from tests.product import Product
from tests.store.test_backup import LINES, put


def test_the_ledger_tells_what_is_missing(store: Product) -> None:
    put(store, "whole", LINES[:100])
    put(store, "short", LINES[100:200])
    put(store, "twice", LINES[200:250])
    verified = store.parts.upkeep.verify()
    assert (verified.batches, verified.records, verified.missing, verified.surplus) == (3, 250, 0, 0)
    assert (verified.differing, verified.rollups) == ([], [])
    command = store.parts.engine.command
    command(f"ALTER TABLE {RAW} DELETE WHERE batch_id = 'short' AND seq < 30 SETTINGS mutations_sync = 2")
    command(f"ALTER TABLE {BATCHES} DELETE WHERE batch_id = 'twice' SETTINGS mutations_sync = 2")
    verified = store.parts.upkeep.verify()
    assert (verified.missing, verified.surplus) == (30, 50)
    assert verified.differing == [Differing("short", "a file", 100, 70), Differing("twice", "", 0, 50)]
    assert "by_key_day 202611" in verified.rollups


def test_what_was_let_go_of_as_a_duplicate_must_be_there(store: Product) -> None:
    store.empty()
    for name in ("kept", "forgotten"):
        put(store, name, LINES[:100])
        # A second time it is a duplicate.
        assert put(store, name, LINES[:100]) == (0, 100)
    verified = store.parts.upkeep.verify()
    assert (verified.duplicate, verified.unconfirmed) == (200, 0)
    said = ledger_findings(verified)
    assert said[0].text == "every row of 2 batches is there, as is what 200 duplicates repeated"
    store.parts.engine.command(f"ALTER TABLE {BATCHES} DELETE WHERE batch_id = 'forgotten' SETTINGS mutations_sync = 2")
    verified = store.parts.upkeep.verify()
    assert (verified.duplicate, verified.unconfirmed) == (200, 100)
    faults = [finding.text for finding in ledger_findings(verified) if not finding.good]
    assert faults == ["100 records were let go of as duplicates of chunks that it does not know"]


def test_as_many_rows_as_there_should_be_are_not_enough(store: Product) -> None:
    """Ten are not there and ten others twice; five twice of an unconfirmed batch, three of one that is whole."""
    store.empty()
    put(store, "doubled", LINES[120:130])
    put(store, "mixed", LINES[:100])
    put(store, "unknown", LINES[100:120])
    command = store.parts.engine.command
    command(f"ALTER TABLE {RAW} DELETE WHERE batch_id = 'mixed' AND seq < 10 SETTINGS mutations_sync = 2")
    command(f"ALTER TABLE {BATCHES} DELETE WHERE batch_id = 'unknown' SETTINGS mutations_sync = 2")
    for batch, first in (("doubled", 7), ("mixed", 90), ("unknown", 15)):
        command(
            f"INSERT INTO {RAW} SELECT * FROM {RAW} WHERE batch_id = '{batch}' AND seq >= {first} "
            "SETTINGS insert_deduplicate = 0"
        )
    verified = store.parts.upkeep.verify()
    assert (verified.records, verified.missing, verified.surplus, verified.twice) == (138, 10, 38, 13)
    assert verified.differing == [
        Differing("doubled", "a file", 10, 13, twice=3),
        Differing("mixed", "a file", 100, 100, twice=10),
        Differing("unknown", "", 0, 25, twice=5),
    ]
    said = [(finding.good, finding.text) for finding in ledger_findings(verified) if finding.name != "rollups"]
    assert said == [
        (False, "10 rows are missing"),
        (False, "13 rows are there twice"),
        (True, "25 rows that no batch has confirmed; trying their batch again settles that"),
        (False, "13 rows where its ledger says 10, 3 of them twice (a file)"),
        (False, "100 rows where its ledger says 100, 10 of them twice (a file)"),
        (True, "25 rows where its ledger says 0, 5 of them twice"),
    ]
