import base64

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keytrail.collect import recorded
from keytrail.collect.recorded import Keeper, Kept

ALLOWED = frozenset({"host", "accept", "content-type", "x-forwarded-for", "referer"})


def kept(data: bytes | str, *, body: bool = True) -> Kept:
    raw = data.encode() if isinstance(data, str) else data
    return Keeper(ALLOWED, body=body).keep(base64.b64encode(raw).decode())


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nContent-Type: a\r\n\r\nbody", "HTTP/1.1 200 OK\r\nContent-Type: a\r\n\r\nbody"),
        ("HTTP/0.0 204\r\nCONTENT-TYPE:a\r\n\r\n", "HTTP/0.0 204\r\nCONTENT-TYPE:a\r\n\r\n"),
        # Paths as a gateway records them, which strict parsers refuse.
        ("GET /untracked/ünï HTTP/1.1\r\nHost: a\r\n\r\n", "GET /untracked/ünï HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        # Repeated and folded lines.
        (
            "GET / HTTP/1.1\r\nAccept: a\r\nX: y\r\nAccept: b\r\n\r\n",
            "GET / HTTP/1.1\r\nAccept: a\r\nAccept: b\r\n\r\n",
        ),
        ("GET / HTTP/1.1\r\nAccept: a,\r\n\t b\r\n c\r\n\r\n", "GET / HTTP/1.1\r\nAccept: a, b c\r\n\r\n"),
        ("GET / HTTP/1.1\r\nX: a\r\n Host: b\r\nAccept: c\r\n\r\n", "GET / HTTP/1.1\r\nAccept: c\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\n secret\r\nAccept: c\r\n\r\n", "HTTP/1.1 200 OK\r\nAccept: c\r\n\r\n"),
        # A name is allowed exactly, and a line that two readers could split differently is not kept.
        ("GET / HTTP/1.1\r\nHost : a\r\nAccept\r\n: x\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: a\nAuthorization: b\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: a\rAuthorization: b\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
        # LF alone, if the first line ends so.
        ("GET / HTTP/1.1\nHost: a\nX: b\n\nbody", "GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"),
        ("GET / HTTP/1.1\r\nX: a\n\nAuthorization: b\r\n\r\nbody", "GET / HTTP/1.1\r\n\r\nbody"),
    ],
)
def test_only_allowed_headers_are_kept(wire: str, text: str) -> None:
    assert kept(wire) == Kept(text)


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"", ""),
        (b"\x00\xff\x80junk", ""),
        (b"just words\r\n\r\n", ""),
        (b"GET /\r\n\r\n", ""),
        (b"GET / HTTP/1.1\x00\r\n\r\n", ""),
        (b" GET / HTTP/1.1\r\n\r\n", ""),
        (b"HTTP/1.1 20 OK\r\n\r\n", ""),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", ""),
        (b"GET / HTTP/1.1", "GET / HTTP/1.1\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: b", "GET / HTTP/1.1\r\n\r\n"),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\nbody", "GET / HTTP/1.1\r\n\r\n"),
    ],
)
def test_of_a_malformed_message_only_a_sure_start_line_is_kept(wire: bytes, text: str) -> None:
    assert kept(wire) == Kept(text, whole=False)


@pytest.mark.parametrize("text", ["not base64!", "R0VUIC8=x", "R0VUIC8", "R0VU\nIC8=", "Ü"])
def test_what_is_not_base64_is_dropped(text: str) -> None:
    assert Keeper(ALLOWED, body=True).keep(text) == Kept("", whole=False)


def test_what_was_kept_once_is_kept_again() -> None:
    once = kept("GET /a?b=c HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nbödy").text
    assert Keeper(ALLOWED, body=True).keep(once) == Kept(once)


@pytest.mark.parametrize(
    ("wire", "text", "whole"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", "abc", True),
        (b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: secret\r\n\r\n", "abc0123456789", True),
        (b"0\r\n\r\n", "", True),
        (b"abc", "", False),
        (b"3\r\nabc\r\n", "", False),
        (b"5\r\nabc\r\n0\r\n\r\n", "", False),
        (b"3\r\nabc++0\r\n\r\n", "", False),
        (b"-3\r\nabc\r\n0\r\n\r\n", "", False),
        (b"FFFFFFFFF\r\nabc", "", False),
    ],
)
def test_a_body_in_chunks_is_joined_or_dropped(wire: bytes, text: str, whole: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert kept(head + wire) == Kept("HTTP/1.1 200 OK\r\n\r\n" + text, (), whole)
    assert kept(head + wire, body=False) == Kept("HTTP/1.1 200 OK\r\n\r\n")


@given(st.lists(st.binary(min_size=1)))
def test_chunks_that_a_library_writes_are_joined(parts: list[bytes]) -> None:
    sender = h11.Connection(h11.SERVER)
    sender.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    sender.next_event()
    head = h11.Response(status_code=200, headers=[("Transfer-Encoding", "chunked")], reason=b"OK")
    wire = sender.send(head) or b""
    for part in parts:
        wire += sender.send(h11.Data(data=part)) or b""
    wire += sender.send(h11.EndOfMessage()) or b""
    assert kept(wire) == Kept("HTTP/1.1 200 OK\r\n\r\n" + b"".join(parts).decode("utf-8", "replace"))


def test_a_body_that_is_not_text_is_made_text() -> None:
    assert kept(b"HTTP/1.1 200 OK\r\n\r\n\xff\x00a").text.endswith("\r\n\r\n\ufffd\x00a")
    assert kept(b"HTTP/1.1 200 OK\r\n\r\n\xff\x00a", body=False).text == "HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "credentials"),
    [
        ("Authorization: abcdefgh", {"abcdefgh"}),
        ("authorization:Bearer  abcdefgh ", {"abcdefgh"}),
        ("AUTHORIZATION : Bearer abcdefgh", {"abcdefgh"}),
        ("Authorization: Bearer\r\n abcdefgh", {"abcdefgh"}),
        ("Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==", {"dXNlcjpwYXNzd29yZA==", "password"}),
        ("Authorization: Basic not-base64", {"not-base64"}),
        ("Authorization: short", set()),
        ("X-Api-Key: abcdefgh", {"abcdefgh"}),
        ('Cookie: lang=en; session="0123456789abcdef"; back=/a/long/enough/path', {"0123456789abcdef"}),
        ("Set-Cookie: session=0123456789abcdef; Path=0123456789abcdefgh", {"0123456789abcdef"}),
        ("X-Other: abcdefgh", set()),
    ],
)
def test_credentials_are_left_out_and_reported(line: str, credentials: set[str]) -> None:
    found = kept(f"GET / HTTP/1.1\r\n{line}\r\nHost: a\r\n\r\n")
    assert found.text == "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert set(found.credentials) == credentials


def test_credentials_of_a_message_without_an_end_are_reported() -> None:
    assert kept("GET / HTTP/1.1\r\nAuthorization: abcdefgh\r\nHost: a") == Kept(
        "GET / HTTP/1.1\r\n\r\n", ("abcdefgh",), False
    )


def test_a_caller_cannot_have_any_number_of_credentials_looked_for() -> None:
    for lines in (
        "\r\n".join(f"X-Api-Key: credential-{number}" for number in range(100)),
        "Cookie: " + "; ".join(f"c=0123456789-credential-{number}" for number in range(100)),
    ):
        assert 0 < len(kept(f"GET / HTTP/1.1\r\n{lines}\r\n\r\n").credentials) <= 16


def test_a_line_is_judged_the_same_each_time() -> None:
    keeper = Keeper(ALLOWED, body=False)
    for number in range(25_000):
        text = f"GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: abcdefgh\r\nAccept: {number}\r\n\r\n"
        found = keeper.keep(base64.b64encode(text.encode()).decode())
        assert found == (f"GET / HTTP/1.1\r\nHost: a\r\nAccept: {number}\r\n\r\n", ("abcdefgh",), True)


HEAD = "GET http://u:p@h/?a=1 HTTP/1.1\r\nReferer: http://v:q@h/?b=2&c\r\nX-Forwarded-For: 192.0.2.17\r\n\r\n"
BODY = "a://u:p@h/?b=2\r\nX-Forwarded-For: 192.0.2.17\r\n\r\nmore?c=3"


@pytest.mark.parametrize(
    ("change", "head"),
    [
        (
            recorded.mask_queries,
            HEAD.replace("a=1", "a=***").replace("b=2", "b=***"),
        ),
        (
            recorded.mask_user_informations,
            HEAD.replace("u:p@", "***@").replace("v:q@", "***@"),
        ),
        (recorded.truncate_addresses, HEAD.replace("192.0.2.17", "192.0.2.0")),
        (recorded.drop_addresses, HEAD.replace("X-Forwarded-For: 192.0.2.17\r\n", "")),
    ],
)
def test_a_kept_message_is_changed_in_its_head_only(change: object, head: str) -> None:
    assert callable(change)
    assert change(HEAD + BODY) == head + BODY


@pytest.mark.parametrize(
    ("body", "limit", "cut", "longer"),
    [
        ("abc", 3, "abc", False),
        ("abcd", 3, "abc", True),
        ("abö", 3, "ab", True),
        ("\r\n\r\nabc", 4, "\r\n\r\n", True),
        ("abc", 0, "", True),
    ],
)
def test_a_body_is_cut_between_characters(body: str, limit: int, cut: str, longer: bool) -> None:
    assert recorded.cut_body(HEAD + body, limit) == HEAD + cut
    assert recorded.body_is_longer(HEAD + body, limit) == longer


@given(st.one_of(st.binary(), st.binary().map(lambda data: b"GET / HTTP/1.1\r\n" + data)), st.booleans())
def test_nothing_makes_it_raise(data: bytes, body: bool) -> None:
    found = kept(data, body=body)
    lines = found.text.partition(recorded.END)[0].split("\r\n")[1:]
    assert all(line.partition(":")[0].lower() in ALLOWED for line in lines)
