"""Our own metrics, each declared once with a sentence; and what the gateway's pump would have told Prometheus."""

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

pc: Any = pyarrow.compute

LATENCY_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper edges in seconds."""


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.traffic = CollectorRegistry()
        r = self.registry
        self.stored = Counter("keytrail_records_stored", "Records stored.", ["source"], registry=r)
        self.duplicates = Counter(
            "keytrail_records_duplicate", "Records that came again though they were stored.", ["source"], registry=r
        )
        self.rejected = Counter("keytrail_records_rejected", "Records rejected.", ["source", "reason"], registry=r)
        self.chunks = Counter("keytrail_chunks_written", "Chunks written.", ["source"], registry=r)
        self.retried = Counter(
            "keytrail_chunks_retried", "Chunks that an earlier attempt may have written.", ["source"], registry=r
        )
        self.takeovers = Counter(
            "keytrail_takeovers", "Batches taken over from a worker that died.", ["source"], registry=r
        )
        self.phantoms = Counter(
            "keytrail_phantom_tokens", "Tokens that were logged though their rows were not there.", registry=r
        )
        self.rebuilt = Counter("keytrail_rollups_rebuilt", "Months of rollups made again from raw rows.", registry=r)
        self.pruned = Counter("keytrail_rows_pruned", "Rows that retention took away.", ["what", "why"], registry=r)
        self.cold_bytes = Gauge("keytrail_cold_bytes", "Bytes of cold days of single records.", registry=r)
        self.disk_free = Gauge("keytrail_disk_free_bytes", "Bytes free on the store's disk.", registry=r)
        self.visible = Histogram(
            "keytrail_seconds_to_visible",
            "Seconds from the sealing of a batch until its records are in answers.",
            ["source"],
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
            registry=r,
        )
        self.requests = Counter(
            "keytrail_requests",
            "Requests that the gateway recorded.",
            ["org", "api", "code_class"],
            registry=self.traffic,
        )
        self.latency = Gauge(
            "keytrail_request_latency_seconds_bucket",
            "Cumulative counts of recorded latencies.",
            ["org", "api", "code_class", "le"],
            registry=self.traffic,
        )
        self.latency_sum = Gauge(
            "keytrail_request_latency_seconds_sum",
            "Sum of recorded latencies.",
            ["org", "api", "code_class"],
            registry=self.traffic,
        )
        self.latency_count = Gauge(
            "keytrail_request_latency_seconds_count",
            "Recorded latencies.",
            ["org", "api", "code_class"],
            registry=self.traffic,
        )
        self.up = Gauge("keytrail_collecting", "1 while sealing and storing work.", ["source"], registry=r)
        self.length = Gauge(
            "keytrail_source_length", "Records waiting in a gateway list.", ["source", "list"], registry=r
        )
        self.ttl = Gauge(
            "keytrail_source_ttl_seconds",
            "Seconds that a gateway list has to live; -1 without end.",
            ["source", "list"],
            registry=r,
        )
        self.sealed_bytes = Gauge("keytrail_sealed_bytes", "Bytes of sealed batches in Redis.", ["source"], registry=r)
        self.sealed_records = Gauge(
            "keytrail_sealed_records", "Records of sealed batches in Redis.", ["source"], registry=r
        )
        self.oldest = Gauge("keytrail_oldest_sealed_seconds", "Age of the oldest sealed batch.", ["source"], registry=r)
        self.dead = Gauge("keytrail_dead_letters", "Rejected records whose bytes are in Redis.", ["source"], registry=r)
        self.drift = Gauge("keytrail_rollup_drift", "Rollup months that differ from the raw rows.", registry=r)

    def count_requests(self, rows: pa.Table) -> None:
        """Count stored records by organisation, API and code class, with their latencies."""
        if not rows.num_rows:
            return
        keys = ["org_id", "api_id", "code_class"]
        plain = rows.select([*keys, "latency"])
        for place, name in enumerate(keys):
            plain = plain.set_column(place, name, plain.column(name).cast(pa.string()))
        seconds = pc.divide(pc.cast(plain.column("latency"), pa.float64()), 1000.0)
        wide = plain.append_column("seconds", seconds)
        for edge in LATENCY_BUCKETS:
            wide = wide.append_column(f"le_{edge}", pc.cast(pc.less_equal(seconds, edge), pa.int64()))
        aggregates: list[Any] = [
            ("seconds", "sum"),
            ("seconds", "count"),
            *((f"le_{e}", "sum") for e in LATENCY_BUCKETS),
        ]
        for row in wide.group_by(keys).aggregate(aggregates).to_pylist():
            labels = [row[key] or "" for key in keys]
            self.requests.labels(*labels).inc(row["seconds_count"])
            self.latency_sum.labels(*labels).inc(row["seconds_sum"])
            self.latency_count.labels(*labels).inc(row["seconds_count"])
            for edge in LATENCY_BUCKETS:
                self.latency.labels(*labels, str(edge)).inc(row[f"le_{edge}_sum"])
            self.latency.labels(*labels, "+Inf").inc(row["seconds_count"])

    def text(self, *, requests: bool) -> bytes:
        """Our metrics as Prometheus reads them.

        Args:
            requests: With those of the gateway's requests, which name organisations and APIs.
        """
        return generate_latest(self.registry) + (generate_latest(self.traffic) if requests else b"")
