"""Hand-made bytes: what is rejected and why, and what is read in spite of being unusual."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from keytrail.collect.decode import Wire
from keytrail.record import Reason, Rejected
from tests.collect.expected import decode_all, rows

CASES = Path(__file__).parents[1] / "cases" / "decode"
# These are found elsewhere: in files, in the steps, and by `largest`.
OTHERS = {Reason.BAD_LINE, Reason.TRUNCATED, Reason.FOREIGN_ORG, Reason.TOO_LARGE, Reason.ERASED}


def cases(name: str) -> list[Any]:
    found: list[dict[str, Any]] = yaml.safe_load((CASES / name).read_text(encoding="utf-8"))
    assert len({(case["wire"], case["name"]) for case in found}) == len(found)
    return [pytest.param(case, id=f"{case['wire']}: {case['name']}") for case in found]


def blob(case: dict[str, Any]) -> bytes:
    if "text" in case:
        return bytes(case["text"], "utf-8")
    then = case.get("then", {"hex": "", "times": 0})
    return bytes.fromhex(case["hex"] + then["hex"] * then["times"] + case.get("end", ""))


@pytest.mark.parametrize("case", cases("rejected.yaml"))
def test_rejected(case: dict[str, Any]) -> None:
    found = decode_all([blob(case)], Wire(case["wire"]))
    assert found.rejected == [Rejected(0, Reason(case["reason"]), case["detail"])]


@pytest.mark.parametrize("case", cases("read.yaml"))
def test_read(case: dict[str, Any]) -> None:
    (row,) = rows([blob(case)], Wire(case["wire"]))
    assert {name: plain(row[name]) for name in case["columns"]} == case["columns"]


def plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")


def test_cases_together_are_as_each_alone() -> None:
    for wire in Wire:
        given = [
            case.values[0]
            for name in ("rejected.yaml", "read.yaml")
            for case in cases(name)
            if case.values[0]["wire"] == wire.value
        ]
        mixed: list[Any] = given[::2] + given[1::2]
        found = decode_all([blob(case) for case in mixed], wire)
        expected = [(n, case["reason"]) for n, case in enumerate(mixed) if "reason" in case]
        assert [(rejected.index, rejected.reason.value) for rejected in found.rejected] == expected
        read = zip(found.table.to_pylist(), [case["columns"] for case in mixed if "columns" in case], strict=True)
        for row, columns in read:
            assert {name: plain(row[name]) for name in columns} == columns


def test_every_reason_has_cases() -> None:
    reasons = {Reason(case.values[0]["reason"]) for case in cases("rejected.yaml")}
    assert reasons == set(Reason) - OTHERS
