"""An MCP server that is a program: started as a child, spoken to over its stdin and stdout, ended with the worker.

The SDK has such a transport too. This one also bounds a message's size, outlives garbage on stdout, knows the exit
code, keeps stderr out of the terminal, and lets the kernel end the child when the worker is killed.
"""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from core_config import ROOT, variable

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of one line on stdout; a longer one is dropped."""
MAX_LOGGED_LINES: Final = 100
"""Of stderr and of garbage on stdout, a minute."""
STOP_SECONDS: Final = 2.0
"""For each of: leaving when stdin closes, after SIGTERM, after SIGKILL."""
PASSED_ON: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""All that a child gets of the worker's environment, where the providers' keys are."""

_MAX_LINE_CHARS: Final = 1000
_LOOK_SECONDS: Final = 0.01

# Runs in the child before the server's program takes its place: the kernel kills it when the worker's thread that
# started it ends, however it ends. Not in a preexec_fn, which may deadlock in a process that has threads.
_LAUNCHER: Final = """
import ctypes, os, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != parent:  # it ended before the line above
    os._exit(1)
try:
    os.execv(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]} cannot be run: {error.strerror}")
"""

Arriving = MemoryObjectReceiveStream[SessionMessage | Exception]
Leaving = MemoryObjectSendStream[SessionMessage]


class StdioServer:
    """The transport to one child; an asynchronous context manager, entered once.

    `ended` is called when the child's stdout is at its end. `redact` takes the values of its variables out of what is
    logged of it; the log's own filter does the rest.
    """

    def __init__(
        self,
        name: str,
        command: str,
        args: Sequence[str],
        env: Mapping[str, str],
        *,
        ended: Callable[[], None],
        redact: Callable[[str], str],
    ) -> None:
        self._name = name
        self._command = (command, *args)
        self._env = {name: value for name in PASSED_ON if (value := variable(name))} | dict(env)
        self._ended = ended
        self._redact = redact
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._streams: list[Arriving | Leaving] = []
        self._missing = False
        self._closing = False
        self._ended_itself = False
        self._logged = 0
        self._minute = 0.0

    def problem(self) -> str | None:
        """Why it cannot be spoken to, and the remedy. None: nothing is known against it."""
        line = self._redact(shlex.join(self._command))[:_MAX_LINE_CHARS]
        code = None if self._process is None else self._process.returncode
        if self._missing:
            return (
                f"There is no program {self._command[0]!r}. Install it, or correct `command`: it is looked for in PATH."
            )
        if not self._ended_itself:
            return None
        how = "closed its stdout" if code is None else f"ended by signal {-code}" if code < 0 else f"exit code {code}"
        return f"`{line}`: {how}. What it wrote to stderr is in the worker's log, as mcp_stderr."

    async def __aenter__(self) -> tuple[Arriving, Leaving]:
        """Raises OSError."""
        spawning = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self._launched(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._env,
                cwd=ROOT,
                limit=MAX_MESSAGE_BYTES,
                start_new_session=True,  # Ctrl-C is for the worker, which lets running tasks finish with their tools
            )
        )
        try:
            process = self._process = await asyncio.shield(spawning)
        except asyncio.CancelledError:  # in the middle of it, asyncio would forget the child
            process = self._process = await spawning
            self._signal(signal.SIGKILL)
            await process.wait()
            raise
        arriving, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
        self._streams = [incoming, outgoing]
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
        self._tasks = [
            asyncio.create_task(self._read(process.stdout, arriving), name=f"read {self._name}"),
            asyncio.create_task(self._write(leaving, process.stdin, arriving), name=f"write {self._name}"),
            asyncio.create_task(self._log_errors(process.stderr), name=f"stderr {self._name}"),
        ]
        return incoming, outgoing

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the child, within three times STOP_SECONDS."""
        self._closing = True
        for stream in self._streams:
            stream.close()
        try:
            await self._stop()
        finally:
            self._signal(signal.SIGKILL)  # whatever it left behind in its group, or all when this was interrupted
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _launched(self) -> list[str]:
        command, *args = self._command
        program = shutil.which(command, path=self._env.get("PATH", os.defpath))
        if program is None:
            self._missing = True
            raise FileNotFoundError(command)
        program = str(ROOT / program)  # with a slash it is a path, and starts where the child does
        if sys.platform != "linux":
            return [program, *args]
        return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), program, *args]

    async def _read(
        self, stdout: asyncio.StreamReader, arriving: MemoryObjectSendStream[SessionMessage | Exception]
    ) -> None:
        try:
            async with arriving:
                while line := await self._line(stdout):
                    try:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    except ValueError:
                        if line.strip():
                            self._log("mcp_stdout", line)
                        continue
                    await arriving.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
            pass  # nobody listens any more
        finally:
            self._ended_itself = not self._closing
            self._ended()

    async def _write(
        self,
        leaving: MemoryObjectReceiveStream[SessionMessage],
        stdin: asyncio.StreamWriter,
        arriving: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        try:
            async with leaving:
                async for item in leaving:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    stdin.write(text.encode("utf-8", "replace") + b"\n")
                    await stdin.drain()
        except (anyio.ClosedResourceError, ConnectionError, RuntimeError):
            arriving.close()  # it reads no more: who waits for its answers must not wait for ever
            self._ended()

    async def _log_errors(self, stderr: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await self._line(stderr):
                if line.strip():
                    self._log("mcp_stderr", line)

    async def _line(self, stream: asyncio.StreamReader) -> bytes:
        """The next line, or as much of it as is not too long; empty at the end."""
        while True:
            try:
                return await stream.readline()
            except ValueError:  # too long, and dropped so far; what follows of it is a line of garbage
                self._log("mcp_line_dropped", f"a line of over {MAX_MESSAGE_BYTES} bytes".encode())

    def _log(self, event: str, line: bytes) -> None:
        if time.monotonic() - self._minute > 60:
            self._minute, self._logged = time.monotonic(), 0
        self._logged += 1
        if self._logged <= MAX_LOGGED_LINES:
            text = self._redact(line[: 4 * _MAX_LINE_CHARS].decode("utf-8", "replace").strip())[:_MAX_LINE_CHARS]
            log.info(event, extra={"server": self._name, "line": text})
        elif self._logged == MAX_LOGGED_LINES + 1:
            log.warning("mcp_lines_dropped", extra={"server": self._name, "a_minute": MAX_LOGGED_LINES})

    async def _stop(self) -> None:
        assert self._process is not None and self._process.stdin is not None  # noqa: S101, PT018
        self._process.stdin.close()
        if await self._exited():
            return
        self._signal(signal.SIGTERM)
        if await self._exited():
            return
        self._signal(signal.SIGKILL)
        if not await self._exited():
            log.warning("mcp_server_survives", extra={"server": self._name, "pid": self._process.pid})

    async def _exited(self) -> bool:
        """Not by wait(), which also waits until grandchildren close its pipes."""
        until = time.monotonic() + STOP_SECONDS
        while self._process is not None and self._process.returncode is None and time.monotonic() < until:  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(_LOOK_SECONDS)
        return self._process is None or self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
