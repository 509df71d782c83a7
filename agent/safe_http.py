"""The one way out for addresses that a user or a model named: nothing inside this network can be reached through it.

A name is resolved once, every address that it has must be public, and the connection goes to one of exactly these
addresses, so that a second answer of the name server (rebinding) changes nothing. The name stays in the Host header
and in TLS, where the certificate is checked against it. Redirects are followed by a loop of our own, each checked like
the first address. No cookie, key, proxy or .netrc of this machine takes part.
"""

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import httpx

from agent.addresses import is_public, is_public_or_private
from agent.proxies import proxy_for

CONNECT_SECONDS: Final = 5.0
"""For resolving a name, and for connecting."""
TOTAL_SECONDS: Final = 20.0
"""For everything, redirects included."""
MAX_REDIRECTS: Final = 3
MAX_BYTES: Final = 2 * 1024 * 1024
"""Of a body, as it arrives and after unpacking."""
MAX_URL_CHARS: Final = 2048
PORTS: Final = frozenset({80, 443})
MAX_ADDRESSES_TRIED: Final = 3
USER_AGENT: Final = "Longhaul-fetch/0.1"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to all of the host's IP addresses. Raises OSError."""
Dial = Callable[[str, int], tuple[str, int]]
"""From the checked address and port to what the socket connects to: themselves, except in tests."""


class OutboundError(Exception):
    """A request that was refused or failed. The text says why, and holds no address but those that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundPolicy:
    """What is allowed beside https to public addresses on ports 80 and 443."""

    allow_http: bool = False
    trusted: frozenset[tuple[str, int | None]] = frozenset()
    """(host, port; None for 80 and 443) that may be private, and may be asked over http."""

    def trusts(self, host: str, port: int) -> bool:
        return (host, port) in self.trusted or (port in PORTS and (host, None) in self.trusted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer of 200 to 299, whole."""

    url: str
    """Where it came from, after redirects."""
    content_type: str
    """Media type in lower case, without parameters; empty when the answer named none."""
    charset: str | None
    body: bytes


def _refuse_proxies(url: httpx.URL) -> None:
    if proxy_for(url) is not None:
        # Behind a proxy it is the proxy that resolves the name: what was checked here would not be what is reached.
        # Going around the proxy would break the rule that the operator made by setting it. So neither.
        raise OutboundError(
            "This system's web traffic goes through a proxy, and the addresses that a proxy connects to cannot be "
            "checked, so nothing was fetched."
        )


class SafeHttp:
    """GET for addresses that are not to be trusted. Any number of calls at once; keeps no connection open."""

    def __init__(
        self,
        policy: OutboundPolicy,
        *,
        resolve: Resolve | None = None,
        dial: Dial | None = None,
        tls: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._policy = policy
        # Threads of its own: slow name servers of strangers must not hold up the name lookups of model calls.
        self._names = ThreadPoolExecutor(8, thread_name_prefix="dns")
        self._resolve = resolve or self._resolve_by_system
        self._dial = dial or (lambda address, port: (address, port))
        self._tls = tls or httpx.create_ssl_context()
        self._total_seconds = total_seconds

    async def get(self, url: str, *, accept: Callable[[str], bool] = lambda _: True) -> Page:
        """The page at `url`, if `accept` takes its media type. Raises OutboundError, nothing else."""
        try:
            async with asyncio.timeout(self._total_seconds):
                target = self._checked(url)
                for _ in range(MAX_REDIRECTS + 1):
                    got = await self._ask(target, accept)
                    if isinstance(got, Page):
                        return got
                    target = self._checked(got, seen_from=target)
        except TimeoutError:
            raise OutboundError(f"The page did not arrive within {self._total_seconds:g} seconds.") from None
        except httpx.TimeoutException:
            raise OutboundError("The server did not answer in time.") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            # Their texts may name addresses.
            raise OutboundError("The server cannot be reached, or its answer broke off.") from None
        raise OutboundError(f"The address redirects more than {MAX_REDIRECTS} times.")

    def _checked(self, text: str, seen_from: httpx.URL | None = None) -> httpx.URL:
        """The URL, if its form is allowed; its host's addresses are checked when it is resolved."""
        where = "The address" if seen_from is None else "The page redirects to an address that"
        text = text.strip(" ")
        if len(text) > MAX_URL_CHARS:
            raise OutboundError(f"{where} is longer than {MAX_URL_CHARS} characters.")
        if any(character <= " " or character in '\x7f\\<>"' for character in text):
            raise OutboundError(f"{where} has characters that no address may have.")
        try:
            url = httpx.URL(text) if seen_from is None else seen_from.join(text)
            host, port = url.raw_host.decode("ascii"), _port(url)
            named = bool(url.host)  # which also decodes it, and so raises here for what is no IDN
        except (httpx.InvalidURL, ValueError, UnicodeError):
            raise OutboundError(f"{where} is no valid URL.") from None
        if url.scheme not in ("https", "http") or not named:
            raise OutboundError(f"{where} is not an https:// URL.")
        if url.userinfo or "@" in re.split("[/?#]", text.partition("//")[2], maxsplit=1)[0]:
            raise OutboundError(f"{where} holds a user name, which is not allowed.")
        trusted = self._policy.trusts(host, port)
        if url.scheme == "http" and not (trusted or self._policy.allow_http):
            raise OutboundError(f"{where} is http://, and only https:// is allowed here.")
        if port not in PORTS and not trusted:
            raise OutboundError(f"{where} names port {port}; only 80 and 443 are allowed.")
        return url.copy_with(fragment=None)

    async def _addresses(self, url: httpx.URL, port: int) -> list[str]:
        """All addresses of the URL's host, if every one of them is allowed."""
        host = url.raw_host.decode("ascii")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = list(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, UnicodeError, TimeoutError):
            found = []
        allowed = is_public_or_private if self._policy.trusts(host, port) else is_public
        if not found or not all(map(allowed, found)):
            # One bad address is enough: which of them a connection uses must not depend on luck. And one text for
            # unknown and for forbidden, or it would tell which names this network has.
            raise OutboundError(f"{url.host!r} is no name or address of the public web, so it was not asked.")
        return found

    async def _ask(self, url: httpx.URL, accept: Callable[[str], bool]) -> Page | str:
        """The page, or where it redirects to."""
        _refuse_proxies(url)
        port = _port(url)
        addresses = (await self._addresses(url, port))[:MAX_ADDRESSES_TRIED]
        for number, address in enumerate(addresses, 1):
            # A transport each: a connection is never shared between names that happen to have the same address.
            transport = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False)
            async with transport:
                try:
                    response = await transport.handle_async_request(
                        self._request(url, address, port, CONNECT_SECONDS / len(addresses))
                    )
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if number == len(addresses):
                        raise
                    continue
                return await _read(response, url, accept)
        raise AssertionError  # there is at least one address, and the last one returned or raised

    def _request(self, url: httpx.URL, address: str, port: int, connect_seconds: float) -> httpx.Request:
        to_host, to_port = self._dial(address, port)
        return httpx.Request(
            "GET",
            url.copy_with(host=to_host, port=to_port),
            headers={
                "host": url.netloc.decode("ascii"),
                "user-agent": USER_AGENT,
                "accept": "text/html, text/plain, application/json, text/*;q=0.8, */*;q=0.1",
                "accept-encoding": "gzip",
            },
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": {"connect": connect_seconds, "read": self._total_seconds, "write": 5.0, "pool": 5.0},
            },
        )

    async def _resolve_by_system(self, host: str, port: int) -> list[str]:
        def look_up() -> list[str]:
            return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        return await asyncio.get_running_loop().run_in_executor(self._names, look_up)


def _port(url: httpx.URL) -> int:
    return url.port if url.port is not None else {"https": 443, "http": 80}.get(url.scheme, 0)


async def _read(response: httpx.Response, url: httpx.URL, accept: Callable[[str], bool]) -> Page | str:
    try:
        if response.status_code in (301, 302, 303, 307, 308) and (location := response.headers.get("location")):
            return str(location)
        if not response.is_success:
            raise OutboundError(f"The server answered with HTTP status {response.status_code}.")
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not accept(content_type):
            raise OutboundError(
                f"The page is of the type {content_type[:60] or 'unknown'!r}, which cannot be read here."
            )
        body = await _bounded_body(response)
    finally:
        await response.aclose()
    return Page(url=str(url), content_type=content_type, charset=response.charset_encoding, body=body)


async def _bounded_body(response: httpx.Response) -> bytes:
    """The unpacked body. Unpacked here and not by httpx, which unpacks a whole chunk before one can count: 64 KiB of
    gzip hold 64 MiB, and brotli's and zstd's chunks far more.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise OutboundError(f"The page is packed as {encoding[:40]!r}, which was not asked for.")
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    too_large = OutboundError(f"The page is larger than {MAX_BYTES} bytes.")
    body, arrived = bytearray(), 0
    not_as_said = OutboundError("The page is not packed as it says.")
    async for chunk in response.aiter_raw():
        arrived += len(chunk)
        if arrived > MAX_BYTES:
            raise too_large
        try:
            body += chunk if unpack is None else unpack.decompress(chunk, MAX_BYTES + 1 - len(body))
        except (zlib.error, EOFError):
            raise not_as_said from None
        if len(body) > MAX_BYTES:
            raise too_large
        if unpack is not None and unpack.unused_data:
            raise not_as_said
    if unpack is not None and arrived and not unpack.eof:
        raise not_as_said
    return bytes(body)
