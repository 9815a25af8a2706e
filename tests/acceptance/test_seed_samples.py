"""The vendor's two sample answers, over HTTP, from records among others that must not count."""

import re
from collections.abc import Iterator

import pytest

from tests.acceptance.seed_cases import ORG, OTHER_ORG, SEED_CASES, ZONE, SeedCase
from tests.oracle.records import to_json, to_msgpack, to_protobuf
from tests.product import TOKEN, Product, product, token_entry

# The name of a list tells the form of its records.
FORMS = {
    "msgpack": ("analytics-tyk-system-analytics", to_msgpack),
    "protobuf": ("analytics-tyk-system-analytics_protobuf", to_protobuf),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    tokens = [token_entry(org=ORG), token_entry("of another", org=OTHER_ORG)]
    with product(tmp_path_factory.mktemp("store"), tokens=tokens, timezone=ZONE) as started:
        yield started


@pytest.fixture(params=[*FORMS, "json"])
def stored(running: Product, request: pytest.FixtureRequest) -> Product:
    """All cases' records at once, each case's bystanders among them."""
    running.empty()
    records = [record for case in SEED_CASES for record in (*case.bystanders, *case.records)]
    if request.param == "json":
        taken = running.put_lines([to_json(record).encode() for record in records])
    else:
        list_name, encode = FORMS[request.param]
        taken = running.put([encode(record) for record in records], list_name)
    assert taken.stored == len(records)
    return running


@pytest.mark.parametrize("case", SEED_CASES, ids=lambda case: case.name)
def test_sample_answer_byte_for_byte(stored: Product, case: SeedCase) -> None:
    answer = stored.http.get(case.path, headers={"Authorization": TOKEN})
    assert answer.status_code == 200
    # No text in the samples has white space.
    assert answer.text == re.sub(r"\s", "", case.answer)


@pytest.mark.parametrize("case", SEED_CASES, ids=lambda case: case.name)
def test_bystanders_are_there_for_who_may_see_them(stored: Product, case: SeedCase) -> None:
    rows = stored.get(case.path, "of another")["data"]
    assert [row["hits"] for row in rows] == [1]
