-- What was erased: who, as keyed digests, and how many rows of which batch, so that the ledger still adds up.

CREATE TABLE erased (
    erasure String,
    kind LowCardinality(String),
    salt String,
    digest String,
    org_id String,
    start DateTime64(3, 'UTC'),
    end DateTime64(3, 'UTC'),
    anonymous String,
    erased_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (erased_at, erasure)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE erased_rows (
    erasure String,
    batch_id String,
    rows UInt64
)
ENGINE = MergeTree
ORDER BY (batch_id, erasure)
SETTINGS non_replicated_deduplication_window = 10000;
