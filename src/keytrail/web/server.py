"""Serve the application on an address and on the socket in the data directory, until told to stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import anyio.to_thread
import uvicorn
from starlette.types import ASGIApp

from keytrail.errors import KeytrailError
from keytrail.web.local import Local, socket_address

_BACKLOG: Final = 2048


class _Quiet(uvicorn.Server):
    """One of several servers in a process, so not the one that listens to signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        KeytrailError: The address can't be had; names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol said: asyncio switches off the delay of small packets only where it sees that it is TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # At once, as two processes may be bound to an address of which none listens yet.
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise KeytrailError(f"can't listen on {host}:{port}: {text}") from error
    return listening


def _listen_locally(address: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        # Left over from a process that was killed: whoever holds the directory's lock owns the name.
        Path(address).unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    # Nobody can connect yet. (A mask for new files would hold for the engine's threads, too.)
    Path(address).chmod(0o600)
    return listening


def serve(
    app: ASGIApp,
    listening: socket.socket,
    directory: Path | None,
    *,
    ready: Callable[[], None] = lambda: None,
    threads: int = 8,
    trusted_proxies: Sequence[str] = (),
) -> None:
    """Answer requests until SIGTERM or SIGINT; what runs is finished first.

    Args:
        app: The application.
        listening: Where to answer.
        directory: The data directory, for the local socket; None has none.
        ready: Called once requests are answered.
        threads: Requests that are answered at the same time.
        trusted_proxies: Addresses whose forwarding headers are believed.
    """
    with contextlib.ExitStack() as stack:
        servers = [(_server(app, trusted_proxies), listening)]
        if directory is not None:
            address = stack.enter_context(socket_address(directory))
            local = _listen_locally(address)
            stack.callback(Path(address).unlink, missing_ok=True)
            servers.append((_server(Local(app), ()), local))
        asyncio.run(_run(servers, ready, threads))


def _server(app: ASGIApp, trusted_proxies: Sequence[str]) -> _Quiet:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=10,
        server_header=False,
        forwarded_allow_ips=list(trusted_proxies),
    )
    return _Quiet(config)


async def _run(servers: list[tuple[_Quiet, socket.socket]], ready: Callable[[], None], threads: int) -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = threads

    def stop() -> None:
        for server, _ in servers:
            # A second signal does not wait any more.
            server.force_exit = server.should_exit
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(server.serve(sockets=[listening])) for server, listening in servers]
    while not all(server.started or task.done() for (server, _), task in zip(servers, tasks, strict=True)):
        await asyncio.sleep(0.01)
    if all(server.started for server, _ in servers):
        ready()
    else:
        stop()
    await asyncio.gather(*tasks)
