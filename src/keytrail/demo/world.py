"""The cast of the demo: one organisation, its APIs, and who calls them.

`build_world` is a pure function of its seed. Every name is invented, and every address comes from a range
reserved for documentation or benchmarks (RFC 5737, 2544, 3849) or for private networks (RFC 1918), so that no
demo ever shows a real company or a real person's address.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, Literal

ORG_ID: Final = "5e9d9544a1dcd60001d0ed20"
NO_KEY: Final = "00000000"
"""What a gateway that hashes keys records as the key of a request that carried none."""

Curve = Literal["office", "consumer", "machine"]
Manner = Literal["careful", "ordinary", "careless"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of an API.

    Attributes:
        method: The HTTP method.
        path: A tracked endpoint's pattern, with `{…}` for what varies; an untracked one's literal path.
        weight: Its share among the endpoints of its API, relative.
        median_ms: The median of the upstream's answer time, in milliseconds.
        sigma: The spread of that time: the deviation of its natural logarithm.
        tracked: Whether the gateway was told to track the endpoint.
    """

    method: str
    path: str
    weight: float
    median_ms: float
    sigma: float = 0.45
    tracked: bool = True


@dataclass(frozen=True, slots=True)
class Api:
    """One API of the organisation.

    Attributes:
        name: Its readable name.
        api_id: 32 hexadecimal digits.
        host: The upstream's host and port; empty for a TCP proxy.
        endpoints: What can be called.
        weight: How likely a key is to use it, relative.
        kind: What it speaks.
        access: Whether it asks for a key, for an OAuth token, or for nothing.
        versions: Each version and its share.
        detailed: Whether the gateway records the whole request and answer.
    """

    name: str
    api_id: str
    host: str
    endpoints: tuple[Endpoint, ...]
    weight: float = 1.0
    kind: Literal["rest", "graphql", "mcp", "tcp"] = "rest"
    access: Literal["key", "oauth", "open"] = "key"
    versions: tuple[tuple[str, float], ...] = (("Non Versioned", 1.0),)
    detailed: bool = False


@dataclass(frozen=True, slots=True)
class City:
    """Where an address is; an empty `country` stands for an address that no database knows (a private one).

    Attributes:
        country: ISO 3166 code.
        names: The city's name by language.
        geoname_id: Its number at GeoNames.
        latitude: Degrees north.
        longitude: Degrees east.
        time_zone: IANA name.
        utc_offset: Hours east of UTC that daily habits there follow; daylight saving is ignored.
        weight: How many callers live there, relative.
    """

    country: str
    names: tuple[tuple[str, str], ...]
    geoname_id: int
    latitude: float
    longitude: float
    time_zone: str
    utc_offset: int
    weight: float


@dataclass(frozen=True, slots=True)
class Origin:
    """One machine that a caller calls from: address, place and user agent."""

    ip: str
    city: City
    agent: str


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, an OAuth client's token, or the crowd without a key.

    Attributes:
        key: The key's hash, 16 hexadecimal digits, or `NO_KEY`.
        alias: Its readable name; some keys have none.
        client: The OAuth client's id, 32 hexadecimal digits, or "".
        tags: Tags of its policies, then its own.
        weight: Its share of all requests, relative.
        curve: Its rhythm over day and week.
        utc_offset: Hours east of UTC that its rhythm follows.
        manner: How often its requests are at fault.
        origins: Where it calls from, the most used first.
        use: Which APIs it calls, each with its share.
    """

    key: str
    alias: str
    client: str
    tags: tuple[str, ...]
    weight: float
    curve: Curve
    utc_offset: int
    manner: Manner
    origins: tuple[Origin, ...]
    use: tuple[tuple[Api, float], ...]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the traffic is made from.

    Attributes:
        seed: What it was built from.
        apis: The organisation's APIs.
        callers: Keys, OAuth tokens and the crowd without a key.
        flaky: The endpoint whose upstream has an outage three days before the end.
        broken: The endpoint that the latest deployment broke.
        failing: The key that runs into its limits.
    """

    seed: int
    apis: tuple[Api, ...]
    callers: tuple[Caller, ...]
    flaky: tuple[Api, Endpoint]
    broken: tuple[Api, Endpoint]
    failing: Caller


_CHARGES = Endpoint("POST", "/charges", 30, 210, 0.5)
_AVAILABILITY = Endpoint("GET", "/products/{sku}/availability", 22, 34)

ORDERS = Api(
    "Orders API", "41351a6a94094da05f75146a695a16f6", "orders.internal:8080",
    (
        Endpoint("GET", "/orders", 24, 65), Endpoint("GET", "/orders/{id}", 34, 28),
        Endpoint("POST", "/orders", 14, 120), Endpoint("PUT", "/orders/{id}", 5, 85),
        Endpoint("DELETE", "/orders/{id}", 1.5, 60), Endpoint("GET", "/orders/{id}/items", 12, 41),
        Endpoint("POST", "/orders/{id}/refunds", 1.2, 320, 0.6),
        Endpoint("GET", "/health", 3, 2, 0.3, tracked=False),
        Endpoint("GET", "/exports/Größe pro Monat.csv", 0.6, 900, 0.7, tracked=False),
    ),
    weight=30, versions=(("v1", 0.35), ("v2", 0.65)),
)  # fmt: skip
CATALOGUE = Api(
    "Catalogue API", "9f1c2d3e4b5a69788796a5b4c3d2e1f0", "catalogue.internal:8080",
    (
        Endpoint("GET", "/products", 26, 55), Endpoint("GET", "/products/{sku}", 38, 17), _AVAILABILITY,
        Endpoint("GET", "/search", 18, 140, 0.65), Endpoint("PATCH", "/products/{sku}", 1.5, 75),
        Endpoint("GET", "/images/Übersicht groß.png", 1.5, 9, 0.4, tracked=False),
        Endpoint("GET", "/favicon.ico", 0.5, 3, 0.3, tracked=False),
    ),
    weight=34,
)  # fmt: skip
PAYMENTS = Api(
    "Payments API", "79fc7cb80df940cc5089772200bd4926", "payments.internal:9000",
    (
        _CHARGES, Endpoint("GET", "/charges/{id}", 34, 32),
        Endpoint("POST", "/charges/{id}/capture", 12, 180, 0.5),
        Endpoint("GET", "/balance", 9, 22), Endpoint("GET", "/payouts", 5, 95),
    ),
    access="oauth",
)  # fmt: skip
SHIPPING = Api(
    "Shipping API", "b7e23ec29af22b0b4e41da31e868d572", "shipping.internal:8080",
    (
        Endpoint("GET", "/shipments/{id}", 40, 48), Endpoint("POST", "/shipments", 10, 160, 0.5),
        Endpoint("GET", "/rates", 14, 260, 0.6), Endpoint("POST", "/labels", 6, 410, 0.5),
    ),
    weight=12, detailed=True,
)  # fmt: skip
BRANCHES = Api(
    "Filialen & Öffnungszeiten", "1793db2cbb724ad54da582ce3191d383", "branches.internal:8080",
    (
        Endpoint("GET", "/branches", 30, 19), Endpoint("GET", "/branches/{city}", 22, 12),
        Endpoint("GET", "/map", 4, 3, tracked=False),
        Endpoint("GET", "/branches/münchen süd", 3, 12, tracked=False),
    ),
    weight=3, access="open",
)  # fmt: skip
GRAPH = Api(
    "Storefront Graph", "6772617068716c6170690000000000aa", "storefront.internal:4000",
    (Endpoint("POST", "/graphql", 1, 72, 0.6, tracked=False),), weight=6, kind="graphql",
)  # fmt: skip
TOOLS = Api(
    "Assistant Tools", "6d63706170690000000000000000bb01", "tools.internal:7800",
    (Endpoint("POST", "/mcp", 1, 130, 0.8, tracked=False),), weight=3.5, kind="mcp",
)  # fmt: skip
TILLS = Api(
    "Till feed", "7463700000000000000000000000aaaa", "",
    (Endpoint("", "/", 1, 0, tracked=False),), kind="tcp", access="open", versions=(("", 1.0),),
)  # fmt: skip
APIS: Final = (ORDERS, CATALOGUE, PAYMENTS, SHIPPING, BRANCHES, GRAPH, TOOLS, TILLS)

NOWHERE: Final = City("", (), 0, 0.0, 0.0, "", 1, 5)
# fmt: off
_CITIES: Final = (
    City("DE", (("de", "Berlin"), ("ja", "ベルリン")), 2950159, 52.5244, 13.4105, "Europe/Berlin", 1, 16),
    City("DE", (("de", "München"), ("en", "Munich")), 2867714, 48.1374, 11.5755, "Europe/Berlin", 1, 9),
    City("GB", (("en", "London"), ("fr", "Londres")), 2643743, 51.5085, -0.1257, "Europe/London", 0, 11),
    City("FR", (("en", "Paris"), ("fr", "Paris")), 2988507, 48.8534, 2.3488, "Europe/Paris", 1, 7),
    City("NL", (("en", "Amsterdam"),), 2759794, 52.374, 4.8897, "Europe/Amsterdam", 1, 5),
    City("CH", (("de", "Zürich"), ("en", "Zurich")), 2657896, 47.3667, 8.55, "Europe/Zurich", 1, 4),
    City("SE", (("en", "Stockholm"),), 2673730, 59.3294, 18.0687, "Europe/Stockholm", 1, 3),
    City("PL", (("en", "Warsaw"), ("de", "Warschau")), 756135, 52.2298, 21.0118, "Europe/Warsaw", 1, 4),
    City("ES", (("en", "Madrid"),), 3117735, 40.4165, -3.7026, "Europe/Madrid", 1, 3),
    City("US", (("en", "New York"),), 5128581, 40.7143, -74.006, "America/New_York", -5, 11),
    City("US", (("en", "San Francisco"),), 5391959, 37.7749, -122.4194, "America/Los_Angeles", -8, 6),
    City("CA", (("en", "Toronto"),), 6167865, 43.7001, -79.4163, "America/Toronto", -5, 3),
    City("BR", (("en", "São Paulo"),), 3448439, -23.5475, -46.6361, "America/Sao_Paulo", -3, 3),
    City("JP", (("en", "Tokyo"), ("ja", "東京")), 1850147, 35.6895, 139.6917, "Asia/Tokyo", 9, 5),
    City("IN", (("en", "Mumbai"),), 1275339, 19.0728, 72.8826, "Asia/Kolkata", 5, 4),
    City("SG", (("en", "Singapore"),), 1880252, 1.2897, 103.8501, "Asia/Singapore", 8, 3),
    City("AU", (("en", "Sydney"),), 2147714, -33.8679, 151.2073, "Australia/Sydney", 10, 2),
    City("KE", (("en", "Nairobi"),), 184745, -1.2833, 36.8167, "Africa/Nairobi", 3, 1),
    NOWHERE,
)
_FIRST: Final = (
    "Amberfold", "Brindlecart", "Corvane", "Dunmarrow", "Elmspire", "Fennickson", "Galewright", "Harrowlin",
    "Ivenlo", "Jorvane", "Kestrelway", "Lumenarro", "Marlowick", "Nordvalen", "Orrinta", "Pellamoor",
    "Quillhaven", "Rookmere", "Silvantor", "Tarnfold", "Umberlane", "Vellorind", "Wrenfold", "Zephridan",
)
_SECOND: Final = (
    "Freight", "Foods", "Retail", "Travel", "Pharma", "Books", "Outdoors", "Energy", "Studio", "Market",
)
_APPS: Final[tuple[tuple[str, Curve], ...]] = (
    ("web shop", "consumer"), ("mobile app", "consumer"), ("kiosk", "consumer"), ("ERP connector", "machine"),
    ("CI tests", "office"), ("partner portal", "office"), ("reporting", "office"), ("chat bot", "consumer"),
    ("price watcher", "machine"), ("back office", "office"), ("warehouse sync", "machine"),
)
_FAILING_RANK: Final = 11
# By rank in the long tail: what a key is called there instead of an invented company.
_NAMED: Final = {
    2: "日本フルーツ 配送", 5: "Größe & Maß Versand", _FAILING_RANK: "Pellamoor Freight tracking sync",
    14: "Łąka Sklep mobile", 23: "Café Brûlée caisse", 31: "o'brien \"5\" test", 47: "北海道 市場",
}
_AGENTS: Final[dict[Curve, tuple[str, ...]]] = {
    "office": ("python-requests/2.32.3", "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0", "curl/8.5.0"),
    "consumer": (
        "okhttp/4.12.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)", "Dart/3.5 (dart:io)",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/139.0",
    ),
    "machine": ("Go-http-client/2.0", "Java/21.0.4", "python-httpx/0.28.1", "node-fetch/3.3", ""),
}
# fmt: on
_TEAMS: Final = ("checkout", "mobile", "logistics", "growth", "finance", "partners", "data")
_PLANS: Final = (("free", 0.5), ("team", 0.35), ("enterprise", 0.15))


def build_world(seed: int = 7, *, keys: int = 400, clients: int = 25) -> World:
    """Make the cast.

    Args:
        seed: The same seed gives the same world.
        keys: How many API keys there are, beside the tokens of OAuth clients; at least 12.
        clients: How many OAuth clients there are, each with one to six tokens.

    Raises:
        ValueError: There are too few keys for the story that the traffic tells.
    """
    if keys <= _FAILING_RANK:
        raise ValueError(f"a world needs more than {_FAILING_RANK} keys, not {keys}")
    rng = Random(f"keytrail demo world {seed}")
    holders = [_key(rng, rank) for rank in range(keys)]
    tokens = [token for rank in range(clients) for token in _tokens(rng, rank)]
    return World(
        seed=seed,
        apis=APIS,
        callers=(*holders, *tokens, *_without_key(rng)),
        flaky=(PAYMENTS, _CHARGES),
        broken=(CATALOGUE, _AVAILABILITY),
        failing=holders[_FAILING_RANK],
    )


def _key(rng: Random, rank: int) -> Caller:
    app, curve = rng.choice(_APPS)
    company = f"{rng.choice(_FIRST)} {rng.choice(_SECOND)}"
    alias = _NAMED.get(rank, "" if rng.random() < 0.05 else f"{company} {app}")
    plan = rng.choices([name for name, _ in _PLANS], [share for _, share in _PLANS])[0]
    tags = [f"pol-{plan}", f"team-{rng.choice(_TEAMS)}", f"plan-{plan}"]
    if rng.random() < 0.08:
        tags.append("beta user")
    city = _city(rng)
    liked = _several(rng, rng.choice((1, 2, 2, 3, 4)))
    manner: Manner = rng.choices(("careful", "ordinary", "careless"), (0.35, 0.57, 0.08))[0]
    if rank < _FAILING_RANK and manner == "careless":
        manner = "ordinary"  # one of the largest keys at fault would drown every other error
    if rank == _FAILING_RANK:
        liked, manner, curve = [ORDERS, SHIPPING], "careful", "machine"
    return Caller(
        key=f"{rng.getrandbits(64):016x}",
        alias=alias,
        client="",
        tags=tuple(tags),
        # Zipf's law: the usual shape of how unevenly consumers use an API.
        weight=1 / (rank + 1.5) ** 1.05,
        curve=curve,
        utc_offset=city.utc_offset,
        manner=manner,
        origins=_origins(rng, city, curve, rng.choice((1, 1, 2, 3))),
        use=tuple((api, api.weight * rng.uniform(0.3, 1.7)) for api in liked),
    )


def _tokens(rng: Random, rank: int) -> list[Caller]:
    client, city = f"{rng.getrandbits(128):032x}", _city(rng)
    count = rng.randint(1, 6)
    return [
        Caller(
            key=f"{rng.getrandbits(64):016x}",
            alias="",
            client=client,
            tags=("pol-oauth", "oauth", f"plan-{'enterprise' if rank < 6 else 'team'}"),
            weight=0.42 / (rank + 1.5) / count,
            curve="consumer" if rank % 2 else "office",
            utc_offset=city.utc_offset,
            manner="careful",
            origins=_origins(rng, city, "machine", 2),
            use=((PAYMENTS, 1.0),),
        )
        for _ in range(count)
    ]


def _without_key(rng: Random) -> list[Caller]:
    """Visitors of the open API, probes that bring no key, and the TCP proxy's own counters."""
    visitors = tuple(origin for _ in range(60) for origin in _origins(rng, _city(rng), "consumer", 1))
    probes = tuple(origin for _ in range(8) for origin in _origins(rng, _city(rng), "machine", 1))
    probed = ((ORDERS, 2.0), (CATALOGUE, 2.0), (PAYMENTS, 1.0))
    till = (Origin("", NOWHERE, ""),)
    return [
        Caller(NO_KEY, "", "", (), 0.30, "consumer", 1, "ordinary", visitors, ((BRANCHES, 1.0),)),
        Caller(NO_KEY, "", "", (), 0.022, "machine", 1, "ordinary", probes, probed),
        Caller(NO_KEY, "", "", (), 0.02, "machine", 1, "careful", till, ((TILLS, 1.0),)),
    ]


def _several(rng: Random, count: int) -> list[Api]:
    """Draw `count` different APIs that a key opens, by weight."""
    left = [api for api in APIS if api.access != "oauth" and api.kind != "tcp"]
    drawn: list[Api] = []
    for _ in range(count):
        drawn.append(rng.choices(left, [api.weight for api in left])[0])
        left.remove(drawn[-1])
    return drawn


def _city(rng: Random) -> City:
    return rng.choices(_CITIES, [city.weight for city in _CITIES])[0]


def _origins(rng: Random, city: City, curve: Curve, count: int) -> tuple[Origin, ...]:
    return tuple(Origin(_address(rng, city), city, rng.choice(_AGENTS[curve])) for _ in range(count))


def _address(rng: Random, city: City) -> str:
    if not city.country:
        return f"10.{rng.randrange(32)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    if rng.random() < 0.07:
        return f"2001:db8:{rng.getrandbits(16):x}:{rng.getrandbits(16):x}::{rng.getrandbits(16):x}"
    if rng.random() < 0.1:
        return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"
    return f"198.{rng.choice((18, 19))}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
