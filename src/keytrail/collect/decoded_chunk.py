"""A chunk of a batch: blobs decoded, passed through the steps and ready for the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyarrow as pa

from keytrail.collect.decode import Decoded, Wire, decode
from keytrail.collect.privacy import Privacy
from keytrail.collect.steps import StepSettings, run_steps
from keytrail.collect.texts import pc
from keytrail.errors import UsageError
from keytrail.record import DERIVED, FIELDS, Rejected

SCHEMA: Final = pa.schema(
    [(field.column, field.kind.arrow) for field in FIELDS] + [(derived.column, derived.kind) for derived in DERIVED]
)
"""Columns of a chunk's table."""


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """What became of some blobs: `table.num_rows + len(rejected) == taken`.

    Attributes:
        batch_id: The batch that the blobs are a part of.
        offset: Place of the first blob in the batch, from 0.
        taken: Blobs looked at.
        table: The records that may be stored, in the columns of `SCHEMA`, in the order of the blobs. `seq` is a blob's
            place in the batch.
        rejected: The other blobs, in order; `index` counts from the first of these blobs.
    """

    batch_id: str
    offset: int
    taken: int
    table: pa.Table
    rejected: list[Rejected]


def decode_chunk(
    blobs: Sequence[bytes],
    wire: Wire,
    *,
    privacy: Privacy,
    batch_id: str,
    offset: int = 0,
    org: str | None = None,
    now: datetime | None = None,
) -> DecodedChunk:
    """Decode blobs and run the steps. The same arguments give the same chunk: a retry relies on it.

    Args:
        blobs: Bytes of one record each.
        wire: Form of the records.
        privacy: What of them may be stored.
        batch_id: The batch that the blobs are a part of.
        offset: Place of the first blob in the batch, from 0; that of the last one is at most 2^32 - 1.
        org: The only organisation whose records are taken; None: any.
        now: Now (aware); time stamps from a day after it on are rejected. By default the present.

    Raises:
        UsageError: The blobs are not bytes or too many at once, or their places are not in the range above.
    """
    return finish_chunk(
        decode(blobs, wire, now=now), len(blobs), privacy=privacy, batch_id=batch_id, offset=offset, org=org
    )


def finish_chunk(
    found: Decoded, taken: int, *, privacy: Privacy, batch_id: str, offset: int = 0, org: str | None = None
) -> DecodedChunk:
    """Run the steps over what was decoded, and give each row its place in the batch.

    Args:
        found: What became of the blobs.
        taken: How many they were.
        privacy: What of them may be stored.
        batch_id: The batch that the blobs are a part of.
        offset: Place of the first blob in the batch, from 0; that of the last one is at most 2^32 - 1.
        org: The only organisation whose records are taken; None: any.

    Raises:
        UsageError: Their places are not in the range above.
    """
    if not 0 <= offset <= 2**32 - max(taken, 1):
        raise UsageError(f"{taken} blobs from place {offset} on do not fit into a batch")
    table = found.table.append_column("seq", found.positions)
    table, dropped = run_steps(table, StepSettings(privacy, org))
    rejected = [*found.rejected, *(Rejected(position, reason) for position, reason in dropped)]
    rejected.sort(key=lambda each: each.index)
    seq = pc.add(table.column("seq"), pa.scalar(offset, pa.uint32()))
    name = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), table.num_rows), pa.array([batch_id]))
    table = table.drop_columns(["seq"]).append_column("seq", seq).append_column("batch_id", name)
    return DecodedChunk(batch_id, offset, taken, table.select(SCHEMA.names).cast(SCHEMA), rejected)
