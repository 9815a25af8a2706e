import hashlib
import math
from typing import Any

import pyarrow as pa
import pytest

from keytrail.collect.cut import MOST_ITEMS
from keytrail.collect.privacy import Privacy
from keytrail.collect.recorded import Keeper
from keytrail.collect.steps import STEPS, Step, StepSettings, drop_foreign_org, run_steps
from keytrail.record import BY_COLUMN, DERIVED, FIELDS, Reason
from tests.collect.tables import Row, message, table_of, texts_in

SECRET = "5e9d9544a1dcd60001d0ed20b9f3c2d1e0a94c5f8d7e6b5a4c3d2e1f"
HASHED = hashlib.sha256(SECRET.encode()).hexdigest()
PUT_LATER = {"batch_id", "seq"}


def after_steps(*rows: Row, org: str | None = None, **privacy: Any) -> list[dict[str, Any]]:
    table, _ = run_steps(table_of(rows), StepSettings(Privacy(**privacy), org))
    return table.to_pylist()


def after_one(row: Row, **privacy: Any) -> dict[str, Any]:
    (found,) = after_steps(row, **privacy)
    return found


def test_every_step_has_a_name_that_says_what_it_does_and_a_reason_for_its_place() -> None:
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("put_", "drop_", "hide_", "mask_", "cut_")) for name in names)
    assert all(step.why_here and step.run.__doc__ for step in STEPS)
    assert {step.name for step in STEPS if step.drops} == {"drop_foreign_org"}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("drop_foreign_org", "put_kind"),
        ("put_cut", "drop_unkept_parts"),
        ("drop_unkept_parts", "hide_secrets"),
        ("hide_secrets", "hide_user_information"),
        ("hide_user_information", "mask_query_values"),
        ("mask_query_values", "cut_bodies"),
        ("hide_client_ip", "cut_bodies"),
        ("cut_bodies", "cut_large"),
        ("cut_large", "drop_unused_names"),
    ],
)
def test_steps_that_need_an_order_have_it(earlier: str, later: str) -> None:
    names = [step.name for step in STEPS]
    assert names.index(earlier) < names.index(later)


def test_the_table_keeps_its_types_and_gets_the_derived_columns() -> None:
    rows = [
        {"api_key": SECRET, "tags": ["key-" + SECRET], "raw_path": f"/{SECRET}?a=b", "ip": "192.0.2.17"},
        {"raw_request": message("GET /?a=b HTTP/1.1\nAuthorization: 12345678\n\n"), "graphql_errors": ["x"] * 99},
    ]
    for number in range(3):
        table, _ = run_steps(table_of(rows[:number]), StepSettings(Privacy(client_ip="truncate")))
        derived = {each.column: each.kind for each in DERIVED if each.column not in PUT_LATER}
        expected = {field.column: field.kind.arrow for field in FIELDS} | {"seq": pa.uint32()} | derived
        assert {field.name: field.type for field in table.schema} == expected


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({}, "rest"),
        ({"tags": ["tyk-graph-analytics"]}, "rest"),
        ({"is_graphql": True}, "graphql"),
        ({"is_mcp": True}, "mcp"),
        ({"is_mcp": True, "is_graphql": True}, "graphql"),
        ({"code": -1}, "tcp"),
        ({"code": -1, "is_mcp": True, "is_graphql": True}, "tcp"),
        ({"code": -2}, "rest"),
    ],
)
def test_kind(row: Row, kind: str) -> None:
    assert after_one(row)["kind"] == kind


@pytest.mark.parametrize(
    ("code", "code_class"),
    [
        (-32768, "other"), (-2, "other"), (-1, "tcp"), (0, "other"), (99, "other"), (100, "1xx"), (199, "1xx"),
        (200, "2xx"), (299, "2xx"), (304, "3xx"), (400, "4xx"), (499, "4xx"), (500, "5xx"), (599, "5xx"),
        (600, "other"), (32767, "other"),
    ],
)  # fmt: skip
def test_code_class(code: int, code_class: str) -> None:
    assert after_one({"code": code})["code_class"] == code_class


@pytest.mark.parametrize(
    ("code", "upstream_latency", "origin"),
    [
        (200, 0, ""), (399, 5, ""), (-1, 0, ""), (400, 0, "gateway"), (429, 0, "gateway"), (400, 1, "upstream"),
        (502, 10**12, "upstream"), (500, -1, ""),
    ],
)  # fmt: skip
def test_error_origin(code: int, upstream_latency: int, origin: str) -> None:
    assert after_one({"code": code, "upstream_latency": upstream_latency})["error_origin"] == origin


def test_rows_of_another_organisation_are_dropped_and_named() -> None:
    rows = [{"org_id": org, "alias": org + "'s"} for org in ("a", "b", "", "a", "aa")]
    for org, kept in (("a", [0, 3]), ("", [2]), ("c", []), (None, [0, 1, 2, 3, 4])):
        table, dropped = run_steps(table_of(rows), StepSettings(org=org))
        assert table.column("seq").to_pylist() == kept
        assert dropped == [(seq, Reason.FOREIGN_ORG) for seq in range(5) if seq not in kept]
        assert {text for text in texts_in(table) if text.endswith("'s")} == {rows[seq]["alias"] for seq in kept}


def test_a_row_whose_organisation_is_not_known_to_be_ours_is_dropped() -> None:
    table = table_of([{"org_id": None}, {"org_id": "a"}])
    assert drop_foreign_org(table, StepSettings(org="a")).column("seq").to_pylist() == [1]


REQUEST = message(
    "POST http://u:p@host/items?api_key=secret&b HTTP/1.1\n"
    "Host: host\nAuthorization: Bearer abcdefgh\nReferer: http://u:p@host/?c=d\nX-Forwarded-For: 192.0.2.17, ::1\n\n"
    '{"a": "?b=c"}'
)


@pytest.mark.parametrize(
    ("privacy", "kept"),
    [
        ({}, "POST http://***@host/items?api_key=***&b HTTP/1.1\r\nHost: host\r\n\r\n"),
        ({"headers": ()}, "POST http://***@host/items?api_key=***&b HTTP/1.1\r\n\r\n"),
        (
            {"headers": ("AUTHORIZATION", "REFERER"), "bodies": "keep"},
            'POST http://***@host/items?api_key=***&b HTTP/1.1\r\nReferer: http://***@host/?c=***\r\n\r\n{"a": "?b=c"}',
        ),
        (
            {"headers": ("referer",), "query_values": "keep", "bodies": "keep", "body_limit": 4},
            'POST http://***@host/items?api_key=secret&b HTTP/1.1\r\nReferer: http://***@host/?c=d\r\n\r\n{"a"',
        ),
        (
            {"headers": ("x-forwarded-for",), "client_ip": "truncate"},
            "POST http://***@host/items?api_key=***&b HTTP/1.1\r\nX-Forwarded-For: 192.0.2.0, ::\r\n\r\n",
        ),
        (
            {"headers": ("x-forwarded-for", "host"), "client_ip": "drop"},
            "POST http://***@host/items?api_key=***&b HTTP/1.1\r\nHost: host\r\n\r\n",
        ),
        (
            {"headers": ("x-forwarded-for",)},
            "POST http://***@host/items?api_key=***&b HTTP/1.1\r\nX-Forwarded-For: 192.0.2.17, ::1\r\n\r\n",
        ),
    ],
)
@pytest.mark.parametrize("column", ["raw_request", "raw_response"])
def test_of_a_recorded_message_only_what_the_settings_allow_is_kept(
    column: str, privacy: dict[str, Any], kept: str
) -> None:
    found = after_one({column: REQUEST}, **privacy)
    assert found[column] == kept
    assert found["cut"] == ([column] if "body_limit" in privacy else [])


@pytest.mark.parametrize(
    ("raw", "kept"), [("no base64!", ""), ("Z2FyYmFnZQ==", ""), ("R0VUIC8gSFRUUC8xLjE=", "GET / HTTP/1.1\r\n\r\n")]
)
def test_a_message_that_was_lost_is_marked(raw: str, kept: str) -> None:
    found = after_steps({}, {"raw_request": raw}, {"raw_request": REQUEST}, {"raw_response": raw, "raw_request": raw})
    assert [row["cut"] for row in found] == [[], ["raw_request"], [], ["raw_request", "raw_response"]]
    assert found[1]["raw_request"] == found[3]["raw_response"] == kept


@pytest.mark.parametrize("column", ["path", "raw_path", "original_path"])
def test_query_values_of_paths(column: str) -> None:
    row = {column: "http://u:p@h/a?b=c&d", "listen_path": "/a?b=c"}
    assert after_one(row)[column] == "http://***@h/a?b=***&d"
    assert after_one(row, query_values="keep")[column] == "http://***@h/a?b=c&d"
    assert after_one(row)["listen_path"] == "/a?b=c"


def test_paths_that_become_one_are_one_name() -> None:
    table, _ = run_steps(table_of([{"path": f"/a?b={number}"} for number in range(5)]), StepSettings())
    assert table.column("path").to_pylist() == ["/a?b=***"] * 5
    assert set(texts_in(table.select(["path"]))) == {"/a?b=***"}
    assert len(list(texts_in(table.select(["path"])))) == 1


def test_graphql_texts_are_bodies() -> None:
    row = {
        "graphql_variables": "e30=",
        "graphql_errors": ["a", "b"],
        "graphql_has_errors": True,
        "graphql_types": ["T.f"],
    }
    dropped, kept = after_one(row), after_one(row, bodies="keep")
    assert (dropped["graphql_variables"], dropped["graphql_errors"]) == ("", [])
    assert (kept["graphql_variables"], kept["graphql_errors"]) == ("e30=", ["a", "b"])
    for found in (dropped, kept):
        assert found["graphql_has_errors"]
        assert found["graphql_types"] == ["T.f"]
        assert found["cut"] == []


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ("keep", ["192.0.2.17", "2001:db8:1:2::3", "x", ""]),
        ("truncate", ["192.0.2.0", "2001:db8:1::", "", ""]),
        ("drop", ["", "", "", ""]),
    ],
)
def test_client_address(how: str, kept: list[str]) -> None:
    rows = [{"ip": ip} for ip in ("192.0.2.17", "2001:db8:1:2::3", "x", "")]
    assert [row["ip"] for row in after_steps(*rows, client_ip=how)] == kept


TEXTS = [
    field.column
    for field in FIELDS
    if field.limit and field.column not in {"raw_request", "raw_response", "graphql_errors"}
]
NAMES = ["tags", "graphql_root_fields", "graphql_types"]


@pytest.mark.parametrize("column", TEXTS)
@pytest.mark.parametrize("char", ["x", "ü"])
def test_a_text_is_cut_at_its_limit_in_characters(column: str, char: str) -> None:
    limit = BY_COLUMN[column].limit
    values: list[Any] = [char * limit, char * (limit + 1), char, char * 2 * limit]
    if column in NAMES:
        values = [["a", value] for value in values]
    privacy = {"bodies": "keep", "keys": "keep"}
    found = after_steps({}, *({column: value} for value in values), **privacy)
    cut = char * limit
    expected: list[Any] = [cut, cut, char, cut]
    if column in NAMES:
        expected = [["a", value] for value in expected]
    assert [row[column] for row in found[1:]] == expected
    assert [row["cut"] for row in found] == [[], [], [column], [], [column]]


@pytest.mark.parametrize("column", NAMES)
def test_a_list_is_cut_to_its_first_items(column: str) -> None:
    long = "x" * 2000
    names = [str(number) for number in range(MOST_ITEMS + 2)]
    lists = [names[:MOST_ITEMS], names, [], [*names[:MOST_ITEMS], long], [long, *names[1:MOST_ITEMS]]]
    found = after_steps(*({column: each} for each in lists))
    first = names[:MOST_ITEMS]
    shortened = long[: BY_COLUMN[column].limit]
    assert [row[column] for row in found] == [first, first, [], first, [shortened, *first[1:]]]
    assert [row["cut"] for row in found] == [[], [column], [], [column], [column]]


def test_all_that_was_cut_is_marked_once() -> None:
    huge = "GET /" + "x" * 70_000 + " HTTP/1.1\nHost: h\n\nbody"
    row = {"raw_request": message(huge), "alias": "x" * 1025, "tags": ["x"] * 65, "raw_response": "?"}
    found = after_steps({}, row, bodies="keep", body_limit=1)
    assert [sorted(each["cut"]) for each in found] == [[], ["alias", "raw_request", "raw_response", "tags"]]
    assert len(found[1]["raw_request"]) == BY_COLUMN["raw_request"].limit


def test_half_of_a_secret_at_a_limit_is_not_left_behind() -> None:
    limits = {name: BY_COLUMN[name].limit for name in ("path", "raw_path", "user_agent", "alias")}
    for overlap in (1, 10, len(SECRET) - 1):
        row: dict[str, Any] = {name: "x" * (limit - overlap) + SECRET for name, limit in limits.items()}
        row["raw_response"] = message("HTTP/1.1 200 OK\n\n" + "x" * (4096 - overlap) + SECRET)
        found = after_one(row | {"api_key": SECRET}, bodies="keep")
        for name, limit in limits.items():
            assert found[name] == ("x" * (limit - overlap) + HASHED)[:limit]
        assert found["raw_response"] == "HTTP/1.1 200 OK\r\n\r\n" + "x" * (4096 - overlap) + HASHED[:overlap]


def addresses(table: pa.Table, column: str) -> list[int | None]:
    """Where the memory of a column is: the same if nothing was made anew."""
    chunks: Any = table.column(column).chunks
    return [buffer and buffer.address for chunk in chunks for buffer in chunk.buffers()]


def test_a_record_without_recorded_messages_costs_no_work_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(self: Keeper, recorded: str) -> None:
        raise AssertionError(recorded)

    monkeypatch.setattr(Keeper, "keep", keep)
    table = table_of([{"api_key": "0" * 16, "tags": ["key-" + "0" * 16], "path": "/a"}] * 3)
    after, _ = run_steps(table, StepSettings())
    for field in FIELDS:
        assert addresses(after, field.column) == addresses(table, field.column), field.column


def test_what_dropped_rows_left_in_dictionaries_goes() -> None:
    table = table_of([{"path": "/a", "tags": ["t"]}, {"path": "/secret", "tags": ["secret"]}]).slice(0, 1)
    after, _ = run_steps(table, StepSettings())
    assert not [text for text in texts_in(after) if "secret" in text]
    assert after.column("path").to_pylist() == ["/a"]
    assert after.column("tags").to_pylist() == [["t"]]


def test_steps_take_columns_in_several_chunks_and_slices() -> None:
    rows = [
        {"api_key": f"{SECRET}{n}", "tags": [f"key-{SECRET}{n}", "x" * 600], "raw_path": f"/{SECRET}{n}"}
        for n in range(6)
    ]
    whole, _ = run_steps(table_of(rows), StepSettings())
    parts = pa.concat_tables([table_of(rows).slice(0, 1), table_of(rows).slice(1, 2), table_of(rows).slice(3)])
    assert run_steps(parts, StepSettings())[0].to_pylist() == whole.to_pylist()
    assert run_steps(table_of(rows).slice(2, 3), StepSettings())[0].to_pylist() == whole.to_pylist()[2:5]


def test_the_order_in_which_steps_are_run_is_the_tuples() -> None:
    seen: list[str] = []

    def put_first(table: pa.Table, settings: StepSettings) -> pa.Table:
        seen.append("first")
        return table

    def put_second(table: pa.Table, settings: StepSettings) -> pa.Table:
        seen.append("second")
        return table.slice(1)

    steps = (Step(put_first, "."), Step(put_second, ".", Reason.FOREIGN_ORG))
    table, dropped = run_steps(table_of([{}, {}]), StepSettings(), steps=steps)
    assert seen == ["first", "second"]
    assert dropped == [(0, Reason.FOREIGN_ORG)]
    assert math.prod(table.shape) == len(FIELDS) + 1
