"""The sortable, searchable tables of keys, clients, APIs and endpoints."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from markupsafe import Markup

from keytrail.query.request import Filter
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Names, Row
from keytrail.web.ui.charts import filled
from keytrail.web.ui.commands import requests_url, subject
from keytrail.web.ui.rankings import FAILED, key_name, phrase, short_hash, subject_href

_LINK: Final = Markup('<a href="{href}" data-top>{text}</a>')
PAGE_SIZE: Final = 50
MOST_SEARCHED: Final = 10_000
"""Rows among which a text is looked for, those with the most hits."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a metric, or something that the page adds.

    Attributes:
        name: The metric, or the name of what is added.
        title: For people.
        kind: How it is shown: count, errors, rate, ms, ago, spark, text.
        sorts: It can be sorted by.
        hint: What it means.
        first: It is among what a narrow screen shows first.
    """

    name: str
    title: str
    kind: str = "count"
    sorts: bool = True
    hint: str = ""
    first: bool = False


HITS: Final = Column("hits", "Requests", first=True)
SUCCESS: Final = Column("success", "Success", hint="codes 200 to 299")
ERRORS: Final = Column("error", "Errors", "errors", hint="codes of 400 and more", first=True)
RATE: Final = Column("error_rate", "Error rate", "rate", first=True)
MEAN: Final = Column("latency", "Mean", "ms")
P50: Final = Column("p50_latency", "p50", "ms")
P95: Final = Column("p95_latency", "p95", "ms", hint="95 % of requests were faster", first=True)
P99: Final = Column("p99_latency", "p99", "ms")
UPSTREAM: Final = Column("upstream_latency", "Upstream", "ms", hint="mean time in the upstream")
GATEWAY: Final = Column("gateway_overhead", "Gateway", "ms", hint="mean time in the gateway itself")
LEAST: Final = Column("min_latency", "Min", "ms", hint="of requests that did not fail")
MOST: Final = Column("max_latency", "Max", "ms")
LAST: Final = Column("last_hit", "Last seen", "ago")
TREND: Final = Column("spark", "Trend", "spark", sorts=False)
ENDPOINTS: Final = Column("endpoints", "Endpoints", sorts=False, hint="different endpoints called")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of table.

    Attributes:
        title: What a row is.
        by: Dimensions of a row.
        columns: Its columns after the name.
        where: Conditions.
        nothing: What to say where there is no row.
    """

    title: str
    by: tuple[str, ...]
    columns: tuple[Column, ...]
    where: tuple[Filter, ...] = ()
    nothing: str = "No requests in this range."

    @property
    def metrics(self) -> list[str]:
        """The metrics among its columns; what the page adds to them is none."""
        return [column.name for column in self.columns if column not in {TREND, ENDPOINTS}]


KINDS: Final = {
    "consumers": Kind(
        "Consumer",
        ("consumer",),
        (HITS, ERRORS, RATE, P50, P95, P99, ENDPOINTS, LAST, TREND),
        (Filter("consumer", "is_not", ""),),
        "No request of a consumer in this range.",
    ),
    "keys": Kind("Key", ("key",), (HITS, ERRORS, RATE, P50, P95, P99, ENDPOINTS, LAST, TREND)),
    "clients": Kind(
        "OAuth client",
        ("oauth_client",),
        (HITS, ERRORS, RATE, P50, P95, P99, ENDPOINTS, LAST, TREND),
        (Filter("oauth_client", "is_not", ""),),
        "No request of an OAuth client in this range.",
    ),
    "apis": Kind("API", ("api",), (HITS, ERRORS, RATE, P50, P95, P99, ENDPOINTS, LAST, TREND)),
    "endpoints": Kind(
        "Endpoint", ("api", "path"), (HITS, ERRORS, RATE, MEAN, UPSTREAM, GATEWAY, P50, P95, P99, LAST, TREND)
    ),
    "subject-endpoints": Kind(
        "Endpoint", ("api", "path"), (HITS, SUCCESS, ERRORS, RATE, MEAN, P50, P95, P99, LEAST, MOST, LAST, TREND)
    ),
    "errors": Kind(
        "Error",
        ("code", "error_origin", "api", "path", "key"),
        (
            Column("hits", "Errors"),
            Column("first_hit", "First", "ago", hint="first in this range"),
            Column("last_hit", "Last", "ago"),
            Column("p95_latency", "p95", "ms"),
            TREND,
        ),
        (FAILED,),
        "No errors in this range.",
    ),
}


@dataclass(frozen=True, slots=True)
class Head:
    """The name that begins a row.

    Attributes:
        name: For people, as recorded.
        href: The page about it.
        sub: Second line.
        copy: What a click copies, "" for nothing.
        tone: Its colour.
        lead: A word before the name, such as a code.
        filter: The URL that filters by it.
        more: Further names of the row, each with its link.
    """

    name: str
    href: str
    sub: str = ""
    copy: str = ""
    tone: str = ""
    lead: str = ""
    filter: str = ""
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A page of a table.

    Attributes:
        kind: What it shows.
        heads: Titles with their sort links and directions.
        rows: Names and cells.
        total: Rows of all pages.
        page: This page.
        pages: How many there are.
        before: URL of the page before, "" for none.
        after: URL of the next one.
        search: Text that was looked for.
        cut: Only the rows with the most hits were searched.
    """

    kind: Kind
    heads: list[tuple[Column, str, str]]
    rows: list[tuple[Head, list[tuple[Column, Any]]]]
    total: int
    page: int
    pages: int
    before: str
    after: str
    search: str
    cut: bool


def table(desk: Desk, names: Names, name: str, *, size: int = PAGE_SIZE) -> Table:
    """A page of a table, sorted and searched as the URL says."""
    kind, state = KINDS[name], desk.state
    sortable = {column.name for column in kind.columns if column.sorts}
    wanted = state.sort.removeprefix("-")
    sort = state.sort if wanted in sortable else "-hits"
    metrics = kind.metrics
    if "key" in kind.by:
        metrics.append("latest_alias")
    order = (sort, *(() if sort == "-hits" else ("-hits",)), *kind.by)
    apis = names.apis(desk) if "api" in kind.by else {}
    offset = size * (state.page - 1)
    if state.search:
        answer = desk.ask(*metrics, by=kind.by, where=kind.where, order=order, limit=MOST_SEARCHED)
        named = [_named(desk, names, row) for row in answer.rows]
        matching = [row for row in named if _matches(row, kind, apis, state.search.casefold())]
        rows, total, cut = matching[offset : offset + size], len(matching), answer.total_rows > MOST_SEARCHED
    else:
        answer = desk.ask(*metrics, by=kind.by, where=kind.where, order=order, limit=size, offset=offset)
        rows, total, cut = [_named(desk, names, row) for row in answer.rows], answer.total_rows, False
    extra = _extra(desk, kind, rows)
    pages = max(ceil(total / size), 1)
    return Table(
        kind,
        [_sorted_by(desk, column, sort) for column in kind.columns],
        [(_head(desk, kind, row, apis), _cells(desk, kind, row | more)) for row, more in zip(rows, extra, strict=True)],
        total,
        state.page,
        pages,
        state.link(page=state.page - 1) if state.page > 1 else "",
        state.link(page=state.page + 1) if state.page < pages else "",
        state.search,
        cut,
    )


def _named(desk: Desk, names: Names, row: Row) -> Row:
    """The row with the name of its consumer, or of the one whose OAuth client it is, where that is known."""
    if "consumer" in row:
        return row | {"consumer_name": names.consumer(desk, row["consumer"])}
    owner = names.owner(desk, "client", row["oauth_client"]) if "oauth_client" in row else None
    return row | {"consumer_name": owner.name} if owner else row


def _matches(row: Row, kind: Kind, apis: Mapping[str, str], text: str) -> bool:
    texts = [str(row[name]) for name in kind.by] + [str(row.get("latest_alias", "")), row.get("consumer_name", "")]
    if "api" in row:
        texts.append(apis.get(row["api"], ""))
    return any(text in one.casefold() for one in texts)


def _extra(desk: Desk, kind: Kind, rows: list[Row]) -> list[Row]:
    """Sparklines and numbers of endpoints of the rows of a page."""
    if not rows:
        return []
    these = [Filter(name, "in", sorted({row[name] for row in rows})) for name in kind.by]
    buckets, steps = desk.series("hits", "error", by=kind.by, where=(*these, *kind.where))
    by_row: dict[tuple[Any, ...], list[Row]] = {}
    for step in steps:
        by_row.setdefault(tuple(step[name] for name in kind.by), []).append(step)
    counts: Counter[Any] = Counter()
    if ENDPOINTS in kind.columns:
        first = kind.by[0]
        used = desk.ask("hits", by=dict.fromkeys((first, "api", "path")), where=these)
        counts.update(row[first] for row in used.rows)
    return [
        {
            "spark": figures.spark(
                filled(buckets, by_row.get(tuple(row[name] for name in kind.by), []), "hits"),
                figures.code_class(row["code"]) if "code" in row else "",
            ),
            "endpoints": counts[row[kind.by[0]]],
        }
        for row in rows
    ]


def _sorted_by(desk: Desk, column: Column, sort: str) -> tuple[Column, str, str]:
    """A column, the URL that sorts by it, and how it is sorted now."""
    if not column.sorts:
        return column, "", "none"
    if sort.removeprefix("-") != column.name:
        return column, desk.state.link(sort=f"-{column.name}"), "none"
    descending = sort.startswith("-")
    turned = column.name if descending else f"-{column.name}"
    return column, desk.state.link(sort=turned), "descending" if descending else "ascending"


def _head(desk: Desk, kind: Kind, row: Row, apis: Mapping[str, str]) -> Head:
    state = desk.state
    match kind.by[0]:
        case "consumer":
            consumer = row["consumer"]
            return Head(
                str(row.get("consumer_name", consumer)),
                subject_href(state, "consumer", consumer),
                consumer,
                consumer,
                filter=state.pick("consumer", consumer),
            )
        case "key":
            key = row["key"]
            name, beside = key_name(key, row["latest_alias"])
            return Head(
                name,
                subject_href(state, "key", key),
                beside,
                key,
                filter=state.pick("key", key),
            )
        case "oauth_client":
            client = row["oauth_client"]
            href = subject_href(state, "oauth_client", client)
            return Head(client, href, row.get("consumer_name", ""), client, filter=state.pick("oauth_client", client))
        case "code":
            key, alias = row["key"], row["latest_alias"]
            return Head(
                row["path"] or "/",
                state.only("/endpoint", path=row["path"], api=row["api"]),
                apis.get(row["api"]) or row["api"],
                tone=figures.code_class(row["code"]),
                lead=str(row["code"]),
                filter=state.pick("code", row["code"]),
                more=(
                    (key_name(key, alias)[0], subject_href(state, "key", key)),
                    (row["error_origin"], state.pick("error_origin", row["error_origin"])),
                    (phrase(row["code"]), ""),
                ),
            )
        case "api" if len(kind.by) == 1:
            api = row["api"]
            return Head(
                apis.get(api) or api,
                state.only("/", api=api),
                short_hash(api),
                api,
                filter=state.pick("api", api),
            )
        case _:
            href = state.only("/endpoint", path=row["path"], api=row["api"])
            return Head(row["path"] or "/", href, apis.get(row["api"]) or row["api"], row["path"])


def _cells(desk: Desk, kind: Kind, row: Row) -> list[tuple[Column, Any]]:
    """What a row shows, and where its counts lead: to the requests, and to the errors."""
    of_row = {name: row[name] for name in kind.by}
    to = {"hits": requests_url(desk, **of_row)}
    if row.get("error"):
        to["error"] = desk.state.only("/errors", **subject(desk), **of_row)
    return [
        (column, _LINK.format(href=to[column.name], text=shown) if to.get(column.name) else shown)
        for column, shown in (_cell(desk, column, row) for column in kind.columns)
    ]


def _cell(desk: Desk, column: Column, row: Row) -> tuple[Column, Any]:
    value, hits = row.get(column.name), row["hits"]
    match column.kind:
        case "rate":
            return column, figures.rate(value, hits)
        case "ms":
            return column, figures.ms(value, hits)
        case "ago":
            return column, figures.ago(value, desk.state.range.now, desk.state.range.zone)
        case "spark":
            return column, value
        case "errors" if value:
            return column, Markup('<span class="bad">{}</span>').format(figures.count(value))
        case _:
            return column, figures.count(value)
