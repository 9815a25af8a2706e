"""Erase somebody: first remember who, as what comes later must go too, then rewrite what is there, and tell what went.

A day of raw rows or of a cold file, and a month of a rollup, is written again beside the real one and put in place in
one step, while nothing is stored. On a cluster, where a raw row under another key belongs to another shard, the servers
take raw rows out or change them, and those under a new key go in again first. Killed halfway, the same erasure run
again does the rest: what was counted of a day before it was changed is known by its token.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import structlog

from keytrail.errors import NotFound
from keytrail.instants import text_of, to_instant
from keytrail.store.client import Engine
from keytrail.store.consumers import read_links, replace_links
from keytrail.store.cooling import Cooling
from keytrail.store.erased import COLUMNS, EMPTIED, Erased, Remembered, Subject
from keytrail.store.erased_rows import EVERY_SHARD, HERE, count_of_partition, note_erased_rows
from keytrail.store.kept import RAW_ROWS, days_of, kept_since, month_of
from keytrail.store.layout import TO_THEIR_SHARDS
from keytrail.store.mutations import wait_for_mutations
from keytrail.store.raw_rows import ALL_TIME, Bound, cold_days, next_day, raw_rows, rows_of_days
from keytrail.store.raw_rows import COLUMNS as RAW_COLUMNS
from keytrail.store.rebuild import differing, months_of_raw, rebuild_month
from keytrail.store.replacing import replace_partition
from keytrail.store.tables import (
    BY_API,
    BY_CLIENT,
    BY_KEY,
    CONSUMERS,
    MEASURES,
    RAW,
    ROLLUPS,
    Rollup,
    column_types,
)
from keytrail.store.writer import Writer

log = structlog.get_logger("keytrail.store")

_SPARE: Final = f"{RAW}_rewritten"
_FAMILIES: Final = {"key": BY_KEY, "client": BY_CLIENT}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure did; names nobody.

    Attributes:
        erasure: Its id.
        at: When it was done, RFC 3339.
        keep_counts: The records stayed for their counts, without what says whose they are.
        digests: Who was erased, as they are remembered; what applies the erasure to another store, too.
        raw: Raw rows that were taken out or changed.
        rollups: Rollups that were made again: `table month`.
        directory: Links that were taken out of directories of consumers.
        left: What could not be erased, for people.
    """

    erasure: str
    at: str
    keep_counts: bool
    digests: list[dict[str, Any]]
    raw: int
    rollups: list[str]
    directory: int
    left: list[str]


class Erasing:
    """Erases.

    Args:
        engine: The store's engine.
        writer: The way into it.
    """

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer
        self._erased: Erased = writer.erased
        self._cooling = Cooling(engine, writer)

    def subjects_of(self, consumer: str, org: str) -> list[Subject]:
        """What belongs or belonged to a consumer.

        Args:
            consumer: Its id.
            org: Its organisation; "" for all that have such a one.

        Raises:
            NotFound: No directory has it.
        """
        links = read_links(self._engine, org or None, consumer)
        if not links:
            raise NotFound(f"no consumer {consumer!r} is in the directory")
        return [Subject(link.kind, link.value, link.org, link.start, link.end) for link in links]

    def erase(self, subjects: Sequence[Subject], *, keep_counts: bool) -> Receipt:
        """Erase subjects.

        Raises:
            StoreError: The engine refuses; the same again does the rest.
        """
        those = self._erased.digested(subjects, secrets.token_hex(16), keep_counts=keep_counts)
        return self._carry_out(those, dict(zip(those, subjects, strict=True)), keep_counts=keep_counts)

    def again(self, those: Sequence[Remembered]) -> Receipt:
        """Carry out an erasure that was made in another store, such as the one that this is an older copy of.

        Raises:
            StoreError: The engine refuses; the same again does the rest.
        """
        found = {one: one.subject(value) for one in those for value in self._values(one.kind) if one.is_of(value)}
        return self._carry_out(list(those), found, keep_counts=any(one.anonymous for one in those))

    def _values(self, kind: str) -> Iterable[str]:
        """The values of a kind that the store knows."""
        column = COLUMNS[kind]
        value, bound = f"arrayJoin({column})" if kind == "tag" else column, Bound()
        tables = [raw_rows(self._engine, [ALL_TIME]).source(bound)]
        if family := _FAMILIES.get(kind):
            tables += [rollup.table for rollup in ROLLUPS if rollup.family is family]
        sql = " UNION DISTINCT ".join(f"SELECT DISTINCT toString({value}) AS v FROM {table}" for table in tables)
        values = {row[0] for row in self._engine.query(sql, bound.values).rows}
        links = {link.value for link in read_links(self._engine, None) if link.kind == kind}
        return sorted(values | links)

    def _carry_out(
        self, those: Sequence[Remembered], found: dict[Remembered, Subject], *, keep_counts: bool
    ) -> Receipt:
        with self._writer.paused():
            self._erased.remember(list(those))
        months: set[int] = set()
        raw = 0
        for one, subject in found.items():
            raw += self._rewrite_raw(one, subject, months) + self._rewrite_cold(one, subject, months)
            months |= self._months_of_rollups(subject)
        # What a killed attempt took out of raw rows may still be in sums.
        months |= {month for month in months_of_raw(self._engine) if differing(self._engine, month, cold=None)}
        rollups = [name for month in sorted(months) for name in self._rewrite_month(month, found)]
        directory = sum(self._forget_links(subject) for subject in found.values())
        left = self._left(found, months)
        digests = [{**asdict(one), "start": one.start.isoformat(), "end": one.end.isoformat()} for one in those]
        at = text_of(datetime.now(UTC), "seconds")
        log.info("erased", erasure=those[0].erasure, raw=raw, rollups=len(rollups), directory=directory)
        return Receipt(those[0].erasure, at, keep_counts, digests, raw, rollups, directory, left)

    # Raw rows --------------------------------------------------------------------------------------------------------

    def _rewrite_raw(self, one: Remembered, subject: Subject, months: set[int]) -> int:
        match, values = _match(subject)
        changed = 0
        self._until_nothing_changes()
        # No more of theirs can come, so where they are is looked for without keeping others waiting.
        days = self._engine.query(
            f"SELECT DISTINCT _partition_id FROM {RAW} WHERE {match} ORDER BY 1", values, EVERY_SHARD
        )
        for (day,) in days.rows:
            with self._writer.paused():
                counts = count_of_partition(self._engine, day, match, values)
                if not one.anonymous:
                    note_erased_rows(self._engine, one, day, [(held.batch_id, held.confirmed) for held in counts])
                if self._engine.layout.cluster:
                    self._change_where_they_are(day, one, match, values)
                else:
                    self._put_rewritten(day, one, match, values)
            changed += sum(held.rows for held in counts)
            months.add(int(day[:6]))
        return changed

    def _until_nothing_changes(self) -> None:
        """On a cluster a change goes on when whoever asked for it was killed: half done, it would be counted twice."""
        if self._engine.layout.cluster:
            wait_for_mutations(self._engine, RAW)

    def _change_where_they_are(self, partition: str, one: Remembered, match: str, values: dict[str, Any]) -> None:
        """On a cluster; each replica has done it when this returns."""
        bound = {**values, "partition": partition}
        change = "DELETE"
        if one.anonymous and one.kind == "key":
            # In order and shard a row stands by its key. What a killed attempt has put in is not put in again.
            columns = ", ".join(_anonymous(name, one) for name in column_types())
            there = f"SELECT batch_id, seq FROM {RAW} WHERE {HERE} AND api_key = {{anonymous:String}}"
            self._engine.command(
                f"INSERT INTO {RAW} ({', '.join(column_types())}) SELECT {columns} FROM (SELECT *, 1 AS is_theirs "
                f"FROM {RAW} WHERE {HERE} AND {match} AND (batch_id, seq) GLOBAL NOT IN ({there}))"
                f"\nSETTINGS {TO_THEIR_SHARDS}, insert_quorum = 'auto', insert_deduplicate = 0",
                {**bound, "anonymous": one.anonymous},
            )
        elif one.anonymous:
            changed = [name for name in column_types() if _anonymous(name, one) != name]
            changes = ", ".join(f"{name} = {_anonymous(name, one).replace('is_theirs', '1')}" for name in changed)
            change, bound["anonymous"] = f"UPDATE {changes}", one.anonymous
        self._engine.command(
            f"{self._engine.layout.alter(RAW)} {change} IN PARTITION ID '{partition}' WHERE {match} "
            "SETTINGS mutations_sync = 2",
            bound,
        )

    def _rewrite_cold(self, one: Remembered, subject: Subject, months: set[int]) -> int:
        """The same for cold days: each file that has rows of theirs is replaced by another."""
        match, values = _match(subject)
        changed = 0
        for day in cold_days(self._engine) if self._engine.cold else ():
            rows, bound = rows_of_days(self._engine, day.day, next_day(day.day)), Bound()
            file = rows.files_of([day], bound)
            found = f"SELECT batch_id, count() FROM {file} WHERE {match} GROUP BY batch_id ORDER BY batch_id"
            counts = [(str(batch), int(held)) for batch, held in self._engine.query(found, values | bound.values).rows]
            if not counts:
                continue
            selected, more = _rewritten(one, f"FROM {file}", match)
            written = self._cooling.write(day.day, selected, values | bound.values | more)
            with self._writer.paused():
                if not one.anonymous:
                    note_erased_rows(self._engine, one, f"{day.day} {day.file}", counts)
                self._cooling.place(*written)
            changed += sum(count for _, count in counts)
            months.add(month_of(day.day))
        if self._engine.cold:
            self._cooling.tidy()
        return changed

    def _put_rewritten(self, partition: str, one: Remembered, match: str, values: dict[str, Any]) -> None:
        self._engine.command(f"DROP TABLE IF EXISTS {_SPARE} SYNC")
        self._engine.command(f"CREATE TABLE {_SPARE} AS {RAW}")
        selected, more = _rewritten(one, f"FROM {RAW} WHERE {HERE}", match)
        self._engine.command(f"INSERT INTO {_SPARE} {selected}", {**values, "partition": partition, **more})
        if self._engine.query(f"SELECT count() FROM {_SPARE}").rows[0][0]:
            replace_partition(self._engine, RAW, partition, _SPARE)
        else:
            self._engine.command(f"ALTER TABLE {RAW} DROP PARTITION ID '{partition}'")
            self._engine.command(f"DROP TABLE {_SPARE} SYNC")

    # Rollups ---------------------------------------------------------------------------------------------------------

    def _months_of_rollups(self, subject: Subject) -> set[int]:
        family = _FAMILIES.get(subject.kind)
        if family is None:
            return set()
        match, values = _match(subject, clock="bucket")
        tables = [rollup.table for rollup in ROLLUPS if rollup.family is family]
        sql = " UNION DISTINCT ".join(
            f"SELECT DISTINCT toYYYYMM(bucket) FROM {table} WHERE {match}" for table in tables
        )
        return {int(month) for (month,) in self._engine.query(sql, values, EVERY_SHARD).rows}

    def _rewrite_month(self, month: int, found: dict[Remembered, Subject]) -> list[str]:
        """Make a month of every rollup again: from raw rows where they are, else from itself or from what has keys.

        Those by which the month is found come last: after a kill it is found again.
        """
        families = {_FAMILIES.get(one.kind) for one in found}
        names = []
        for rollup in sorted(ROLLUPS, key=lambda each: each.family in families):
            # A key that is anonymous from now on may belong to another shard.
            moves = "api_key" in rollup.family.columns and any(one.anonymous and one.kind == "key" for one in found)
            with self._writer.paused():
                rebuild_month(self._engine, rollup, month, partial(_carried, rollup, found), moves=moves)
            names.append(f"{rollup.table} {month}")
        return names

    def _left(self, found: dict[Remembered, Subject], months: set[int]) -> list[str]:
        since = kept_since(self._engine, RAW_ROWS)
        gone = [month for month in months if days_of(str(month))[0] < since]
        if not gone or not any(not one.anonymous and one.kind in _FAMILIES for one in found):
            return []
        return [
            f"of days before {since} the sums by OAuth client know no keys, and those by key no clients: "
            "a key's share of a client's sums, and a client's of a key's, can't be told apart there"
        ]

    # The directory ---------------------------------------------------------------------------------------------------

    def _forget_links(self, subject: Subject) -> int:
        links = read_links(self._engine, subject.org or None)
        theirs = [link for link in links if (link.kind, link.value) == (subject.kind, subject.value)]
        for org in sorted({link.org for link in theirs}):
            replace_links(self._engine, org, [link for link in links if link.org == org and link not in theirs])
        # Earlier versions have them, too.
        self._engine.command(
            f"{self._engine.layout.alter(CONSUMERS)} DELETE WHERE kind = {{kind:String}} AND value = {{value:String}} "
            "AND ({org:String} = '' OR org_id = {org:String}) SETTINGS mutations_sync = 2",
            {"kind": subject.kind, "value": subject.value, "org": subject.org},
        )
        return len(theirs)


def _carried(rollup: Rollup, found: dict[Remembered, Subject], days: str) -> tuple[str, dict[str, Any]]:
    """What stands for days whose raw rows are gone: a statement and its values, given the condition of these days."""
    # Each request is in the rollup by key, too: what one by API has is added up from there, without theirs.
    from_keys = rollup.family is BY_API and any(one.kind == "key" for one in found)
    family = BY_KEY if from_keys else rollup.family
    values: dict[str, Any] = {}
    taken: list[str] = []
    renamed: list[str] = []
    given: dict[str, str] = {}
    for number, (one, subject) in enumerate(found.items()):
        column = COLUMNS[one.kind]
        if one.kind not in _FAMILIES or column not in family.columns:
            continue
        match, bound = _match(subject, clock="bucket", prefix=f"s{number}_")
        values |= bound
        if one.anonymous:
            values[f"a{number}"] = one.anonymous
            given[column] = f"if({match}, {{a{number}:String}}, {given.get(column, column)})"
            renamed.append(match)
        else:
            taken.append(match)
    kept = f"{days} AND NOT ({' OR '.join(taken)})" if taken else days
    if from_keys:
        source = next(one.table for one in ROLLUPS if one.family is BY_KEY and one.seconds == rollup.seconds)
        dimensions = ", ".join((*rollup.family.lead, "bucket", *rollup.family.dimensions))
        sums = ", ".join(f"{measure.function}({measure.column})" for measure in MEASURES)
        return f"SELECT {dimensions}, {sums} FROM {source} WHERE {kept} GROUP BY {dimensions}", values
    if renamed:
        given["alias"] = f"if({' OR '.join(renamed)}, '', alias)"
    columns = (*family.lead, "bucket", *family.dimensions, *(measure.column for measure in MEASURES))
    return f"SELECT {', '.join(given.get(name, name) for name in columns)} FROM {rollup.table} WHERE {kept}", values


def _match(subject: Subject, *, clock: str = "time", prefix: str = "") -> tuple[str, dict[str, Any]]:
    """The condition of a subject's rows; of buckets those that begin while the value is theirs."""
    column = COLUMNS[subject.kind]
    value = f"{{{prefix}value:String}}"
    parts = [f"has({column}, {value})" if subject.kind == "tag" else f"{column} = {value}"]
    bound: dict[str, Any] = {f"{prefix}value": subject.value}
    if subject.org:
        parts.append(f"org_id = {{{prefix}org:String}}")
        bound[f"{prefix}org"] = subject.org
    for name, sign, moment in (("start", ">=", subject.start), ("end", "<", subject.end)):
        parts.append(f"{clock} {sign} fromUnixTimestamp64Milli({{{prefix}{name}:Int64}}, 'UTC')")
        bound[f"{prefix}{name}"] = to_instant(moment)
    return f"({' AND '.join(parts)})", bound


def _rewritten(one: Remembered, rows: str, match: str) -> tuple[str, dict[str, Any]]:
    """The rows that stay, as they stay: a statement and more bound values for it, given where the rows are."""
    if one.anonymous:
        columns = ", ".join(f"{_anonymous(name, one)} AS {name}" for name in column_types())
        return f"SELECT {columns} FROM (SELECT *, {match} AS is_theirs {rows})", {"anonymous": one.anonymous}
    return f"SELECT {RAW_COLUMNS} FROM (SELECT * {rows}) WHERE NOT {match}", {}


def _anonymous(column: str, one: Remembered) -> str:
    """A column of a row that stays for its counts."""
    if column == "tags":
        return "if(is_theirs, arrayFilter(tag -> position(tag, {value:String}) = 0, tags), tags)"
    if one.kind in _FAMILIES and column == COLUMNS[one.kind]:
        return f"if(is_theirs, {{anonymous:String}}, {column})"
    if column in EMPTIED:
        empty = EMPTIED[column]
        return f"if(is_theirs, {empty!r}, {column})"
    return column
