"""Recorded HTTP messages: what may be kept of a request or response in its HTTP/1 wire form.

The wire form is taken apart here, not by a library. h11 refuses what gateways do record (a path that is not
ASCII or holds a blank), and a refused message would be lost; `email.parser`, which `http.client` uses too, takes
what follows a malformed header line for the body, knows no start line, and needs several times as long. What is
needed is small: lines, names, and when in doubt nothing.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import pybase64

from keytrail.collect.privacy import (
    FORWARDING,
    mask_query,
    mask_user_information,
    truncate_forwarding,
)
from keytrail.collect.secret import SHORT
from keytrail.config import NEVER_KEPT

END: Final = "\r\n\r\n"
"""What stands between the head and the body of a kept message."""

_START: Final = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^\x00-\x1f\x7f]+ HTTP/\d\.\d|HTTP/\d\.\d \d{3}(?: [^\x00-\x1f\x7f]*)?"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_CHUNKED: Final = re.compile(r"transfer-encoding[ \t]*:", re.IGNORECASE)
_CR: Final = ord("\r")
_MOST_VERDICTS: Final = 10_000
# Each is looked for in the whole record, and a caller may send as many as fit into a header.
_MOST_CREDENTIALS: Final = 8
_COOKIES: Final = frozenset({"cookie", "cookie2", "set-cookie", "set-cookie2"})
_SHORTEST_COOKIE: Final = 16


class _Ends(NamedTuple):
    """A way of ending lines: how a blank line ends the head, and how one ends."""

    blank: bytes
    line: str


_CRLF: Final = _Ends(b"\r\n\r\n", "\r\n")
_LF: Final = _Ends(b"\n\n", "\n")
_FOLDS: Final = (" ", "\t")
_END_OF_HEAD: Final = END[2:]


class Kept(NamedTuple):
    """What is kept of a message.

    Attributes:
        text: Start line, allowed headers in their order with their own spelling, body: lines end with CRLF. "" if
            not even a start line was sure.
        credentials: Values of the credentials that were left out; the same values may stand in other fields.
        whole: Whether the message was well-formed; if not, more was left out than the settings ask for.
    """

    text: str
    credentials: tuple[str, ...] = ()
    whole: bool = True


class Keeper:
    """Keeps what may be kept of recorded messages; lives for one batch.

    Args:
        headers: Names of the allowed headers in lower case.
        body: Whether the body is kept, with bad UTF-8 replaced, whatever its length. One in chunks is joined; if
            that fails it is dropped, as a secret could not be found across the seams.
    """

    def __init__(self, headers: frozenset[str], *, body: bool) -> None:
        self._headers = headers
        self._body = body
        # The same lines come again and again, and looking one up takes a third of the time of judging it.
        self._verdicts: dict[str, tuple[str, tuple[str, ...]] | None] = {}
        self._starts: set[str] = set()

    def keep(self, recorded: str) -> Kept:
        """What may be kept of a message.

        Line ends are those of the first line: CRLF, or LF alone. A header line is kept if its name, exactly, is
        allowed and its value has no control characters; lines folded on to it (RFC 9112, 5.2) are joined by a blank.

        Args:
            recorded: The message in base64. One that was already kept once, as in an export, is taken, too.
        """
        try:
            data = pybase64.b64decode(recorded, None, True)
        except ValueError:
            data = recorded.encode()
        first = data.find(b"\n")
        ends = _CRLF if first > 0 and data[first - 1] == _CR else _LF
        end = data.find(ends.blank)
        start, *fields = (data if end < 0 else data[:end]).decode("utf-8", "replace").split(ends.line)
        if start not in self._starts and not self._is_start(start):
            return Kept("", whole=False)
        verdicts = self._verdicts
        kept = [start]
        credentials: tuple[str, ...] = ()
        for line in fields:
            try:
                verdict = verdicts[line]
            except KeyError:
                if line[:1] in _FOLDS:
                    return self._keep_folded(data, ends)
                verdict = self._verdict(line)
            if verdict is not None:
                own, found = verdict
                if own:
                    kept.append(own)
                elif len(credentials) < _MOST_CREDENTIALS:
                    credentials += found
        if end < 0:
            return Kept(start + END, credentials, whole=False)
        kept.append(_END_OF_HEAD)
        text = "\r\n".join(kept)
        if not self._body or not (rest := data[end + len(ends.blank) :]):
            return Kept(text, credentials)
        content = _joined(rest) if any(map(_CHUNKED.match, fields)) else rest
        if content is None:
            return Kept(text, credentials, whole=False)
        return Kept(text + content.decode("utf-8", "replace"), credentials)

    def _keep_folded(self, data: bytes, ends: "_Ends") -> Kept:
        """The same for a message with lines that go on in the next one, which are joined first."""
        head, blank, rest = data.partition(ends.blank)
        eol = ends.line.encode()
        start, _, fields = head.partition(eol)
        joined = re.sub(eol + b"[ \t]+", b" ", fields)
        # What begins with a blank right after the start line goes on from nothing, and is no header.
        return self.keep(pybase64.b64encode(start + eol + joined.lstrip(b" \t") + blank + rest).decode())

    def _is_start(self, line: str) -> bool:
        if not _START.fullmatch(line):
            return False
        if len(self._starts) >= _MOST_VERDICTS:
            self._starts.clear()
        self._starts.add(line)
        return True

    def _verdict(self, line: str) -> tuple[str, tuple[str, ...]] | None:
        verdict = self._judge(line)
        if len(self._verdicts) >= _MOST_VERDICTS:
            self._verdicts.clear()
        self._verdicts[line] = verdict
        return verdict

    def _judge(self, line: str) -> tuple[str, tuple[str, ...]] | None:
        """The line if it is kept, else the credentials in it; None if there are none."""
        name, colon, value = line.partition(":")
        name = name.lower()
        if colon and name in self._headers:
            return None if _CONTROL.search(line) else (line, ())
        name = name.strip()
        if name in NEVER_KEPT and (found := tuple(islice(_credentials(name, value), _MOST_CREDENTIALS))):
            return "", found
        return None


def _credentials(name: str, value: str) -> Iterator[str]:
    """What of the value of a credential's header could stand elsewhere as well; too short ones are left out."""
    value = value.strip()
    if name in _COOKIES:
        pairs = value.split(";")[: 1 if name.startswith("set-") else None]
        values = (pair.partition("=")[2].strip().strip('"') for pair in pairs)
        # Most cookies are settings, such as a language or a place to go back to, which paths hold as well.
        yield from (found for found in values if len(found) >= _SHORTEST_COOKIE and "/" not in found)
        return
    scheme, blank, token = value.partition(" ")
    token = token.strip() if blank else scheme
    if len(token) >= SHORT:
        yield token
    if scheme.lower() == "basic":
        try:
            password = pybase64.b64decode(token, validate=True).decode("utf-8", "replace").partition(":")[2]
        except ValueError:
            return
        if len(password) >= SHORT:
            yield password


def _joined(data: bytes) -> bytes | None:
    """The content of a body in chunks (RFC 9112, 7.1), without trailers; None if it is not one."""
    parts: list[bytes] = []
    place = 0
    while (end := data.find(b"\r\n", place)) >= 0:
        size_text = data[place:end].partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size_text):
            return None
        size = int(size_text, 16)
        if size == 0:
            return b"".join(parts)
        place = end + 2 + size + 2
        if data[place - 2 : place] != b"\r\n":
            return None
        parts.append(data[end + 2 : place - 2])
    return None


def _with_head(text: str, change: Callable[[str], str]) -> str:
    head, end, body = text.partition(END)
    return "\r\n".join(map(change, head.split("\r\n"))) + end + body


def mask_queries(text: str) -> str:
    """A kept message with the query values masked, in the start line and in every header's value."""
    return _with_head(text, _mask_line)


def _mask_line(line: str) -> str:
    target, blank, version = line.rpartition(" ")
    if version.startswith("HTTP/"):
        return mask_query(target) + blank + version
    return mask_query(line)


def mask_user_informations(text: str) -> str:
    """A kept message with the user information of URLs masked, in the start line and in every header's value."""
    return _with_head(text, mask_user_information)


def truncate_addresses(text: str) -> str:
    """A kept message with the addresses in forwarding headers truncated."""
    return _with_head(text, _truncate_line)


def _truncate_line(line: str) -> str:
    name, colon, value = line.partition(":")
    if not colon or name.lower() not in FORWARDING:
        return line
    return f"{name}: {truncate_forwarding(name.lower(), value)}"


def drop_addresses(text: str) -> str:
    """A kept message without forwarding headers."""
    head, end, body = text.partition(END)
    kept = [line for line in head.split("\r\n") if line.partition(":")[0].lower() not in FORWARDING]
    return "\r\n".join(kept) + end + body


def cut_body(text: str, limit: int) -> str:
    """A kept message whose body is at most `limit` bytes of UTF-8; a character is never split."""
    head, end, body = text.partition(END)
    return head + end + body.encode()[:limit].decode("utf-8", "ignore")


def body_is_longer(text: str, limit: int) -> bool:
    """Whether the body is more than `limit` bytes of UTF-8."""
    return len(text.partition(END)[2].encode()) > limit
