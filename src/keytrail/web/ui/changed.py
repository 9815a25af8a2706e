"""The page about what changed, told as `/api/v1/changes` tells it: who, where, since when, gateway or upstream."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from keytrail.errors import RequestError
from keytrail.instants import zone
from keytrail.query import ranges
from keytrail.query.changes import changes
from keytrail.query.changes_question import (
    BASELINES,
    BETTER,
    BOTH,
    DEFAULT_GROUP,
    DEFAULT_LEAST_HITS,
    GROUPS,
    MOST_ROWS,
    WORSE,
    ChangesQuestion,
    parse_changes,
)
from keytrail.query.zones import MINUTE, Span
from keytrail.web.app_state import app_state
from keytrail.web.changes import content
from keytrail.web.parameters import whole_number
from keytrail.web.rows import neutral_cell
from keytrail.web.ui import charts, figures
from keytrail.web.ui.ask import Desk, Names, Row
from keytrail.web.ui.commands import api_url, see_failed, see_requests
from keytrail.web.ui.common_panels import gaps_of
from keytrail.web.ui.frame import AtDesk, show
from keytrail.web.ui.panels import Panel, Underway, asked, once
from keytrail.web.ui.rankings import FAILED, key_name, subject_href
from keytrail.web.ui.verdict import findings

router = APIRouter(include_in_schema=False)

API: Final = "/api/v1/changes"
ROWS: Final = 20
PREVIOUS: Final = "previous"
BASELINE_TITLES: Final = {PREVIOUS: "Period before", "yesterday": "Yesterday", "last_week": "Last week"}
GROUP_TITLES: Final = {"key_endpoint": "Key and endpoint", "key": "Key", "endpoint": "Endpoint", "consumer": "Consumer"}
DIRECTION_TITLES: Final = {WORSE: "Worse", BETTER: "Better", BOTH: "Both"}
SAMPLES: Final = (5, DEFAULT_LEAST_HITS, 100)
"""Least numbers of requests that are offered."""
_MOST_SAMPLES: Final = 9_999_999


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry of a row of alternatives; without `href` it can't be chosen, and `why` says so."""

    title: str
    href: str
    chosen: bool
    why: str = ""


@router.get("/changes")
def changed(request: Request, desk: AtDesk) -> Response:
    """Who contributes how much to the change in errors and in p95, against a baseline."""
    held = app_state(request)
    names, underway = held.names, held.underway
    zone_name, baseline = desk.state.range.zone, _baseline(desk)
    asks = _asked(desk, baseline, ROWS)
    question = parse_changes(asks, default_zone=zone_name)

    # A key's refusals are spread over endpoints, and an upstream's failures over keys: apart, they may pass for chance.
    told_by = partial(_told_by, desk, underway, question, baseline)
    told = told_by(question.group)
    of_key, of_endpoint = GROUPS["key"], GROUPS["endpoint"]
    by_key = told if question.group == of_key else told_by(of_key, errors_alone=True)
    by_endpoint = told if question.group == of_endpoint else told_by(of_endpoint)
    by_both = told if question.group == GROUPS[DEFAULT_GROUP] else lambda: None

    def short() -> Row:
        return findings(desk, by_key(), by_endpoint(), by_both(), question.direction)

    menu = (*see_requests(desk), ("As JSON", api_url(desk.state.root, API, asks)))
    against = (BASELINE_TITLES[baseline].lower(), _baseline_spans(desk, baseline, question))
    gaps = partial(gaps_of, request, desk)

    def panel(name: str, title: str, template: str, make: Callable[[], Any], **more: Any) -> Panel:
        return Panel(name, title, template, make, menu=menu, asks=asked(asks), api=API, **more)

    panels = [
        Panel(
            "blame",
            "Errors over time",
            "chart",
            lambda: charts.blame(desk, gaps(), against),
            size="chart",
            wide="w6",
            menu=see_failed(desk),
            asks=asked(desk.question("hits", by=("error_origin",), where=(FAILED,), step=True)),
        ),
        Panel(
            "p95",
            "p95 latency over time",
            "chart",
            lambda: charts.p95(desk, gaps(), against),
            size="chart",
            wide="w6",
            menu=see_requests(desk),
            asks=asked(desk.question("p95_latency", step=True)),
        ),
        panel("figures", "Key figures", "figures", lambda: _figures(desk, question, told()), size="figures"),
        panel("verdict", "In short", "verdict", short, size="text"),
        *(
            panel(
                kind,
                title,
                "changed",
                partial(_table, desk, names, kind, told),
                size="table",
                sheet=partial(_sheet, desk, baseline, kind),
            )
            for kind, title in (("errors", "Errors"), ("latency", "Slow requests"))
        ),
    ]
    return show(
        request,
        desk,
        "changed.html",
        panels,
        compares=False,
        title="What changed",
        question=question,
        choices=_choices(desk, baseline, question, consumers=bool(names.consumers(desk))),
        instead=_instead(desk, baseline),
        against_text=_span_text(question.baseline.spans, zone_name),
        range_text=_span_text(question.range.spans, zone_name),
    )


def _told_by(
    desk: Desk,
    underway: Underway,
    question: ChangesQuestion,
    baseline: str,
    group: tuple[str, ...],
    *,
    errors_alone: bool = False,
) -> Callable[[], Row]:
    """What changed told apart by a group, asked once for all panels, also for those that come after their page."""
    one = replace(question, group=group)

    def tell() -> Row:
        return content(one, changes(desk.engine, desk.scope, one, errors_alone=errors_alone))

    # Where panels come after their page, each is a request whose present is a moment later: it is no part of this.
    period = desk.state.range
    same = (desk.scope, baseline, period.start, period.end, period.zone, repr(question.filters))
    how = (group, question.direction, question.least_hits, errors_alone)
    return once(lambda: underway.get((*same, *how), tell))


def _baseline(desk: Desk) -> str:
    """The baseline of the URL, or the period before where that one lies within the range."""
    wanted = desk.state.own("baseline") or PREVIOUS
    if wanted not in BASELINES:
        raise RequestError(f"baseline {wanted[:40]!r} is not one of {', '.join(BASELINES)}")
    return wanted if _possible(desk, wanted) else PREVIOUS


def _possible(desk: Desk, baseline: str) -> bool:
    """Whether a baseline ends before the range begins; where the clock was put forward, a day is 23 hours earlier."""
    period = desk.state.range
    if not BASELINES[baseline]:
        return True
    passed = ranges.Range((Span(period.start, _until(desk)),), period.zone)
    try:
        return ranges.earlier(passed, BASELINES[baseline]).spans[-1].end <= period.start
    except RequestError:
        # There was no such time, which is said where it is asked for.
        return True


def _until(desk: Desk) -> int:
    """The end of what has passed of the range, ms."""
    period = desk.state.range
    return max(min(period.end, period.now), period.start + MINUTE)


def _asked(desk: Desk, baseline: str, limit: int) -> Row:
    """The question as the API takes it.

    Raises:
        RequestError: A parameter of the page can't be; names it.
    """
    state, before = desk.state, desk.state.range.before
    given = state.own("least_hits")
    least = whole_number(given, _MOST_SAMPLES) if given else DEFAULT_LEAST_HITS
    if least is None:
        raise RequestError(f"least_hits {given[:40]!r} is not a number")
    same_as_page = baseline == PREVIOUS and before
    return {
        **desk.stretch(state.range.start, _until(desk)),
        "zone": state.range.zone,
        "baseline": desk.stretch(before[0].start, before[-1].end) if same_as_page else baseline,
        "by": state.own("by") or DEFAULT_GROUP,
        "direction": state.own("direction") or WORSE,
        "least_hits": least,
        "limit": limit,
        **desk.condition(),
    }


def _baseline_spans(desk: Desk, baseline: str, question: ChangesQuestion) -> tuple[Span, ...]:
    """The baseline for charts, whose last step may still be under way."""
    if not BASELINES[baseline]:
        return question.baseline.spans
    whole = ranges.Range(desk.state.range.spans, desk.state.range.zone)
    return ranges.earlier(whole, BASELINES[baseline]).spans


def _choices(
    desk: Desk, baseline: str, question: ChangesQuestion, *, consumers: bool
) -> list[tuple[str, list[Choice]]]:
    """The alternatives of the page, each row with its title."""
    state = desk.state

    def link(name: str, value: Any, default: Any) -> str:
        return state.with_own(name, "" if value == default else str(value))

    too_long = "this lies within the range"
    return [
        (
            "Against",
            [
                Choice(title, link("baseline", name, PREVIOUS), name == baseline)
                if _possible(desk, name)
                else Choice(title, "", chosen=False, why=too_long)
                for name, title in BASELINE_TITLES.items()
            ],
        ),
        (
            "By",
            [
                Choice(title, link("by", name, DEFAULT_GROUP), GROUPS[name] == question.group)
                for name, title in GROUP_TITLES.items()
                if name != "consumer" or consumers
            ],
        ),
        (
            "Show",
            [
                Choice(title, link("direction", name, WORSE), name == question.direction)
                for name, title in DIRECTION_TITLES.items()
            ],
        ),
        (
            "Least requests",
            [
                Choice(str(number), link("least_hits", number, DEFAULT_LEAST_HITS), number == question.least_hits)
                for number in dict.fromkeys((*SAMPLES, question.least_hits))
            ],
        ),
    ]


def _instead(desk: Desk, baseline: str) -> str:
    """Which baseline was asked for in vain; "" for none."""
    wanted = desk.state.own("baseline") or PREVIOUS
    return "" if wanted == baseline else BASELINE_TITLES[wanted]


def _span_text(spans: Sequence[Span], zone_name: str) -> Markup:
    return Markup(" to ").join(figures.minute(at, zone_name) for at in (spans[0].start, spans[-1].end))


def _figures(desk: Desk, question: ChangesQuestion, told: Row) -> list[charts.Figure]:
    errors, latency, judged = told["errors"], told["latency"], told["judged"]
    now, before = (desk.one("hits", "error_rate", spans=one.spans) for one in (question.range, question.baseline))
    rate, old_rate = now.get("error_rate"), before.get("error_rate")
    return [
        charts.Figure(
            "Errors",
            figures.count(errors["now"]),
            figures.delta(errors["now"], errors["expected"], better="down"),
            note=f"expected {errors['expected']:,.0f}",
            href=desk.state.link("/errors"),
        ),
        charts.Figure(
            "Error rate",
            figures.rate(rate, now.get("hits")),
            figures.delta(rate, old_rate, better="down", points=True),
            note=f"of {now.get('hits', 0):,} requests",
            href=desk.state.link("/endpoints", sort="-error_rate"),
        ),
        charts.Figure(
            "p95 latency",
            figures.ms(latency["p95_latency"]),
            figures.delta(latency["p95_latency"], latency["earlier_p95_latency"], better="down"),
            note=_was(latency["earlier_p95_latency"]),
            href=desk.state.link("/endpoints", sort="-p95_latency"),
        ),
        charts.Figure(
            "Slow requests",
            figures.rate(latency["slow_share"]),
            figures.delta(latency["slow_share"], latency["earlier_slow_share"], better="down", points=True),
            note="above the p95 before",
        ),
        charts.Figure(
            "Judged",
            figures.count(judged["judged"]),
            note=f"of {judged['groups']:,} groups with requests",
        ),
    ]


def _was(value: float | None) -> str:
    return "no request before" if value is None else f"was {value:,.0f} ms"


def _table(desk: Desk, names: Names, kind: str, told: Callable[[], Row]) -> Row:
    """The rows of one list, each with its links."""
    found = told()[kind]
    return {
        "kind": kind,
        "change": found["change"],
        "rest": found["rest"],
        "rows": [_line(desk, names, kind, row) for row in found["rows"]],
        "judged": told()["judged"],
    }


def _line(desk: Desk, names: Names, kind: str, row: Row) -> Row:
    state = desk.state
    name, beside, who_href = "", "", ""
    if row["key"] is not None:
        name, beside = key_name(row["key"], row["alias"])
        who_href = subject_href(state, "key", row["key"])
    elif consumer := row.get("consumer"):
        name, who_href = names.consumer(desk, consumer), subject_href(state, "consumer", consumer)
    where = {name: row[name] for name in ("consumer", "key", "api", "path") if row.get(name) is not None}
    began = figures.instant(row["since"])
    local = zone(state.range.zone)
    return {
        **row,
        "began": began,
        "name": name,
        "beside": beside,
        "tone": f"c{row['code_class'][0]}" if row["code_class"][0].isdigit() else "c0",
        "who_href": who_href,
        "path_href": "" if row["path"] is None else state.only("/endpoint", **where),
        "class_href": state.pick("code_class", row["code_class"]),
        "origin_href": state.pick("error_origin", row["origin"]) if kind == "errors" and row["origin"] else "",
        "requests_href": state.only("/requests", **where, code_class=row["code_class"]) if desk.may("logs") else "",
        "since_href": state.zoom(figures.url_time(began, local), figures.url_time(_until(desk), local))
        if began
        else "",
    }


def _sheet(desk: Desk, baseline: str, kind: str) -> str:
    """All rows of one list as CSV, with the API's names."""
    question = parse_changes(_asked(desk, baseline, MOST_ROWS), default_zone=desk.state.range.zone)
    rows = content(question, changes(desk.engine, desk.scope, question))[kind]["rows"]
    out = io.StringIO()
    names = [name for name in (rows[0] if rows else ()) if name != "origins"]
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([neutral_cell(row[name]) for name in names] for row in rows)
    return out.getvalue()
