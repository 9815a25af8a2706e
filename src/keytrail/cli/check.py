"""`keytrail check`: settings, store and what it holds, Redis and collection."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from keytrail.cli import app
from keytrail.cli.options import AsJson, Config, Data, Logs, Quiet, settings_of
from keytrail.errors import KeytrailError

if TYPE_CHECKING:
    from keytrail.cli.reach import Reached
    from keytrail.config import Settings
    from keytrail.store.client import Engine
    from keytrail.store.verify import Differing, Verified


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    text: str
    level: Literal["", "warning", "unknown"] = ""
    """What is no fault but asks for a look: a danger, or something that Redis forbids to look at."""

    @property
    def label(self) -> str:
        """What stands before it."""
        return {"": "ok  " if self.good else "FAIL", "warning": "warn", "unknown": "?   "}[self.level]


@app.command()
def check(
    config: Config = None,
    data: Data = None,
    acl: Annotated[
        bool, typer.Option("--acl", help="Print the Redis command that makes a user with just enough rights, and end.")
    ] = False,
    ledger: Annotated[
        bool,
        typer.Option("--ledger", help="Count the rows of every batch, and compare every rollup with the raw records."),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_format: Logs = "auto",
) -> None:
    """Look at settings, store, Redis and collection; exit status 1 if something is wrong."""
    from keytrail.telemetry import set_up_logging

    set_up_logging(log_format, only_faults=True)
    if acl:
        typer.echo(_acl(settings_of(config, data)))
        return
    findings: list[Finding] = []
    try:
        # What was found before a fault is shown, too.
        findings.extend(_look(settings_of(config, data), ledger=ledger))
    except KeytrailError as error:
        findings.append(Finding("store" if findings else "settings", good=False, text=str(error)))
    report(findings, quiet=quiet, as_json=as_json)


def report(findings: list[Finding], *, quiet: bool, as_json: bool) -> None:
    """Print findings.

    Raises:
        Exit: With status 1, if something is wrong.
    """
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            if not (quiet and finding.good):
                typer.echo(f"{finding.label} {finding.name}: {finding.text}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def _acl(settings: "Settings") -> str:
    from keytrail.collect.access import acl_command
    from keytrail.collect.redis_url import parse_redis_url

    redis = settings.redis
    targets = [parse_redis_url(url) for url in redis.urls]
    return acl_command(
        redis.prefix,
        forward_prefix=redis.forward_prefix,
        cluster=any(target.kind == "cluster" for target in targets),
        database=max((target.database for target in targets), default=0),
    )


def _look(settings: "Settings", *, ledger: bool) -> Iterator[Finding]:
    """What there is to say, one after another.

    Raises:
        KeytrailError: A setting can't be served.
    """
    from keytrail.cli.reach import NoStore, reach

    yield Finding("settings", good=True, text=f"zone {settings.timezone}, {_tokens(settings)}")
    directory = settings.store.directory
    store_id = ""
    try:
        with reach(settings) as reached:
            yield from _look_at_store(reached, settings)
            if directory is None and reached.here:
                yield from _look_at_server(reached.here.engine)
            yield _retention(reached.get("/api/v1/prune").json()["data"])
            if ledger:
                import msgspec

                from keytrail.store.verify import Verified

                yield from ledger_findings(msgspec.json.decode(reached.get("/api/v1/verify").content, type=Verified))
            if settings.redis.urls:
                shown = reached.get("/api/v1/pipeline", {"limit": str(_BATCHES_SHOWN)}).json()
                store_id = shown["store_id"]
                yield from collection_findings(shown, here=reached.here is not None and directory is not None)
        if directory is not None:
            yield _room(str(directory), settings.retention.free_share)
    except NoStore:
        yield Finding("store", good=True, text=f"none yet; the data directory {directory} is made at the first start")
    except KeytrailError as error:
        # Redis is looked at all the same.
        yield Finding("store", good=False, text=str(error))
    for url in settings.redis.urls:
        yield from _look_at_redis(settings, url, store_id)


def _tokens(settings: "Settings") -> str:
    from datetime import UTC, datetime

    today = datetime.now(UTC).date()
    expired = [token.name for token in settings.tokens if token.expires and token.expires < today]
    count = len(settings.tokens)
    text = "1 token" if count == 1 else f"{count} tokens"
    return text + (f" (expired: {', '.join(map(repr, expired))})" if expired else "")


def _look_at_store(reached: "Reached", settings: "Settings") -> Iterator[Finding]:
    where = "in this process" if reached.here else "through the running server"
    ready = reached.get("/readyz").json()
    yield Finding("store", ready["status"] == "ok", f"answers, {where}")
    orgs = reached.get("/api/v1/organisations").json()["data"]
    shown = ", ".join(f"{item['org']!r} ({item['records']:,} records)" for item in orgs) or "none yet"
    yield Finding("organisations", good=True, text=shown)
    seen = {item["org"] for item in orgs}
    for token in settings.tokens:
        if seen and token.org not in seen and token.org != "*":
            text = f"{token.name!r} sees the organisation {token.org!r}, which has no records yet"
            yield Finding("token", good=True, text=text)


def _look_at_server(engine: "Engine") -> Iterator[Finding]:
    """Version, cluster, tables and settings: what exactly-once rests on."""
    from keytrail.store.inspect import inspect_server

    for found in inspect_server(engine):
        yield Finding(found.name, found.good, found.text, "warning" if found.warning else "")


def _retention(steps: list[dict[str, Any]]) -> Finding:
    """What goes with the next pruning, and what stays though it should not."""
    going = sorted({step["what"] for step in steps if not step["waits"] and step["what"] != "moved"})
    waiting = sorted({step["from"] for step in steps if step["waits"]})
    if waiting:
        text = f"records of {waiting[0]} stay while a batch of theirs is not confirmed: run its import again"
        return Finding("retention", True, text, "warning")
    if going:
        rows = sum(step["rows"] for step in steps if step["what"] in going)
        return Finding("retention", True, f"{rows:,} rows ({', '.join(going)}) go next; keytrail prune shows them")
    return Finding("retention", True, "nothing is to go")


_BATCHES_SHOWN = 5


def ledger_findings(found: "Verified") -> list[Finding]:
    """What holding the store against its ledger gave: what is missing, what nobody has confirmed, rollups."""
    if not found.differing:
        text = f"every row of {found.batches:,} batches is there"
        if found.duplicate and not found.unconfirmed:
            text += f", as is what {found.duplicate:,} duplicates repeated"
        rows = [Finding("ledger", True, text)]
    else:
        rows = []
        if found.missing:
            rows.append(Finding("ledger", False, f"{found.missing:,} rows are missing"))
        if found.twice:
            rows.append(Finding("ledger", False, f"{found.twice:,} rows are there twice"))
        if found.surplus > found.twice:
            unknown = found.surplus - found.twice
            text = f"{unknown:,} rows that no batch has confirmed; trying their batch again settles that"
            rows.append(Finding("ledger", True, text, "warning"))
        rows += map(_batch_finding, found.differing[:_BATCHES_SHOWN])
    if found.unconfirmed:
        text = f"{found.unconfirmed:,} records were let go of as duplicates of chunks that it does not know"
        rows.append(Finding("ledger", False, text))
    if found.damaged:
        text = f"{', '.join(found.damaged[:_BATCHES_SHOWN])}: not there, or not as it was written"
        rows.append(Finding("cold days", False, f"{len(found.damaged):,} of {found.cold:,} are damaged: {text}"))
    elif found.cold:
        rows.append(Finding("cold days", True, f"{found.cold:,}, each file as it was written"))
    if found.rollups:
        text = f"{', '.join(found.rollups)} differ from the raw records; run keytrail rebuild"
        return [*rows, Finding("rollups", False, text)]
    return [*rows, Finding("rollups", True, f"equal to the {found.records:,} raw records")]


def _batch_finding(batch: "Differing") -> Finding:
    text = f"{batch.found:,} rows where its ledger says {batch.expected:,}"
    if batch.twice:
        text += f", {batch.twice:,} of them twice"
    if batch.origin:
        text += f" ({batch.origin})"
    # To try its batch again settles what nobody has confirmed, but not what is there twice of a confirmed one.
    mends_itself = batch.found > batch.expected and not (batch.twice and batch.expected)
    return Finding(f"batch {batch.batch_id}", mends_itself, text, "warning" if mends_itself else "")


_LEAST_ROOM = 1_000_000_000


def _room(directory: str, share: float) -> Finding:
    import shutil

    disk = shutil.disk_usage(directory)
    text, least = f"{disk.free / 1e9:,.1f} GB free", share * disk.total
    if least and disk.free < 2 * least:
        drops = "are dropped" if disk.free < least else "will be dropped"
        text += f"; below {least / 1e9:,.1f} GB the oldest days of single records {drops} (retention.free_share)"
        return Finding("disk", disk.free >= _LEAST_ROOM, text, "warning" if disk.free >= _LEAST_ROOM else "")
    return Finding("disk", disk.free >= _LEAST_ROOM, text)


GAP_DAYS = 1


def collection_findings(shown: dict[str, Any], *, here: bool) -> Iterator[Finding]:
    """What the pipeline says of itself: troubles, backlog, gaps of the last day, drift, rejected records."""
    from datetime import UTC, datetime, timedelta

    if here:
        yield Finding("collection", True, "no server runs on this data directory: nothing is collected now", "warning")
    for source in shown["sources"]:
        yield from _look_at_source(source)
    since = datetime.now(UTC) - timedelta(days=GAP_DAYS)
    gaps = [gap for gap in shown["gaps"] if gap["end"] is None or datetime.fromisoformat(gap["end"]) > since]
    for gap in gaps:
        # One that lasts was told of its source.
        if gap["end"] is not None:
            text = f"nothing was sealed from {gap['start']} to {gap['end']} ({gap['cause']})"
            yield Finding(f"gap {gap['source']}", True, text, "warning")
    if not gaps:
        yield Finding("gaps", True, "none in the last day")
    if shown["drift"]:
        text = f"{', '.join(shown['drift'])} differ from the raw records; run keytrail rebuild"
        yield Finding("rollups", False, text)
    else:
        yield Finding("rollups", True, "equal to the raw records, this month and the last")
    yield from _look_at_ledger(shown)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(shown["totals"]["reasons"].items()))
    if reasons:
        reasons += "; keytrail rejects lists those of gateway lists"
    yield Finding("rejected", True, reasons or "none")


def _look_at_ledger(shown: dict[str, Any]) -> Iterator[Finding]:
    """That all that was taken has ended somewhere, and what became of the latest batches."""
    totals = shown["totals"]
    ended = sum(totals[end] for end in ("stored", "rejected", "duplicate"))
    text = f"{totals['taken']:,} records in {totals['chunks']:,} chunks: {_ends(totals)}"
    yield Finding("taken", totals["taken"] == ended, text)
    for batch in shown["batches"]:
        text = f"{batch['origin']}, sealed {batch['sealed_at']}, {batch['taken']:,} taken: {_ends(batch)}"
        visible = batch["ms_to_visible"]
        after = "" if visible is None else f", visible after {visible / 1000:,.1f} s"
        yield Finding(
            f"batch {batch['batch_id']}:{batch['offset']}", True, f"{text}; attempt {batch['attempt']}{after}"
        )


def _ends(of: dict[str, Any]) -> str:
    """What became of records that were taken."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(of["reasons"].items()))
    rejected = f"{of['rejected']:,} rejected" + (f" ({reasons})" if reasons else "")
    return f"{of['stored']:,} stored, {rejected}, {of['duplicate']:,} duplicate"


def _look_at_source(source: dict[str, Any]) -> Iterator[Finding]:
    name = f"collection {source['source']}"
    for part, why in source["trouble"].items():
        yield Finding(name, False, f"{part}: {why}")
    if source["gap"]:
        yield Finding(name, False, f"nothing is sealed since {source['gap']['start']} ({source['gap']['cause']})")
    lists = source["lists"]
    if lists is None:
        if not source["trouble"]:
            yield Finding(name, True, "the lists have not been looked at yet", "unknown")
        return
    waiting, sealed = (sum(one[field] for one in lists) for field in ("length", "records"))
    oldest = max((one["oldest_ms"] for one in lists if one["batches"]), default=0) / 1000
    size = sum(one["size_bytes"] for one in lists) / 1e6
    text = f"{waiting:,} records in lists, {sealed:,} sealed ({size:,.1f} MB), the oldest for {oldest:,.1f} s"
    if oldest > MOST_SECONDS:
        yield Finding(name, True, f"{text}; see whether the store accepts batches", "warning")
    else:
        yield Finding(name, True, text)


MOST_SECONDS = 60
"""A batch that waits longer for the store is worth a look."""


def _look_at_redis(settings: "Settings", url: str, store_id: str) -> Iterator[Finding]:
    """The radar's findings. Addresses are shown without user and password."""
    from keytrail.cli.collecting import open_source
    from keytrail.collect.radar import inspect
    from keytrail.collect.redis_url import parse_redis_url
    from keytrail.errors import SourceError

    name = "redis"
    try:
        name = f"redis {parse_redis_url(url)}"
        source = open_source(settings.redis, url, store_id=store_id)
        try:
            findings = inspect(source)
        finally:
            source.close()
    except SourceError as error:
        yield Finding(name, False, str(error))
        return
    for found in findings:
        text = f"{found.name}: {found.seen}; {found.change}"
        level: Literal["", "warning", "unknown"] = ""
        if found.severity in {"warning", "unknown"}:
            level = "warning" if found.severity == "warning" else "unknown"
        yield Finding(name, found.severity != "error", text, level)
    if all(found.severity == "info" for found in findings):
        yield Finding(name, True, "answers; nothing that would lose records")
