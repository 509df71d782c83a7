"""The way to an MCP server over HTTP: one connection pool a server, no redirects elsewhere, bounded answers.

Of a request that cannot be sent the SDK lets the exception end the whole session, and with it every other call. Here
it becomes an error answer to that request alone.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Final

import httpx
import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, ErrorData, JSONRPCError

from agent.proxies import proxy_for

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
CONNECT_SECONDS: Final = 5.0

_KNOWN_TROUBLE: Final = (
    (httpx2.ConnectTimeout, "does not answer"),
    (httpx2.TimeoutException, "does not answer in time"),
    (httpx2.ProxyError, "cannot be reached through the proxy"),
    (httpx2.ConnectError, "cannot be reached"),
)


class HttpWay(httpx2.AsyncBaseTransport):
    """What requests to one server pass through. `trouble` says what was wrong with the last that failed."""

    def __init__(self, url: str) -> None:
        self._inner = _transport(url)
        self.trouble: str | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # Its size is bounded as it arrives, so it must not grow by unpacking.
        request.headers["accept-encoding"] = "identity"
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            words = next((words for kind, words in _KNOWN_TROUBLE if isinstance(error, kind)), "breaks off")
            self.trouble = f"{words}. Is it running, and is `url` right?"
            told = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=CONNECTION_CLOSED, message=words))
            return httpx2.Response(503, json=told.model_dump(by_alias=True, mode="json"), request=request)
        if request.method == "POST":  # many servers have nothing to GET
            self.trouble = _trouble_of(response.status_code)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Bounded(response),
            extensions=response.extensions,
            request=request,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        # A stream of events goes on for ever; the SDK bounds each event.
        self._bounded = not response.headers.get("content-type", "").lower().startswith("text/event-stream")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._response.aiter_raw():
                size += len(chunk)
                if self._bounded and size > MAX_ANSWER_BYTES:
                    raise httpx2.StreamError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the answer broke off ({type(error).__name__})") from error

    async def aclose(self) -> None:
        await self._response.aclose()


class HttpServer:
    """The transport to one server; an asynchronous context manager, entered and left once, in one task."""

    def __init__(self, url: str, headers: Mapping[str, str], *, seconds: float) -> None:
        self._url = url
        self._headers = dict(headers)
        self._seconds = seconds
        self._way: HttpWay | None = None
        self._stack = contextlib.AsyncExitStack()

    def problem(self) -> str | None:
        """Why it cannot be spoken to, and the remedy. None: nothing is known against it."""
        if self._way is None:
            return "The proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names is of no known kind."
        return None if self._way.trouble is None else f"{shown(self._url)} {self._way.trouble}"

    async def __aenter__(self) -> tuple[Any, Any]:
        """Raises ValueError for a proxy of an unknown kind."""
        self._way = way = HttpWay(self._url)
        async with contextlib.AsyncExitStack() as stack:
            # Reads no proxy, certificate or .netrc of the environment by itself, and follows no redirect: the SDK
            # follows those that stay with the same server. A call's own limit comes before the client's, which frees
            # the connections of calls that were given up.
            client = httpx2.AsyncClient(
                transport=way,
                headers=self._headers,
                trust_env=False,
                follow_redirects=False,
                timeout=httpx2.Timeout(self._seconds + 5, connect=CONNECT_SECONDS),
            )
            await stack.enter_async_context(client)
            streams = await stack.enter_async_context(
                streamable_http_client(self._url, http_client=client, max_sse_event_size=MAX_ANSWER_BYTES)
            )
            self._stack = stack.pop_all()
            return streams

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)


def _trouble_of(status: int) -> str | None:
    if status < 300:
        return None
    if status < 400:
        return f"answers HTTP {status}, a redirect, which is followed on the same server alone. Correct `url`."
    if status in (401, 403):
        return f"answers HTTP {status}. Correct `headers`."
    return f"answers HTTP {status}. Correct `url`, or see that server's log."


def shown(url: str) -> str:
    """The address without what may be secret: user, password, query."""
    parsed = httpx2.URL(url)
    return str(parsed.copy_with(userinfo=b"", query=None, fragment=None))


def _transport(url: str) -> httpx2.AsyncHTTPTransport:
    """Raises ValueError for a proxy of an unknown kind."""
    return httpx2.AsyncHTTPTransport(
        verify=httpx.create_ssl_context(), proxy=proxy_for(httpx.URL(url)), limits=httpx2.Limits(max_connections=None)
    )
