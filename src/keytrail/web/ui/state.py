"""The state of a page, all of it in its URL: range, zone, filters, comparison, sorting, page, search."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from keytrail.errors import RequestError
from keytrail.query.catalog import DIMENSIONS
from keytrail.query.request import Filter
from keytrail.web.parameters import whole_number
from keytrail.web.ui.ranges import CUSTOM, DEFAULT, Range, make_range

FILTERS: Final = {
    "org": "organisation",
    "consumer": "consumer",
    "key": "key",
    "oauth_client": "OAuth client",
    "api": "API",
    "path": "endpoint",
    "method": "method",
    "version": "version",
    "code_class": "status",
    "code": "code",
    "error_origin": "blame",
    "kind": "kind",
    "country": "country",
    "tag": "tag",
    "user_agent": "user agent",
    "ip": "address",
    "host": "host",
}
"""What pages can be filtered by: the catalogue's dimension, which is also the parameter, and its name for people."""

NOT: Final = "not."
"""Prefix of the parameter of an exclusion."""

EXTRAS: Final = ("min_latency", "max_latency", "baseline", "by", "direction", "least_hits")
"""Parameters that one page alone understands."""

_MOST_PAGES: Final = 999_999
_GREATEST: Final = 9_999
"""More than any response code, which is the one number that pages are filtered by."""
_MOST_FILTERS: Final = 40
_LONGEST: Final = 4_000
"""Characters of a value: the server takes no longer request line than some tens of thousands."""


@dataclass(frozen=True, slots=True)
class Picked:
    """A filter that somebody picked: one value of a dimension, wanted or not."""

    dimension: str
    value: str
    wanted: bool = True

    @property
    def parameter(self) -> str:
        """Its name in a URL."""
        return self.dimension if self.wanted else NOT + self.dimension


@dataclass(frozen=True, slots=True)
class State:
    """What a page shows.

    Attributes:
        range: When.
        picked: Filters, each once, in the order of the URL.
        compare: Beside the period before.
        sort: Column of the page's table, with `-` before it for descending; "" for its own order.
        page: Page of the table, from 1.
        search: Text that the table's rows have.
        extras: Parameters that one page alone understands.
        root: Path under which a reverse proxy serves us.
        path: Path of the page, below the root, encoded.
        home_zone: The zone that the URL need not name.
    """

    range: Range
    picked: tuple[Picked, ...] = ()
    compare: bool = True
    sort: str = ""
    page: int = 1
    search: str = ""
    extras: tuple[tuple[str, str], ...] = ()
    root: str = ""
    path: str = "/"
    home_zone: str = "UTC"

    def filters(self) -> tuple[Filter, ...]:
        """The filters as the query layer takes them: values of one dimension are alternatives, exclusions all hold.

        Raises:
            RequestError: A value is not of its dimension's type.
        """
        chosen: dict[str, list[Any]] = {}
        found: list[Filter] = []
        for one in self.picked:
            value = _typed(one)
            if not one.wanted:
                found.append(Filter(one.dimension, "is_not", value))
            elif one.dimension == "tag":
                # A request has several: all that are wanted must be among them.
                found.append(Filter("tag", "has_all", [value]))
            else:
                chosen.setdefault(one.dimension, []).append(value)
        for dimension, values in chosen.items():
            found.append(
                Filter(dimension, "is", values[0]) if len(values) == 1 else Filter(dimension, "in", values),
            )
        return tuple(found)

    def values(self, dimension: str) -> list[str]:
        """The wanted values of a dimension."""
        return [one.value for one in self.picked if one.dimension == dimension and one.wanted]

    def own(self, name: str) -> str:
        """A parameter that one page alone understands; "" where it is not given."""
        return dict(self.extras).get(name, "")

    def with_own(self, name: str, value: str) -> str:
        """The URL with such a parameter set, or without it where the value is ""."""
        rest = tuple(pair for pair in self.extras if pair[0] != name)
        return self.link(extras=(*rest, (name, value)) if value else rest)

    def link(self, path: str | None = None, **changes: Any) -> str:
        """The URL of this state with something changed, back on the first page.

        Args:
            path: Another page, encoded, below the root; None stays.
            changes: Attributes of the state; `preset` for a range's name, `first` and `last` for an own one,
                `zone` for another zone.
        """
        preset, first = changes.pop("preset", self.range.name), changes.pop("first", self.range.first)
        last, where = changes.pop("last", self.range.last), changes.pop("zone", self.range.zone)
        if preset != CUSTOM:
            first = last = ""
        to = self.path if path is None else path
        # Sorting, page and search are those of one page's table.
        own = {} if to == self.path else {"extras": (), "sort": "", "search": ""}
        pairs = replace(self, **{"page": 1, **own, **changes})._pairs(preset, first, last, where)
        return self.root + to + (f"?{urlencode(pairs, quote_via=quote)}" if pairs else "")

    def pairs(self, without: str) -> list[tuple[str, str]]:
        """The parameters of this state for a form that sets one of them: `range`, `zone` or `q`."""
        given = self._pairs(self.range.name, self.range.first, self.range.last, self.range.zone)
        left_out = {"range", "from", "to"} if without == "range" else {without}
        if without == "q":
            left_out |= set(EXTRAS)
        return [(name, value) for name, value in given if name not in left_out and name != "page"]

    def _pairs(self, preset: str, first: str, last: str, where: str) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = []
        if first or last:
            pairs += [("from", first), ("to", last)]
        elif preset != DEFAULT:
            pairs.append(("range", preset))
        if where != self.home_zone:
            pairs.append(("zone", where))
        pairs += [(one.parameter, one.value) for one in self.picked]
        if not self.compare:
            pairs.append(("compare", "off"))
        pairs += self.extras
        if self.sort:
            pairs.append(("sort", self.sort))
        if self.search:
            pairs.append(("q", self.search))
        if self.page > 1:
            pairs.append(("page", str(self.page)))
        return pairs

    def pick(self, dimension: str, value: Any, path: str | None = None, *, wanted: bool = True) -> str:
        """The URL with a filter more; a value that is picked already is let go again."""
        one = Picked(dimension, str(value), wanted)
        rest = tuple(it for it in self.picked if (it.dimension, it.value) != (one.dimension, one.value))
        return self.link(path, picked=rest if one in self.picked else (*rest, one))

    def having(self, **values: Any) -> "State":
        """The same with these filters added, without those of the same dimensions."""
        rest = tuple(it for it in self.picked if it.dimension not in values)
        return replace(self, picked=(*rest, *(Picked(name, str(value)) for name, value in values.items())))

    def only(self, to: str, /, **values: Any) -> str:
        """The URL of another page with these filters added, without those of the same dimensions."""
        return self.having(**values).link(to)

    def zoom(self, first: str, last: str) -> str:
        """The URL of an own range."""
        return self.link(preset=CUSTOM, first=first, last=last)

    def without(self, *dimensions: str) -> "State":
        """The same without filters of some dimensions: a page that is about one key is not filtered by it as well."""
        return replace(self, picked=tuple(one for one in self.picked if one.dimension not in dimensions))


def read_state(
    parameters: Iterable[tuple[str, str]], *, root: str, path: str, home_zone: str, cookies: Mapping[str, str], now: int
) -> State:
    """Read the state of a page from its URL.

    Args:
        parameters: Those of the URL, repeated ones too.
        root: Path under which a reverse proxy serves us.
        path: Path of the page, encoded.
        home_zone: Zone of the settings.
        cookies: `keytrail_zone` is the zone that somebody chose last.
        now: The instant of asking, ms.

    Raises:
        RequestError: A parameter can't be understood; names it.
    """
    single: dict[str, str] = {}
    picked: dict[Picked, None] = {}
    for name, value in parameters:
        dimension = name.removeprefix(NOT)
        if dimension in FILTERS:
            if len(value) > _LONGEST or len(picked) >= _MOST_FILTERS:
                raise RequestError("there are too many filters, or one is too long")
            picked[Picked(dimension, value, wanted=not name.startswith(NOT))] = None
        else:
            single[name] = value.strip()
    # A link with times and without a zone was made in the zone of the settings, and must mean the same everywhere.
    own_range = bool(single.get("from") or single.get("to"))
    where = single.get("zone", "") or (home_zone if own_range else _remembered(cookies, home_zone))
    given_page = single.get("page", "") or "1"
    page = whole_number(given_page, _MOST_PAGES, least=1)
    if page is None:
        raise RequestError(f"page {given_page[:40]!r} is not a number from 1")
    state = State(
        range=make_range(single.get("range", "") or DEFAULT, single.get("from", ""), single.get("to", ""), where, now),
        picked=tuple(picked),
        compare=single.get("compare", "") != "off",
        sort=single.get("sort", "")[:40],
        page=page,
        search=single.get("q", "")[:200],
        extras=tuple((name, single[name]) for name in EXTRAS if single.get(name)),
        root=root,
        path=path,
        home_zone=home_zone,
    )
    # Told now, not in the midst of a page.
    state.filters()
    return state


def _remembered(cookies: Mapping[str, str], home_zone: str) -> str:
    from_cookie = cookies.get("keytrail_zone", "")
    try:
        make_range(DEFAULT, "", "", from_cookie, 0)
    except RequestError:
        return home_zone
    return from_cookie


def _typed(one: Picked) -> Any:
    if DIMENSIONS[one.dimension].type == "Int64":
        number = whole_number(one.value, _GREATEST, least=-_GREATEST)
        if number is None:
            raise RequestError(f"{FILTERS[one.dimension]} {one.value[:40]!r} is not a number")
        return number
    return one.value
