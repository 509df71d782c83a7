"""One MCP server: a session that lives as long as the worker, and is begun again when it is lost.

The SDK's sessions are made of cancel scopes, which one asyncio task must enter and leave. So each server has a keeper,
the task that begins its sessions, waits for their end and ends them; calls come from any task and only pass messages.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.tools import ToolException
from mcp import Client, MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, Implementation, Tool

from agent.mcp_http import HttpServer
from agent.mcp_results import text_of
from agent.mcp_stdio import StdioServer
from agents_config import McpServerConfig
from core_config import VERSION, ConfigurationError

log = logging.getLogger(__name__)

MAX_TOOLS: Final = 200
LONGEST_WAIT_SECONDS: Final = 30.0
"""Before a server that ends again and again is started again."""
CLOSE_SECONDS: Final = 8.0
HEALTHY_SECONDS: Final = 10.0
"""A session that lived this long is begun again at once."""

SHORTEST_SECRET: Final = 6

_MAX_TOLD_CHARS: Final = 500
_CLOSED: Final = "Connection closed"
_SESSION_UNKNOWN: Final = "Session terminated"
"""Both are the SDK's words; an error of the server's own may have the same codes."""
_US: Final = Implementation(name="longhaul", version=VERSION)

for _name in ("mcp", "client", "httpx2", "httpcore2"):
    # Every request with its address, every session's id, every bad line with a traceback. What fails reaches us as an
    # exception too.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def restart_delay(failures: int) -> float:
    """Seconds before the next start after so many short sessions in a row: 0, 0.5, 1, 2, 4, … 30."""
    return 0.0 if failures <= 1 else min(LONGEST_WAIT_SECONDS, 0.5 * 2.0 ** min(failures - 2, 10))


class McpProblemError(Exception):
    """Why a server cannot be used, and the remedy: for the operator, in its log."""


class McpServer:
    """Keeps a session with one server from `start` to `close`."""

    def __init__(self, name: str, config: McpServerConfig) -> None:
        self._name = name
        self._config = config
        self._secrets = sorted(filter(_is_secret, config.secrets()), key=len, reverse=True)
        self._link: StdioServer | HttpServer | None = None
        self._client: Client | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._settled = asyncio.Event()
        self._closing = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        self.problem: str | None = "It was not started."
        """What keeps it from being used, and the remedy, for the operator. None: it runs."""
        self.tools: Mapping[str, Tool] | None = None
        """What it offered last, of what the file allows. None: it never ran."""

    async def start(self) -> str | None:
        """Returns when it runs or its first start failed, with the problem. It is tried again until `close`."""
        self._keeper = asyncio.create_task(self._keep(), name=f"mcp {self._name}")
        await self._settled.wait()
        return self.problem

    async def close(self) -> None:
        """Ends the session, and the program if it is one. Closing twice is harmless."""
        self._closing.set()
        for _ in range(2):  # a server that holds up its end is left to the second
            if self._keeper is not None and not self._keeper.done():
                self._keeper.cancel()
                await asyncio.wait({self._keeper}, timeout=CLOSE_SECONDS)
        self.problem = "It was stopped."
        self._settled.set()

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """The tool's answer as text. Raises ToolException for all that goes wrong."""
        if self.tools is None or tool not in self.tools:
            raise ToolException(f"The MCP server {self._name} has no tool {tool[:100]!r} that may be used.")
        if self._client is None:
            raise ToolException(
                f"The MCP server {self._name} does not run just now; it is being started again. "
                "Try again later, or do without it."
            )
        # In a task of its own: who calls may go at once when cancelled, while the server is told in peace.
        call = asyncio.create_task(self._client.call_tool(tool, arguments))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        limit = asyncio.timeout(self._config.timeout_seconds)
        try:
            async with limit:
                return text_of(self._name, await asyncio.shield(call))
        except TimeoutError as error:
            if not limit.expired():
                raise self._failed(tool, error) from None
            raise ToolException(
                f"The tool {tool} did not answer within {self._config.timeout_seconds:g} seconds."
            ) from None
        except ToolException:
            raise
        except Exception as error:  # noqa: BLE001  the SDK names no kinds
            raise self._failed(tool, error) from None
        finally:
            call.cancel()

    def _forget(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # else asyncio complains that nobody asked

    def _failed(self, tool: str, error: Exception) -> ToolException:
        if self._client is None or (isinstance(error, MCPError) and error.code == CONNECTION_CLOSED):
            why = (
                error.message if isinstance(error, MCPError) and error.message != _CLOSED else "ended during this call"
            )
            why = self._redact(why)[:_MAX_TOLD_CHARS]
            return ToolException(f"The MCP server {self._name} {why}. Whether it did what was asked is not known.")
        if not isinstance(error, MCPError):  # no result, or none as its schema says; the text holds parts of it
            log.warning("mcp_call_failed", extra={"server": self._name, "tool": tool, "error": type(error).__name__})
            return ToolException(f"The tool {tool} of the MCP server {self._name} answered what it must not answer.")
        if error.code == INVALID_REQUEST and error.message == _SESSION_UNKNOWN:
            self._lost.set()
            return ToolException(f"The MCP server {self._name} was restarted. Nothing was done; try again.")
        return ToolException(f"The MCP server {self._name} refused: {self._redact(error.message)[:_MAX_TOLD_CHARS]}")

    async def _keep(self) -> None:
        failures, logged = 0, ""
        while not self._closing.is_set():
            begun = time.monotonic()
            try:
                await self._session()
                self.problem = (self._link and self._link.problem()) or "Its session is over."
            except Exception as error:  # noqa: BLE001  whatever it is, the server is down and is started again
                self.problem = self._redact(self._problem_of(error))
            if self._closing.is_set():  # the SDK may have put an exception of its own in the place of the cancellation
                return
            failures = 1 if time.monotonic() - begun >= HEALTHY_SECONDS else failures + 1
            delay = restart_delay(failures)
            log.log(
                logging.DEBUG if self.problem == logged else logging.WARNING,
                "mcp_server_down",
                extra={"server": self._name, "problem": self.problem, "again_in_s": delay},
            )
            logged = self.problem or ""
            self._settled.set()
            await asyncio.sleep(delay)

    async def _session(self) -> None:
        """One session, from its start to its end. Raises what ended it; returns when it was lost without a word."""
        limit = asyncio.timeout(self._config.timeout_seconds)
        try:
            await self._within(limit)
        except Exception as error:
            if limit.expired():  # as above
                raise TimeoutError from error
            raise

    async def _within(self, limit: asyncio.Timeout) -> None:
        self._lost.clear()
        async with limit, contextlib.AsyncExitStack() as stack:
            self._link = self._link_made()
            client = await stack.enter_async_context(Client(self._link, client_info=_US, cache=None))
            self.tools = self._allowed(await _listed(client))
            limit.reschedule(None)
            self._client, self.problem = client, None
            self._settled.set()
            log.info(
                "mcp_server_ready",
                extra={"server": self._name, "tools": len(self.tools), "protocol": client.protocol_version},
            )
            try:
                await self._lost.wait()
            finally:
                self._client = None

    def _link_made(self) -> StdioServer | HttpServer:
        config = self._config
        if config.url is not None:
            return HttpServer(config.url, config.resolved_headers(), seconds=config.timeout_seconds)
        return StdioServer(
            self._name,
            config.command or "",
            config.args,
            config.resolved_env(),
            ended=self._lost.set,
            redact=self._redact,
        )

    def _allowed(self, listed: dict[str, Tool]) -> dict[str, Tool]:
        only = self._config.tools
        if only is None:
            return listed
        if missing := [name for name in only if name not in listed]:
            known = ", ".join(sorted(listed)[:40]) or "none"
            raise McpProblemError(f"It has no tool {', '.join(missing)}. It has: {known}. Correct `tools`.")
        return {name: listed[name] for name in only}

    def _problem_of(self, error: Exception) -> str:
        while isinstance(error, ExceptionGroup):  # the SDK's task groups wrap what passes them
            error = error.exceptions[0]
        if isinstance(error, (McpProblemError, ConfigurationError)):
            return str(error)
        if self._link is not None and (told := self._link.problem()) is not None:
            return told
        if isinstance(error, TimeoutError):
            return (
                f"It was not ready within {self._config.timeout_seconds:g} seconds. If it needs longer to start, "
                "raise `timeout_seconds`."
            )
        if isinstance(error, MCPError):
            return f"It answers: {error.message[:_MAX_TOLD_CHARS]}. Is it an MCP server?"
        return f"It does not answer as an MCP server does ({type(error).__name__})."

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text


def _is_secret(value: str) -> bool:
    """As the log's own filter has it: a shorter one would black out ordinary words."""
    return len(value) >= SHORTEST_SECRET


async def _listed(client: Client) -> dict[str, Tool]:
    """All its tools by name. Raises McpProblemError when there are too many."""
    found: dict[str, Tool] = {}
    cursor: str | None = None
    for _ in range(MAX_TOOLS):
        page = await client.list_tools(cursor=cursor)
        found |= {tool.name: tool for tool in page.tools}
        cursor = page.next_cursor
        if len(found) > MAX_TOOLS:
            break
        if not cursor:
            return found
    raise McpProblemError(f"It offers more than {MAX_TOOLS} tools, or never ends to list them.")
