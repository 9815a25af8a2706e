"""One secret, the forms in which it may stand in a text, and its replacement in all of them.

A text may hold a secret plainly, URL-encoded (once or twice), escaped as in JSON, or inside base64, alone or as a
part of what was encoded. Forms that nobody foresaw are caught by undoing the encodings: where the secret shows
then, the whole text is given up. Encryption, compression and reversal are beyond this.
"""

import base64
import json
import re
from functools import cached_property
from typing import Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

SHORT: Final = 8
"""A secret of fewer characters is replaced only where it stands alone, between other than letters and digits.

Shorter ones would be found everywhere: a key `get` in `/target`. They are no secrets but names of test set-ups.
"""

_BASE64 = "[A-Za-z0-9+/_-]"
_URL_SAFE = str.maketrans("+/", "-_")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ENCODED_BYTE = re.compile("%[0-9A-F]{2}")
_MOST_LAYERS = 16
# Enough for all forms that are replaced; a large text of nothing but escapes must not stop all others.
_LEAST_LAYERS = 8
_LARGE = 64 * 1024


class Secret:
    """A secret and what is put in its place.

    Args:
        plain: The secret; not empty.
        substitute: What is put in its place; must not contain the secret.
    """

    def __init__(self, plain: str, substitute: str) -> None:
        self.plain = plain
        self.substitute = substitute
        self._short = len(plain) < SHORT

    def stands_in(self, text: str) -> bool:
        """Whether the text holds the secret in any form."""
        if self._holds(text):
            return True
        return _may_be_encoded(text, self.plain) and any(map(self._holds, _layers(text, self.plain)))

    def hide(self, text: str) -> str:
        """The text with the substitute in place of every form of the secret; the same text if there is none."""
        if not self.stands_in(text):
            return text
        hidden = self._replaced(text)
        return self.substitute if self.stands_in(hidden) else hidden

    def _holds(self, text: str) -> bool:
        if self._short:
            return self._word.search(text) is not None
        if self.plain in text:
            return True
        for core in self._cores:  # noqa: SIM110 - a generator would take as long as the search
            if core in text:
                return True
        return False

    def _replaced(self, text: str) -> str:
        if self._short:
            return self._word.sub(lambda _: self.substitute, text)
        for form in self._forms:
            text = text.replace(form, self.substitute)
        return self._in_base64.sub(lambda _: self.substitute, text)

    @cached_property
    def _forms(self) -> list[str]:
        """Longest first, as a shorter form may be a part of a longer one."""
        plain = self.plain
        once = {quote(plain, safe=""), quote(plain), quote_plus(plain)}
        encoded = once | {quote(form, safe="") for form in once}
        lower = {_ENCODED_BYTE.sub(lambda found: found[0].lower(), form) for form in encoded}
        escaped = {json.dumps(plain, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
        slashes = {form.replace("/", "\\/") for form in escaped}
        return sorted({plain} | encoded | lower | escaped | slashes, key=len, reverse=True)

    @cached_property
    def _cut_cores(self) -> list[tuple[str, bool, bool]]:
        """What base64 makes of the secret alone, for each place in a group of three bytes at which it may start.

        With each: whether a character before and one after it hold some of the secret's bits beside others'.
        """
        data = self.plain.encode()
        cores = []
        for before in range(3):
            bits = 8 * (before + len(data))
            text = base64.b64encode(bytes(before) + data).decode()
            cores.append((text[-(-8 * before // 6) : bits // 6], before > 0, bits % 6 > 0))
        return cores

    @cached_property
    def _cores(self) -> list[str]:
        standard = [core for core, _, _ in self._cut_cores]
        return standard + [core.translate(_URL_SAFE) for core in standard if "+" in core or "/" in core]

    @cached_property
    def _in_base64(self) -> re.Pattern[str]:
        parts = []
        for core, left, right in self._cut_cores:
            spellings = sorted({core, core.translate(_URL_SAFE), quote(core, safe="")})
            before, after = (_BASE64 + "?") * left, (_BASE64 + "?(?:=|%3[dD]){0,2}") * right
            parts += [before + re.escape(spelling) + after for spelling in spellings]
        return re.compile("|".join(parts))

    @cached_property
    def _word(self) -> re.Pattern[str]:
        padded = base64.b64encode(self.plain.encode()).decode()
        forms = {padded, padded.translate(_URL_SAFE), padded.rstrip("="), padded.translate(_URL_SAFE).rstrip("=")}
        words = sorted(forms | set(self._forms), key=len, reverse=True)
        return re.compile(f"(?<![0-9A-Za-z])(?:{'|'.join(map(re.escape, words))})(?![0-9A-Za-z])")


def _may_be_encoded(text: str, plain: str) -> bool:
    return "%" in text or "\\" in text or (" " in plain and "+" in text)


def _layers(text: str, plain: str) -> list[str]:
    """What is found in the text by undoing one encoding after the other, in any order."""
    layers = [text]
    for layer in layers:
        found = [unquote(layer), _ESCAPE.sub(_unescaped, layer)]
        if " " in plain:
            found.append(unquote_plus(layer))
        # Halves of a character that were escaped one by one are joined by the way through UTF-16.
        whole = (each.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for each in found)
        layers += [each for each in dict.fromkeys(whole) if each not in layers]
        if len(layers) >= (_MOST_LAYERS if len(text) < _LARGE else _LEAST_LAYERS):
            break
    return layers


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2])
