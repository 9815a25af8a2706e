"""How a command reaches the records: through a running server, or the store in this process.

One process holds a data directory. A command beside a running server finds the server's socket in the directory and
goes through it; `--url` and `--token` reach a server elsewhere; where there is neither, the application is run in
this process. All three are the same HTTP API, so a command has one way of working.
"""

import contextlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import anyio.from_thread
import httpx
from starlette.types import ASGIApp

from keytrail.cli.opening import opened
from keytrail.collect.intake import Intake
from keytrail.config import Settings
from keytrail.errors import KeytrailError, StoreBusy
from keytrail.web.local import SOCKET_NAME, Local, socket_address

if TYPE_CHECKING:
    from keytrail.cli.wiring import Assembly

_TIMEOUT: Final = httpx.Timeout(600, connect=5)
_PIECE: Final = 256 * 1024
_ALIVE_SECONDS: Final = 5.0
"""How long a server may take to say that it lives."""


class NoStore(KeytrailError):
    """There is no data directory.

    Args:
        directory: Where it would be.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(f"there is no data directory {directory}; --data or store.url says where it is")


class Refused(KeytrailError):
    """The server refused.

    Args:
        status: HTTP status.
        message: What it said.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the server refused ({status}): {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Reached:
    """A way to the API.

    Attributes:
        client: Sends requests.
        here: The parts, where the store is in this process; else None.
    """

    client: httpx.Client
    here: "Assembly | None"

    def get(self, path: str, parameters: dict[str, str] | None = None) -> httpx.Response:
        """Ask for something.

        Raises:
            KeytrailError: The server can't be reached or refuses; with its message.
        """
        return _checked(lambda: self.client.get(path, params=parameters))

    def stream(self, path: str, parameters: list[tuple[str, str]]) -> Iterator[bytes]:
        """Ask for something large; its bytes as they come.

        Raises:
            KeytrailError: The server can't be reached, refuses, or breaks off.
        """
        try:
            with self.client.stream("GET", path, params=httpx.QueryParams(urlencode(parameters))) as answer:
                if answer.status_code >= httpx.codes.BAD_REQUEST:
                    answer.read()
                    _checked(lambda: answer)
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise KeytrailError(f"the server broke off: {error}") from error

    def post(self, path: str, parameters: dict[str, str], body: bytes) -> httpx.Response:
        """Send something.

        Raises:
            KeytrailError: The server can't be reached or refuses; with its message.
        """
        # The client copies what is left after each packet, so it gets small pieces.
        pieces = (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
        headers = {"Content-Length": str(len(body))}
        return _checked(lambda: self.client.post(path, params=parameters, content=pieces, headers=headers))

    def put(self, path: str, parameters: dict[str, str], body: bytes) -> httpx.Response:
        """Put something in the place of what is there.

        Raises:
            KeytrailError: The server can't be reached or refuses; with its message.
        """
        return _checked(lambda: self.client.put(path, params=parameters, content=body))


@contextlib.contextmanager
def reach(settings: Settings, url: str = "", token: str = "") -> Iterator[Reached]:
    """The nearest way to the records.

    Args:
        settings: The settings.
        url: Address of a server elsewhere; "" for the data directory of the settings.
        token: Token for that server.

    Raises:
        NoStore: There is no data directory.
        StoreBusy: A process holds the data directory but answers no requests; the message says which.
        KeytrailError: No server answers at the address.
    """
    with contextlib.ExitStack() as stack:
        if client := _server(stack, settings, url, token):
            yield Reached(client, None)
            return
        directory = settings.store.directory
        if directory is not None and not directory.exists():
            raise NoStore(directory)
        from keytrail.cli.wiring import assembled

        with _explained():
            assembly = stack.enter_context(assembled(settings, collect=False))
        yield Reached(stack.enter_context(in_process(Local(assembly.service.app))), assembly)


def asked_org(reached: Reached, org: str) -> dict[str, str]:
    """The parameter that names an organisation; nothing where the token decides.

    Args:
        reached: The way to the store.
        org: The organisation; "" takes the only one of the store.

    Raises:
        KeytrailError: There are several.
    """
    if not org:
        try:
            answer = reached.get("/api/v1/organisations")
        except Refused as error:
            if error.status == 403:
                return {}
            raise
        orgs = [item["org"] for item in answer.json()["data"]]
        if len(orgs) > 1:
            raise KeytrailError(
                "the store holds several organisations; choose one with --org: " + ", ".join(map(repr, orgs))
            )
        org = orgs[0] if orgs else ""
    return {"org": org} if org else {}


@contextlib.contextmanager
def reach_intake(settings: Settings, url: str = "", token: str = "") -> Iterator[Reached | Intake]:
    """The nearest way for records: a server, or the store itself, which is made if it is missing.

    Args:
        settings: The settings.
        url: Address of a server elsewhere; "" for the data directory of the settings.
        token: Token for that server.

    Raises:
        StoreBusy: A process holds the data directory but answers no requests; the message says which.
        KeytrailError: No server answers at the address.
    """
    with contextlib.ExitStack() as stack:
        if client := _server(stack, settings, url, token):
            yield Reached(client, None)
            return
        with _explained():
            store = stack.enter_context(opened(settings))
        yield store.intake


def _server(stack: contextlib.ExitStack, settings: Settings, url: str, token: str) -> httpx.Client | None:
    """A client of the server at an address, or of the one that holds the data directory if it answers."""
    if url:
        return stack.enter_context(_client_of(url, token))
    directory = settings.store.directory
    if directory is None:
        # Any process may use a server by itself.
        return None
    if not _is_socket(directory / SOCKET_NAME):
        return None
    address = stack.enter_context(socket_address(directory))
    client = stack.enter_context(
        httpx.Client(transport=httpx.HTTPTransport(uds=address), base_url="http://keytrail", timeout=_TIMEOUT)
    )
    return client if _answers(client) else None


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except StoreBusy as error:
        raise StoreBusy(f"{error}, which answers no requests: wait until it ends, or end it") from error


def _client_of(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": token} if token else {}
    try:
        if httpx.URL(url).scheme in {"http", "https"}:
            return httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT)
    except (httpx.InvalidURL, UnicodeEncodeError):
        pass
    raise KeytrailError(f"--url: {url!r} is not an address such as https://stats.example.com, or --token is no token")


@contextlib.contextmanager
def in_process(app: ASGIApp) -> Iterator[httpx.Client]:
    """A client of an application that runs in this process."""
    with anyio.from_thread.start_blocking_portal() as portal:
        asynchronous = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://keytrail", timeout=_TIMEOUT
        )

        class _Bridge(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                async def send() -> tuple[int, httpx.Headers, bytes]:
                    answer = await asynchronous.request(
                        request.method, request.url, headers=request.headers, content=request.read()
                    )
                    return answer.status_code, answer.headers, answer.content

                status, headers, content = portal.call(send)
                return httpx.Response(status, headers=headers, content=content)

        with httpx.Client(transport=_Bridge(), base_url="http://keytrail") as client:
            yield client


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz", timeout=_ALIVE_SECONDS).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _checked(send: Callable[[], httpx.Response]) -> httpx.Response:
    try:
        answer = send()
    except httpx.InvalidURL as error:
        raise KeytrailError(f"the address can't be used: {error}") from error
    except httpx.TransportError as error:
        raise KeytrailError(f"the server does not answer: {error}") from error
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        try:
            message = answer.json()["Message"]
        except (ValueError, KeyError, TypeError):
            message = answer.reason_phrase
        raise Refused(answer.status_code, message)
    return answer
