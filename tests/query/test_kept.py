"""What retention may have taken away is looked up before and after a reading; what it never takes, is not."""

import time
from datetime import date

import pytest

from keytrail.query import kept
from keytrail.query.kept import all_kept
from keytrail.query.zones import DAY, HOUR, Span
from keytrail.store.client import Engine
from keytrail.store.kept import kept_since
from tests.query.shops import Shops


@pytest.mark.parametrize(
    ("age", "raw", "looks"),
    [
        # From the beginning of yesterday on there are always raw rows; two months of sums.
        (HOUR, True, 0),
        (2 * DAY + HOUR, True, 2),
        (50 * DAY, False, 0),
        (60 * DAY, False, 2),
    ],
)
def test_what_is_looked_up(shops: Shops, monkeypatch: pytest.MonkeyPatch, age: int, raw: bool, looks: int) -> None:
    asked: list[str] = []

    def noted(engine: Engine, what: str) -> date:
        asked.append(what)
        return kept_since(engine, what)

    monkeypatch.setattr(kept, "kept_since", noted)
    now = int(time.time() * 1000)
    with all_kept(shops.product.parts.engine, [Span(now - age, now)], raw=raw):
        pass
    assert len(asked) == looks
