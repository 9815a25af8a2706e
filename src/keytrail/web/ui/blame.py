"""Who is behind the errors: what the gateway refuses by key, what an upstream fails in by endpoint."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from keytrail.query.request import Filter
from keytrail.web.ui import figures
from keytrail.web.ui.ask import Desk, Names, Row
from keytrail.web.ui.charts import filled
from keytrail.web.ui.panels import Questions
from keytrail.web.ui.rankings import FAILED, TOP, key_name, phrase, subject_href

DETAILS: Final = ("hits", "first_hit", "last_hit")
"""What is told of errors."""
REFUSED: Final = ("key", "code")
"""By what the refusals of the gateway itself are told apart."""
FAILING: Final = ("api", "path", "code")
"""By what failures of an upstream are told apart."""


def questions(desk: Desk) -> Questions:
    """The two questions that the causes of most errors are made of."""
    return tuple(
        (
            words,
            desk.question(
                *DETAILS,
                by=by,
                where=(FAILED, Filter("error_origin", "is", origin)),
                order=("-hits",),
                limit=TOP,
            ),
        )
        for words, origin, by in (("gateway", "gateway", REFUSED), ("upstream", "upstream", FAILING))
    )


def causes(desk: Desk, names: Names) -> list[Row]:
    """The causes of most errors.

    What the gateway gives by itself (no entry, a limit) is a matter of one key; what comes from behind it is a
    matter of one endpoint. So the first is counted by key and code, the second by endpoint and code, and each tells
    how many endpoints or keys it touches.
    """
    found = [
        *_causes(desk, names, "gateway", REFUSED, ("api", "path")),
        *_causes(desk, names, "upstream", FAILING, ("key",)),
    ]
    return sorted(found, key=lambda row: -row["hits"])[:TOP]


def _causes(desk: Desk, names: Names, origin: str, by: tuple[str, ...], touched: tuple[str, ...]) -> list[Row]:
    here = (FAILED, Filter("error_origin", "is", origin))
    metrics = [*DETAILS, *(["latest_alias"] if "key" in by else [])]
    rows = desk.ask(*metrics, by=by, where=here, order=("-hits", *by), limit=TOP).rows
    if not rows:
        return []
    these = (*here, *(Filter(name, "in", sorted({row[name] for row in rows})) for name in by))
    counts = Counter(tuple(row[name] for name in by) for row in desk.ask("hits", by=(*by, *touched), where=these).rows)
    buckets, steps = desk.series("hits", by=by, where=these)
    apis = names.apis(desk)
    state = desk.state
    made = []
    for row in rows:
        picked = {name: row[name] for name in by}
        if "key" in by:
            name, beside = key_name(row["key"], row["latest_alias"])
            href, touches = subject_href(state, "key", row["key"]), "endpoint"
        else:
            name, beside = row["path"], apis.get(row["api"]) or row["api"]
            href, touches = state.only("/endpoint", api=row["api"], path=row["path"]), "key"
        count = counts[tuple(picked.values())]
        made.append(
            {
                **row,
                "name": name,
                "beside": beside,
                "href": href,
                "origin": origin,
                "origin_href": state.pick("error_origin", origin),
                "errors_href": state.only("/errors", **picked, error_origin=origin),
                "touches": f"{count:,} {touches}{'' if count == 1 else 's'}",
                "tone": figures.code_class(row["code"]),
                "phrase": phrase(row["code"]),
                "spark": figures.spark(filled(buckets, steps, "hits", **picked), figures.code_class(row["code"])),
            }
        )
    return made


def told_apart(desk: Desk) -> tuple[str, ...]:
    """By what the errors of a page are told apart: everything that it is not about itself."""
    about: set[str] = {item.dimension for item in desk.subject}
    if desk.state.path == "/endpoint":
        about |= {"api", "path"}
    if "oauth_client" in about:
        # The clients' rollup has no keys.
        about.add("key")
    return tuple(name for name in ("key", "api", "path", "code", "error_origin") if name not in about)


def details(desk: Desk, names: Names, limit: int = TOP) -> list[Row]:
    """The errors by key, endpoint, code and blame, most first: who, where, what, since when and whose fault."""
    by = told_apart(desk)
    metrics = [*DETAILS, *(["latest_alias"] if "key" in by else [])]
    rows = desk.ask(*metrics, by=by, where=(FAILED,), order=("-hits", *by), limit=limit).rows
    if not rows:
        return []
    these = [FAILED, *(Filter(name, "in", sorted({row[name] for row in rows})) for name in by)]
    buckets, steps = desk.series("hits", by=by, where=these)
    apis = names.apis(desk)
    return [_detail(desk, row, by, apis, filled(buckets, steps, "hits", **{n: row[n] for n in by})) for row in rows]


def _detail(desk: Desk, row: Row, by: tuple[str, ...], apis: Mapping[str, str], values: list[float | None]) -> Row:
    state, tone = desk.state, figures.code_class(row["code"])
    return {
        **row,
        "name": key_name(row["key"], row["latest_alias"])[0] if "key" in by else "",
        "api_name": (apis.get(row["api"]) or row["api"]) if "api" in by else "",
        "tone": tone,
        "phrase": phrase(row["code"]),
        "spark": figures.spark(values, tone),
        "key_href": subject_href(state, "key", row["key"]) if "key" in by else "",
        "path_href": state.only("/endpoint", path=row["path"], api=row["api"]) if "path" in by else "",
        "href": state.pick("code", row["code"]),
    }
