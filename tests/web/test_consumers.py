"""The directory of consumers over HTTP: put as a file, faults named by their line, tenancy."""

import hashlib
import time
from typing import Any

import pytest

from tests.oracle.records import SECOND, Record, to_msgpack
from tests.product import ADMIN, TOKEN, Product
from tests.web.conftest import ORG, OTHER

NOON = 1772366400  # 2026-03-01 12:00 UTC
HEAD = "consumer,name,kind,value,from,until\n"
ACME = (
    "acme,ACME Ltd,key,aaaaaaaa,,2026-03-01T12:30:00Z\n"
    "acme,ACME Ltd,key,bbbbbbbb,2026-03-01T14:00:00+01:30,\n"
    "beta,Beta,key,aaaaaaaa,2026-03-02,\n"
)
DAY = {"from": "2026-03-01", "to": "2026-03-01"}


@pytest.fixture(scope="module", autouse=True)
def stocked(running: Product) -> None:
    def hit(minute: int, org: str, key: str, api: str = "api-1") -> bytes:
        return to_msgpack(
            Record(
                timestamp=(NOON + minute * 60) * SECOND,
                org_id=org,
                api_id=api,
                api_key=key,
                path="/a",
                response_code=200,
            )
        )

    blobs = [hit(0, ORG, "aaaaaaaa"), hit(30, ORG, "aaaaaaaa"), hit(30, ORG, "bbbbbbbb", "api-2")]
    assert running.put([*blobs, hit(0, OTHER, "aaaaaaaa"), hit(29, ORG, "bbbbbbbb")]).stored == 5


def put(running: Product, text: str | bytes, token: str = "admin of one", org: str = "") -> Any:
    return running.http.put("/api/v1/consumers", content=text, headers={"Authorization": token}, params={"org": org})


def get(running: Product, path: str = "", token: str = TOKEN, **parameters: str) -> Any:
    return running.http.get(f"/api/v1/consumers{path}", params=parameters, headers={"Authorization": token})


def test_one_answer_though_the_key_was_rotated(running: Product) -> None:
    assert put(running, HEAD + ACME).json() == {"org": ORG, "links": 3}
    assert get(running).json()["data"] == [
        {"org": ORG, "id": "acme", "name": "ACME Ltd", "links": 2},
        {"org": ORG, "id": "beta", "name": "Beta", "links": 1},
    ]
    found = get(running, "/acme", **DAY).json()
    assert (found["id"], found["name"], found["totals"]["hits"]) == ("acme", "ACME Ltd", 2)
    assert [(row["api"], row["path"], row["hits"]) for row in found["endpoints"]] == [
        ("api-1", "/a", 1),
        ("api-2", "/a", 1),
    ]
    assert found["links"] == [
        {
            "kind": "key",
            "value": "aaaaaaaa",
            "from": None,
            "until": "2026-03-01T12:30:00.000Z",
            "hits": 1,
            "first_seen": "2026-03-01T12:00:00.000Z",
            "last_seen": "2026-03-01T12:00:00.000Z",
        },
        {
            "kind": "key",
            "value": "bbbbbbbb",
            "from": "2026-03-01T12:30:00.000Z",
            "until": None,
            "hits": 1,
            "first_seen": "2026-03-01T12:30:00.000Z",
            "last_seen": "2026-03-01T12:30:00.000Z",
        },
    ]
    assert get(running, "/acme", **DAY, limit="1").json()["total_endpoints"] == 2
    assert get(running, "/beta", **DAY).json()["totals"]["hits"] == 0


def test_a_better_name_shows_in_old_data_and_nothing_is_left_of_the_file_before(running: Product) -> None:
    put(running, HEAD + ACME)
    put(running, "consumer,kind,value,name\nacme,key,aaaaaaaa,ACME Inc.\n")
    found = get(running, "/acme", **DAY).json()
    assert (found["name"], found["totals"]["hits"]) == ("ACME Inc.", 2)
    assert get(running, "/beta").status_code == 404
    assert put(running, HEAD).json() == {"org": ORG, "links": 0}
    assert get(running).json() == {"data": []}


def test_the_latest_file_counts_though_a_clock_was_ahead(running: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    put(running, HEAD + ACME)
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    put(running, "consumer,kind,value\nlater,key,aaaaaaaa\n")
    assert [one["id"] for one in get(running).json()["data"]] == ["later"]


def test_a_key_may_go_from_one_consumer_to_another(running: Product) -> None:
    """The instant at which it goes belongs to the second alone."""
    moved = "a,,key,aaaaaaaa,,2026-03-01T12:30:00Z\nb,,key,aaaaaaaa,2026-03-01T12:30:00Z,\n"
    assert put(running, HEAD + moved).json() == {"org": ORG, "links": 2}
    assert [get(running, name, **DAY).json()["totals"]["hits"] for name in ("/a", "/b")] == [1, 1]


def test_organisations_never_cross(running: Product) -> None:
    put(running, HEAD + ACME)
    assert put(running, "consumer,kind,value\nacme,key,aaaaaaaa\n", ADMIN, OTHER).status_code == 200
    assert get(running, "/acme", "of another", **DAY).json()["totals"]["hits"] == 1
    assert get(running, "/acme", "one api", **DAY).status_code == get(running, "", "one api").status_code == 403
    assert get(running, "", "of nobody").json() == {"data": []}
    assert get(running, "/acme", "of nobody").status_code == 404
    assert get(running, "/acme", ADMIN, **DAY).status_code == 400
    assert get(running, "/acme", ADMIN, org=ORG, **DAY).json()["totals"]["hits"] == 2
    assert get(running, "", TOKEN, org=OTHER).status_code == 403
    assert put(running, HEAD, "admin of one", OTHER).status_code == 403
    assert put(running, HEAD, ADMIN).json()["Message"].startswith("org: ")
    for token, status in ((TOKEN, 403), ("sender", 403), ("wrong", 401)):
        assert put(running, HEAD, token).status_code == status
    for token in ("logs only", "nothing"):
        assert get(running, "", token).status_code == get(running, "/acme", token).status_code == 403


def test_no_secret_is_kept(running: Product) -> None:
    put(running, "consumer,kind,value\nacme,key,a secret\n")
    (link,) = get(running, "/acme").json()["links"]
    assert link["value"] == hashlib.sha256(b"a secret").hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acme,key\n", "line 1: the columns are"),
        (HEAD + "acme,,key,aaaaaaaa\n", "line 2: it has not as many cells"),
        (HEAD + "acme,,key,aaaaaaaa,,,\n", "line 2: it has not as many cells"),
        (HEAD + "acme,,door,aaaaaaaa,,\n", "line 2: kind is one of"),
        (HEAD + ",,key,aaaaaaaa,,\n", "line 2: consumer is empty"),
        (HEAD + "acme,,key,,,\n", "line 2: value is empty"),
        (HEAD + "acme,,key,aaaaaaaa,2026-13-01,\n", "line 2: from is neither"),
        (HEAD + "acme,,key,aaaaaaaa,,2026-03-01T00:00:00\n", "line 2: until is neither"),
        (HEAD + "acme,,key,aaaaaaaa,2026-03-02,2026-03-02\n", "line 2: until does not lie after from"),
        (HEAD + ACME + "beta,Beta,key,bbbbbbbb,2027-01-01,\n", "line 5: overlaps line 3: the same key"),
        (HEAD + "b,,key,a secret,2026-01-01,\na,,key,a secret,,\n", "line 3: overlaps line 2"),
        (HEAD + "a,A,key,aaaaaaaa,,\na,B,key,bbbbbbbb,,\n", "line 3: 'a' has another name above"),
        (HEAD + 'a,A,key,"aaaaaaaa,,\n', "line 2: unexpected end of data"),
        (b"\xff\xfe", "line 1: the file is not UTF-8"),
    ],
)
def test_a_fault_is_named_by_its_line_and_changes_nothing(running: Product, text: str | bytes, message: str) -> None:
    put(running, HEAD + ACME)
    before = get(running).json()
    answer = put(running, text)
    assert (answer.status_code, answer.json()["Message"][: len(message)]) == (400, message)
    assert get(running).json() == before


@pytest.mark.parametrize("limit", ["0", "many", "-1", "100001", "9999999999"])
def test_a_limit_that_can_not_be(running: Product, limit: str) -> None:
    assert get(running, "/acme", limit=limit).json()["Message"] == "limit: a whole number from 1 to 100000 is expected"


def test_hostile_names_are_only_names(running: Product) -> None:
    for name in ("' OR 1=1 --", "{org_id:String}", "`; DROP TABLE consumers"):
        put(running, f'consumer,kind,value\n"{name}",client,"{name}"\n')
        assert [one["id"] for one in get(running).json()["data"]] == [name]
        assert get(running, "/' OR consumer != '").status_code == 404


def test_an_id_with_a_slash(running: Product) -> None:
    put(running, "consumer,kind,value\na/b,client,portal\n")
    assert get(running, "/a%2Fb").json()["id"] == "a/b"
    assert get(running, "/a%2Fc").status_code == 404
