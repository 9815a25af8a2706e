"""How the tables lie on servers: one statement for a single engine, and what it becomes on a cluster.

The files in `sql/` and every other statement are written for a single engine. On a cluster each becomes one or two
statements that the cluster's queue runs on every node:

- A table of records or of a rollup becomes `<name>_local`, replicated within its shard, and a distributed table with
  the old name over it. A key's records of an organisation are on one shard, so its queries ask that one alone.
- A view stays on its shard: from the local raw table into the local rollup.
- Every other table (batches, gaps, rejects, consumers, ...) is small, and is on every node whole, under its own name.
"""

import re
from dataclasses import dataclass
from typing import Final

from keytrail.errors import SchemaError
from keytrail.store.tables import RAW, ROLLUPS

SHARDED: Final = frozenset({RAW, *(rollup.table for rollup in ROLLUPS)})
"""Tables whose rows are spread over the shards; every other one is on every node."""

SHARDING_KEY: Final = "cityHash64(org_id, api_key)"
_HAVE_THE_KEY: Final = frozenset({RAW, *(rollup.table for rollup in ROLLUPS if "api_key" in rollup.family.columns)})

ON_THEIR_SHARDS: Final = "parallel_distributed_insert_select = 2, distributed_foreground_insert = 1"
"""Settings of `INSERT … SELECT` from one table into another whose rows are spread: each shard's rows stay on it."""
TO_THEIR_SHARDS: Final = "parallel_distributed_insert_select = 0, distributed_foreground_insert = 1"
"""The same, but every row goes to the shard that it belongs to."""

_CREATE: Final = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)(.*)", re.DOTALL)
_VIEW: Final = re.compile(
    r"CREATE MATERIALIZED VIEW (?:IF NOT EXISTS )?(\w+) TO (\w+) AS\b(.*\bFROM )(\w+)(.*)", re.DOTALL
)
_ALTER: Final = re.compile(r"ALTER TABLE (\w+) (.*)", re.DOTALL)
_DROP: Final = re.compile(r"DROP (TABLE|VIEW) (?:IF EXISTS )?(\w+)(.*)", re.DOTALL)
_ENGINE: Final = re.compile(r"ENGINE = (\w*MergeTree)(?:\(([^)]*)\))?")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tables are.

    Attributes:
        cluster: The cluster's name in the servers' configuration; "" is one engine without replicas.
        shared: Other processes may write at the same time.
    """

    cluster: str = ""
    shared: bool = False

    @property
    def on_cluster(self) -> str:
        """What makes a statement run on every node, with a space before it."""
        return f" ON CLUSTER '{self.cluster}'" if self.cluster else ""

    @property
    def shard(self) -> str:
        """Expression for the shard of a row of a table whose rows are spread; 1 where there is one engine."""
        return "_shard_num" if self.cluster else "toUInt32(1)"

    def local(self, table: str) -> str:
        """The table that holds the rows where they are, not the one that reads them from everywhere."""
        return f"{table}_local" if self.cluster and table.removesuffix("_rebuilt") in SHARDED else table

    def alter(self, table: str) -> str:
        """The beginning of a statement that alters the rows of a table, wherever they are."""
        return f"ALTER TABLE {self.local(table)}{self.on_cluster}"

    def system(self, table: str) -> str:
        """A system table as it is read from one replica of each shard."""
        return f"cluster('{self.cluster}', system.{table})" if self.cluster else f"system.{table}"

    def system_of_all(self, table: str) -> str:
        """A system table as it is read from every node."""
        return f"clusterAllReplicas('{self.cluster}', system.{table})" if self.cluster else f"system.{table}"

    def over(self, statement: str) -> list[str]:
        """What a statement of the schema becomes; harmless to run again, as another process may do so at once.

        Args:
            statement: One that makes, alters or drops a table or a view of a single engine.

        Raises:
            SchemaError: It is of another kind: a fault of the file that it is in.
        """
        if not self.cluster:
            alone = re.sub(r"^CREATE (TABLE|MATERIALIZED VIEW) (?!IF )", r"CREATE \1 IF NOT EXISTS ", statement)
            alone = re.sub(r"^DROP (TABLE|VIEW) (?!IF )", r"DROP \1 IF EXISTS ", alone)
            return [re.sub(r"\bADD COLUMN (?!IF )", "ADD COLUMN IF NOT EXISTS ", alone)]
        if found := _VIEW.fullmatch(statement):
            view, target, before, source, after = found.groups()
            return [
                f"CREATE MATERIALIZED VIEW IF NOT EXISTS {view}{self.on_cluster} TO {self.local(target)} AS"
                f"{before}{self.local(source)}{after}"
            ]
        if found := _CREATE.fullmatch(statement):
            return self._table(found[1], found[2])
        if found := _ALTER.fullmatch(statement):
            return self._alteration(found[1], found[2])
        if found := _DROP.fullmatch(statement):
            kind, name, rest = found.groups()
            names = dict.fromkeys((name, self.local(name)))
            return [f"DROP {kind} IF EXISTS {each}{self.on_cluster}{rest}" for each in names]
        raise SchemaError(f"a statement that can't be laid over a cluster: {statement.splitlines()[0]}")

    def _table(self, name: str, rest: str) -> list[str]:
        local = self.local(name)
        spread = local != name
        # {shard}, {replica} and {database} are filled in by each server.
        path = f"/clickhouse/tables/{'{shard}' if spread else 'all'}/{{database}}/{local}"
        replica = "{replica}" if spread else "{shard}-{replica}"

        def replicated(found: re.Match[str]) -> str:
            arguments = ", ".join(filter(None, (f"'{path}'", f"'{replica}'", found[2])))
            return f"ENGINE = Replicated{found[1]}({arguments})"

        body, count = _ENGINE.subn(replicated, rest)
        if count != 1:
            raise SchemaError(f"the table {name} has no engine that can be replicated")
        made = [f"CREATE TABLE IF NOT EXISTS {local}{self.on_cluster}{_window(body)}"]
        if spread:
            made.append(self._distributed(name))
        return made

    def _distributed(self, name: str) -> str:
        # A table beside a rollup that is made again takes rows for other shards, too.
        key = f", {SHARDING_KEY}" if name.removesuffix("_rebuilt") in _HAVE_THE_KEY else ""
        return (
            f"CREATE TABLE IF NOT EXISTS {name}{self.on_cluster} AS {self.local(name)} "
            f"ENGINE = Distributed('{self.cluster}', currentDatabase(), '{self.local(name)}'{key})"
        )

    def _alteration(self, name: str, rest: str) -> list[str]:
        rest = re.sub(r"\bADD COLUMN (?!IF )", "ADD COLUMN IF NOT EXISTS ", rest)
        local = self.local(name)
        altered = [f"ALTER TABLE {local}{self.on_cluster} {_window(rest)}"]
        # The distributed table has the columns, but neither data nor settings.
        if local != name and re.search(r"\b(ADD|DROP|RENAME|MODIFY) COLUMN\b", rest):
            altered.append(f"ALTER TABLE {name}{self.on_cluster} {rest}")
        return altered


def _window(statement: str) -> str:
    """With the deduplication window of replicated tables, which forget by time too."""
    return re.sub(
        r"\bnon_replicated_deduplication_window = (\d+)",
        r"replicated_deduplication_window = \1, replicated_deduplication_window_seconds = 2592000",
        statement,
    )
