"""Ports of 127.0.0.1 for servers that a test starts."""

import atexit
import socket
import sys


def free_port() -> int:
    """A port that nobody else is given until this process ends, whether or not a server listens on it meanwhile.

    On Linux it stays bound by a socket that never listens: the system gives such a port to nobody who asks for any, it
    refuses connections, and a server may still bind it, as servers set SO_REUSEADDR.
    """
    return _hold(0)


def cluster_port() -> int:
    """A free port whose cluster bus, 10,000 above, is free too (Redis 6.2 can't set it apart)."""
    for _ in range(1_000):
        port = free_port()
        try:
            _hold(port + 10_000)
        except (OSError, OverflowError):
            continue
        return port
    raise AssertionError("no free pair of ports")


def _hold(port: int) -> int:
    """Bind a port, 0 for any, and keep it where a server can bind it all the same."""
    holder = socket.socket()
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        port = int(holder.getsockname()[1])
    except BaseException:
        holder.close()
        raise
    if sys.platform == "linux":
        atexit.register(holder.close)
    else:
        holder.close()
    return port
