"""An agent's run alone: the code that a worker runs, without gateway, queue and Redis. For unit tests."""

import asyncio
import logging
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from agent.errors import AgentError
from agent.meter import Meter
from agent.run_context import StepEvent
from agent.runner import AgentRunner
from agent.work import AgentWork, Turn
from core_config import SIMULATOR
from longhaul_testing.simulated_model import Simulator
from longhaul_testing.system import settings_of
from longhaul_testing.task import Task

logger = logging.getLogger(__name__)


class Alone:
    """Runs agents in an event loop of its own, in this process: what an agent patches or breaks into is the test's.

    One for a session: an agent is built once for the same settings.
    """

    def __init__(self, simulator: Simulator, settings: Mapping[str, object]) -> None:
        self._settings = {"SIMULATOR_PORT": simulator.port, **settings}
        self._runners: dict[tuple[tuple[str, str], ...], AgentRunner] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agents of tests", daemon=True)
        self._thread.start()

    def __call__(
        self,
        message: str = "",
        *,
        agent: str = "default",
        model: str = SIMULATOR,
        input: Mapping[str, Any] | None = None,  # noqa: A002 the field's name in POST /task
        output_schema: Mapping[str, Any] | None = None,
        history: tuple[tuple[str, str], ...] = (),
        within_s: float = 30,
        settings: Mapping[str, object] | None = None,
    ) -> Task:
        """Runs the agent once: no retries, no session. `history` are earlier (message, answer) pairs; `settings` are
        more variables. A failure is a task that failed, as through the queue; TimeoutError after `within_s` seconds.
        """
        turns = [
            turn
            for said, answered in history
            for turn in (Turn(role="user", text=said), Turn(role="assistant", text=answered))
        ]
        work = AgentWork(
            task_id=uuid.uuid4().hex,
            message=message,
            model=model,
            agent=agent,
            history=tuple(turns),
            input=input,
            output_schema=output_schema,
        )
        run = asyncio.run_coroutine_threadsafe(self._run(work, settings or {}), self._loop)
        try:
            return run.result(within_s)
        finally:
            run.cancel()

    def close(self) -> None:
        async def close() -> None:
            for runner in self._runners.values():
                await runner.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _run(self, work: AgentWork, more: Mapping[str, object]) -> Task:
        meter, steps = Meter(), _Steps()
        text, data, error, code = None, None, None, None
        cause: BaseException | None = None
        try:
            answer = await self._runner(more).run(work, meter, on_step=steps.note)
            text, data = answer.text, answer.data
        except AgentError as failure:
            error, code, cause = str(failure), str(failure.code), failure.__cause__
            if cause is not None:
                logger.exception("The agent %r failed (%s): %s", work.agent, code, error, exc_info=cause)
        return Task.of(
            {
                "status": "success" if error is None else "failed",
                "result": text,
                "result_json": data,
                "error": error,
                "error_code": code,
                "model": meter.model,
                "agent": work.agent,
                "simulated": meter.simulated,
                "token_usage": meter.usage.as_dict(),
                "cost_usd": meter.cost_usd,
                "steps": steps.as_data(),
            },
            cause,
        )

    def _runner(self, more: Mapping[str, object]) -> AgentRunner:
        chosen = {**self._settings, **more}
        key = tuple(sorted((name, str(value)) for name, value in chosen.items()))
        if key not in self._runners:
            self._runners[key] = AgentRunner(settings_of(chosen))
        return self._runners[key]


class _Steps:
    """Beginnings and ends of calls, as one step each."""

    def __init__(self) -> None:
        self._steps: dict[int, dict[str, Any]] = {}

    def note(self, event: StepEvent) -> None:
        state = "running" if event.phase == "start" else "done" if event.error is None else "failed"
        told = {
            "arguments": event.arguments,
            "result": event.result,
            "error": event.error,
            "duration_ms": None if event.duration_ms is None else round(event.duration_ms),
        }
        step = self._steps.setdefault(event.number, {"kind": event.kind, "name": event.name, **told})
        step |= {name: value for name, value in told.items() if value is not None} | {"state": state}

    def as_data(self) -> list[dict[str, Any]]:
        return [self._steps[number] for number in sorted(self._steps)]
