"""How `manage.py restart` talks to a running supervisor: a socket in VAR_DIR that only its owner can open.

One line of JSON goes in, `{"environment": {...}}`; lines `{"said": ...}` come back, then `{"failure": "" or why}`.
The path is used relative to VAR_DIR, since a socket's path may have only about a hundred bytes.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Self

from operations.errors import CommandError

log = logging.getLogger(__name__)

_NAME = "control.sock"
_LONGEST_REQUEST = 4_000_000  # an environment


class ControlServer:
    """Serves one restart at a time. The supervisor's working directory is VAR_DIR."""

    def __init__(
        self, var_dir: Path, roll: Callable[[dict[str, str]], AsyncIterator[str]], one_at_a_time: asyncio.Lock
    ) -> None:
        self._path = var_dir / _NAME
        self._roll = roll
        self._one_at_a_time = one_at_a_time
        self._server: asyncio.Server | None = None
        self._requests: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accept, _NAME, limit=_LONGEST_REQUEST)
        finally:
            os.umask(mask)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        failure = ""

        def answer(**fields: str) -> None:
            with contextlib.suppress(OSError):  # the asker may have gone; the restart goes on
                writer.write(json.dumps(fields).encode() + b"\n")

        try:
            request = json.loads(await reader.readline())
            async with self._one_at_a_time:
                async for line in self._roll(dict(request["environment"])):
                    answer(said=line)
        except CommandError as error:
            failure = str(error)
        except asyncio.CancelledError:
            failure = "the restart was broken off: the supervisor is stopping."
        except Exception as error:
            log.exception("a restart failed")
            failure = f"{type(error).__name__}: {error}; the supervisor's log has more."
        answer(failure=failure)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()


def restart(var_dir: Path, environment: dict[str, str]) -> Iterator[str]:
    """Asks the supervisor of `var_dir` to restart with `environment`; yields what it does. CommandError: it failed."""
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            os.chdir(var_dir)
            connection.connect(_NAME)
        except OSError as error:
            raise CommandError(
                f"the supervisor does not take commands ({error.strerror}). Use stop, then start."
            ) from None
        finally:
            os.chdir(here)
        connection.sendall(json.dumps({"environment": environment}).encode() + b"\n")
        with connection.makefile("r") as answers:
            for line in answers:
                answer = json.loads(line)
                if "said" in answer:
                    yield answer["said"]
                elif answer["failure"]:
                    raise CommandError(answer["failure"])
                else:
                    return
    raise CommandError("the supervisor ended in the middle of the restart. Look at manage.py status and logs.")
