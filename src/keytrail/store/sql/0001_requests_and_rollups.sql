-- The raw requests, the rollups on them, and the table of batches.

CREATE TABLE requests (
    time DateTime64(3, 'UTC'),
    org_id LowCardinality(String),
    api_id LowCardinality(String),
    api_name LowCardinality(String),
    api_version LowCardinality(String),
    api_key LowCardinality(String),
    alias LowCardinality(String),
    oauth_id LowCardinality(String),
    method LowCardinality(String),
    host LowCardinality(String),
    path LowCardinality(String),
    raw_path String,
    original_path String,
    listen_path LowCardinality(String),
    code Int16,
    request_time Int64,
    latency Int64,
    upstream_latency Int64,
    gateway_latency Int64,
    content_length Int64,
    user_agent LowCardinality(String),
    ip LowCardinality(String),
    country LowCardinality(String),
    city LowCardinality(String),
    city_id Int64,
    latitude Float64,
    longitude Float64,
    geo_zone LowCardinality(String),
    open_connections Int64,
    closed_connections Int64,
    network_bytes_in Int64,
    network_bytes_out Int64,
    tags Array(LowCardinality(String)),
    track_path Bool,
    raw_request String CODEC(ZSTD(1)),
    raw_response String CODEC(ZSTD(1)),
    expire_at DateTime64(3, 'UTC'),
    timezone LowCardinality(String),
    api_schema LowCardinality(String),
    is_graphql Bool,
    graphql_operation Int64,
    graphql_root_fields Array(LowCardinality(String)),
    graphql_types Array(LowCardinality(String)),
    graphql_errors Array(LowCardinality(String)),
    graphql_has_errors Bool,
    graphql_variables String CODEC(ZSTD(1)),
    is_mcp Bool,
    mcp_method LowCardinality(String),
    mcp_type LowCardinality(String),
    mcp_name LowCardinality(String),
    kind LowCardinality(String),
    code_class LowCardinality(String),
    error_origin LowCardinality(String),
    cut Array(LowCardinality(String)),
    batch_id LowCardinality(String),
    seq UInt32
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(time)
ORDER BY (org_id, toStartOfHour(time), api_key, time)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 67108864, min_level_for_wide_part = 1;

CREATE TABLE by_key_15m (
    org_id LowCardinality(String),
    api_key LowCardinality(String),
    bucket DateTime64(0, 'UTC'),
    api_id LowCardinality(String),
    path LowCardinality(String),
    method LowCardinality(String),
    api_version LowCardinality(String),
    code Int16,
    kind LowCardinality(String),
    track_path Bool,
    error_origin LowCardinality(String),
    api_name LowCardinality(String),
    alias LowCardinality(String),
    records SimpleAggregateFunction(sum, UInt64),
    request_time_sum SimpleAggregateFunction(sum, Int64),
    latency_sum SimpleAggregateFunction(sum, Int64),
    upstream_latency_sum SimpleAggregateFunction(sum, Int64),
    latency_min SimpleAggregateFunction(min, Int64),
    latency_max SimpleAggregateFunction(max, Int64),
    upstream_latency_min SimpleAggregateFunction(min, Int64),
    upstream_latency_max SimpleAggregateFunction(max, Int64),
    content_length_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_in_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_out_sum SimpleAggregateFunction(sum, Int64),
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    latency_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
PRIMARY KEY (org_id, api_key, bucket)
ORDER BY (org_id, api_key, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name, alias)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

CREATE MATERIALIZED VIEW by_key_15m_view TO by_key_15m AS
SELECT
    org_id, api_key, toDateTime64(toStartOfInterval(time, INTERVAL 15 MINUTE), 0, 'UTC') AS bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name, alias,
    sum(toUInt64(1)) AS records,
    sum(request_time) AS request_time_sum,
    sum(latency) AS latency_sum,
    sum(upstream_latency) AS upstream_latency_sum,
    min(latency) AS latency_min,
    max(latency) AS latency_max,
    min(upstream_latency) AS upstream_latency_min,
    max(upstream_latency) AS upstream_latency_max,
    sum(content_length) AS content_length_sum,
    sum(network_bytes_in) AS network_bytes_in_sum,
    sum(network_bytes_out) AS network_bytes_out_sum,
    min(time) AS first_time,
    max(time) AS last_time,
    sumMap(map(toUInt16(toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)) * 16 + bitShiftRight(greatest(latency, 0), toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)))), toUInt64(1))) AS latency_histogram
FROM requests
GROUP BY org_id, api_key, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name, alias;

CREATE TABLE by_key_day (
    org_id LowCardinality(String),
    api_key LowCardinality(String),
    bucket DateTime64(0, 'UTC'),
    api_id LowCardinality(String),
    path LowCardinality(String),
    method LowCardinality(String),
    api_version LowCardinality(String),
    code Int16,
    kind LowCardinality(String),
    track_path Bool,
    error_origin LowCardinality(String),
    api_name LowCardinality(String),
    alias LowCardinality(String),
    records SimpleAggregateFunction(sum, UInt64),
    request_time_sum SimpleAggregateFunction(sum, Int64),
    latency_sum SimpleAggregateFunction(sum, Int64),
    upstream_latency_sum SimpleAggregateFunction(sum, Int64),
    latency_min SimpleAggregateFunction(min, Int64),
    latency_max SimpleAggregateFunction(max, Int64),
    upstream_latency_min SimpleAggregateFunction(min, Int64),
    upstream_latency_max SimpleAggregateFunction(max, Int64),
    content_length_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_in_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_out_sum SimpleAggregateFunction(sum, Int64),
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    latency_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
PRIMARY KEY (org_id, api_key, bucket)
ORDER BY (org_id, api_key, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name, alias)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

CREATE MATERIALIZED VIEW by_key_day_view TO by_key_day AS
SELECT
    org_id, api_key, toDateTime64(toStartOfDay(time), 0, 'UTC') AS bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name, alias,
    sum(toUInt64(1)) AS records,
    sum(request_time) AS request_time_sum,
    sum(latency) AS latency_sum,
    sum(upstream_latency) AS upstream_latency_sum,
    min(latency) AS latency_min,
    max(latency) AS latency_max,
    min(upstream_latency) AS upstream_latency_min,
    max(upstream_latency) AS upstream_latency_max,
    sum(content_length) AS content_length_sum,
    sum(network_bytes_in) AS network_bytes_in_sum,
    sum(network_bytes_out) AS network_bytes_out_sum,
    min(time) AS first_time,
    max(time) AS last_time,
    sumMap(map(toUInt16(toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)) * 16 + bitShiftRight(greatest(latency, 0), toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)))), toUInt64(1))) AS latency_histogram
FROM requests
GROUP BY org_id, api_key, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name, alias;

CREATE TABLE by_client_15m (
    org_id LowCardinality(String),
    oauth_id LowCardinality(String),
    bucket DateTime64(0, 'UTC'),
    api_id LowCardinality(String),
    path LowCardinality(String),
    method LowCardinality(String),
    api_version LowCardinality(String),
    code Int16,
    kind LowCardinality(String),
    track_path Bool,
    error_origin LowCardinality(String),
    api_name LowCardinality(String),
    records SimpleAggregateFunction(sum, UInt64),
    request_time_sum SimpleAggregateFunction(sum, Int64),
    latency_sum SimpleAggregateFunction(sum, Int64),
    upstream_latency_sum SimpleAggregateFunction(sum, Int64),
    latency_min SimpleAggregateFunction(min, Int64),
    latency_max SimpleAggregateFunction(max, Int64),
    upstream_latency_min SimpleAggregateFunction(min, Int64),
    upstream_latency_max SimpleAggregateFunction(max, Int64),
    content_length_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_in_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_out_sum SimpleAggregateFunction(sum, Int64),
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    latency_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
PRIMARY KEY (org_id, oauth_id, bucket)
ORDER BY (org_id, oauth_id, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

CREATE MATERIALIZED VIEW by_client_15m_view TO by_client_15m AS
SELECT
    org_id, oauth_id, toDateTime64(toStartOfInterval(time, INTERVAL 15 MINUTE), 0, 'UTC') AS bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name,
    sum(toUInt64(1)) AS records,
    sum(request_time) AS request_time_sum,
    sum(latency) AS latency_sum,
    sum(upstream_latency) AS upstream_latency_sum,
    min(latency) AS latency_min,
    max(latency) AS latency_max,
    min(upstream_latency) AS upstream_latency_min,
    max(upstream_latency) AS upstream_latency_max,
    sum(content_length) AS content_length_sum,
    sum(network_bytes_in) AS network_bytes_in_sum,
    sum(network_bytes_out) AS network_bytes_out_sum,
    min(time) AS first_time,
    max(time) AS last_time,
    sumMap(map(toUInt16(toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)) * 16 + bitShiftRight(greatest(latency, 0), toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)))), toUInt64(1))) AS latency_histogram
FROM requests
WHERE oauth_id != ''
GROUP BY org_id, oauth_id, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name;

CREATE TABLE by_client_day (
    org_id LowCardinality(String),
    oauth_id LowCardinality(String),
    bucket DateTime64(0, 'UTC'),
    api_id LowCardinality(String),
    path LowCardinality(String),
    method LowCardinality(String),
    api_version LowCardinality(String),
    code Int16,
    kind LowCardinality(String),
    track_path Bool,
    error_origin LowCardinality(String),
    api_name LowCardinality(String),
    records SimpleAggregateFunction(sum, UInt64),
    request_time_sum SimpleAggregateFunction(sum, Int64),
    latency_sum SimpleAggregateFunction(sum, Int64),
    upstream_latency_sum SimpleAggregateFunction(sum, Int64),
    latency_min SimpleAggregateFunction(min, Int64),
    latency_max SimpleAggregateFunction(max, Int64),
    upstream_latency_min SimpleAggregateFunction(min, Int64),
    upstream_latency_max SimpleAggregateFunction(max, Int64),
    content_length_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_in_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_out_sum SimpleAggregateFunction(sum, Int64),
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    latency_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
PRIMARY KEY (org_id, oauth_id, bucket)
ORDER BY (org_id, oauth_id, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

CREATE MATERIALIZED VIEW by_client_day_view TO by_client_day AS
SELECT
    org_id, oauth_id, toDateTime64(toStartOfDay(time), 0, 'UTC') AS bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name,
    sum(toUInt64(1)) AS records,
    sum(request_time) AS request_time_sum,
    sum(latency) AS latency_sum,
    sum(upstream_latency) AS upstream_latency_sum,
    min(latency) AS latency_min,
    max(latency) AS latency_max,
    min(upstream_latency) AS upstream_latency_min,
    max(upstream_latency) AS upstream_latency_max,
    sum(content_length) AS content_length_sum,
    sum(network_bytes_in) AS network_bytes_in_sum,
    sum(network_bytes_out) AS network_bytes_out_sum,
    min(time) AS first_time,
    max(time) AS last_time,
    sumMap(map(toUInt16(toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)) * 16 + bitShiftRight(greatest(latency, 0), toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)))), toUInt64(1))) AS latency_histogram
FROM requests
WHERE oauth_id != ''
GROUP BY org_id, oauth_id, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name;

CREATE TABLE by_api_15m (
    org_id LowCardinality(String),
    api_id LowCardinality(String),
    bucket DateTime64(0, 'UTC'),
    path LowCardinality(String),
    method LowCardinality(String),
    api_version LowCardinality(String),
    code Int16,
    kind LowCardinality(String),
    track_path Bool,
    error_origin LowCardinality(String),
    api_name LowCardinality(String),
    records SimpleAggregateFunction(sum, UInt64),
    request_time_sum SimpleAggregateFunction(sum, Int64),
    latency_sum SimpleAggregateFunction(sum, Int64),
    upstream_latency_sum SimpleAggregateFunction(sum, Int64),
    latency_min SimpleAggregateFunction(min, Int64),
    latency_max SimpleAggregateFunction(max, Int64),
    upstream_latency_min SimpleAggregateFunction(min, Int64),
    upstream_latency_max SimpleAggregateFunction(max, Int64),
    content_length_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_in_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_out_sum SimpleAggregateFunction(sum, Int64),
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    latency_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
PRIMARY KEY (org_id, api_id, bucket)
ORDER BY (org_id, api_id, bucket, path, method, api_version, code, kind, track_path, error_origin, api_name)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

CREATE MATERIALIZED VIEW by_api_15m_view TO by_api_15m AS
SELECT
    org_id, api_id, toDateTime64(toStartOfInterval(time, INTERVAL 15 MINUTE), 0, 'UTC') AS bucket, path, method, api_version, code, kind, track_path, error_origin, api_name,
    sum(toUInt64(1)) AS records,
    sum(request_time) AS request_time_sum,
    sum(latency) AS latency_sum,
    sum(upstream_latency) AS upstream_latency_sum,
    min(latency) AS latency_min,
    max(latency) AS latency_max,
    min(upstream_latency) AS upstream_latency_min,
    max(upstream_latency) AS upstream_latency_max,
    sum(content_length) AS content_length_sum,
    sum(network_bytes_in) AS network_bytes_in_sum,
    sum(network_bytes_out) AS network_bytes_out_sum,
    min(time) AS first_time,
    max(time) AS last_time,
    sumMap(map(toUInt16(toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)) * 16 + bitShiftRight(greatest(latency, 0), toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)))), toUInt64(1))) AS latency_histogram
FROM requests
GROUP BY org_id, api_id, bucket, path, method, api_version, code, kind, track_path, error_origin, api_name;

CREATE TABLE by_api_day (
    org_id LowCardinality(String),
    api_id LowCardinality(String),
    bucket DateTime64(0, 'UTC'),
    path LowCardinality(String),
    method LowCardinality(String),
    api_version LowCardinality(String),
    code Int16,
    kind LowCardinality(String),
    track_path Bool,
    error_origin LowCardinality(String),
    api_name LowCardinality(String),
    records SimpleAggregateFunction(sum, UInt64),
    request_time_sum SimpleAggregateFunction(sum, Int64),
    latency_sum SimpleAggregateFunction(sum, Int64),
    upstream_latency_sum SimpleAggregateFunction(sum, Int64),
    latency_min SimpleAggregateFunction(min, Int64),
    latency_max SimpleAggregateFunction(max, Int64),
    upstream_latency_min SimpleAggregateFunction(min, Int64),
    upstream_latency_max SimpleAggregateFunction(max, Int64),
    content_length_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_in_sum SimpleAggregateFunction(sum, Int64),
    network_bytes_out_sum SimpleAggregateFunction(sum, Int64),
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_time SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    latency_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
PRIMARY KEY (org_id, api_id, bucket)
ORDER BY (org_id, api_id, bucket, path, method, api_version, code, kind, track_path, error_origin, api_name)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

CREATE MATERIALIZED VIEW by_api_day_view TO by_api_day AS
SELECT
    org_id, api_id, toDateTime64(toStartOfDay(time), 0, 'UTC') AS bucket, path, method, api_version, code, kind, track_path, error_origin, api_name,
    sum(toUInt64(1)) AS records,
    sum(request_time) AS request_time_sum,
    sum(latency) AS latency_sum,
    sum(upstream_latency) AS upstream_latency_sum,
    min(latency) AS latency_min,
    max(latency) AS latency_max,
    min(upstream_latency) AS upstream_latency_min,
    max(upstream_latency) AS upstream_latency_max,
    sum(content_length) AS content_length_sum,
    sum(network_bytes_in) AS network_bytes_in_sum,
    sum(network_bytes_out) AS network_bytes_out_sum,
    min(time) AS first_time,
    max(time) AS last_time,
    sumMap(map(toUInt16(toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)) * 16 + bitShiftRight(greatest(latency, 0), toUInt8(if(latency < 32, 0, floor(log2(latency)) - 4)))), toUInt64(1))) AS latency_histogram
FROM requests
GROUP BY org_id, api_id, bucket, path, method, api_version, code, kind, track_path, error_origin, api_name;

CREATE TABLE batches (
    batch_id String,
    offset UInt64,
    source LowCardinality(String),
    origin String,
    token String,
    taken UInt32,
    stored UInt32,
    rejected UInt32,
    reasons Map(LowCardinality(String), UInt32),
    stored_by_org Map(String, UInt32),
    oldest DateTime64(3, 'UTC'),
    newest DateTime64(3, 'UTC'),
    sealed_at DateTime64(3, 'UTC'),
    written_at DateTime64(3, 'UTC'),
    attempt UInt16,
    next String
)
ENGINE = MergeTree
ORDER BY (batch_id, offset)
SETTINGS non_replicated_deduplication_window = 10000;
