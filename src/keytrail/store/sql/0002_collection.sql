-- What collection from Redis adds: who this store is, when each source was last sealed, when it was not, what was rejected.

CREATE TABLE identity (
    store_id String,
    made_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY store_id;

CREATE TABLE heartbeats (
    source String,
    sealed_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(sealed_at)
ORDER BY source
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE gaps (
    source String,
    start DateTime64(3, 'UTC'),
    end DateTime64(3, 'UTC'),
    cause LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY (start, source)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE rejects (
    batch_id String,
    seq UInt32,
    source LowCardinality(String),
    list LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    digest String,
    rejected_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(rejected_at)
ORDER BY (rejected_at, batch_id, seq)
SETTINGS non_replicated_deduplication_window = 10000;
