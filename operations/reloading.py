"""`start --reload`: workers are replaced when the agents' code changes, gateways too when it is the agents file.

It goes as a restart does: the successor comes up first, then the old process drains, so a task that runs meanwhile ends
where it runs or goes back unspent. Code that keeps a worker from coming up, or an agents file that cannot be read,
changes nothing: what runs runs on, `status` says what is wrong, and the next change is tried again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from core_config import ROOT
from operations import rolling
from operations.errors import CommandError
from operations.plan import Role
from operations.watched import AgentCode, Look

if TYPE_CHECKING:
    from operations.supervisor import Supervisor

log = logging.getLogger(__name__)

_QUIET_MS = 200  # an editor saves in several steps, and people several files
_LONGEST_MS = 2000
_LOOK_AGAIN_MS = 5000  # for file systems that tell of no change


class Reloader:
    """Made before anything is started: what changes from then on is a change."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self.failure = ""
        """Why the last reload was none; empty when it was one."""
        self._supervisor = supervisor
        self._code = AgentCode()
        self._running = self._code.look(supervisor.settings)
        self._due: set[Role] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        log.info("reload: watching %d files of the agents' code", len(self._running.files))
        while True:
            try:
                await self._follow()
            except Exception:
                log.exception("reload: the watch failed; beginning anew")
                await asyncio.sleep(1)

    async def _follow(self) -> None:
        look = await asyncio.to_thread(self._code.look, self._supervisor.settings)
        if changed := look.changed(self._running):
            self._running = look  # what changes while processes are replaced is the next change
            await self._reload(changed)
        else:
            await _change(look)

    async def _reload(self, changed: list[Path]) -> None:
        supervisor = self._supervisor
        log.info("reload: changed: %s", _listed(changed))
        self._due.add("worker")
        if supervisor.settings.agents_file in changed:
            self._due.add("gateway")
        try:
            async with supervisor.one_at_a_time:
                async for line in rolling.renew(supervisor, self._due):
                    log.info("reload: %s", line)
        except CommandError as error:
            self.failure = str(error)
            supervisor.write_state()  # before the line: who reads that finds `status` as it says
            log.error("reload failed: %s", error)  # noqa: TRY400 an expected fault: the sentence says all
        else:
            self.failure = ""
            self._due.clear()
            supervisor.write_state()


async def _change(look: Look) -> None:
    """Returns when something in the watched folders has changed and is quiet again, or after a while."""
    from watchfiles import awatch  # noqa: PLC0415 only who reloads needs it

    bursts = awatch(
        *look.folders, watch_filter=None, step=_QUIET_MS, debounce=_LONGEST_MS, rust_timeout=_LOOK_AGAIN_MS,
        yield_on_timeout=True, recursive=False, ignore_permission_denied=True,
    )  # fmt: skip
    async with contextlib.aclosing(bursts):
        async for _ in bursts:
            return


def _listed(paths: Iterable[Path], most: int = 5) -> str:
    names = [str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path) for path in paths]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
