"""The processes of one deployment as a whole: started together, stopped in order, described for `run.json`."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from operations import runstate
from operations.child import Child
from operations.logfiles import LogFile
from operations.plan import STOP_ORDER, ProcessSpec


class Fleet:
    """All children of a supervisor, those on their way out included."""

    def __init__(self, var_dir: Path, changed: Callable[[], None], worker_died: Callable[[str], None]) -> None:
        self.hurry = asyncio.Event()
        self.children: list[Child] = []
        self._var_dir = var_dir
        self._logs: dict[str, LogFile] = {}
        self._changed = changed
        self._worker_died = worker_died

    def records(self) -> tuple[runstate.ProcessRecord, ...]:
        records = (child.current_record() for child in self.children)
        return tuple(record for record in records if record is not None)

    async def start(self, spec: ProcessSpec) -> Child:
        if spec.name not in self._logs:  # an old and a new process of one name share the file
            self._logs[spec.name] = LogFile(self._var_dir, spec.name)
        child = Child(spec, self._logs[spec.name], self._changed, self._died(spec))
        self.children.append(child)
        await child.start()
        return child

    async def stop(self, child: Child) -> None:
        child.retiring = True
        self._changed()
        await child.stop(self.hurry)
        if child in self.children:
            self.children.remove(child)
        self._changed()

    async def stop_all(self) -> None:
        """First who takes work in, then who does it, then what both stand on."""
        for role in STOP_ORDER:
            await asyncio.gather(*(self.stop(child) for child in self.children if child.spec.role == role))
        for logfile in self._logs.values():
            logfile.close()

    def _died(self, spec: ProcessSpec) -> Callable[[str], None]:
        return self._worker_died if spec.role == "worker" else lambda _: None
