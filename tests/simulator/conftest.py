from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from openai import AsyncOpenAI

from tests.simulator.server import KEY, Server, running


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is never reached through a proxy, whatever the machine has set."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(scope="session")
def shared() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def simulator(shared: Server) -> Server:
    """A real simulator process with its defaults, an empty journal and no control rules."""
    shared.http.delete(f"{shared.root}/control").raise_for_status()
    shared.http.delete(f"{shared.root}/script").raise_for_status()
    shared.http.delete(f"{shared.root}/journal").raise_for_status()
    return shared


@pytest.fixture
async def client(simulator: Server) -> AsyncIterator[AsyncOpenAI]:
    """The official client, which makes every call once."""
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        AsyncOpenAI(base_url=simulator.url, api_key=KEY, max_retries=0, timeout=10, http_client=http) as openai,
    ):
        yield openai
