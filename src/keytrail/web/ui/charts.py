"""The strip of figures and the charts: what is drawn over time, and the table that it is drawn from."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from keytrail.errors import NoLongerKept
from keytrail.instants import zone
from keytrail.query.zones import Span
from keytrail.store.tables import histogram_range
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Row
from keytrail.web.ui.commands import endpoints_by, latency_url, requests_url, subject
from keytrail.web.ui.ranges import Bucket
from keytrail.web.ui.rankings import FAILED

CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")

Baseline = tuple[str, tuple[Span, ...]]
"""What a chart is compared with: its name, and its stretches of time."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in the strip at the top of a page; `href` opens it, `why` what its change is made of."""

    title: str
    value: Any
    delta: Any = ""
    spark: Any = ""
    note: str = ""
    href: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """A line or stack of a chart.

    Attributes:
        name: For people.
        tone: The name of its colour in the style sheet.
        values: One for each bucket; None is not known yet.
        href: Where a click on it leads.
        kind: `bar`, `line` or `dashed`.
    """

    name: str
    tone: str
    values: Sequence[float | None]
    href: str = ""
    kind: str = "bar"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart over time, and the table that it is made from.

    Attributes:
        unit: Unit of the values, "" for counts.
        labels: What the clock shows at each bucket.
        edges: First and last instant of each bucket as a URL has it; "" where buckets are no times.
        links: Where each bucket leads: to it as the range, or to its requests; "" for nowhere.
        series: What is drawn.
        open: The last bucket is still under way.
        gaps: Numbers of the buckets in which something was not collected, each with its cause.
    """

    unit: str
    labels: list[str]
    edges: list[tuple[str, str]]
    links: list[str]
    series: list[Series]
    open: bool
    gaps: dict[int, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """There is nothing to draw."""
        return not any(value for one in self.series if one.kind != "dashed" for value in one.values)


FIGURES: Final = ("hits", "error", "error_rate", "p95_latency", "gateway_overhead", "upstream_latency")
"""The metrics of the strip at the top of a page."""
KEYS: Final = "distinct_keys"
"""One more of them, asked by itself: the tables that answer fastest for the others have no keys."""
OVER_TIME: Final = (
    "hits", "error", "p50_latency", "p95_latency", "p99_latency", "upstream_latency", "gateway_overhead",
)  # fmt: skip
Steps = Callable[[], tuple[list[Bucket], list[Row]]]
"""Gives the steps of the page's range with the metrics of `OVER_TIME`: asked once for all panels that draw them."""


def overview_figures(desk: Desk, steps: Steps, *, of_key: bool = False) -> list[Figure]:
    """Requests, error rate, p95, active keys and the gateway's own time, each against the period before."""
    state = desk.state
    now, earlier = desk.one(*FIGURES), _before(desk, *FIGURES)
    before = earlier or {}
    buckets, rows = steps()
    hits, old_hits = now.get("hits", 0), None if earlier is None else earlier.get("hits", 0)
    # Wherever a figure leads, what the page is about holds there, too.
    about = state.having(**subject(desk))
    changed = about.link("/changes") if state.compare else ""

    def spark(metric: str, tone: str = "") -> Any:
        return figures.spark(filled(buckets, rows, metric), tone)

    found = [
        Figure(
            "Requests",
            figures.count(hits),
            figures.delta(hits, old_hits),
            spark("hits"),
            href=requests_url(desk),
        ),
        Figure(
            "Error rate",
            figures.rate(now.get("error_rate"), hits),
            figures.delta(now.get("error_rate"), before.get("error_rate"), better="down", points=True),
            spark("error", "bad"),
            note=f"{now.get('error', 0):,} errors",
            href=about.link("/errors"),
            why=changed,
        ),
        Figure(
            "p95 latency",
            figures.ms(now.get("p95_latency"), hits),
            figures.delta(now.get("p95_latency"), before.get("p95_latency"), better="down"),
            spark("p95_latency"),
            href=endpoints_by(desk, "p95_latency"),
            why=changed,
        ),
        Figure(
            "Gateway overhead",
            figures.ms(now.get("gateway_overhead"), hits),
            figures.delta(now.get("gateway_overhead"), before.get("gateway_overhead"), better="down"),
            spark("gateway_overhead"),
            note=f"of {now['gateway_overhead'] + now['upstream_latency']:,.0f} ms in the mean" if hits else "",
            href=endpoints_by(desk, "gateway_overhead"),
        ),
    ]
    if not of_key:
        keys = desk.one(KEYS).get(KEYS, 0)
        keys_before = _before(desk, KEYS)
        old_keys = None if keys_before is None else keys_before.get(KEYS, 0)
        found.insert(
            3, Figure("Active keys", figures.count(keys), figures.delta(keys, old_keys), href=state.link("/keys"))
        )
    return found


def figures_question(desk: Desk, *, of_key: bool) -> Row:
    """The figures of the strip as the API tells them, beside those of the period before."""
    asks = desk.question(*FIGURES, *(() if of_key else (KEYS,)))
    before = desk.state.range.before
    if desk.state.compare and before:
        asks["compare"] = desk.stretch(before[0].start, before[-1].end)
    return asks


def _before(desk: Desk, *metrics: str) -> Row | None:
    """The same of the period before; None where that is not compared, or no longer kept."""
    try:
        return desk.one(*metrics, spans=desk.state.range.before) if desk.state.compare else None
    except NoLongerKept:
        return None


def filled(buckets: list[Bucket], rows: Iterable[Row], metric: str, **match: Any) -> list[float | None]:
    """A value for each bucket: 0 where there was no hit, None where it lies ahead."""
    values: list[float | None] = [0] * len(buckets)
    for row in rows:
        if all(row[name] == value for name, value in match.items()):
            values[row["bucket"]] = row[metric]
    return values


def traffic(desk: Desk, gaps: Sequence[tuple[Span, str]] = ()) -> Chart:
    """Requests over time by class of the response code, and all of the period before."""
    state = desk.state
    buckets, rows = desk.series("hits", by=("code_class",))
    present = {row["code_class"] for row in rows}
    shown = [name for name in CLASSES if name in present]
    series = [
        Series(
            name,
            figures.code_class(f"{name[0]}00"),
            filled(buckets, rows, "hits", code_class=name),
            state.pick("code_class", name),
        )
        for name in shown
    ]
    if state.compare and shown:
        # Without it where it is no longer kept: the requests themselves are what the chart is for.
        with suppress(NoLongerKept):
            series.append(_before_series(desk, "hits", len(buckets), state.range.before))
    return _chart(desk, "", buckets, series, gaps)


def _before_series(
    desk: Desk, metric: str, length: int, spans: tuple[Span, ...], name: str = "period before", **more: Any
) -> Series:
    """The same metric of another range, step beside step."""
    earlier, old = desk.series(metric, spans=spans, **more)
    values = filled(earlier, old, metric)[:length]
    where = zone(desk.state.range.zone)
    href = (
        desk.state.zoom(figures.url_time(spans[0].start, where), figures.url_time(spans[-1].end, where))
        if spans
        else ""
    )
    return Series(name, "before", [*values, *[None] * (length - len(values))], href, "dashed")


def latency(desk: Desk, gaps: Sequence[tuple[Span, str]], steps: Steps) -> Chart:
    """Percentiles of latency over time."""
    names = {"p50_latency": "p50", "p95_latency": "p95", "p99_latency": "p99"}
    buckets, rows = steps()
    series = [
        Series(
            title, title, [value or None for value in filled(buckets, rows, metric)], endpoints_by(desk, metric), "line"
        )
        for metric, title in names.items()
    ]
    return _chart(desk, "ms", buckets, series, gaps)


def time_spent(desk: Desk, gaps: Sequence[tuple[Span, str]], steps: Steps) -> Chart:
    """The mean time of a request over time: in the upstream, and in the gateway itself."""
    buckets, rows = steps()
    series = [
        Series(
            "upstream", "upstream", filled(buckets, rows, "upstream_latency"), endpoints_by(desk, "upstream_latency")
        ),
        Series("gateway", "gateway", filled(buckets, rows, "gateway_overhead"), endpoints_by(desk, "gateway_overhead")),
    ]
    return _chart(desk, "ms", buckets, series, gaps)


def blame(desk: Desk, gaps: Sequence[tuple[Span, str]] = (), against: Baseline | None = None) -> Chart:
    """Errors over time by who gave them, the gateway itself or the upstream behind it, and all of a baseline."""
    buckets, rows = desk.series("hits", by=("error_origin",), where=(FAILED,))
    series = [
        Series(
            name,
            f"by-{name}",
            filled(buckets, rows, "hits", error_origin=name),
            desk.state.pick("error_origin", name),
        )
        for name in ("gateway", "upstream")
    ]
    if against:
        series.append(_before_series(desk, "hits", len(buckets), against[1], against[0], where=(FAILED,)))
    return _chart(desk, "", buckets, series, gaps)


def p95(desk: Desk, gaps: Sequence[tuple[Span, str]], against: Baseline) -> Chart:
    """The 95th percentile of latency over time, and that of a baseline."""
    buckets, rows = desk.series("p95_latency")
    values = [value or None for value in filled(buckets, rows, "p95_latency")]
    before = _before_series(desk, "p95_latency", len(buckets), against[1], against[0])
    earlier = replace(before, values=[value or None for value in before.values])
    return _chart(
        desk, "ms", buckets, [Series("p95", "p95", values, endpoints_by(desk, "p95_latency"), "line"), earlier], gaps
    )


def _chart(
    desk: Desk, unit: str, buckets: list[Bucket], series: list[Series], gaps: Sequence[tuple[Span, str]]
) -> Chart:
    where = zone(desk.state.range.zone)
    edges = [(figures.url_time(bucket.start, where), figures.url_time(bucket.end, where)) for bucket in buckets]
    step = desk.state.range.step
    return Chart(
        unit,
        [figures.label(bucket.label, step) for bucket in buckets],
        edges,
        [desk.state.zoom(*edge) for edge in edges],
        series,
        bool(buckets) and buckets[-1].open,
        {
            number: cause
            for gap, cause in gaps
            for number, bucket in enumerate(buckets)
            if gap.start < bucket.end and gap.end > bucket.start
        },
    )


def histogram(desk: Desk) -> Chart:
    """How many requests took how long, in buckets that double."""
    found = desk.one("latency_histogram").get("latency_histogram", {})
    sums: dict[int, int] = {}
    for bucket, hits in found.items():
        # Finer buckets than a reader can use: those of one power of two are added up.
        power = histogram_range(int(bucket))[0].bit_length()
        sums[power] = sums.get(power, 0) + hits
    powers = range(min(sums, default=0), max(sums, default=-1) + 1)
    labels = [_power_label(power) for power in powers]
    series = [Series("requests", "accent", [sums.get(power, 0) for power in powers])]
    links = [latency_url(desk, *_power_range(power)) for power in powers]
    return Chart("", labels, [("", "")] * len(labels), links, series, open=False)


def _power_range(power: int) -> tuple[int, int]:
    """Least and greatest time of a bucket of the histogram that is shown, ms."""
    return (1 << power - 1, (1 << power) - 1) if power else (0, 0)


def _power_label(power: int) -> str:
    low, high = _power_range(power)
    return f"{low:,} ms" if low == high else f"{low:,}–{high:,} ms"
