"""The settings by section: each field is a setting, with its type, default and description."""

from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

NEVER_KEPT: Final = frozenset(
    {
        "api-key",
        "apikey",
        "authorization",
        "cookie",
        "cookie2",
        "proxy-authorization",
        "set-cookie",
        "set-cookie2",
        "x-access-token",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-tyk-authorization",
    }
)
"""Header names, lower case, that `privacy.headers` may not list: their whole purpose is to carry a credential."""

Permission = Literal["analytics", "logs", "ingest", "admin"]
PositiveInt = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A table of the settings file: unknown names are refused, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, validate_default=True)


class Server(Section):
    """Where and how the HTTP server listens."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="Port to listen on; 0 takes a free one.")
    public_path: str = Field("", description="Path prefix under which a reverse proxy serves us, such as `/stats`.")
    trusted_proxies: list[str] = Field(
        default_factory=list, description="Addresses whose `X-Forwarded-…` headers are believed."
    )
    secret: SecretStr = Field(
        SecretStr(""), description="Signs sessions; made in the data directory if empty. The same on all servers."
    )
    open_metrics: bool = Field(
        False, description="Show the counts by organisation on `/metrics` to everybody, not only to `admin`."
    )
    rate: Annotated[int, Field(ge=0)] = Field(
        0, description="Requests a minute that a token may send, unless it says otherwise; 0 is no limit."
    )
    concurrency: Annotated[int, Field(ge=0)] = Field(
        0, description="Requests of a token that may run at once, unless it says otherwise; 0 is no limit."
    )
    threads: PositiveInt = Field(8, description="Requests that are answered at the same time.")

    @field_validator("public_path")
    @classmethod
    def _rooted(cls, value: str) -> str:
        if value and not value.startswith("/"):
            msg = "must start with /"
            raise ValueError(msg)
        if value.split("/")[1:2] == ["api"]:
            # The prefix is taken off a path that has it: our own paths begin with /api too.
            msg = "must not begin with /api, as our own paths do"
            raise ValueError(msg)
        return value.rstrip("/")


class Store(Section):
    """Where records are kept."""

    url: str = Field(
        "chdb:./data",
        description="`chdb:<folder>` embeds the engine; `clickhouse://user:password@host:port,…/database?secure=true` "
        "is a server, or several nodes of a cluster.",
        repr=False,
    )
    cluster: str = Field(
        "",
        pattern=r"^\w*$",
        description="Name of the cluster in the servers' configuration: replicated tables, spread over its shards. "
        "Of a store that exists it can't be changed.",
    )
    one_shard: bool = Field(
        True,
        description="Ask only the shard that a key is on; not while a shard was added and rows are still to be moved.",
    )
    cold: str = Field(
        "",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]+(/[\w.=/-]*)?|[^:*?{}]*)$",
        description="Folder for single records older than `retention.raw_days`, as Parquet, where they stay queryable; "
        "a relative one lies in the data directory. Or `s3://bucket/prefix`. Empty drops them instead.",
    )
    cold_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^/?#@]+)?$",
        description="Address of the S3-compatible service, such as `https://minio.example:9000`; empty is AWS.",
    )
    cold_region: str = Field("us-east-1", pattern=r"^[\w-]+$", description="Region of the bucket.")
    cold_key_id: str = Field("", description="Access key for the bucket; by default `AWS_ACCESS_KEY_ID`.", repr=False)
    cold_secret: SecretStr = Field(
        SecretStr(""), description="Its secret; by default `AWS_SECRET_ACCESS_KEY`, where the access key is from there."
    )
    password: SecretStr = Field(SecretStr(""), description="Password of the server, where the URL has none.")
    ca_file: Path | None = Field(None, description="Certificates that the server's is checked against.")
    cert_file: Path | None = Field(None, description="Our certificate.")
    key_file: Path | None = Field(None, description="Its key.")
    verify: bool = Field(True, description="Check the server's certificate.")
    connect_timeout: PositiveInt = Field(5, description="Time to reach a server, seconds.")
    timeout: PositiveInt = Field(120, description="Time that a server may be silent, seconds.")
    retries: Annotated[int, Field(ge=0)] = Field(2, description="Times that a query is sent again to a busy server.")
    readers: PositiveInt = Field(3, description="Queries that run at the same time.")
    max_memory: PositiveInt = Field(2_000_000_000, description="Memory that one query may use, bytes.")
    max_seconds: Annotated[float, Field(gt=0)] = Field(30.0, description="Time that one query may take, seconds.")

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        scheme = value.partition(":")[0]
        if scheme not in {"chdb", "clickhouse"}:
            msg = f"has the unknown scheme {scheme!r}; use chdb: or clickhouse:"
            raise ValueError(msg)
        return value

    @property
    def directory(self) -> Path | None:
        """Folder of the embedded engine; None for a server."""
        scheme, _, rest = self.url.partition(":")
        return Path(rest.removeprefix("//") or "./data") if scheme == "chdb" else None

    @property
    def cold_folder(self) -> Path | None:
        """Folder of cold days, beside the embedded engine; None where there is none or they are in a bucket."""
        if self.directory is None or not self.cold or self.cold.startswith("s3://"):
            return None
        return self.directory / self.cold


class Retention(Section):
    """How long what is kept."""

    raw_days: Annotated[int, Field(ge=0)] = Field(
        30, description="Days for which single records are kept, beside today; 0 is for ever."
    )
    rollup_months: int = Field(
        25, description="Months for which sums are kept, beside this month; at least 2, 0 is for ever."
    )
    recorded_days: Annotated[int, Field(ge=0)] = Field(
        3, description="Days for which recorded requests and responses are kept, beside today; 0 is for ever."
    )
    cold_days: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Days for which single records are kept in `store.cold`, counted as `raw_days`; 0 is for ever, by "
        "default as long as sums.",
    )
    free_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05,
        description="Share of the disk that is kept free: below it the oldest days of single records are dropped "
        "before their time; 0 never does.",
    )

    @model_validator(mode="after")
    def _sums_stay_longer(self) -> "Retention":
        if self.rollup_months != 0 and self.rollup_months < 2:
            msg = "rollup_months: must be 0 or at least 2"
            raise ValueError(msg)
        if self.rollup_months and not 0 < self.raw_days <= self.rollup_months * 28:
            msg = "raw_days: must not be longer than rollup_months, as sums are what is left of single records"
            raise ValueError(msg)
        if self.cold_days is not None:
            if self.cold_days and not 0 < self.raw_days < self.cold_days:
                msg = "cold_days: must be longer than raw_days, which are a part of them"
                raise ValueError(msg)
            if self.rollup_months and not 0 < self.cold_days <= self.rollup_months * 28:
                msg = "cold_days: must not be longer than rollup_months, as sums are what is left of single records"
                raise ValueError(msg)
        return self


class Redis(Section):
    """Where gateways put their records."""

    url: str | list[str] = Field(
        "",
        description="`redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`; a list for several gateways; "
        "empty collects nothing.",
        repr=False,
    )
    prefix: str = Field("analytics-", description="The gateway's prefix of its analytics lists.")
    forward_prefix: str = Field(
        "", description="Hand each record on to a pump that reads this prefix, so that keytrail stands beside it."
    )
    forward_ttl: PositiveInt = Field(60, description="Time to live of the lists that are handed on, seconds.")
    cap_bytes: int | None = Field(
        None, gt=0, description="Bytes that we may hold in Redis; by default 256 MB or a quarter of its memory limit."
    )
    lease_seconds: Annotated[float, Field(ge=25)] = Field(
        60.0, description="After this time without a sign a batch is taken over, seconds."
    )
    rejects_for: PositiveInt = Field(604_800, description="Time for which rejected bytes are kept, seconds.")
    breaker: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Collection stops when more than this share of the last 1,000 records is rejected."
    )
    ca_file: Path | None = Field(None, description="Certificates that the server's is checked against.")
    cert_file: Path | None = Field(None, description="Our certificate.")
    key_file: Path | None = Field(None, description="Its key.")
    verify: bool = Field(True, description="Check the server's certificate.")
    sentinel_username: str = Field("", description="User for the Sentinels.")
    sentinel_password: SecretStr = Field(SecretStr(""), description="Password for the Sentinels.")

    @property
    def urls(self) -> list[str]:
        """The addresses, none where nothing is collected."""
        return [url for url in ([self.url] if isinstance(self.url, str) else self.url) if url]


class Privacy(Section):
    """What is kept of what could identify or betray somebody."""

    keys: Literal["auto", "hash", "keep"] = Field(
        "auto", description="`auto` hashes what is not shaped like a hash (8, 16, 32, 64 hex digits)."
    )
    headers: list[str] = Field(
        default_factory=lambda: ["host", "content-type", "content-length", "user-agent", "accept", "x-request-id"],
        description="Headers that are kept of recorded requests and responses.",
    )
    bodies: Literal["drop", "keep"] = Field("drop", description="Bodies of recorded requests and responses.")
    body_limit: PositiveInt = Field(4096, description="Longest body that is kept, bytes.")
    query_values: Literal["mask", "keep"] = Field("mask", description="Values in query strings.")
    client_ip: Literal["keep", "truncate", "drop"] = Field(
        "keep", description="Client addresses, also in forwarding headers; `truncate` keeps /24 or /48."
    )

    @field_validator("headers")
    @classmethod
    def _no_credentials(cls, value: list[str]) -> list[str]:
        for name in value:
            if name.lower() in NEVER_KEPT:
                msg = f"{name!r} holds credentials and is never kept"
                raise ValueError(msg)
        return [name.lower() for name in value]


class Gateway(Section):
    """The gateway's own admin API, which names keys and OAuth clients (`keytrail consumers sync`)."""

    url: str = Field("", description="Address of the gateway's admin API, such as `http://127.0.0.1:8080`.")
    secret: SecretStr = Field(SecretStr(""), description="The gateway's `secret`.")


class Token(Section):
    """One bearer of a token: what it may do and see."""

    name: str = Field(description="Name for logs; any text, unique.")
    sha256: str = Field(description="SHA-256 of the token, hex.", pattern=r"^[0-9a-fA-F]{64}$")
    org: str = Field("", description="The organisation that it sees; `*` with `admin` sees all.")
    permissions: list[Permission] = Field(
        default=["analytics"], description="Any of `analytics`, `logs`, `ingest`, `admin`."
    )
    expires: date | None = Field(None, description="Last day on which it is valid, UTC.")
    apis: list[str] | None = Field(None, description="The only API ids that it sees.")
    keys: list[str] | None = Field(
        None, description="The only keys that it sees: as stored (the hash), or the secret.", repr=False
    )
    oauth_clients: list[str] | None = Field(None, description="The only ids of OAuth clients that it sees.")
    consumers: list[str] | None = Field(None, description="The only ids of consumers of the directory that it sees.")
    rate: int | None = Field(
        None, ge=0, description="Requests a minute that it may send; 0 is no limit, by default `server.rate`."
    )
    concurrency: int | None = Field(
        None, ge=0, description="Its requests that may run at once; 0 is no limit, by default `server.concurrency`."
    )

    @model_validator(mode="after")
    def _all_orgs_with_admin(self) -> "Token":
        if self.org == "*" and "admin" not in self.permissions:
            msg = "org: `*` needs the permission `admin`"
            raise ValueError(msg)
        return self
