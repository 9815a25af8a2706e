-- Which paths are one endpoint, applied when reading: each change is a version of all rules of an organisation.

CREATE TABLE path_templates (
    org_id String,
    version UInt64,
    api_id String,
    pattern String
)
ENGINE = MergeTree
ORDER BY (org_id, version)
SETTINGS non_replicated_deduplication_window = 10000;
