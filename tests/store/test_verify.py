"""The store held against its ledger: what is missing, what nobody has confirmed."""

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
