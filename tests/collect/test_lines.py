"""Lines of files: each becomes the bytes of a record or a rejection, whatever stands in it."""

import pytest

from keytrail.collect.decode import Wire
from keytrail.collect.lines import Format, parse
from keytrail.record import Reason, Rejected

DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("form", [Format.AUTO, Format.CAPTURE])
def test_a_line_that_is_nested_too_deeply_does_not_take_the_others_along(form: Format) -> None:
    good = b'{"list": "analytics-tyk-system-analytics", "record": "eA=="}'
    parsed = parse([good, b'{"record": "eA==", "more": ' + DEEP + b"}", good], form)
    assert parsed.blobs == {Wire.MSGPACK: ([b"x", b"x"], [0, 2])}
    assert parsed.rejected == [Rejected(1, Reason.BAD_LINE, "nested too deeply")]
