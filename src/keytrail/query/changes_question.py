"""What is asked about changes: the fields of `/api/v1/changes`, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keytrail.errors import RequestError
from keytrail.instants import present
from keytrail.query.question import given_of, number, parse
from keytrail.query.ranges import Range, before, between, earlier
from keytrail.query.request import Condition

WORSE: Final = "worse"
BETTER: Final = "better"
BOTH: Final = "both"
DIRECTIONS: Final = (WORSE, BETTER, BOTH)
BASELINES: Final = {"previous": 0, "yesterday": 1, "last_week": 7}
"""Names of baselines and how many days earlier they lie; 0 is the period before."""
GROUPS: Final = {
    "key_endpoint": ("key", "api", "path", "code_class"),
    "key": ("key", "code_class"),
    "endpoint": ("api", "path", "code_class"),
    "consumer_endpoint": ("consumer", "api", "path", "code_class"),
    "consumer": ("consumer", "code_class"),
}
"""What contributions can be told apart by; API and path are the endpoint."""
DEFAULT_GROUP: Final = "key_endpoint"
DEFAULT_RANGE: Final = "last_hour"
DEFAULT_LIMIT: Final = 10
MOST_ROWS: Final = 50
DEFAULT_LEAST_HITS: Final = 20

_OF_QUESTIONS: Final[tuple[str, ...]] = ("from", "to", "range", "zone", "filter")
CHANGES_FIELDS: Final = {
    "from": "first day (YYYY-MM-DD) or instant (RFC 3339); included",
    "to": "last day, included, or an instant, not included",
    "range": f"instead of `from` and `to`: the name of a range; `{DEFAULT_RANGE}` if neither",
    "zone": "time zone of days, an IANA name; the setting `timezone` if not given",
    "filter": "a condition, as of `/api/v1/query`",
    "baseline": "what it is compared with: `previous` (the period before, if not given), `yesterday` or `last_week` "
    "(the same hours, so many days earlier), or `{from, to}`",
    "by": "what is told apart: `key_endpoint` (if not given), `endpoint` (all its keys together), `key` (all its "
    "endpoints together), or the same of consumers, `consumer_endpoint` and `consumer`; each with the code class",
    "direction": "`worse` (if not given): what has more errors or slow hits; `better`: what has less; or `both`",
    "least_hits": "hits of a key on an endpoint (of what `by` names), in either range, below which it is not judged; "
    f"{DEFAULT_LEAST_HITS} if not given",
    "limit": f"rows of errors and of latency at most, {DEFAULT_LIMIT} if not given; up to {MOST_ROWS}",
}
"""The fields and what they mean."""


@dataclass(frozen=True, slots=True)
class ChangesQuestion:
    """What is asked.

    Attributes:
        range: The stretch of time that is judged.
        baseline: What it is compared with.
        filters: Conditions, all of which must hold.
        group: Dimensions that are told apart, the code class last.
        direction: One of `DIRECTIONS`.
        least_hits: Hits of any code, in either range, below which what is told apart is not judged.
        limit: Rows at most, of each list.
    """

    range: Range
    baseline: Range
    filters: tuple[Condition, ...] = ()
    group: tuple[str, ...] = GROUPS[DEFAULT_GROUP]
    direction: str = WORSE
    least_hits: int = DEFAULT_LEAST_HITS
    limit: int = DEFAULT_LIMIT


def parse_changes(fields: Mapping[str, Any], *, default_zone: str, now: int | None = None) -> ChangesQuestion:
    """Understand the fields; those that are missing, null or "" count as not given.

    Args:
        fields: The fields as JSON has them.
        default_zone: Zone where none is given.
        now: The present in ms since the epoch, for the names of ranges.

    Raises:
        RequestError: A field is unknown or can't be; the message begins with its name.
    """
    given = given_of(fields, CHANGES_FIELDS)
    shared: dict[str, Any] = {name: given[name] for name in _OF_QUESTIONS if name in given}
    if not {"from", "to", "range"} & shared.keys():
        shared["range"] = DEFAULT_RANGE
    question = parse(shared, default_zone=default_zone, now=present() if now is None else now)
    if not question.range.spans:
        raise RequestError("from: the range has no instant")
    direction = given.get("direction", WORSE)
    if direction not in DIRECTIONS:
        raise RequestError(f"direction: one of {', '.join(DIRECTIONS)} is expected")
    by = given.get("by", DEFAULT_GROUP)
    if not isinstance(by, str) or by not in GROUPS:
        raise RequestError(f"by: one of {', '.join(GROUPS)} is expected")
    baseline = _baseline(given.get("baseline", "previous"), question.range)
    if not baseline.spans:
        raise RequestError("baseline: it has no instant")
    first, last = question.range.spans[0].start, question.range.spans[-1].end
    if baseline.spans[0].start < last and first < baseline.spans[-1].end:
        raise RequestError("baseline: it overlaps the range")
    return ChangesQuestion(
        range=question.range,
        baseline=baseline,
        filters=question.filters,
        group=GROUPS[by],
        direction=direction,
        least_hits=number(given, "least_hits", DEFAULT_LEAST_HITS, 1, 1_000_000),
        limit=number(given, "limit", DEFAULT_LIMIT, 1, MOST_ROWS),
    )


def _baseline(value: Any, asked: Range) -> Range:
    try:
        if isinstance(value, str) and value in BASELINES:
            return earlier(asked, BASELINES[value]) if BASELINES[value] else before(asked)
        if isinstance(value, dict) and set(value) == {"from", "to"} and all(isinstance(v, str) for v in value.values()):
            return between(value["from"], value["to"], asked.zone)
    except (RequestError, OverflowError, ValueError) as error:
        raise RequestError(f"baseline: {error}") from None
    raise RequestError(f"baseline: one of {', '.join(BASELINES)}, or an object with from and to is expected")
