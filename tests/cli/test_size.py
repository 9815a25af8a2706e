"""From requests a second to disk: by hand, and beside what the benchmark measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keytrail.cli.size import size_of
from tests.cli.command import Ran

Keytrail = Callable[..., Ran]
KEEPS: dict[str, Any] = {"raw_days": 1, "recorded_days": 3, "rollup_months": 2, "free_share": 0.2}


def test_by_hand() -> None:
    # One pair of key and endpoint, 900 requests a quarter of an hour: one row by key, one by API and one
    # without a client, a sixth with one; by day two fifths by caller.
    found = size_of(1, peak=30_000, combinations=1, endpoints=1, recorded=True, **KEEPS)
    assert found.raw == 2 * 86_400 * 65
    assert found.recorded == 4 * 86_400 * 50
    assert found.quarters == pytest.approx((3 + 1 / 6) * 96 * 91.2 * (40 + 4.5 * 30), rel=1e-6)
    assert found.days == pytest.approx((3 + 1 / 6 + 0.4) * 91.2 * 600, rel=1e-6)
    assert found.total == pytest.approx(1.3 * (found.raw + found.recorded + found.quarters + found.days), rel=1e-6)
    assert found.disk == pytest.approx(found.total / 0.8, rel=1e-6)
    assert found.cores == 2
    assert size_of(1, peak=1, combinations=1, endpoints=1, recorded=False, **KEEPS).recorded == 0


def test_sums_stop_growing_where_all_combinations_are_there() -> None:
    sizes = [size_of(rate, peak=1, combinations=1000, endpoints=10, recorded=False, **KEEPS) for rate in (10, 1000)]
    assert sizes[1].raw == 100 * sizes[0].raw
    assert sizes[1].quarters < 12 * sizes[0].quarters


def test_command(keytrail: Keytrail, tmp_path: Path) -> None:
    ran = keytrail("size", "1000")
    assert (ran.status, ran.err) == (0, "")
    # 1,000 a second, 31 days, 65 bytes each.
    assert f"{1000 * 86_400 * 31 * 65 / 1e9:12,.1f} GB  single records, 30 days\n" in ran.out
    assert ran.out.endswith("1 processor keeps up with 3,000 requests a second; queries need some beside them\n")
    told = keytrail("size", "1000", "--json").json()
    assert (told["raw"], told["cold"]) == (1000 * 86_400 * 31 * 65, 0)
    (tmp_path / "keytrail.toml").write_text('[store]\ncold = "cold"\n[retention]\ncold_days = 90\n', encoding="utf-8")
    assert keytrail("size", "1000", "--json").json()["cold"] == 1000 * 86_400 * 60 * 35
    more = f"{1000 * 86_400 * 60 * 35 / 1e9:12,.1f} GB  beside it, in store.cold: single records of 60 days more\n"
    assert more in keytrail("size", "1000").out
    (tmp_path / "keytrail.toml").write_text("[retention]\nraw_days = 0\nrollup_months = 0\n", encoding="utf-8")
    ran = keytrail("size", "1000")
    assert (ran.status, "set retention first" in ran.err) == (2, True)
