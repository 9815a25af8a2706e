from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from keytrail.collect.source_keys import (
    ListKeys,
    check_forward_prefix,
    check_prefix,
    hash_tag,
    list_names,
    new_batch_id,
)
from keytrail.errors import PrefixRefused


def test_all_names() -> None:
    names = list_names("p-")
    assert len(set(names)) == 22
    for name in ("", "_protobuf", "_0", "_9", "_0_protobuf", "_9_protobuf"):
        assert f"p-tyk-system-analytics{name}" in names


@pytest.mark.parametrize(
    ("key", "tag"),
    [("a", None), ("{a}b", "a"), ("x{a}{b}", "a"), ("{}a", None), ("{}{a}", None), ("{a", None), ("a}", None),
     ("}{a}", "a"), ("{a{b}", "a{b"), ("{{a}}", "{a")],
)  # fmt: skip
def test_hash_tag(key: str, tag: str | None) -> None:
    assert hash_tag(key) == tag
    assert key_slot(key.encode()) == key_slot((key if tag is None else tag).encode())


@pytest.mark.parametrize("prefix", ["{}x", "{}", "a}b-", "}", "}{", "{}{a}", "keytrail:"])
def test_refused_prefixes(prefix: str) -> None:
    with pytest.raises(PrefixRefused):
        check_prefix(prefix)


@given(st.text("{}ab-", max_size=8))
def test_every_key_of_an_accepted_prefix_shares_the_lists_slot(prefix: str) -> None:
    try:
        check_prefix(prefix)
    except PrefixRefused:
        assert "}" in prefix
        return
    for source in list_names(prefix):
        keys = ListKeys.of(source, "st{o}re")
        ours = [
            keys.frozen("f" * 32),
            keys.state("f" * 32),
            keys.leases,
            keys.totals,
            keys.rejects,
            keys.stores,
        ]
        assert {key_slot(key.encode()) for key in ours} == {key_slot(source.encode())}
        assert len(set(ours)) == 6


def test_forward_prefix() -> None:
    check_forward_prefix("analytics-", "pump-", cluster=False)
    check_forward_prefix("{t}a-", "{t}b-", cluster=True)
    for prefix, forward, cluster in [
        ("a-", "a-", False),
        ("a-", "b-", True),
        ("{t}a-", "{u}a-", True),
        ("a-", "{}b", False),
        ("a-", "keytrail:", False),
    ]:
        with pytest.raises(PrefixRefused):
            check_forward_prefix(prefix, forward, cluster=cluster)


def test_batch_ids_sort_by_time() -> None:
    ids = [new_batch_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(re.fullmatch("[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", one) for one in ids)
    assert [one[:12] for one in ids] == sorted(one[:12] for one in ids)
