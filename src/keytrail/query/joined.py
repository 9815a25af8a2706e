"""What the store holds beside records and a question is read with, as expressions over a record's columns.

So a record is never changed: a better directory shows in old data, and what is taken away is as if it had never been.
"""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from keytrail.query.statement import INSTANT, Statement
from keytrail.store.tables import CONSUMERS
from keytrail.store.templates import Template

COLUMN_OF: Final = {"key": "api_key", "client": "oauth_id", "tag": "tags"}
"""The column that a link of each kind is compared with."""

NOBODY: Final = "''"
"""The consumer of a record that is in nobody's directory, as it stands in a statement."""

_TEXTS: Final = "Array(String)"

_PLACE: Final = 2**43
"""More than any instant in ms: times the number of a value and plus an instant, it is a place in the order of both."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The links of the directory of consumers that a question needs.

    Attributes:
        org: Organisation; None for all.
        version: The version that counts, and for each organisation the latest up to it.
        kinds: Kinds of links, in the order in which they decide.
        only: Of the last kind, only the links of these consumers; None for those of all.
        edges: Instants at which something came or went, ms since the epoch; None where there are too many to cut at.
        values: Of one kind, everything that can belong to a consumer that is asked for; None where that is not known.
    """

    org: str | None
    version: int = 0
    kinds: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    edges: tuple[int, ...] | None = ()
    values: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that tell a record's consumer."""
        return tuple(COLUMN_OF[kind] for kind in self.kinds)

    def sql(self, statement: Statement) -> str:
        """The consumer of a record: its key's, else its client's, else that of the first of its tags that has one."""
        return statement.named("joined_consumer", lambda: self._sql(statement))

    def _sql(self, statement: Statement) -> str:
        *before, last = [self._of_kind(kind, statement) for kind in self.kinds] or [NOBODY]
        return f"coalesce({', '.join([*(f'nullIf({one}, {NOBODY})' for one in before), last])})"

    def _of_kind(self, kind: str, statement: Statement) -> str:
        if kind == "tag":
            each = self._owner("one", kind, statement)
            return f"arrayFirst(owner -> owner != '', arrayMap(one -> {each}, tags))"
        return self._owner(COLUMN_OF[kind], kind, statement)

    def _owner(self, value: str, kind: str, statement: Statement) -> str:
        """Whom a value belongs to at a record's instant.

        The links are two sorted lists: each value has a number, and each link begins at a place that is made of this
        number and its start. The last link that begins at or before the place of a record is its own, if it has not
        ended before; of no value, that is the first one, which has no owner.
        """
        links, name = self._links(kind, statement), f"of_{kind}"
        number = f"transform(concat(org_id, '\\0', {value}), ({links} AS {name}).1.1, {name}.1.2, toInt64(0))"
        place, begun = f"place_of_{kind}", f"begun_of_{kind}"
        return (
            f"if(({number} * {_PLACE} + {INSTANT} AS {place}) < "
            f"transform((roundDown({place}, {name}.2.1) AS {begun}), {name}.2.1, {name}.2.2, toInt64(0)), "
            f"transform({begun}, {name}.2.1, {name}.2.3, ''), '')"
        )

    def _links(self, kind: str, statement: Statement) -> str:
        conditions = [f"kind = {statement.bind(kind, 'String')}", self.latest(statement)]
        if self.only is not None and kind == self.kinds[-1]:
            conditions.append(f"consumer IN {statement.bind(list(self.only), 'Array(String)')}")
        start, end = (f"number * {_PLACE} + toUnixTimestamp64Milli({edge})" for edge in ("start", "end"))
        numbered = (
            "SELECT concat(org_id, '\\0', value) AS identity, consumer, start, end, "
            f"toInt64(dense_rank() OVER (ORDER BY org_id, value)) AS number FROM {CONSUMERS} "
            f"WHERE {' AND '.join(conditions)}"
        )
        nobody = "(toInt64(0), toInt64(0), '')"
        return (
            "(SELECT (groupArray((identity, number)), "
            f"arraySort(arrayPushFront(groupArray(({start}, {end}, consumer)), {nobody}))) FROM ({numbered}))"
        )

    def latest(self, statement: Statement) -> str:
        """The condition that a link is of the version that counts."""
        version = statement.bind(self.version, "UInt64")
        if self.org is not None:
            return f"org_id = {statement.bind(self.org, 'String')} AND version = {version}"
        latest = f"SELECT org_id, max(version) FROM {CONSUMERS} WHERE version <= {version} GROUP BY org_id"
        return f"(org_id, version) IN ({latest})"


@dataclass(frozen=True, slots=True)
class Templates:
    """The path templates that count for a question.

    Attributes:
        rules: In the order in which they are meant, where several match.
    """

    rules: tuple[Template, ...] = ()

    def sql(self, statement: Statement) -> str:
        """The endpoint of a record: the pattern that its path matches, else its path."""
        return statement.named("joined_path", lambda: self._sql(statement)) if self.rules else "path"

    def _sql(self, statement: Statement) -> str:
        """Look a path up among all rules with parameters in the same places, with `{}` in these places.

        So the time grows with the combinations of places, of which there are few, and not with the rules.
        """
        alike: dict[tuple[bool, tuple[bool, ...]], list[Template]] = {}
        for one in sorted(self.rules, key=lambda rule: rule.rank):
            alike.setdefault(one.rank[:2], []).append(one)
        branches = []
        for place, ((of_all, mask), rules) in enumerate(alike.items()):
            keys = statement.bind([f"{one.org}\n{one.api}\n{one.form}" for one in rules], _TEXTS, told=False)
            patterns = statement.bind([one.pattern for one in rules], _TEXTS, told=False)
            api = "''" if of_all else "api_id"
            found = f"transform(concat(org_id, '\\n', {api}, '\\n', {_masked(mask)}), {keys}, {patterns}, '')"
            name = f"endpoint_{place}"
            branches.append(f"countSubstrings(path, '/') = {len(mask) - 1} AND ({found} AS {name}) != '', {name}")
        return f"multiIf({', '.join(branches)}, path)"


def _masked(mask: tuple[bool, ...]) -> str:
    """A path with `{}` in some places; any other as it is."""
    if not any(mask):
        return "path"
    pattern, form, groups = "", "", 0
    for is_parameter, parts in groupby(mask[1:]):
        count = len(list(parts))
        if is_parameter:
            pattern, form = pattern + "/[^/]+" * count, form + "/{}" * count
        else:
            groups += 1
            pattern, form = pattern + f"({'/[^/]*' * count})", form + f"\\\\{groups}"
    return f"replaceRegexpOne(path, '^{pattern}$', '{form}')"


@dataclass(frozen=True, slots=True)
class Joined:
    """What a question is read with.

    Attributes:
        directory: The directory of consumers.
        templates: The path templates.
        callers_since: From when on there are sums by caller, and by client of requests without one; ms since the epoch.
    """

    directory: Directory = field(default_factory=lambda: Directory(None))
    templates: Templates = field(default_factory=Templates)
    callers_since: int = 0
