-- What retention has taken away: from when on there are raw rows, rollups and recorded requests.

CREATE TABLE retained (
    what LowCardinality(String),
    start DateTime64(3, 'UTC'),
    why LowCardinality(String),
    noted_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (what, start)
SETTINGS non_replicated_deduplication_window = 10000;
