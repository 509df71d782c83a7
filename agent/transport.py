"""How requests reach the model providers: one connection pool a runner, each request sent exactly once.

litellm's HTTP handler sends a request again on a new connection after ConnectError and RemoteProtocolError. A request
that is sent twice can be answered and billed twice, and the queue is the one place that retries: so these errors leave
here as kinds that it doesn't repeat.
"""

from collections.abc import AsyncIterator, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import httpx

from agent.errors import BrokenAnswerError
from agent.proxies import proxy_for
from agent.quiet_litellm import AsyncHTTPHandler

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class Exchange:
    """What the transport saw of one model call."""

    begun: bool = False
    """The answer began, with a 2xx status."""
    answered: bool = False
    """The answer came whole, with a 2xx status."""


EXCHANGE: ContextVar[Exchange] = ContextVar("longhaul_exchange")


class LostConnectionError(httpx.NetworkError):
    """No connection, or one that ended before the answer began."""


class ProviderTransport(httpx.AsyncBaseTransport):
    """Over aiohttp, a tenth of httpx's cost, where the way is straight; over httpx through proxies, for SOCKS."""

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context()
        self._straight = AsyncHTTPHandler.create_aiohttp_transport(ssl_context=self._tls)
        self._proxied: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # An answer is some kilobytes: its size is bounded as it arrives, so it must not grow by unpacking.
        request.headers["accept-encoding"] = "identity"
        try:
            response = await self._way(request.url).handle_async_request(request)
        except (httpx.ConnectError, httpx.ProxyError, httpx.RemoteProtocolError) as error:
            raise LostConnectionError(str(error)) from error
        if response.is_success and (exchange := EXCHANGE.get(None)):
            exchange.begun = True
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_WatchedAnswer(response),
            extensions=response.extensions,
        )

    def _way(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        proxy = proxy_for(url)
        if proxy is None:
            return self._straight
        if proxy not in self._proxied:
            try:
                self._proxied[proxy] = httpx.AsyncHTTPTransport(
                    verify=self._tls, proxy=proxy, limits=httpx.Limits(max_connections=None)
                )
            except ValueError:
                raise LostConnectionError(f"no way through a proxy of the kind {proxy.split(':')[0]!r}") from None
        return self._proxied[proxy]

    async def aclose(self) -> None:
        # taken out before the first wait: litellm closes its client too when it lets go of it, at any such moment
        proxied = list(self._proxied.values())
        self._proxied.clear()
        await self._straight.aclose()
        for transport in proxied:
            await transport.aclose()


class _WatchedAnswer(httpx.AsyncByteStream):
    """Bounds an answer's size, tells one that breaks off from one that never began, and notes that it came whole.

    Of a stream it also refuses an event that was cut off: litellm would pass over it, and its words would be missing.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._streams = response.headers.get("content-type", "").startswith("text/event-stream")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, line = 0, b""
        try:
            async for chunk in self._response.aiter_raw():
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise BrokenAnswerError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
                if self._streams:
                    *lines, line = (line + chunk).split(b"\n")
                    _refuse_cut_off(lines)
                yield chunk
        except httpx.TimeoutException:
            raise
        except httpx.TransportError as error:
            raise BrokenAnswerError(str(error)) from error
        if self._response.is_success and (exchange := EXCHANGE.get(None)):
            exchange.answered = True

    async def aclose(self) -> None:
        await self._response.aclose()


def _refuse_cut_off(lines: Iterable[bytes]) -> None:
    for line in lines:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data.startswith(b"{") and not data.endswith(b"}"):
                raise BrokenAnswerError("an event of the stream is cut off")


def provider_client(transport: ProviderTransport) -> AsyncHTTPHandler:
    """A client for litellm over `transport`. A provider that redirects gets no second request with the key in it."""
    return AsyncHTTPHandler(transport=transport, follow_redirects=False)
