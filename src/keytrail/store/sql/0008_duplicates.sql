-- What came again though it was stored: each time that it was taken and let go of without being stored once more.

CREATE TABLE duplicates (
    batch_id String,
    offset UInt64,
    source LowCardinality(String),
    origin String,
    records UInt32,
    attempt UInt16,
    sealed_at DateTime64(3, 'UTC'),
    found_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (batch_id, offset)
SETTINGS non_replicated_deduplication_window = 10000;
