"""httpx, as far as both transports have the same of it: settings of the client, and what its failures mean."""

import socket
from typing import Any

import httpx

from longhaul_client.address import Address
from longhaul_client.messages import Call, Lost, Reply
from longhaul_client.protocol import Limits


def client_settings(address: Address) -> dict[str, Any]:
    # a stream holds a connection as long as its task takes: a hundred of them must not keep a submit waiting
    return {
        "base_url": address.url,
        "headers": address.headers,
        "trust_env": address.may_be_behind_a_proxy,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
        "follow_redirects": False,
    }


def request_settings(call: Call, limits: Limits) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "headers": dict(call.headers),
        "content": call.body,
        "timeout": httpx.Timeout(call.silence_s, connect=limits.connect_s),
    }


def reply_of(response: httpx.Response, body: bytes) -> Reply:
    return Reply(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def lost(error: httpx.RequestError, limits: Limits) -> Lost:
    """What became of a call whose answer did not come."""
    if isinstance(error, httpx.ConnectTimeout):
        return Lost(f"it cannot be reached within {limits.connect_s:g} s")
    if isinstance(error, httpx.TimeoutException):
        return Lost("it is silent for too long")
    if (unknown := _cause(error, socket.gaierror)) is not None:
        is_final = getattr(unknown, "errno", None) == socket.EAI_NONAME
        return Lost(f"its host name is not known ({unknown.strerror}). Is the address right?", hopeless=is_final)
    if isinstance(error, httpx.ConnectError):
        return Lost(f"nothing listens there ({error})")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return Lost(str(error), hopeless=True)
    return Lost(f"the connection broke ({str(error) or type(error).__name__})")


def _cause(error: BaseException, kind: type[OSError]) -> OSError | None:
    """httpx wraps what the system said, twice."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__cause__ or found.__context__
    return found
