import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keytrail.collect.privacy import (
    KeyMode,
    Privacy,
    mask_query,
    mask_user_information,
    stored_key,
    truncate_address,
    truncate_forwarding,
)
from keytrail.config import NEVER_KEPT

SECRET = "5e9d9544a1dcd60001d0ed20b9f3c2d1e0a94c5f8d7e6b5a4c3d2e1f"
HASHED = hashlib.sha256(SECRET.encode()).hexdigest()


@pytest.mark.parametrize(
    ("value", "auto"),
    [
        ("", ""),
        ("00000000", "00000000"),
        ("cd0174ec", "cd0174ec"),
        ("277e20d50917daa9", "277e20d50917daa9"),
        ("cd0174ec911c2b9b7fdaf7f545e72837", "cd0174ec911c2b9b7fdaf7f545e72837"),
        (HASHED, HASHED),
        (SECRET, HASHED),
        # Almost a hash: too short, in upper case, with a line end.
        ("cd0174e", None),
        ("CD0174EC", None),
        ("cd0174ec\n", None),
        ("Größe", None),
    ],
)
def test_a_key_that_is_not_shaped_like_a_hash_is_hashed(value: str, auto: str | None) -> None:
    expected = hashlib.sha256(value.encode()).hexdigest() if auto is None else auto
    assert stored_key(value, "auto") == expected


@pytest.mark.parametrize(
    ("mode", "value", "stored"),
    [
        ("hash", "cd0174ec", hashlib.sha256(b"cd0174ec").hexdigest()),
        ("hash", "00000000", "00000000"),
        ("hash", "", ""),
        ("keep", SECRET, SECRET),
        ("keep", "cd0174ec", "cd0174ec"),
    ],
)
def test_the_mode_decides(mode: KeyMode, value: str, stored: str) -> None:
    assert stored_key(value, mode) == stored


@given(st.text(st.characters(codec="utf-8")))
def test_a_stored_key_is_found_by_itself_and_by_its_secret(value: str) -> None:
    stored = stored_key(value, "auto")
    assert stored_key(stored, "auto") == stored


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("/items", "/items"),
        ("/items/a=b&c=d", "/items/a=b&c=d"),
        ("/items?", "/items?"),
        ("/items?a=1&b=2", "/items?a=***&b=***"),
        ("/items?flag&a=&b=2", "/items?flag&a=&b=***"),
        ("/items?a=b=c", "/items?a=***"),
        ("/items?a=1?b=2", "/items?a=***"),
        ("/items?a=1;b=2", "/items?a=***"),
        ("/items?a=two words#x", "/items?a=***"),
        ("/items?a=***", "/items?a=***"),
        ("?=x", "?=***"),
        ("/ü?ü=ü", "/ü?ü=***"),
    ],
)
def test_query_values_are_masked_and_names_stay(text: str, masked: str) -> None:
    assert mask_query(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://host/a@b", "http://host/a@b"),
        ("http://user:pw@host/", "http://***@host/"),
        ("http://user@host?x=a@b", "http://***@host?x=a@b"),
        ("http://u:p@ss@host/", "http://***@host/"),
        ("/x?next=https://u:p@h/&to=ftp://v@i", "/x?next=https://***@h/&to=ftp://***@i"),
        ("//user@host", "//user@host"),
        ("a@b.example", "a@b.example"),
    ],
)
def test_user_information_is_masked(text: str, masked: str) -> None:
    assert mask_user_information(text) == masked


@pytest.mark.parametrize(
    ("address", "truncated"),
    [
        ("192.0.2.17", "192.0.2.0"),
        ("255.255.255.255", "255.255.255.0"),
        (" 192.0.2.17 ", "192.0.2.0"),
        ("192.0.2.17:4711", "192.0.2.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:db8::1", "2001:db8::"),
        ("[2001:db8:1:2::3]:4711", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("::ffff:192.0.2.17", "192.0.2.0"),
        ("2002:c000:0211::1", "192.0.2.0"),
        ("64:ff9b::192.0.2.17", "64:ff9b::"),
        ("", ""),
        ("unknown", ""),
        ("192.0.2", ""),
        ("192.0.2.017", ""),
        ("192.0.2.17, 192.0.2.18", ""),
    ],
)
def test_an_address_is_truncated_to_its_network(address: str, truncated: str) -> None:
    assert truncate_address(address) == truncated


@given(st.ip_addresses())
def test_no_address_keeps_its_last_part(address: object) -> None:
    text = str(address)
    truncated = truncate_address(text)
    assert truncated.endswith((".0", "::"))
    assert truncate_address(truncated) == truncated


@pytest.mark.parametrize(
    ("name", "value", "truncated"),
    [
        ("x-forwarded-for", "192.0.2.17", "192.0.2.0"),
        ("x-forwarded-for", "192.0.2.17,2001:db8:1:2::3 , _hidden", "192.0.2.0, 2001:db8:1::, unknown"),
        ("x-real-ip", "", "unknown"),
        ("forwarded", "for=192.0.2.17;proto=http;by=203.0.113.43", "for=192.0.2.0"),
        ("forwarded", 'For="[2001:db8:1:2::3]:4711", for=_x', 'for="[2001:db8:1::]", for=unknown'),
        ("forwarded", "by=203.0.113.43", ""),
    ],
)
def test_addresses_in_forwarding_headers_are_truncated(name: str, value: str, truncated: str) -> None:
    assert truncate_forwarding(name, value) == truncated


def test_a_header_that_carries_credentials_is_never_on_the_list() -> None:
    listed = Privacy(headers=("Accept", *(name.title() for name in NEVER_KEPT)))
    assert listed.kept_headers() == {"accept"}
    assert {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"} <= NEVER_KEPT
    assert not NEVER_KEPT & {name.lower() for name in Privacy().headers}
