-- Which key, OAuth client or tag belongs to which consumer, from when until when: each change is a version of all of it.

CREATE TABLE consumers (
    org_id String,
    version UInt64,
    consumer String,
    name String,
    kind LowCardinality(String),
    value String,
    start DateTime64(3, 'UTC'),
    end DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (org_id, version)
SETTINGS non_replicated_deduplication_window = 10000;
