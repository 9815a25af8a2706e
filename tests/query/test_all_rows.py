"""All rows of a question, page by page: each once, with the numbers of the JSON answer, as any kind of file."""

import csv
import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from keytrail.query import ask as ask_module
from keytrail.query.ask import ask, pages
from keytrail.query.export import Form
from keytrail.query.question import Question, parse
from keytrail.query.sheet import sheets
from tests.query.shops import Shops, in_one
from tests.query.test_consumer_dimension import DIRECTORIES, RECORDS, World

METRICS = [
    "hits",
    "error_rate",
    "p95_latency",
    "min_latency",
    "last_hit",
    "latest_alias",
    "distinct_clients",
    "bytes_out",
]


@pytest.fixture(scope="module")
def world(shops: Shops) -> World:
    shops.stock(in_one(RECORDS))
    return World(shops, DIRECTORIES["of all kinds"])


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_module, "PAGE_ROWS", 3)


def asked(*dimensions: str, **more: Any) -> Question:
    fields = {"dimensions": list(dimensions), "metrics": METRICS, "from": "2026-03-01", "to": "2026-03-03", **more}
    return parse(fields, default_zone="Asia/Kolkata")


def expected(world: World, question: Question, *dimensions: str) -> list[dict[str, Any]]:
    """The rows of the JSON answer, in the order of the dimensions."""
    rows = ask(world.engine, world.scope, question).rows
    return sorted(
        rows, key=lambda row: [str(row[n]).encode() if isinstance(row[n], str) else row[n] for n in dimensions]
    )


@pytest.mark.parametrize(
    "dimensions",
    [
        ("path",),
        ("key", "path"),
        ("code", "key"),
        ("tag",),
        ("tag", "key"),
        ("consumer", "code"),
        ("oauth_client", "tracked", "kind"),
        ("latency_ms", "path"),
        ("org",),
    ],
    ids="-".join,
)
def test_each_row_once_with_the_numbers_of_the_answer(world: World, dimensions: tuple[str, ...]) -> None:
    question = asked(*dimensions, limit=100_000)
    found = list(pages(world.engine, world.scope, question))
    assert [row for page in found for row in page] == expected(world, question, *dimensions)
    assert all(len(page) == 3 for page in found[:-1])
    assert len(found[-1]) < 3


@pytest.mark.parametrize("form", Form)
def test_as_a_file(world: World, form: Form) -> None:
    dimensions = ("key", "path", "code")
    question = asked(*dimensions, limit=1_000)
    rows = expected(world, question, *dimensions)
    assert len(rows) > 6
    columns = [*dimensions, *METRICS]
    content = b"".join(sheets(pages(world.engine, world.scope, question), columns, form))
    if form is Form.NDJSON:
        assert [json.loads(line) for line in content.splitlines()] == rows
    elif form is Form.PARQUET:
        assert pq.read_table(io.BytesIO(content)).to_pylist() == rows
    else:
        read = list(csv.reader(io.StringIO(content.decode())))
        assert read[0] == columns
        assert [line[:4] for line in read[1:]] == [
            [row["key"], row["path"], str(row["code"]), str(row["hits"])] for row in rows
        ]
        for name, one in (("error_rate", float), ("min_latency", int), ("p95_latency", float)):
            place = columns.index(name)
            assert [one(line[place]) if line[place] else None for line in read[1:]] == [row[name] for row in rows]


@pytest.mark.parametrize("form", Form)
def test_a_file_of_nothing(world: World, form: Form) -> None:
    question = asked("path", filter={"dimension": "path", "operator": "is", "value": "/nowhere"})
    content = b"".join(sheets(pages(world.engine, world.scope, question), ["path", *METRICS], form))
    if form is Form.PARQUET:
        assert pq.read_table(io.BytesIO(content)).num_rows == 0
    else:
        assert len(content.splitlines()) == (form is Form.CSV)
