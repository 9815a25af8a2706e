-- Which days of raw rows stand in which Parquet file: of a day the row of the highest generation that is placed counts.

CREATE TABLE cold_days (
    day Date,
    generation UInt32,
    placed Bool,
    file String,
    rows UInt64,
    size UInt64,
    sha256 String,
    noted_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (day, generation)
SETTINGS non_replicated_deduplication_window = 10000;
