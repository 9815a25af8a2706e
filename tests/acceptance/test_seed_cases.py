"""The sums from which the product is judged give the documentation's samples."""

import json
import re

import pytest

from tests.acceptance.seed_cases import SEED_CASES, SeedCase
from tests.oracle.sums import endpoint_rows, pages

pytestmark = pytest.mark.parametrize("case", SEED_CASES, ids=lambda case: case.name)


def answer(case: SeedCase) -> dict[str, object]:
    data, count = pages(endpoint_rows(case.records + case.bystanders, **case.where))
    return {"data": data, "pages": count}


def test_oracle_gives_the_sample(case: SeedCase) -> None:
    assert answer(case) == json.loads(case.answer)


def test_oracle_gives_the_samples_text(case: SeedCase) -> None:
    # No text in the samples has white space.
    assert json.dumps(answer(case), separators=(",", ":")) == re.sub(r"\s", "", case.answer)


def test_every_record_counts(case: SeedCase) -> None:
    for record in case.records:
        rest = [other for other in case.records if other is not record]
        assert endpoint_rows(rest, **case.where) != answer(case)["data"]
