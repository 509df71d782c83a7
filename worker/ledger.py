"""Which tool calls of a step have begun and finished: agent.durable.ToolLedger over a task's progress.

An entry lives until the checkpoint that holds the call's result is kept; that is when no attempt can ask for it again.
"""

import logging
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from .progress import SEPARATOR, SOON_S, TaskProgress

BEGUN, DONE = f"begun{SEPARATOR}", f"tool{SEPARATOR}"

log = logging.getLogger(__name__)


class Ledger:
    def __init__(self, progress: TaskProgress, serde: SerializerProtocol) -> None:
        self._progress = progress
        self._serde = serde

    def outcome(self, call: str) -> Any | None:
        kept = self._progress.get(DONE + call)
        return None if kept is None else self._serde.loads_typed(("msgpack", kept))

    def begun(self, call: str) -> bool:
        return self._progress.get(BEGUN + call) is not None

    async def begin(self, call: str) -> None:
        self._progress.set(BEGUN + call, b"1")
        await self._progress.kept()

    async def finish(self, call: str, outcome: Any) -> None:
        try:
            kind, value = self._serde.dumps_typed(outcome)
        except Exception:
            # its beginning, if that is kept, stays: without its outcome it must not look finished
            log.warning("tool_outcome_not_kept", exc_info=True)
            return
        if kind != "msgpack":
            return
        self._progress.set(DONE + call, value)
        if self.begun(call):
            self._progress.drop(BEGUN + call)
            await self._progress.kept()
        else:
            self._progress.write_within(SOON_S)
