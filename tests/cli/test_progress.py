import io
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from keytrail.cli import progress as shown
from keytrail.collect.files import Summary
from keytrail.collect.tablefile import ParquetLines
from keytrail.collect.textfile import Lines


def read_half_of(lines: int) -> Lines:
    """A file of which a half was read; the buffer takes it all at once, so what follows is said to be as long."""
    content = b"{}\n" * lines
    found = Lines(io.BytesIO(content), "file.ndjson", size=2 * len(content))
    found.take(lines, 1 << 30)
    return found


def test_terminal_shows_rate_and_time_left() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140)
    with shown.progress(console, read_half_of(1000)) as told:
        told(Summary(lines=1000))
    assert "file.ndjson" in out.getvalue()
    assert "50%" in out.getvalue()
    assert "1,000 records, " in out.getvalue()
    assert "/s, time left" in out.getvalue()


def test_elsewhere_a_plain_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    with shown.progress(Console(file=out, width=200), read_half_of(1000)) as told:
        for seconds in range(1, 14):
            now[0] = float(seconds)
            told(Summary(lines=seconds * 100))
    assert out.getvalue().splitlines() == [
        "file.ndjson: 500 records, 100/s, 50%, 5 s left",
        "file.ndjson: 1,000 records, 100/s, 50%, 10 s left",
    ]


def test_a_table_of_which_no_share_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    file, out, now = io.BytesIO(), io.StringIO(), [0.0]
    pq.write_table(pa.table({"time": ["2026-11-20T12:00:00Z"], "path": ["/a"]}), file)
    lines = ParquetLines(file, "file.parquet", size=file.tell())
    assert len(lines.take(10, 1 << 20)) == 1
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    with shown.progress(Console(file=out, width=200), lines) as told:
        now[0] = 10.0
        told(Summary(lines=1000))
    assert out.getvalue() == "file.parquet: 1,000 records, 100/s\n"


def test_quiet_shows_nothing() -> None:
    out = io.StringIO()
    with shown.progress(Console(file=out, force_terminal=True), read_half_of(10), quiet=True) as told:
        told(Summary(lines=10))
    assert out.getvalue() == ""
