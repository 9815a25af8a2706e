"""Keys and credentials: the stored key, and nothing of a secret anywhere else in its record."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import pyarrow as pa

from keytrail.collect import texts
from keytrail.collect.privacy import HASH_SHAPE, MASK, NO_KEY, KeyMode, stored_key
from keytrail.collect.secret import Secret
from keytrail.collect.texts import pc
from keytrail.record import FIELDS, Kind

CREDENTIALS: Final = "credentials"
"""Working column, list of strings: a record's credentials that stood in its recorded messages.

The step that takes the messages apart adds it, `hide_secrets` uses it up; it never leaves the steps.
"""

_KEY_TAG: Final = "key-"
_TEXTS: Final = tuple(f.column for f in FIELDS if f.kind in {Kind.TEXT, Kind.NAME, Kind.NAMES})

# A gateway takes these from an API's definition, never from a request, and they decide who may see the record.
_IDENTITIES: Final = frozenset({"org_id", "api_id", "api_key"})
# These come from the settings of APIs, keys and clients. A key stands in them by mistake; but a credential is
# what the caller chose to send, and must not let him rewrite what his calls are booked under.
_SETTINGS: Final = frozenset(
    {
        "api_name",
        "api_version",
        "alias",
        "oauth_id",
        "listen_path",
        "api_schema",
        "country",
        "city",
        "geo_zone",
        "timezone",
    }
)
_BESIDE_KEYS: Final = tuple(name for name in _TEXTS if name not in _IDENTITIES)
_BESIDE_CREDENTIALS: Final = tuple(name for name in _BESIDE_KEYS if name not in _SETTINGS)


def hide_secrets(table: pa.Table, mode: KeyMode) -> pa.Table:
    """Replace keys by how they are stored, and secrets wherever else they stand in the same record.

    A key that is a secret is replaced by its hash in every text but `org_id` and `api_id`. A credential of the
    recorded messages that is not the key is replaced by `MASK` in the texts that a caller has a hand in; the path of a
    tracked endpoint, which is a pattern of the API's, is not among them.

    Args:
        table: Columns of `FIELDS`, and `CREDENTIALS` if there were recorded messages. Messages are in plain text.
        mode: How keys are stored.

    Returns:
        The table without `CREDENTIALS`.
    """
    keys = texts.column(table, "api_key")
    if CREDENTIALS in table.column_names:
        table = _hide_credentials(table, keys)
    if mode == "keep":
        return table
    stored = texts.change_texts(keys, lambda distinct: _unstored(distinct, mode), lambda key: stored_key(key, mode))
    if stored is keys:
        return table
    table = texts.put(table, "api_key", stored)
    distinct = cast(list[str], keys.dictionary.to_pylist())
    hashes = {key: stored_key(key, mode) for key in distinct if key}
    secrets = {key: Secret(key, found) for key, found in hashes.items() if key != found}
    table = _hide_key_tags(table, hashes)
    changed = pc.is_in(keys.indices, pa.array([i for i, key in enumerate(distinct) if key in secrets], pa.int32()))
    rows = texts.rows_of(changed)
    return _hide(
        table, rows, [[secrets[key]] for key in keys.take(pa.array(rows, pa.int64())).to_pylist()], _BESIDE_KEYS
    )


def _unstored(keys: texts.Array, mode: KeyMode) -> texts.Array:
    plain = pc.and_(texts.filled(keys), pc.not_equal(keys, NO_KEY))
    return plain if mode == "hash" else pc.and_not(plain, pc.match_substring_regex(keys, HASH_SHAPE))


def _hide_credentials(table: pa.Table, keys: texts.Array) -> pa.Table:
    found = texts.column(table, CREDENTIALS)
    table = table.drop_columns([CREDENTIALS])
    rows = texts.rows_of(pc.greater(texts.lengths_of(found), 0))
    if not rows:
        return table
    places = pa.array(rows, pa.int64())
    known: dict[str, Secret] = {}
    secrets = []
    for key, credentials in zip(keys.take(places).to_pylist(), texts.lists_of(found.take(places)), strict=True):
        own = []
        # Longest first, as one may be a part of another. The key itself is replaced by its hash later.
        for text in sorted(set(credentials), key=_longest_first) if len(credentials) > 1 else credentials:
            if text != key:
                secret = known.get(text)
                if secret is None:
                    secret = known[text] = Secret(text, MASK)
                own.append(secret)
        secrets.append(own)
    tracked = texts.column(table, "track_path").take(places).to_pylist()
    rest = tuple(name for name in _BESIDE_CREDENTIALS if name != "path")
    table = _hide(table, rows, secrets, rest)
    untracked = [place for place, flag in enumerate(tracked) if not flag]
    return _hide(table, [rows[place] for place in untracked], [secrets[place] for place in untracked], ("path",))


def _hide_key_tags(table: pa.Table, hashes: Mapping[str, str]) -> pa.Table:
    """Every record has such a tag, so it is worth its own way: over distinct tags."""
    tags = texts.column(table, "tags")
    changed = texts.change_texts(
        tags,
        lambda distinct: pc.starts_with(distinct, _KEY_TAG),
        lambda tag: _KEY_TAG + hashes.get(tag.removeprefix(_KEY_TAG), tag.removeprefix(_KEY_TAG)),
    )
    return texts.put(table, "tags", changed)


def _hide(table: pa.Table, rows: Sequence[int], secrets: Sequence[Sequence[Secret]], names: Sequence[str]) -> pa.Table:
    """Replace each row's secrets in the columns `names`."""
    names = [name for name in names if not texts.is_blank(texts.column(table, name))]
    if not rows or not names:
        return table
    places = pa.array(rows, pa.int64())
    together = texts.joined([texts.column(table, name).take(places) for name in names])
    hits = [
        (row, own)
        for row, own, text in zip(rows, secrets, together, strict=True)
        if any(secret.stands_in(text) for secret in own)
    ]
    if not hits:
        return table
    places = pa.array([row for row, _ in hits], pa.int64())
    for name in names:
        array = texts.column(table, name)
        values = array.take(places).to_pylist()
        hidden = [_hidden(value, own) for value, (_, own) in zip(values, hits, strict=True)]
        changes = [place for place, value in enumerate(values) if value != hidden[place]]
        if changes:
            array = texts.replace_rows(
                array, [hits[place][0] for place in changes], [hidden[place] for place in changes]
            )
            table = texts.put(table, name, array)
    return table


def _hidden(value: Any, secrets: Sequence[Secret]) -> Any:
    if isinstance(value, list):
        return [_hidden(item, secrets) for item in value]
    if value:
        for secret in secrets:
            # The key's own tag: done already, and a key named `key` must not break it.
            if value != _KEY_TAG + secret.substitute:
                value = secret.hide(value)
    return value


def _longest_first(text: str) -> tuple[int, str]:
    return -len(text), text
