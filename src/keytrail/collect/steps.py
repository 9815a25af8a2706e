"""The steps between a decoded record and the store: named, in this order, each with the reason for its place.

A step takes a table with the columns of `record.FIELDS` (one row per record) and gives one back. `put_…` adds what
queries need, `drop_…` takes rows or columns' contents away, `hide_…` takes secrets out, `mask_…` leaves the shape of a
value and not the value, `cut_…` shortens. None raises for anything that a record may hold.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import pyarrow as pa

from keytrail.collect import cut, keys, recorded, texts
from keytrail.collect.privacy import FORWARDING, Privacy, mask_query, mask_user_information, truncate_address
from keytrail.collect.texts import pc
from keytrail.record import FIELDS, Kind, Reason

KINDS: Final = ("rest", "graphql", "mcp", "tcp")
CODE_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "tcp", "other")
ERROR_ORIGINS: Final = ("", "gateway", "upstream")
TCP: Final = -1
"""The status code of a TCP proxy's byte counter."""

_MESSAGES: Final = ("raw_request", "raw_response")
_TARGETS: Final = ("path", "raw_path", "original_path")
_NAME_COLUMNS: Final = tuple(found.column for found in FIELDS if found.kind in {Kind.NAME, Kind.NAMES})


@dataclass(frozen=True, slots=True)
class StepSettings:
    """What the steps need to know.

    Attributes:
        privacy: What of a record may be stored.
        org: The only organisation whose records the sender may send; None: any.
    """

    privacy: Privacy = field(default_factory=Privacy)
    org: str | None = None


def drop_foreign_org(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Drop records of another organisation than the sender's."""
    if settings.org is None:
        return table
    orgs = texts.column(table, "org_id")
    own = pc.fill_null(pc.equal(orgs.dictionary, settings.org).take(orgs.indices), False)
    return table if pc.all(own).as_py() else table.filter(own)


def put_kind(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Put `kind`: tcp, graphql, mcp or rest. The record's flags decide, never its tags."""
    graphql, mcp = (texts.column(table, name) for name in ("is_graphql", "is_mcp"))
    kind = pc.case_when(pc.make_struct(_is_tcp(table), graphql, mcp), *_places(3, 1, 2, 0))
    return texts.put(table, "kind", texts.choose(kind, KINDS))


def put_code_class(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Put `code_class`: 1xx to 5xx by the first of three digits, tcp for -1, other for the rest."""
    code = texts.column(table, "code")
    known = pc.and_(pc.greater_equal(code, 100), pc.less(code, 600))
    hundreds = pc.subtract(pc.divide(code, 100), 1).cast(pa.int32())
    tcp, other = _places(5, 6)
    place = pc.case_when(pc.make_struct(_is_tcp(table), known), tcp, hundreds, other)
    return texts.put(table, "code_class", texts.choose(place, CODE_CLASSES))


def put_error_origin(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Put `error_origin`: of a code from 400 on, gateway where the upstream took 0 ms, else upstream.

    Records do not say who made an error; this is the one rule for it, and it is a guess. The gateway measures whole
    milliseconds, so an upstream that fails in less than one looks like the gateway, as do all errors of a gateway
    that does not measure its upstreams. A gateway's own error after it waited for an upstream (a timeout) counts as
    the upstream's.
    """
    failed = pc.greater_equal(texts.column(table, "code"), 400)
    upstream = texts.column(table, "upstream_latency")
    at_gateway = pc.and_(failed, pc.equal(upstream, 0))
    at_upstream = pc.and_(failed, pc.greater(upstream, 0))
    origin = pc.case_when(pc.make_struct(at_gateway, at_upstream), *_places(1, 2, 0))
    return texts.put(table, "error_origin", texts.choose(origin, ERROR_ORIGINS))


def _is_tcp(table: pa.Table) -> texts.Array:
    return pc.equal(texts.column(table, "code"), TCP)


def _places(*numbers: int) -> list[pa.Int32Scalar]:
    return [pa.scalar(number, pa.int32()) for number in numbers]


def put_cut(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Put `cut`, with nothing marked yet."""
    return cut.put_empty(table)


def drop_unkept_parts(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Turn recorded messages from base64 to text, with only the headers that are allowed and the body if it is kept.

    A message that can't be read is dropped whole, and one without an end of its headers keeps its start line; both
    are marked in `cut`.
    """
    keeper = recorded.Keeper(settings.privacy.kept_headers(), body=settings.privacy.bodies == "keep")
    credentials: dict[int, tuple[str, ...]] = {}
    for name in _MESSAGES:
        array = texts.column(table, name)
        if texts.is_blank(array):
            continue
        present = pc.fill_null(texts.filled(array), False)
        rows = texts.rows_of(present)
        kept = [keeper.keep(text) for text in array.filter(present).to_pylist()]
        new = pa.array([message.text for message in kept], pa.string())
        table = texts.put(table, name, pc.replace_with_mask(array, present, new))
        broken = []
        for row, message in zip(rows, kept, strict=True):
            if message.credentials:
                credentials[row] = credentials.get(row, ()) + message.credentials
            if not message.whole:
                broken.append(row)
        if broken:
            table = cut.mark(table, name, texts.mask_of(broken, table.num_rows))
    if not credentials:
        return table
    return texts.put(table, keys.CREDENTIALS, texts.lists_at(credentials, table.num_rows))


def drop_graphql_texts(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Empty GraphQL variables and error messages unless bodies are kept; `graphql_has_errors` stays."""
    if settings.privacy.bodies == "keep":
        return table
    for name in ("graphql_variables", "graphql_errors"):
        array = texts.column(table, name)
        if not texts.is_blank(array):
            table = texts.put(table, name, pa.array([_EMPTY[name]] * len(array), array.type))
    return table


_EMPTY: Final[dict[str, object]] = {found.column: found.kind.zero for found in FIELDS}


def hide_secrets(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Replace the key by its hash, and recorded credentials by a mask, wherever they stand in their record."""
    return keys.hide_secrets(table, settings.privacy.keys)


def hide_user_information(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Mask `user:password` in front of the host of any URL in paths and recorded messages."""
    table = _change(table, _TARGETS, texts.has("@"), mask_user_information)
    return _change(table, _MESSAGES, texts.has("@"), recorded.mask_user_informations)


def mask_query_values(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Mask the values in query strings of paths, start lines and kept headers."""
    if settings.privacy.query_values == "keep":
        return table
    table = _change(table, _TARGETS, texts.has("?"), mask_query)
    return _change(table, _MESSAGES, texts.has("?"), recorded.mask_queries)


def hide_client_ip(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Truncate or drop the client's address, in `ip` and in the forwarding headers that are kept."""
    how = settings.privacy.client_ip
    if how == "keep":
        return table
    truncate = how == "truncate"
    table = _change(table, ("ip",), texts.filled, truncate_address if truncate else lambda _: "")
    if not settings.privacy.kept_headers() & FORWARDING:
        return table
    change = recorded.truncate_addresses if truncate else recorded.drop_addresses
    return _change(table, _MESSAGES, texts.filled, change)


def cut_bodies(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Cut the bodies of recorded messages."""
    limit = settings.privacy.body_limit
    for name in _MESSAGES if settings.privacy.bodies == "keep" else ():
        array = texts.column(table, name)
        longer = texts.mask_of(
            (
                row
                for row in texts.rows_of(pc.greater(pc.binary_length(array), limit))
                if recorded.body_is_longer(array[row].as_py(), limit)
            ),
            len(array),
        )
        if texts.any_true(longer):
            shorter = [recorded.cut_body(text, limit) for text in array.filter(longer).to_pylist()]
            array = pc.replace_with_mask(array, longer, pa.array(shorter, pa.string()))
            table = cut.mark(texts.put(table, name, array), name, longer)
    return table


def cut_large(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Cut texts that are longer than their field's limit and lists that have too many items."""
    return cut.cut_large(table)


def drop_unused_names(table: pa.Table, settings: StepSettings) -> pa.Table:
    """Drop from the columns' dictionaries the texts that no row has."""
    for name in _NAME_COLUMNS:
        array = texts.column(table, name)
        smaller = texts.compact(array)
        table = table if smaller is array else texts.put(table, name, smaller)
    return table


def _change(table: pa.Table, names: tuple[str, ...], pick: texts.Pick, change: Callable[[str], str]) -> pa.Table:
    for name in names:
        array = texts.column(table, name)
        changed = texts.change_texts(array, pick, change)
        table = table if changed is array else texts.put(table, name, changed)
    return table


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        run: The step; its name is the step's.
        why_here: Why it stands where it does.
        drops: Why it drops rows; None if it keeps all.
    """

    run: Callable[[pa.Table, StepSettings], pa.Table]
    why_here: str
    drops: Reason | None = None

    @property
    def name(self) -> str:
        """Name of the step, for counters and messages."""
        return self.run.__name__


STEPS: Final[tuple[Step, ...]] = (
    Step(drop_foreign_org, "first: no work, and no look, is spent on what is refused", Reason.FOREIGN_ORG),
    Step(put_kind, "reads only flags and the code, which no later step changes"),
    Step(put_code_class, "like put_kind"),
    Step(put_error_origin, "like put_kind"),
    Step(put_cut, "before the first step that marks a value as cut"),
    Step(
        drop_unkept_parts,
        "secrets can only be found in the plain text of messages, and its credentials are secrets too",
    ),
    Step(drop_graphql_texts, "before secrets are looked for, so that none is looked for in what goes"),
    Step(hide_secrets, "before anything is masked or cut: half of a secret would no longer be found"),
    Step(hide_user_information, "after secrets, which may hold what looks like a URL's parts"),
    Step(mask_query_values, "after hide_user_information: a password may hold a question mark"),
    Step(hide_client_ip, "on the headers that were kept"),
    Step(cut_bodies, "after all redaction: what is cut off must not leave half a secret behind"),
    Step(cut_large, "the last that changes texts: it sees them as long as they will be stored"),
    Step(drop_unused_names, "after all: what dropped rows and old texts left in the dictionaries must not travel on"),
)
"""What happens to records between decoding and the store, in this order."""


def run_steps(
    table: pa.Table, settings: StepSettings, *, steps: tuple[Step, ...] = STEPS
) -> tuple[pa.Table, list[tuple[int, Reason]]]:
    """Run the steps.

    Args:
        table: The columns of `FIELDS` and `seq` (uint32), by which a dropped row is named.
        settings: What the steps need to know.
        steps: Which steps to run.

    Returns:
        The table, with the columns that the steps put; and (`seq`, reason) of each dropped row.
    """
    dropped: list[tuple[int, Reason]] = []
    for step in steps:
        before = table
        table = step.run(table, settings)
        if step.drops is not None and table.num_rows < before.num_rows:
            left = pc.is_in(before.column("seq"), table.column("seq"))
            gone = before.column("seq").filter(pc.invert(left))
            dropped += [(seq, step.drops) for seq in cast(list[int], gone.to_pylist())]
    return table, dropped
