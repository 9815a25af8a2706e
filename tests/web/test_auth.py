"""Who is let in, what they see, and what an answer never tells."""

import hmac
import json
import re
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

from keytrail.cli.wiring import session_secret
from keytrail.config import Token, load
from keytrail.errors import NotAuthorised
from keytrail.web.auth import LINK_SECONDS, SESSION_COOKIE, Gate, hash_token
from tests.oracle.records import SECOND, Record, to_json
from tests.product import ADMIN, TOKEN, Product
from tests.web.conftest import ORG, OTHER
from tests.web.raw import Answer, ask

KEY, CLIENT = "7f3c3ca87376cabe", "27b35a9ed46e429eb2361e440cc4005c"
DAYS = "1/3/2026/2/3/2026"
OF_KEY = f"/api/activity/keys/endpoint/{KEY}/{DAYS}"
OF_CLIENT = f"/api/activity/oauthid/endpoint/{CLIENT}/{DAYS}"
IMPORT = "/api/v1/imports/batch/0"
ORGANISATIONS = "/api/v1/organisations"

MINE = Record(
    timestamp=int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * SECOND,
    org_id=ORG,
    api_id="api-1",
    api_key=KEY,
    oauth_id=CLIENT,
    path="/mine",
    response_code=200,
    tags=("gold",),
)
# Everything but the organisation is the same in several.
RECORDS = [
    *[MINE] * 3,
    replace(MINE, api_id="api-2", path="/mine too"),
    *[replace(MINE, org_id=OTHER, path="/theirs")] * 5,
    replace(MINE, org_id="", path="/nobody's"),
]


@pytest.fixture(scope="module", autouse=True)
def _stored(running: Product) -> None:
    assert running.put_lines([to_json(record).encode() for record in RECORDS]).stored == len(RECORDS)


def send(running: Product, target: str, token: str | None = TOKEN, **more: Any) -> Answer:
    headers = {"Authorization": token} if token is not None else {}
    return ask(running.parts.service.app, target, headers=headers | more.pop("headers", {}), **more)


def problem(answer: Answer) -> tuple[int, str]:
    body = json.loads(answer.text)
    assert list(body) == ["Status", "Message", "Meta"]
    assert (body["Status"], body["Meta"]) == ("Error", None)
    return answer.status, body["Message"]


def paths(running: Product, target: str, token: str) -> list[str]:
    return sorted(row["id"]["path"] for row in running.get(target, token)["data"])


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "BEARER   {}", " {} ", "Bearer {} "])
def test_a_token_by_itself_or_after_bearer(running: Product, form: str) -> None:
    assert send(running, OF_KEY, form.format(TOKEN)).status == 200


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        " ",
        "Bearer",
        "Bearer ",
        "wrong",
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.upper(),
        f"Basic {TOKEN}",
        f"Bearer Bearer {TOKEN}",
        f"{TOKEN} {TOKEN}",
        hash_token(TOKEN),
        "expired",
        "\xff\xfe",
        "x" * 5000,
    ],
    ids=repr,
)
@pytest.mark.parametrize("target", [OF_KEY, OF_CLIENT, ORGANISATIONS, IMPORT])
def test_nobody_we_know(running: Product, token: str | None, target: str) -> None:
    answer = send(running, target, token)
    assert (answer.status, answer.text) == (401, '{"Status":"Error","Message":"Not authorised","Meta":null}')


def test_who_is_not_let_in_does_not_learn_what_is_wrong(running: Product) -> None:
    for target in (f"{OF_KEY}?p=abc", OF_KEY.replace("/1/3/", "/1/33/"), "/api/v1/imports/b/x"):
        assert problem(send(running, target, "wrong")) == (401, "Not authorised")


def test_a_token_does_not_go_into_a_query(running: Product) -> None:
    assert send(running, f"{OF_KEY}?authorization={TOKEN}&token={TOKEN}", None).status == 401


def test_a_token_is_good_through_its_last_day() -> None:
    entry = Token(name="t", sha256=hash_token("t").upper(), expires=date(2026, 11, 23))
    assert Gate([entry], "s", lambda: date(2026, 11, 23)).bearer("t").name == "t"
    with pytest.raises(NotAuthorised):
        Gate([entry], "s", lambda: date(2026, 11, 24)).bearer("t")


def test_every_token_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an answer must not tell which token it was, or how much of one was right."""
    compared = []
    exact = hmac.compare_digest

    def compare(a: str, b: str) -> bool:
        compared.append(a)
        return exact(a, b)

    monkeypatch.setattr("hmac.compare_digest", compare)
    gate = Gate([Token(name=name, sha256=hash_token(name)) for name in "abc"], "s")
    for token in ("a", "c"):
        gate.bearer(token)
    with pytest.raises(NotAuthorised):
        gate.bearer("d")
    assert len(compared) == 9


@pytest.mark.parametrize(
    ("target", "needed", "token"),
    [
        (OF_KEY, "analytics", "logs only"),
        (OF_KEY, "analytics", "sender"),
        (OF_CLIENT, "analytics", "nothing"),
        (ORGANISATIONS, "admin", TOKEN),
        (ORGANISATIONS, "admin", "sender"),
        (IMPORT, "ingest", TOKEN),
        (IMPORT, "ingest", "nothing"),
    ],
)
def test_a_missing_permission_is_named(running: Product, target: str, needed: str, token: str) -> None:
    assert problem(send(running, target, token)) == (403, f"the token lacks the permission '{needed}'")


@pytest.mark.parametrize(
    ("target", "token"), [(OF_KEY, ADMIN), (OF_KEY, "admin of one"), (ORGANISATIONS, ADMIN), (IMPORT, "sender")]
)
def test_a_permission_that_suffices(running: Product, target: str, token: str) -> None:
    assert send(running, target, token).status == 200


@pytest.mark.parametrize("target", [OF_KEY, OF_CLIENT])
@pytest.mark.parametrize("more", ["?p=-1", "?api_id=api-1", "?tags=gold", "?api_id=api-1&tags=gold&by=Hits"])
def test_organisations_never_cross(running: Product, target: str, more: str) -> None:
    mine = ["/mine"] if "api_id" in more else ["/mine", "/mine too"]
    assert paths(running, target + more, TOKEN) == mine
    assert paths(running, target + more, "of another") == ["/theirs"]
    assert paths(running, target + more, "of nobody") == ["/nobody's"]
    assert paths(running, target + more, "admin of one") == mine
    assert paths(running, target + more, ADMIN) == sorted(["/nobody's", "/theirs", *mine])


@pytest.mark.parametrize("target", [OF_KEY, OF_CLIENT])
def test_series_of_organisations_never_cross(running: Product, target: str) -> None:
    def hits(token: str) -> list[int]:
        return [row["hits"] for row in running.get(f"{target}?res=day", token)["data"]]

    assert hits(TOKEN) == [4, 0]
    assert hits("of another") == [5, 0]
    assert hits("of nobody") == [1, 0]
    assert hits(ADMIN) == [10, 0]


def test_one_of_the_organisations(running: Product) -> None:
    assert paths(running, f"{OF_KEY}?org={OTHER}", ADMIN) == ["/theirs"]
    assert paths(running, f"{OF_KEY}?org={ORG}", TOKEN) == ["/mine", "/mine too"]
    assert paths(running, f"{OF_KEY}?org=unknown", ADMIN) == []
    for token in (TOKEN, "admin of one", "of nobody", "one api"):
        assert problem(send(running, f"{OF_KEY}?org={OTHER}", token)) == (
            403,
            f"no access to the organisation '{OTHER}'",
        )


def test_the_first_of_two_organisations_counts_for_all(running: Product) -> None:
    """What is checked and what is asked must be the same one."""
    answer = send(running, f"{OF_KEY}?org={ORG}&org={OTHER}", TOKEN)
    assert answer.status == 403 or "/theirs" not in answer.text
    answer = send(running, f"{OF_KEY}?org={OTHER}&org={ORG}", TOKEN)
    assert answer.status == 403 or "/theirs" not in answer.text


def test_organisations_of_an_admin(running: Product) -> None:
    assert running.get(ORGANISATIONS, ADMIN)["data"] == [
        {"org": "", "records": 1},
        {"org": ORG, "records": 4},
        {"org": OTHER, "records": 5},
    ]
    assert running.get(ORGANISATIONS, "admin of one")["data"] == [{"org": ORG, "records": 4}]


@pytest.mark.parametrize("target", [OF_KEY, OF_CLIENT])
def test_a_token_of_one_api_sees_its_numbers_only(running: Product, target: str) -> None:
    assert paths(running, target, "one api") == ["/mine"]
    assert paths(running, f"{target}?tags=gold&p=-1", "one api") == ["/mine"]
    assert paths(running, f"{target}?api_id=api-1", "one api") == ["/mine"]
    answer = send(running, f"{target}?res=month", "one api")
    assert '"hits":3' in answer.text
    assert send(running, target, "one api").headers["x-total-rows"] == "1"
    csv = send(running, f"{target}?type=csv", "one api").text
    assert "/mine too" not in csv
    assert "api-2" not in csv


def test_a_token_of_no_api_sees_nothing(running: Product) -> None:
    assert running.get(OF_KEY, "no api") == {"data": [], "pages": 0}
    assert [row["hits"] for row in running.get(f"{OF_KEY}?res=day", "no api")["data"]] == [0, 0]


@pytest.mark.parametrize("token", ["one api", "no api"])
@pytest.mark.parametrize("api", ["api-2", "unknown", "API-1", "api-1,api-2"])
def test_another_api_is_refused_whether_it_exists_or_not(running: Product, token: str, api: str) -> None:
    answer = send(running, f"{OF_KEY}?api_id={api}", token)
    assert problem(answer) == (403, "User does not have access to the API with ID.")


def test_a_sender_of_one_api_may_not_send(running: Product) -> None:
    answer = send(running, IMPORT, "sender of one api", method="POST")
    assert problem(answer) == (403, "a token that is limited to some APIs, keys or clients can't send records")


def test_a_sender_sends_for_its_organisation_only(running: Product) -> None:
    before = running.query("SELECT count() FROM requests")
    answer = running.http.post(
        "/api/v1/imports/foreign/0", content=to_json(RECORDS[-2]), headers={"Authorization": "sender"}
    ).json()
    assert (answer["stored"], [item["reason"] for item in answer["rejected"]]) == (0, ["foreign_org"])
    assert running.query("SELECT count() FROM requests") == before


# Sessions


def session_of(running: Product) -> tuple[str, str]:
    """A session's cookie, and the whole header that sets it."""
    answer = send(running, f"/signin?code={running.parts.service.gate.link_code()}", None)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    header = answer.headers["set-cookie"]
    match = re.match(rf"{SESSION_COOKIE}=([^;]+)", header)
    assert match
    return match[1], header


def with_cookie(running: Product, cookie: str, target: str = OF_KEY) -> Answer:
    return send(running, target, None, headers={"Cookie": f"{SESSION_COOKIE}={cookie}"})


def test_a_link_begins_a_session(running: Product) -> None:
    cookie, header = session_of(running)
    attributes = {part.strip().lower() for part in header.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    assert "secure" not in attributes
    assert with_cookie(running, cookie).status == 200
    assert with_cookie(running, cookie, ORGANISATIONS).status == 200
    assert "Signed in as <strong>local</strong>" in with_cookie(running, cookie, "/").text


def test_a_link_is_good_once(running: Product) -> None:
    code = running.parts.service.gate.link_code()
    assert send(running, f"/signin?code={code}", None).status == 303
    again = send(running, f"/signin?code={code}", None)
    assert again.status == 401
    assert "set-cookie" not in again.headers
    assert code not in again.text


@pytest.mark.parametrize("query", ["?code=wrong", "?code=%00"])
def test_no_link(running: Product, query: str) -> None:
    answer = send(running, f"/signin{query}", None)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("query", ["", "?code=", "?code[]=x"])
def test_without_a_link_there_is_a_form(running: Product, query: str) -> None:
    answer = send(running, f"/signin{query}", None)
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    assert '<form method="post" action="/signin">' in answer.text


def test_an_old_link_is_no_longer_good(running: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = running.parts.service.gate
    code, now = gate.link_code(), time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + LINK_SECONDS + 1)
    with pytest.raises(NotAuthorised):
        gate.redeem(code)


def test_a_session_that_is_not_ours(running: Product) -> None:
    cookie, _ = session_of(running)
    forged = URLSafeTimedSerializer("another secret", salt="session").dumps({"local": True})
    for wrong in (cookie[:-1], cookie + "x", cookie.upper(), forged, "", "x", "a.b.c", "\xff", '{"local":true}'):
        assert with_cookie(running, wrong).status == 401


def test_a_signed_cookie_that_says_something_else(running: Product) -> None:
    secret = (Path(running.parts.settings.store.directory or "") / "secret").read_text(encoding="ascii").strip()
    contents: list[Any] = [{"local": False}, {"local": 1}, [], "local", None]
    for content in contents:
        cookie = URLSafeTimedSerializer(secret, salt="session").dumps(content)
        assert with_cookie(running, cookie).status == 401
    # That the secret is the right one at all:
    assert with_cookie(running, URLSafeTimedSerializer(secret, salt="session").dumps({"local": True})).status == 200
    assert with_cookie(running, URLSafeTimedSerializer(secret, salt="other").dumps({"local": True})).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # By a browser's own word; an older one, or one on plain HTTP, says only the origin.
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.test"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, 200),
        ({"Origin": "http://{host}"}, 200),
        ({}, 200),
    ],
)
def test_a_session_changes_nothing_for_a_page_of_another_origin(
    running: Product, headers: dict[str, str], status: int
) -> None:
    cookie, _ = session_of(running)
    said = {name: value.format(host=running.http.base_url.netloc.decode()) for name, value in headers.items()}
    with_session = {**said, "Cookie": f"{SESSION_COOKIE}={cookie}"}
    assert running.http.post("/api/v1/query", headers=with_session).status_code == status
    assert running.http.get("/api/v1/query", headers=with_session).status_code == 200
    # Such a page has no token, so who sends one is no such page.
    assert running.http.post("/api/v1/query", headers={**said, "Authorization": ADMIN}).status_code == 200


@pytest.mark.parametrize("path", ["/signin", "/signout"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        # Plain HTTP behind a proxy that changes the host: only the origin is told, and it is not ours to compare.
        ({"Origin": "http://behind.a.proxy"}, 303),
        ({}, 303),
    ],
)
def test_a_page_of_another_address_begins_and_ends_no_session(
    running: Product, path: str, headers: dict[str, str], status: int
) -> None:
    answer = running.http.post(path, data={"token": TOKEN}, headers=headers, follow_redirects=False)
    running.http.cookies.clear()
    assert answer.status_code == status
    assert ("set-cookie" in answer.headers) == (status == 303)


def test_a_wrong_token_is_not_mended_by_a_session(running: Product) -> None:
    cookie, _ = session_of(running)
    answer = send(running, OF_KEY, "wrong", headers={"Cookie": f"{SESSION_COOKIE}={cookie}"})
    assert answer.status == 401


def test_the_secret_is_for_its_owner_only(running: Product) -> None:
    file = Path(running.parts.settings.store.directory or "") / "secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text(encoding="ascii").strip()) >= 32


@pytest.mark.parametrize("left", ["", "\n"])
def test_an_empty_secret_signs_nothing(tmp_path: Path, left: str) -> None:
    """As a process that was killed while it made one would have left."""
    settings = load(None, overrides={"store.url": f"chdb:{tmp_path}"})
    (tmp_path / "secret").write_text(left, encoding="ascii")
    made = session_secret(settings)
    assert len(made) >= 32
    assert session_secret(settings) == made
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
