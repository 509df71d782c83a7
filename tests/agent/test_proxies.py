"""Provider calls and searches go through the proxies of the environment, loopback never: each variable, each case."""

import asyncio
import itertools
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from agent.errors import AgentError
from agent.tools import search
from agent.transport import ProviderTransport
from core_config import MODEL_REGISTRY, ModelConfig, Settings
from tests.agent.conftest import Bench
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion

VARIABLES = [case(name) for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for case in (str.upper, str.lower)]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Bound and not listening: every connection is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def no_exceptions_from_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what agent.quiet_litellm put there at import: the decision must not hang on it."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


class SocksProxy:
    """Takes one SOCKS5 CONNECT at a time, notes the host and passes the bytes to `port` on loopback."""

    def __init__(self, port: int) -> None:
        self.asked: list[tuple[str, int]] = []
        self.to = port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        self._loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            writer.write(b"\x05\x00")
            *_, kind = await reader.readexactly(4)
            assert kind == 3  # by name: the proxy resolves it
            name = await reader.readexactly((await reader.readexactly(1))[0])
            self.asked.append((name.decode(), int.from_bytes(await reader.readexactly(2))))
            writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            onward, back = await asyncio.open_connection("127.0.0.1", self.to)
            await asyncio.gather(self._pipe(reader, back), self._pipe(onward, writer))
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
        finally:
            writer.close()


@pytest.fixture
def socks(provider: ScriptedProvider) -> Iterator[SocksProxy]:
    proxy = SocksProxy(provider.port)
    yield proxy
    proxy.stop()


def install(monkeypatch: pytest.MonkeyPatch, base_url: str) -> None:
    monkeypatch.setitem(MODEL_REGISTRY, "Far", ModelConfig(litellm_id="openai/far", base_url=base_url))


@pytest.mark.usefixtures("no_exceptions_from_proxies")
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_loopback_is_reached_with_every_proxy_at_a_closed_port(
    bench: Bench, provider: ScriptedProvider, closed_port: int, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{scheme}://127.0.0.1:{closed_port}")
    for host in ("127.0.0.1", "localhost"):
        install(monkeypatch, f"http://{host}:{provider.port}/v1")
        bench.configure()
        assert await bench.run(model="Far") == "Done."
    provider.says(Reply(body={"results": []}))
    tool = search.build(Settings(_env_file=None, searxng_url=provider.url))
    assert "found nothing" in str(await tool.ainvoke({"query": "news"}))


@pytest.mark.usefixtures("no_exceptions_from_proxies")
@pytest.mark.parametrize("variable", [v for v in VARIABLES if "s_" not in v.lower()])
async def test_a_provider_is_called_through_an_http_proxy(
    bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The scripted provider stands in for the proxy: it notes the whole URL and answers itself."""
    monkeypatch.setenv(variable, f"http://127.0.0.1:{provider.port}")
    install(monkeypatch, "http://model.example.invalid/v1")
    assert await bench.run(model="Far") == "Done."
    assert provider.requests[0].target == "http://model.example.invalid/v1/chat/completions"


@pytest.mark.usefixtures("no_exceptions_from_proxies")
@pytest.mark.parametrize("variable", [v for v in VARIABLES if v.lower() != "http_proxy"])
async def test_https_is_tunnelled_through_an_http_proxy(
    bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    provider.says(Reply(502, ""))
    monkeypatch.setenv(variable, f"127.0.0.1:{provider.port}")  # without a scheme, as curl allows
    install(monkeypatch, "https://model.example.invalid/v1")
    with pytest.raises(AgentError) as caught:
        await bench.run(model="Far")
    assert caught.value.code == "provider_unavailable"
    assert [(r.method, r.target) for r in provider.requests] == [("CONNECT", "model.example.invalid:443")]
    assert "authorization" not in provider.requests[0].headers


@pytest.mark.usefixtures("no_exceptions_from_proxies")
@pytest.mark.parametrize(
    ("variable", "scheme"),
    list(itertools.product([v for v in VARIABLES if "s_" not in v.lower()], ["socks5", "socks5h", "socks"])),
)
async def test_a_provider_is_called_through_a_socks_proxy(
    bench: Bench,
    socks: SocksProxy,
    provider: ScriptedProvider,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    scheme: str,
) -> None:
    monkeypatch.setenv(variable, f"{scheme}://127.0.0.1:{socks.port}")
    install(monkeypatch, "http://model.example.invalid/v1")
    provider.says(completion("Over SOCKS."))
    assert await bench.run(model="Far") == "Over SOCKS."
    assert socks.asked == [("model.example.invalid", 80)]
    assert provider.requests[0].target == "/v1/chat/completions"


@pytest.mark.usefixtures("no_exceptions_from_proxies")
async def test_https_goes_into_the_socks_tunnel_as_tls(
    bench: Bench, socks: SocksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bytearray()

    async def far_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.extend(await reader.read(3))
        writer.close()

    server = await asyncio.start_server(far_end, "127.0.0.1", 0)
    socks.to = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("all_proxy", f"socks5://127.0.0.1:{socks.port}")
    install(monkeypatch, "https://model.example.invalid/v1")
    with pytest.raises(AgentError) as caught:
        await bench.run(model="Far")
    assert caught.value.code == "provider_unavailable"
    assert socks.asked == [("model.example.invalid", 443)]
    assert first[:2] == b"\x16\x03"  # a TLS handshake, and not the request in the clear
    server.close()
    await server.wait_closed()


@pytest.mark.usefixtures("no_exceptions_from_proxies")
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks4", "nonsense"])
async def test_a_proxy_that_is_not_there_is_an_outage(
    bench: Bench, closed_port: int, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:secret@127.0.0.1:{closed_port}")
    install(monkeypatch, "http://model.example.invalid/v1")
    with pytest.raises(AgentError) as caught:
        await bench.run(model="Far")
    assert (caught.value.code, caught.value.transient) == ("provider_unavailable", True)
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("no_exceptions_from_proxies")
async def test_a_connection_lost_behind_a_proxy_is_not_sent_again(
    bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx says RemoteProtocolError here, which litellm's handler answers with a second request."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{provider.port}")
    install(monkeypatch, "http://model.example.invalid/v1")
    provider.says(Reply(how="close"))
    with pytest.raises(AgentError) as caught:
        await bench.run(model="Far")
    assert (caught.value.code, len(provider.requests)) == ("provider_unavailable", 1)


async def test_no_proxy_is_honoured(bench: Bench, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{provider.port}")
    monkeypatch.setenv("no_proxy", ".example.invalid")
    install(monkeypatch, "http://model.example.invalid/v1")
    with pytest.raises(AgentError):  # straight to a name that nobody resolves
        await bench.run(model="Far")
    assert provider.requests == []


@pytest.mark.usefixtures("no_exceptions_from_proxies")
async def test_a_search_goes_through_the_proxy(
    provider: ScriptedProvider, socks: SocksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.says(Reply(body={"results": []}))
    tool = search.build(Settings(_env_file=None, searxng_url="http://search.example.invalid"))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{provider.port}")
    await tool.ainvoke({"query": "news"})
    assert provider.requests[0].target.startswith("http://search.example.invalid/search?q=news")
    monkeypatch.setenv("HTTP_PROXY", f"socks5://127.0.0.1:{socks.port}")
    await tool.ainvoke({"query": "news"})
    assert socks.asked == [("search.example.invalid", 80)]


def test_certificates_are_checked() -> None:
    assert ProviderTransport()._tls.verify_mode is ssl.CERT_REQUIRED
