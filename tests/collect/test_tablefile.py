"""What a file holds is told by its beginning, however long that is."""

import base64
import csv
import io
import json

import zstandard

from keytrail.collect.tablefile import AUTO, open_lines


def test_a_compressed_capture_may_begin_with_a_large_record() -> None:
    record = base64.b64encode(bytes(150_000)).decode()
    line = json.dumps({"list": "analytics-tyk-system-analytics", "record": record}).encode()
    packed = zstandard.compress((line + b"\n") * 2)
    # As in a process that has read no CSV yet.
    csv.field_size_limit(131_072)
    lines, form = open_lines(io.BytesIO(packed), "f", len(packed), AUTO)
    assert (form, lines.take(10, 10**9)) == (AUTO, [(1, line), (2, line)])
