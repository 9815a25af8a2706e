"""Read what a question needs of the directory of consumers, path templates and the store, before it is planned."""

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from keytrail.instants import midnight
from keytrail.query.joined import Directory, Joined, Templates
from keytrail.query.request import Filter, Query, leaves
from keytrail.query.statement import Statement
from keytrail.store.client import Engine
from keytrail.store.consumers import KINDS
from keytrail.store.kept import CALLERS, kept_since
from keytrail.store.tables import CONSUMERS
from keytrail.store.templates import Template, read_templates

CONSUMER: Final = "consumer"

MOST_EDGES: Final = 500
"""Instants at which links come and go that a range is cut at; with more of them, single requests are read."""

MOST_LOOKED_UP: Final = 1_000
"""Keys or clients of consumers that are looked up by the order of a table's rows."""

FRESH_SECONDS: Final = 1.0
"""For so long path templates are not read again: nearly every question needs them, and another server changes them."""

_keeping = threading.Lock()
_forgotten: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()
"""How often the templates of an engine were changed here: what was read before the last time is not kept."""
_read: WeakKeyDictionary[Engine, tuple[float, tuple[Template, ...]]] = WeakKeyDictionary()

_callers_since: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()

_NAMING: Final = frozenset({"is", "is_not", "in", "not_in"})


def join(engine: Engine, query: Query) -> Query:
    """The question with what it is read with; one that has it already as it is.

    Raises:
        StoreError: The engine failed.
    """
    if query.joined:
        return query
    org = query.scope.org
    rules = tuple(one for one in _rules(engine) if org is None or one.org == org)
    return replace(query, joined=Joined(_directory(engine, query), Templates(rules), _since(engine)))


def _since(engine: Engine) -> int:
    """From when on there are sums by caller, ms since the epoch: noted before the store was opened, and read once."""
    if engine not in _callers_since:
        day = kept_since(engine, CALLERS)
        _callers_since[engine] = midnight(day)
    return _callers_since[engine]


def _rules(engine: Engine) -> tuple[Template, ...]:
    """The path templates of all organisations, at most `FRESH_SECONDS` old."""
    now = time.monotonic()
    with _keeping:
        read_at, rules = _read.get(engine, (0.0, ()))
        forgotten = _forgotten.get(engine, 0)
    if read_at and now - read_at <= FRESH_SECONDS:
        return rules
    # Without the lock: where a server does not answer, questions wait for it side by side.
    rules = tuple(read_templates(engine))
    with _keeping:
        if _forgotten.get(engine, 0) == forgotten:
            _read[engine] = (now, rules)
    return rules


def forget_templates(engine: Engine) -> None:
    """Read the path templates again for the next question: they were changed here."""
    with _keeping:
        _forgotten[engine] = _forgotten.get(engine, 0) + 1
        _read.pop(engine, None)


def _directory(engine: Engine, query: Query) -> Directory:
    asked = [leaf for leaf in leaves(query.conditions) if leaf.dimension == CONSUMER]
    if not asked and CONSUMER not in query.dimensions:
        return Directory(query.scope.org)
    only = None if CONSUMER in query.dimensions else _named(asked)
    summary = _summary(engine, query, only)
    version = max((row["of_version"] for row in summary.values()), default=0)
    kinds = [kind for kind in KINDS if kind in summary]
    if only is not None:
        # Whoever comes before in the order of kinds takes a request away, so all of these links count.
        last = max((place for place, kind in enumerate(kinds) if summary[kind]["named"]), default=-1)
        kinds = kinds[: last + 1]
        # Of several tags the first decides, whosesoever it is.
        only = None if kinds[-1:] == ["tag"] else only
    edges: set[int] = set()
    for kind in kinds:
        of_named = only is not None and kind == kinds[-1]
        edges.update(summary[kind]["named_edges" if of_named else "edges"])
    found = Directory(
        query.scope.org, version, tuple(kinds), only, None if len(edges) > MOST_EDGES else tuple(sorted(edges))
    )
    return replace(found, values=_values(engine, query, found)) if len(kinds) == 1 else found


def _named(asked: Iterable[Filter]) -> tuple[str, ...] | None:
    """All consumers that conditions name; None if one of them does more than to name some."""
    names: set[str] = set()
    for leaf in asked:
        values = leaf.value if isinstance(leaf.value, list) else [leaf.value]
        # "" is whoever is in nobody's: all links tell that.
        if leaf.operator not in _NAMING or "" in values:
            return None
        names.update(values)
    return tuple(sorted(names))


def _summary(engine: Engine, query: Query, only: tuple[str, ...] | None) -> dict[str, dict[str, Any]]:
    """By kind of link: the version, how many are of named consumers, the edges in the range of all and of these."""
    statement = Statement()
    named = f"consumer IN {statement.bind(list(only or ()), 'Array(String)')}"
    within = "1"
    if query.spans:
        # Each stretch by itself: a baseline may lie weeks before its range.
        edges = ((statement.bind(span.start, "Int64"), statement.bind(span.end, "Int64")) for span in query.spans)
        within = " OR ".join(f"(edge > {start} AND edge < {end})" for start, end in edges)
    org = "" if query.scope.org is None else f"WHERE org_id = {statement.bind(query.scope.org, 'String')} "
    several = f"groupUniqArrayArrayIf({MOST_EDGES + 1})(arrayFilter(edge -> {within}, [s, e])"
    found = engine.query(
        f"SELECT toString(kind) AS of_kind, max(version) AS of_version, countIf({named}) AS named, "
        f"{several}, 1) AS edges, {several}, {named}) AS named_edges "
        "FROM (SELECT *, toUnixTimestamp64Milli(start) AS s, toUnixTimestamp64Milli(end) AS e "
        f"FROM {CONSUMERS} WHERE (org_id, version) IN "
        f"(SELECT org_id, max(version) FROM {CONSUMERS} {org}GROUP BY org_id)) GROUP BY of_kind",
        statement.parameters,
    )
    return {row["of_kind"]: row for row in found.dicts()}


def _values(engine: Engine, query: Query, found: Directory) -> tuple[str, ...] | None:
    """What can belong to the consumers of a condition that must hold; None where there is none, or it is too much."""
    wanted = next(
        (
            one.value if one.operator == "in" else [one.value]
            for one in query.conditions
            if isinstance(one, Filter) and one.dimension == CONSUMER and one.operator in {"is", "in"}
        ),
        None,
    )
    if wanted is None or "" in wanted:
        return None
    statement = Statement()
    conditions = [
        found.latest(statement),
        f"kind = {statement.bind(found.kinds[0], 'String')}",
        f"consumer IN {statement.bind(list(wanted), 'Array(String)')}",
    ]
    rows = engine.query(
        f"SELECT DISTINCT value FROM {CONSUMERS} WHERE {' AND '.join(conditions)} ORDER BY value "
        f"LIMIT {MOST_LOOKED_UP + 1}",
        statement.parameters,
    ).rows
    return tuple(value for (value,) in rows) if len(rows) <= MOST_LOOKED_UP else None
