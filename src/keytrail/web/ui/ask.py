"""The one way from a page to the query layer: every panel's question passes through `Desk.ask`."""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from keytrail.instants import zone
from keytrail.query.request import ALL_TIME, Filter, Order, Query, Scope
from keytrail.query.run import Answer, run
from keytrail.query.zones import Span, Step, to_moment
from keytrail.store.client import Engine
from keytrail.store.consumers import Link, read_links
from keytrail.web.auth import Principal
from keytrail.web.ui.ranges import Bucket
from keytrail.web.ui.state import State

_KEPT_SECONDS: Final = 30.0
_MOST_KEPT: Final = 512

Row = dict[str, Any]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Desk:
    """Who asks, in which state, about which subject.

    Attributes:
        engine: Where answers come from.
        principal: Who asks.
        scope: What they may see.
        state: The page's state.
        subject: What the page itself is about, such as one key.
    """

    engine: Engine
    principal: Principal
    scope: Scope
    state: State
    subject: tuple[Filter, ...] = ()

    def about(self, *subject: Filter) -> "Desk":
        """The same for a page with a subject."""
        return replace(self, subject=subject)

    @property
    def names_consumers(self) -> bool:
        """The asker may see the directory of consumers: names and keys of others are not for who sees but a part."""
        return not replace(self.scope, consumers=None).limited

    def may(self, permission: str) -> bool:
        """The asker may do something."""
        return self.principal.may(permission)

    def ask(
        self,
        *metrics: str,
        by: Iterable[str] = (),
        where: Iterable[Filter] = (),
        spans: tuple[Span, ...] | None = None,
        step: Step | None = None,
        order: Iterable[str] = (),
        limit: int | None = None,
        offset: int = 0,
        filtered: bool = True,
    ) -> Answer:
        """Ask for metrics.

        Args:
            metrics: Their names.
            by: Dimensions.
            where: Further conditions.
            spans: Another range than the page's.
            step: Cut into steps of this length.
            order: Columns to sort by, `-` before those that descend.
            limit: Rows at most.
            offset: Rows to leave out.
            filtered: The page's filters hold; its subject always does.

        Raises:
            StoreError: It can't be answered.
        """
        question = Query(
            scope=self.scope,
            spans=self.state.range.spans if spans is None else spans,
            zone=self.state.range.zone,
            dimensions=tuple(by),
            metrics=metrics,
            filters=(*self.subject, *(self.state.filters() if filtered else ()), *where),
            step=step,
            order=tuple(Order(name.removeprefix("-"), name.startswith("-")) for name in order),
            limit=limit,
            offset=offset,
        )
        return run(self.engine, question)

    def question(
        self,
        *metrics: str,
        by: Iterable[str] = (),
        where: Iterable[Filter] = (),
        step: bool = False,
        order: Iterable[str] = (),
        limit: int | None = None,
    ) -> Row:
        """The same question as `/api/v1/query` takes it, its range made of two instants."""
        period = self.state.range
        asked: Row = {"metrics": list(metrics), **self.stretch(period.start, period.end), "zone": period.zone}
        if dimensions := list(by):
            asked["dimensions"] = dimensions
        asked |= self.condition(where)
        if step:
            asked["step"] = period.step.value
        if ordered := list(order):
            asked["order"] = ordered
        return asked | ({} if limit is None else {"limit": limit})

    def stretch(self, start: int, end: int) -> Row:
        """A stretch of time as the API takes it: `from` and `to`."""
        where = zone(self.state.range.zone)
        return {
            name: to_moment(at, where).isoformat(timespec="milliseconds") for name, at in (("from", start), ("to", end))
        }

    def condition(self, where: Iterable[Filter] = ()) -> Row:
        """The subject, the page's filters and further conditions as the API takes them: `filter`, or nothing."""
        conditions = [
            {"dimension": item.dimension, "operator": item.operator, "value": item.value}
            for item in (*self.subject, *self.state.filters(), *where)
        ]
        return {"filter": {"and": conditions}} if conditions else {}

    def one(self, *metrics: str, **more: Any) -> Row:
        """A single row without dimensions; empty where there was no hit."""
        rows = self.ask(*metrics, **more).rows
        return rows[0] if rows else {}

    def series(
        self, *metrics: str, by: Iterable[str] = (), spans: tuple[Span, ...] | None = None, **more: Any
    ) -> tuple[list[Bucket], list[Row]]:
        """The buckets of the page's charts, and the rows with the number of their bucket as `bucket`."""
        buckets = self.state.range.buckets(spans)
        found = self.ask(*metrics, by=by, spans=spans, step=self.state.range.step, **more)
        numbers = {bucket.label: number for number, bucket in enumerate(buckets)}
        return buckets, [{**row, "bucket": numbers[row["step"]]} for row in found.rows]


class Names:
    """Readable names and other things that change seldom, kept for half a minute for each scope."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[float, Any]] = {}

    def keep(self, key: Hashable, make: Callable[[], Made], seconds: float = _KEPT_SECONDS) -> Made:
        """What was made under a key, made again when it is too old."""
        now = time.monotonic()
        with self._lock:
            found = self._kept.get(key)
        if found and now - found[0] < seconds:
            kept: Made = found[1]
            return kept
        made = make()
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = (now, made)
        return made

    def apis(self, desk: Desk) -> Mapping[str, str]:
        """Names of all APIs that the asker sees, by id."""

        def make() -> dict[str, str]:
            found = desk.about().ask("latest_api_name", by=("api",), spans=(ALL_TIME,), filtered=False)
            return {row["api"]: row["latest_api_name"] for row in found.rows}

        return self.keep(("apis", desk.scope), make)

    def alias(self, desk: Desk, key: str) -> str:
        """The latest name of a key, "" for none."""

        def make() -> str:
            return str(
                desk.about(Filter("key", "is", key))
                .one("latest_alias", spans=(ALL_TIME,), filtered=False)
                .get("latest_alias", "")
            )

        return self.keep(("alias", desk.scope, key), make)

    def consumers(self, desk: Desk) -> Mapping[str, Sequence[Link]]:
        """What belongs to each consumer that the asker may see, by id; nothing for who sees but a part."""

        def make() -> dict[str, list[Link]]:
            found: dict[str, list[Link]] = {}
            for link in read_links(desk.engine, desk.scope.org):
                if desk.scope.consumers is None or link.consumer in desk.scope.consumers:
                    found.setdefault(link.consumer, []).append(link)
            return found

        if not desk.names_consumers:
            return {}
        return self.keep(("consumers", desk.scope), make)

    def consumer(self, desk: Desk, consumer: str) -> str:
        """The name of a consumer, its id where it has none."""
        links = self.consumers(desk).get(consumer)
        return links[0].name if links else consumer

    def known(self, desk: Desk, dimension: str, value: str) -> bool:
        """Whether there is a request with a value that the asker sees, of whatever time."""

        def make() -> bool:
            named = desk.about(Filter(dimension, "is", value))
            return bool(named.one("hits", spans=(ALL_TIME,), filtered=False).get("hits"))

        return self.keep(("known", desk.scope, dimension, value), make)

    def owner(self, desk: Desk, kind: str, value: str) -> Link | None:
        """To whom a key or client belongs now; None where that is not known, or not the asker's to see."""

        def make() -> dict[tuple[str, str], Link]:
            now = datetime.now(UTC)
            links = [link for held in self.consumers(desk).values() for link in held]
            return {(link.kind, link.value): link for link in links if link.start <= now < link.end}

        return self.keep(("owners", desk.scope), make).get((kind, value))

    def oldest(self, desk: Desk) -> int:
        """The instant of the oldest record that the asker sees, ms; 0 for none."""

        def make() -> int:
            return int(desk.about().one("first_hit", spans=(ALL_TIME,), filtered=False).get("first_hit", 0))

        return self.keep(("oldest", desk.scope), make)

    def newest(self, desk: Desk) -> int:
        """The instant of the newest record that the asker sees, ms; 0 for none. A second old at most."""

        def make() -> int:
            return int(desk.about().one("last_hit", spans=(ALL_TIME,), filtered=False).get("last_hit", 0))

        return self.keep(("newest", desk.scope), make, seconds=1.0)
