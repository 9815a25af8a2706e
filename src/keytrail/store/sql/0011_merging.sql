-- Parts that are old are merged into one, as every further part costs a look-up by key. By the day all that is older than three days; by
-- quarters of an hour, which are far more rows, a month when nothing has come to it for a day.

ALTER TABLE by_key_15m MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

ALTER TABLE by_key_day MODIFY SETTING min_age_to_force_merge_seconds = 259200, min_age_to_force_merge_on_partition_only = 0;

ALTER TABLE by_client_15m MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

ALTER TABLE by_client_day MODIFY SETTING min_age_to_force_merge_seconds = 259200, min_age_to_force_merge_on_partition_only = 0;

ALTER TABLE by_api_15m MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

ALTER TABLE by_api_day MODIFY SETTING min_age_to_force_merge_seconds = 259200, min_age_to_force_merge_on_partition_only = 0;
