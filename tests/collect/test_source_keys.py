from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from keytrail.collect import source_keys
from keytrail.collect.source_keys import (
    BatchIds,
    ListKeys,
    check_forward_prefix,
    check_prefix,
    hash_tag,
    list_names,
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


def test_batch_ids_sort_as_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one millisecond, in the next, and when the clock goes back by a second."""
    milliseconds = [1_700_000_000_000] * 200 + [1_700_000_000_001] * 200 + [1_699_999_999_000] * 200
    clock = iter(milliseconds)
    # Not the clock of all: threads of others read that, too.
    monkeypatch.setattr(source_keys, "time", SimpleNamespace(time_ns=lambda: next(clock) * 1_000_000))
    batch_ids = BatchIds()
    ids = [batch_ids.new() for _ in milliseconds]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch("[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", one) for one in ids)
    assert (int(ids[0][:12], 16), int(ids[200][:12], 16)) == (1_700_000_000_000, 1_700_000_000_001)


def test_batch_ids_of_several_makers_differ() -> None:
    assert len({BatchIds().new() for _ in range(1_000)}) == 1_000
