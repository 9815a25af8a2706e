"""What a cluster's statement is to one engine that has neither the queue of `ON CLUSTER` nor a port for replicas."""

import re


def without_replication(statement: str) -> str:
    """The statement as one node of a cluster would run it, on a table of its own instead of a replicated one."""
    statement = re.sub(r" ON CLUSTER '\w+'", "", statement)
    statement = re.sub(r"Replicated(\w*MergeTree)\('[^']+', '[^']+'(?:, )?([^)]*)\)", r"\1(\2)", statement)
    statement = re.sub(r", replicated_deduplication_window_seconds = \d+", "", statement)
    return re.sub(r"\breplicated_deduplication_window", "non_replicated_deduplication_window", statement)
