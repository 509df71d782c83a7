"""Ports of this machine: binding one, finding a free one, and who holds one."""

import errno
import os
import socket

import psutil

from operations.errors import CommandError

_BACKLOG = 2048


def listen(host: str, port: int, setting: str = "GATEWAY") -> socket.socket:
    """A listening socket. CommandError says who holds the port, or why the address cannot be used, and names the
    variables `<setting>_HOST` and `<setting>_PORT`.
    """
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CommandError(
            f"{setting}_HOST={host} is not an address of this machine ({error.strerror}). Use 127.0.0.1, or 0.0.0.0."
        ) from None
    # A name such as localhost may stand for both kinds; IPv4 is what clients try when told 127.0.0.1.
    family, _, _, _, address = min(addresses, key=lambda found: found[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CommandError(_why(host, port, setting, error)) from None
    return listener


def _why(host: str, port: int, setting: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken{holder(port)}. Stop that program, "
            f"or choose another port with {setting}_PORT (such as {free_port()}) in the environment or .env."
        )
    if error.errno == errno.EACCES:
        return f"{setting}_PORT={port} needs more rights than this user has. Choose a port above 1023."
    return f"cannot listen on {setting}_HOST={host} {setting}_PORT={port}: {os.strerror(error.errno or 0)}."


def free_port(wanted: int | None = None) -> int:
    """`wanted` if nobody listens there, else a free port of 127.0.0.1. It may be taken again before it is used."""
    for port in (wanted, 0) if wanted else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise CommandError("this machine has no free port on 127.0.0.1.")


def answers(port: int) -> bool:
    """Whether somebody accepts connections at this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def holder(port: int) -> str:
    """` by NAME (pid N)` when this user may see it, else nothing."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:2] == (port,):
                process = psutil.Process(connection.pid)
                return f" by {process.name()} (pid {connection.pid}: {' '.join(process.cmdline())[:80]})"
    except (psutil.Error, OSError):
        pass
    return ""
