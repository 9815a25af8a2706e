import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keytrail.collect.privacy import Privacy, stored_key
from keytrail.collect.secret import SHORT
from keytrail.collect.steps import StepSettings, run_steps
from keytrail.record import BY_COLUMN, DERIVED, FIELDS, Kind
from tests.collect.tables import Row, leaks, message, row_of, table_of, texts_in
from tests.oracle.records import CAPTURES, read_capture

OPEN = Privacy(bodies="keep", query_values="keep", headers=("host", "referer", "location", "x-request-id"))
SETTINGS = {"default": Privacy(), "open": OPEN, "hash": Privacy(keys="hash", bodies="keep")}
SECRET = "5e9d9544a1dcd60001d0ed20b9f3c2d1e0a94c5f8d7e6b5a4c3d2e1f"
HASHED = hashlib.sha256(SECRET.encode()).hexdigest()
TOKEN = "eyJvcmciOiI1ZTlkOTU0NGExZGNkNjAwMDFkMGVkMjAi+/=="


def ledger_secrets(capture: Path) -> set[str]:
    """Every key and every credential that the client of a capture sent."""
    found: set[str] = set()
    with gzip.open(capture / "ledger.ndjson.gz", "rt", encoding="utf-8") as lines:
        for entry in map(json.loads, lines):
            sent = {entry.get("key"), entry.get("auth")} - {None, ""}
            found |= sent | {text.removeprefix("Bearer ") for text in sent}
    return found


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.name)
@pytest.mark.parametrize("privacy", SETTINGS.values(), ids=SETTINGS)
def test_no_secret_of_a_capture_is_left(capture: Path, privacy: Privacy) -> None:
    rows = [row_of(record) for _, _, record in read_capture(capture)]
    secrets = ledger_secrets(capture)
    assert len(secrets) > 5
    recorded = [row for row in rows if row["raw_request"]]
    if "protobuf" not in capture.name:
        sent = "".join(base64.b64decode(row["raw_request"]).decode("latin-1") for row in recorded)
        assert sum(secret in sent for secret in secrets) >= 3
    table, _ = run_steps(table_of(rows), StepSettings(privacy))
    kept = "\0".join(texts_in(table))
    assert not [secret for secret in secrets for form in (secret, quote(secret, safe="")) if form in kept]
    encoded = {base64.b64encode(text.encode()).decode() for s in secrets for text in (s, "Bearer " + s, ":" + s)}
    assert not [form for form in encoded if form.rstrip("=") in kept]
    assert table.num_rows == len(rows)
    if privacy.keys == "auto":
        assert table.column("api_key").to_pylist() == [row["api_key"] for row in rows]


def test_no_secret_of_an_unhashed_capture_is_left() -> None:
    (capture,) = (path for path in CAPTURES if "detailed" in path.name)
    secrets = sorted(ledger_secrets(capture))
    rows: list[Row] = []
    for number, (_, _, record) in enumerate(read_capture(capture)):
        secret = secrets[number % len(secrets)]
        row = dict(row_of(record), api_key=secret)
        row["tags"] = ["key-" + secret, "org-x", f"tier {secret}"]
        row["raw_path"] = f"{row['raw_path']}/{secret}?auth={quote(secret)}"
        row["raw_request"] = message(f"GET /{secret}?api_key={quote(secret)} HTTP/1.1\nHost: {secret}\n\n{secret}")
        rows.append(row)
    for privacy in (Privacy(), OPEN):
        table, _ = run_steps(table_of(rows), StepSettings(privacy))
        assert not [found for secret in secrets for found in leaks(table, secret)]
        keys = [stored_key(row["api_key"], "auto") for row in rows]
        assert table.column("api_key").to_pylist() == keys
        assert [row["tags"][0] for row in table.select(["tags"]).to_pylist()] == ["key-" + key for key in keys]


def steps(row: Row, **privacy: Any) -> dict[str, Any]:
    (found,) = run_steps(table_of([row]), StepSettings(Privacy(**privacy)))[0].to_pylist()
    return dict(found)


TEXT_COLUMNS = [
    f.column
    for f in FIELDS
    if f.kind in {Kind.TEXT, Kind.NAME, Kind.NAMES}
    and f.column not in {"org_id", "api_id", "api_key", "raw_request", "raw_response"}
]


@pytest.mark.parametrize("column", TEXT_COLUMNS)
@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"/a/{SECRET}", f"/a/{HASHED}"),
        (base64.b64encode(SECRET.encode()).decode(), HASHED),
        ("/a/" + "".join(f"%{ord(char):x}" for char in SECRET), HASHED),
        ("/a/b", "/a/b"),
    ],
    ids=["plain", "base64", "strange", "none"],
)
def test_a_key_is_replaced_by_its_hash_in_every_text(column: str, text: str, hidden: str) -> None:
    values = [text, hidden] if BY_COLUMN[column].kind is not Kind.NAMES else [["t", text], ["t", hidden]]
    # Longer than some columns allow, where it is cut.
    limit = BY_COLUMN[column].limit
    found = steps({"api_key": SECRET, column: values[0]}, bodies="keep")
    assert found["api_key"] == HASHED
    assert found[column] == (["t", hidden[:limit]] if isinstance(values[1], list) else hidden[:limit])


@pytest.mark.parametrize("column", ["org_id", "api_id"])
def test_what_decides_who_sees_a_record_is_never_changed(column: str) -> None:
    assert steps({"api_key": "a-secret-key", column: "a-secret-key"})[column] == "a-secret-key"


def test_the_secret_of_another_record_is_not_looked_for() -> None:
    rows = [{"api_key": SECRET, "path": "/x"}, {"api_key": "0" * 16, "path": f"/{SECRET}"}]
    table, _ = run_steps(table_of(rows), StepSettings())
    assert table.column("path").to_pylist() == ["/x", f"/{SECRET}"]


@pytest.mark.parametrize(
    ("key", "mode", "stored"),
    [
        (SECRET, "auto", HASHED),
        (SECRET, "keep", SECRET),
        ("cd0174ec", "auto", "cd0174ec"),
        ("cd0174ec", "hash", hashlib.sha256(b"cd0174ec").hexdigest()),
        ("00000000", "hash", "00000000"),
        ("", "hash", ""),
        ("key", "auto", hashlib.sha256(b"key").hexdigest()),
        ("CD0174EC", "auto", hashlib.sha256(b"CD0174EC").hexdigest()),
    ],
)
def test_the_key_and_its_tag_are_stored_alike(key: str, mode: str, stored: str) -> None:
    found = steps({"api_key": key, "tags": ["gold", f"key-{key}", "key-other"], "path": "/a"}, keys=mode)
    assert found["api_key"] == stored
    assert found["tags"][:2] == ["gold", f"key-{stored}"]
    assert found["path"] == "/a"


def request(head: str, body: str = "") -> str:
    return message(f"GET /a HTTP/1.1\n{head}\n\n{body}")


@pytest.mark.parametrize(
    ("head", "secret"),
    [
        (f"Authorization: {TOKEN}", TOKEN),
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        (f"X-Api-Key: {TOKEN}", TOKEN),
        (f"Cookie: a=b; session={SECRET}", SECRET),
        ("Authorization: Basic " + base64.b64encode(b"user:pass-word").decode(), "pass-word"),
    ],
)
def test_a_recorded_credential_is_masked_elsewhere_in_its_record(head: str, secret: str) -> None:
    row = {
        "api_key": "cd0174ec",
        "raw_request": request(f"{head}\nReferer: /?t={quote(secret, safe='')}", f"body {secret}"),
        "raw_response": message(f"HTTP/1.1 200 OK\nLocation: /{secret}\n\n" + json.dumps({"echo": secret})),
        "raw_path": f"/a/{secret}",
        "path": f"/a/{secret}",
        "user_agent": f"agent {secret}",
        "tags": [f"header-{secret}", "key-cd0174ec"],
    }
    table, _ = run_steps(table_of([row, {"path": "/b"}]), StepSettings(OPEN))
    assert not leaks(table, secret)
    found = table.to_pylist()[0]
    assert found["raw_request"] == "GET /a HTTP/1.1\r\nReferer: /?t=***\r\n\r\nbody ***"
    assert found["raw_response"] == 'HTTP/1.1 200 OK\r\nLocation: /***\r\n\r\n{"echo": "***"}'
    assert (found["path"], found["raw_path"], found["user_agent"]) == ("/a/***", "/a/***", "agent ***")
    assert found["tags"] == ["header-***", "key-cd0174ec"]


def test_a_credential_that_is_the_key_is_its_hash_elsewhere() -> None:
    row = {"api_key": SECRET, "raw_request": request(f"Authorization: {SECRET}"), "path": f"/{SECRET}"}
    assert steps(row)["path"] == f"/{HASHED}"
    assert steps(row, keys="keep")["path"] == f"/{SECRET}"


def test_credentials_of_request_and_response_are_both_masked() -> None:
    row = {
        "raw_request": request(f"Authorization: {TOKEN}"),
        "raw_response": message(f"HTTP/1.1 200 OK\nSet-Cookie: session={SECRET}; Path=/\n\n"),
        "raw_path": f"/{TOKEN}/{SECRET}",
    }
    assert steps(row)["raw_path"] == "/***/***"


@pytest.mark.parametrize("longer", [TOKEN + ".more", "more." + TOKEN])
def test_of_two_credentials_one_may_hold_the_other(longer: str) -> None:
    row = {"raw_request": request(f"Authorization: {TOKEN}\nX-Api-Key: {longer}"), "raw_path": f"/{longer}/{TOKEN}"}
    assert steps(row)["raw_path"] == "/***/***"


def test_a_credential_cannot_rewrite_what_the_call_is_booked_under() -> None:
    row = {
        "raw_request": request("Authorization: /status/{code}\nX-Api-Key: Payments-API"),
        "path": "/status/{code}",
        "track_path": True,
        "api_name": "Payments-API",
        "alias": "Payments-API",
        "raw_path": "/status/{code}",
    }
    found = steps(row)
    assert (found["path"], found["api_name"], found["alias"]) == ("/status/{code}", "Payments-API", "Payments-API")
    assert found["raw_path"] == "***"


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "JSON": json.dumps,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "Basic": lambda text: base64.urlsafe_b64encode(f"user:{text}".encode()).decode(),
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SECRETS = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=SHORT, max_size=40),
    st.text(st.characters(codec="utf-8"), min_size=SHORT, max_size=40),
).filter(lambda text: stored_key(text, "auto") != text)


@st.composite
def holding(draw: st.DrawFn, secret: str) -> Row:
    """A record whose key is the secret and that holds it in some of its texts."""
    row: dict[str, Any] = {"api_key": secret, "tags": ["key-" + secret]}
    for column in draw(st.lists(st.sampled_from(TEXT_COLUMNS), unique=True, max_size=6)):
        text = draw(TEXT) + ENCODINGS[draw(st.sampled_from(sorted(ENCODINGS)))](secret) + draw(TEXT)
        row[column] = [draw(TEXT), text] if BY_COLUMN[column].kind is Kind.NAMES else text
    if draw(st.booleans()):
        encoded = ENCODINGS[draw(st.sampled_from(["URL", "base64", "Basic"]))](secret)
        body = ENCODINGS[draw(st.sampled_from(sorted(ENCODINGS)))](secret)
        row["raw_request"] = message(f"GET /{encoded}?k={encoded} HTTP/1.1\nReferer: /{encoded}\n\n{body}")
    return row


@settings(max_examples=200, deadline=None)
@given(st.data(), st.lists(SECRETS, min_size=1, max_size=4, unique=True), st.sampled_from([Privacy(), OPEN]))
def test_nothing_of_a_random_secret_survives(data: st.DataObject, secrets: list[str], privacy: Privacy) -> None:
    rows = [data.draw(holding(secret)) for secret in secrets]
    table, _ = run_steps(table_of(rows), StepSettings(privacy))
    for place, secret in enumerate(secrets):
        kept = texts_of(table.slice(place, 1).to_pylist()[0])
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
        for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], encoded[:-1]):
            assert not [text for text in kept if form in text]
        assert table.column("api_key")[place].as_py() == hashlib.sha256(secret.encode()).hexdigest()


def texts_of(row: dict[str, Any]) -> list[str]:
    values = [value if isinstance(value, list) else [value] for value in row.values()]
    return [text for texts in values for text in texts if isinstance(text, str)]


LIMITED = ["alias", "method", "country", "tags", "raw_path", "graphql_root_fields"]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(LIMITED),
            st.tuples(st.integers(-1, 1), st.sampled_from("xü\U0001f600"), st.integers(60, 66)),
        )
    )
)
def test_what_was_cut_is_marked_exactly(cases: list[dict[str, tuple[int, str, int]]]) -> None:
    rows, expected = [], []
    for case in cases:
        row: dict[str, Any] = {}
        cut = set()
        for column, (over, char, items) in case.items():
            limit = BY_COLUMN[column].limit
            text = char * (limit + over)
            if BY_COLUMN[column].kind is Kind.NAMES:
                row[column] = ["a"] * (items - 1) + [text]
                is_cut = items > 64 or over > 0
            else:
                row[column] = text
                is_cut = over > 0
            cut |= {column} if is_cut else set()
        rows.append(row)
        expected.append(cut)
    found = run_steps(table_of(rows), StepSettings())[0].to_pylist()
    assert [set(row["cut"]) for row in found] == expected
    assert all(len(row["cut"]) == len(set(row["cut"])) for row in found)
    for row, before in zip(found, rows, strict=True):
        for column in LIMITED:
            value, limit = row[column], BY_COLUMN[column].limit
            whole = before.get(column, BY_COLUMN[column].kind.zero)
            kept = [item[:limit] for item in whole[:64]] if isinstance(value, list) else whole[:limit]
            assert value == kept


WIRE = st.one_of(
    st.binary(),
    st.binary().map(lambda data: b"GET /?a=b HTTP/1.1\r\n" + data),
    st.lists(
        st.sampled_from([b"Host: a", b"Authorization: 12345678", b" fold", b"\r\n", b"\n", b"x", b"\xff", b":"])
    ).map(lambda lines: b"GET http://u:p@h/?a=b HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\nbody?a=b"),
)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: st.one_of(TEXT, st.just("/a?b=c"), WIRE.map(lambda data: base64.b64encode(data).decode())),
    Kind.NAME: st.one_of(TEXT, st.sampled_from(["12345678", "/a?b=c", "192.0.2.17", "://a@", "x" * 5000, "%"])),
    Kind.NAMES: st.lists(st.one_of(TEXT, st.sampled_from(["key-12345678", "x" * 2000])), max_size=70),
    Kind.INT: st.integers(-(2**63), 2**63 - 1),
    Kind.CODE: st.integers(-(2**15), 2**15 - 1),
    Kind.FLOAT: st.floats(),
    Kind.FLAG: st.booleans(),
    Kind.INSTANT: st.integers(0, 2**40),
}
ROW = st.fixed_dictionaries({}, optional={field.column: VALUES[field.kind] for field in FIELDS})
PRIVACY = st.builds(
    Privacy,
    keys=st.sampled_from(["auto", "hash", "keep"]),
    headers=st.lists(st.sampled_from(["host", "X-Forwarded-For", "authorization", ""])).map(tuple),
    bodies=st.sampled_from(["drop", "keep"]),
    body_limit=st.integers(0, 10),
    query_values=st.sampled_from(["mask", "keep"]),
    client_ip=st.sampled_from(["keep", "truncate", "drop"]),
)
UNCHANGED = [f.column for f in FIELDS if f.kind in {Kind.INT, Kind.CODE, Kind.FLAG, Kind.INSTANT}]


@given(st.lists(ROW, max_size=4), PRIVACY)
def test_no_table_makes_the_steps_raise(rows: list[Row], privacy: Privacy) -> None:
    before = table_of(rows)
    table, dropped = run_steps(before, StepSettings(privacy))
    assert not dropped
    assert set(table.column_names) == set(before.column_names) | {d.column for d in DERIVED if d.column != "batch_id"}
    assert table.select(UNCHANGED).equals(before.select(UNCHANGED))
    table.validate(full=True)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.name)
@pytest.mark.parametrize("privacy", [Privacy(), OPEN], ids=["default", "open"])
def test_what_passed_the_steps_passes_them_unchanged(capture: Path, privacy: Privacy) -> None:
    once, _ = run_steps(table_of([row_of(record) for _, _, record in read_capture(capture)]), StepSettings(privacy))
    twice, _ = run_steps(once.select([*(field.column for field in FIELDS), "seq"]), StepSettings(privacy))
    assert twice.to_pylist() == once.to_pylist()
