"""MCP servers over HTTP, with sessions and without: one that fails costs a call, and headers go nowhere else."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from langchain_core.tools import ToolException

from agent import mcp_server
from agent.mcp_tools import McpTools
from agents_config import McpServerConfig
from core_config import ROOT
from tests.agent.mcp.conftest import Started, call, said
from tests.agent.mcp.web_server import WebServer, web_server
from tests.agent.scripted_provider import eventually
from tests.conftest import free_port


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def other() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def warehouse() -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "examples" / "mcp" / "warehouse.py"), "--http", str(port)]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


async def problem_of(config: McpServerConfig) -> str:
    tools = McpTools({"web": config})
    try:
        return str((await tools.start())["web"])
    finally:
        await tools.close()


async def test_the_example_is_found_when_it_runs_and_again_after_a_restart(
    warehouse: Callable[[int], subprocess.Popen[bytes]],
) -> None:
    port = free_port()
    tools = McpTools({"warehouse": McpServerConfig(url=f"http://127.0.0.1:{port}/mcp", timeout_seconds=30)})
    try:
        assert await tools.start() == {
            "warehouse": f"http://127.0.0.1:{port}/mcp cannot be reached. Is it running, and is `url` right?"
        }
        first = warehouse(port)
        await eventually(lambda: tools.problem("warehouse") is None, seconds=40)
        answers = await asyncio.gather(*(call(tools, "warehouse_stock", product="teapot") for _ in range(20)))
        assert {said(answer) for answer in answers} == {"teapot: 7 in stock"}
        with pytest.raises(ToolException, match="There is no product 'gold'"):
            await call(tools, "warehouse_stock", product="gold")
        first.kill()
        first.wait()
        with pytest.raises(ToolException) as caught:
            await call(tools, "warehouse_stock", product="teapot")
        assert str(caught.value) == (
            "The MCP server warehouse cannot be reached. Whether it did what was asked is not known."
        )
        warehouse(port)
        for _ in range(400):
            try:
                answer = await call(tools, "warehouse_stock", product="teapot")
            except ToolException:
                await asyncio.sleep(0.1)
            else:
                break
        assert said(answer) == "teapot: 7 in stock"
    finally:
        await tools.close()


async def test_the_headers_go_with_every_request(
    started: Started, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_TOKEN", "tok-77aa12")
    tools = await started(web=McpServerConfig(url=web.url, headers={"Authorization": "Bearer ${WEB_TOKEN}"}))
    assert json.loads(said(await call(tools, "web_headers")))["authorization"] == "Bearer tok-77aa12"
    assert {headers.get("authorization") for _, _, headers in web.requests} == {"Bearer tok-77aa12"}
    await tools.close()
    assert web.requests[-1][0] == "DELETE"
    assert web.sessions == set()


async def test_a_redirect_takes_no_header_to_another_server(web: WebServer, other: WebServer) -> None:
    web.redirect_to = other.url
    told = await problem_of(McpServerConfig(url=web.url, headers={"X-Key": "canary"}))
    assert "answers HTTP 307, a redirect, which is followed on the same server alone. Correct `url`." in told
    assert other.requests == []


async def test_one_call_that_fails_fails_alone(
    started: Started, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = await started(web=McpServerConfig(url=web.url, timeout_seconds=8))
    wrong, broken, huge, hanging, *fine = await asyncio.gather(
        call(tools, "web_error"),
        call(tools, "web_breaks"),
        call(tools, "web_huge"),
        call(tools, "web_hang"),
        *(call(tools, "web_echo", text=str(n)) for n in range(10)),
        return_exceptions=True,
    )
    assert str(wrong) == "The MCP server web refused: No such shelf."
    assert "the answer broke off" in str(broken)
    assert "the answer is larger than 4194304 bytes" in str(huge)
    assert str(hanging) == "The tool hang did not answer within 8 seconds."
    assert [said(str(answer)) for answer in fine] == [str(n) for n in range(10)]
    assert said(await call(tools, "web_echo", text="on we go")) == "on we go"
    assert len([request for request in web.requests if request[0] == "DELETE"]) == 0  # the session is the first
    monkeypatch.setattr(mcp_server, "CLOSE_SECONDS", 600)
    async with asyncio.timeout(60):  # although the server still owes an answer
        await tools.close()


async def test_a_server_that_forgot_the_session_gets_another(started: Started, web: WebServer) -> None:
    tools = await started(web=McpServerConfig(url=web.url))
    await call(tools, "web_forget")
    with pytest.raises(ToolException, match=r"The MCP server web was restarted\. Nothing was done; try again\."):
        await call(tools, "web_echo", text="lost")
    await eventually(lambda: len(web.sessions) == 1 and tools.problem("web") is None)
    assert said(await call(tools, "web_echo", text="found")) == "found"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "answers HTTP 401. Correct `headers`."),
        (404, "answers HTTP 404. Correct `url`, or see that server's log."),
        (500, "answers HTTP 500. Correct `url`, or see that server's log."),
        (200, "It answers: Unexpected content type: text/html. Is it an MCP server?"),
    ],
)
async def test_a_server_that_refuses_is_told(web: WebServer, status: int, told: str) -> None:
    web.status = status
    assert told in await problem_of(McpServerConfig(url=web.url.replace("//", "//user:hunter2@") + "?key=hunter3"))
    assert "hunter" not in await problem_of(
        McpServerConfig(url=web.url.replace("//", "//user:hunter2@") + "?key=hunter3")
    )


async def test_a_server_that_never_answers_is_told() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        told = await problem_of(McpServerConfig(url=f"http://127.0.0.1:{port}/mcp", timeout_seconds=1))
    assert told == "It was not ready within 1 seconds. If it needs longer to start, raise `timeout_seconds`."


async def test_it_goes_through_the_proxy_and_loopback_never_does(
    web: WebServer, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stands in for the proxy: it is asked for whole addresses and answers itself."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", web.url.removesuffix("/mcp"))
    tools = await started(web=McpServerConfig(url="http://tools.example.invalid/mcp"))
    assert said(await call(tools, "web_echo", text="far")) == "far"
    assert {path for _, path, _ in web.requests} == {"http://tools.example.invalid/mcp"}
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    tools = await started(web=McpServerConfig(url=web.url))
    assert said(await call(tools, "web_echo", text="near")) == "near"


@pytest.mark.usefixtures("web")
async def test_a_proxy_of_no_known_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("ALL_PROXY", "nonsense://user:hunter2@127.0.0.1:1")
    told = await problem_of(McpServerConfig(url="http://tools.example.invalid/mcp"))
    assert told == "The proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names is of no known kind."
