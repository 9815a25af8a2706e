-- Sums by caller without endpoints; and those by OAuth client have the requests without a client, too. Of the records
-- that a store has already they are made afterwards (`store/fill.py`).

CREATE TABLE by_caller_day (
    org_id LowCardinality(String),
    api_key LowCardinality(String),
    bucket DateTime64(0, 'UTC'),
    oauth_id LowCardinality(String),
    code Int16,
    kind LowCardinality(String),
    error_origin LowCardinality(String),
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
ORDER BY (org_id, api_key, bucket, oauth_id, code, kind, error_origin, alias)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_wide_part = 1073741824;

CREATE MATERIALIZED VIEW by_caller_day_view TO by_caller_day AS
SELECT
    org_id, api_key, toDateTime64(toStartOfDay(time), 0, 'UTC') AS bucket, oauth_id, code, kind, error_origin, alias,
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
GROUP BY org_id, api_key, bucket, oauth_id, code, kind, error_origin, alias;

DROP VIEW by_client_15m_view;

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
GROUP BY org_id, oauth_id, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name;

DROP VIEW by_client_day_view;

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
GROUP BY org_id, oauth_id, bucket, api_id, path, method, api_version, code, kind, track_path, error_origin, api_name;

ALTER TABLE by_caller_day MODIFY SETTING min_age_to_force_merge_seconds = 259200, min_age_to_force_merge_on_partition_only = 0;
