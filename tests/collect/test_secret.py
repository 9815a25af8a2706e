import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keytrail.collect.secret import SHORT, Secret

KEY = 'k+y/"söcret" ==?'
SUBSTITUTE = "<hash>"
TEXT = st.text(st.characters(codec="utf-8"))


def base64_of(before: str, after: str = "") -> str:
    return base64.b64encode((before + KEY + after).encode()).decode()


def url_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("", ""),
        ("/items", "/items"),
        (KEY, "<hash>"),
        (f"/{KEY}/{KEY}x", "/<hash>/<hash>x"),
        (f"?k={quote(KEY, safe='')}&b", "?k=<hash>&b"),
        (f"?k={quote(KEY, safe='').lower()}&b", "?k=<hash>&b"),
        (f"?k={quote(KEY)}&b", "?k=<hash>&b"),
        (f"?k={quote_plus(KEY)}&b", "?k=<hash>&b"),
        (f"?to={quote(quote(KEY, safe=''), safe='')}&b", "?to=<hash>&b"),
        (json.dumps({"k": KEY}), '{"k": "<hash>"}'),
        (json.dumps({"k": KEY}, ensure_ascii=False), '{"k": "<hash>"}'),
        (json.dumps({"k": KEY}).replace("/", "\\/"), '{"k": "<hash>"}'),
        (base64_of(""), "<hash>"),
        (f"Basic {url_safe(base64_of(''))}", "Basic <hash>"),
        (f"?b={quote(base64_of(''), safe='')}", "?b=<hash>"),
    ],
)
def test_every_form_is_replaced_and_what_is_beside_it_stays(text: str, hidden: str) -> None:
    secret = Secret(KEY, SUBSTITUTE)
    assert secret.hide(text) == hidden
    assert secret.stands_in(text) == (text != hidden)


@pytest.mark.parametrize("before", ["u", "us", "use", "user:", "a longer user:"])
@pytest.mark.parametrize("after", ["", ":", ":p", ":pw"])
@pytest.mark.parametrize("spelling", [str, url_safe], ids=["standard", "URL-safe"])
def test_a_part_of_base64_is_replaced_with_all_its_bits(
    before: str, after: str, spelling: Callable[[str], str]
) -> None:
    hidden = Secret(KEY, SUBSTITUTE).hide(f"Basic {spelling(base64_of(before, after))}!")
    kept_before = base64.b64encode(before.encode()).decode().rstrip("=")[: len(before.encode()) * 8 // 6]
    assert hidden.startswith(f"Basic {kept_before}{SUBSTITUTE}")
    # What follows are characters that hold bits of `after` alone, and padding.
    assert len(hidden.partition(SUBSTITUTE)[2].rstrip("=!")) <= -(-8 * len(after) // 6)
    assert hidden.endswith("!")


UNFORESEEN: dict[str, Callable[[str], str]] = {
    "three times URL-encoded": lambda text: quote(quote(quote(text, safe=""), safe=""), safe=""),
    "every byte URL-encoded": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "some bytes URL-encoded": lambda text: "".join(f"%{ord(c):02x}" if n % 2 else c for n, c in enumerate(text)),
    "every character escaped": lambda text: "".join(f"\\u{ord(char):04X}" for char in text),
    "JSON in a URL": lambda text: quote(json.dumps(text), safe=""),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "base64 in a URL in a URL": lambda text: quote(quote(base64.b64encode(text.encode()).decode(), safe=""), safe=""),
}


@pytest.mark.parametrize("encoding", UNFORESEEN)
def test_a_text_that_holds_an_unforeseen_form_is_given_up(encoding: str) -> None:
    plain = 'a"\\\\/secret??>>??>>'
    secret = Secret(plain, SUBSTITUTE)
    text = f"/before {UNFORESEEN[encoding](plain)} after"
    assert plain not in text
    assert secret.hide(text) == SUBSTITUTE


@pytest.mark.parametrize(
    ("plain", "text", "hidden"),
    [
        ("get", "/target/get/gets/7get", "/target/<hash>/gets/7get"),
        ("get", "get", "<hash>"),
        ("a b", "?k=a+b&x=a%20b", "?k=<hash>&x=<hash>"),
        ("get", "Basic Z2V0", "Basic <hash>"),
        ("ge", "R=Z2U=;Z2U", "R=<hash>;<hash>"),
        ("targets", "/targets", "/<hash>"),
        # From this length on, a secret is replaced inside words as well.
        ("x-target", "/xx-targets", "/x<hash>s"),
    ],
)
def test_a_short_secret_is_replaced_only_where_it_stands_alone(plain: str, text: str, hidden: str) -> None:
    assert Secret(plain, SUBSTITUTE).hide(text) == hidden


@pytest.mark.parametrize("times", [1, 2])
def test_a_large_text_is_searched_as_well(times: int) -> None:
    encoded = KEY
    for _ in range(times):
        encoded = quote(encoded, safe="")
    # Each way to undo an encoding gives another text.
    around = "x%41+\\n" * 20_000
    assert Secret(KEY, SUBSTITUTE).hide(around + encoded + around) == around + SUBSTITUTE + around


def test_the_whole_text_goes_rather_than_any_of_the_secret() -> None:
    # Taking the inner one away puts the outer halves together.
    secret = Secret("abcd1234", "")
    assert secret.hide("x abcdabcd12341234 x") == ""


@given(
    st.text(st.characters(codec="utf-8"), min_size=SHORT),
    st.lists(st.sampled_from(["plain", "quote", "plus", "json", "base64"]), min_size=1, max_size=3),
    TEXT,
    TEXT,
)
def test_nothing_of_a_secret_survives(plain: str, encodings: list[str], before: str, after: str) -> None:
    encode: dict[str, Callable[[str], str]] = {
        "plain": lambda text: text,
        "quote": lambda text: quote(text, safe=""),
        "plus": quote_plus,
        "json": json.dumps,
        "base64": lambda text: base64.b64encode(text.encode()).decode(),
    }
    # Base64 is undone in no text but searched for, so it is the innermost.
    text = plain
    for name in sorted(set(encodings), key=lambda name: name != "base64"):
        text = encode[name](text)
    secret = Secret(plain, "")
    hidden = secret.hide(before + text + after)
    assert plain not in hidden
    assert quote(plain, safe="") not in hidden
    assert not secret.stands_in(hidden)


@given(TEXT, TEXT)
def test_a_text_without_the_secret_stays(plain: str, text: str) -> None:
    secret = Secret(plain + "\U0001f600" * SHORT, "")
    if "\U0001f600" not in text:
        assert secret.hide(text) == text
