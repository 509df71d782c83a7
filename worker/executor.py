"""Runs one attempt to its end: an answer, an exception, or a reason to stop."""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Protocol

from langchain_core.callbacks import BaseCallbackHandler

from agent.durable import Durable
from agent.errors import AgentError
from agent.meter import Meter
from agent.run_context import StepListener, TokenListener
from agent.work import AgentWork, Answer, Turn
from monitoring.tracing import Tracing
from taskstore.claims import Claim, Settlement
from taskstore.error_codes import ErrorCode

from .attempt import Attempt, Stop
from .checkpoints import DurableRun
from .outcome import Ending, Raised, settlement

GIVE_UP_S = 1.0
"""How long a cancelled run may take to end. One that swallows its cancellation is settled without waiting for it."""

log = logging.getLogger(__name__)


class Runner(Protocol):
    """What runs an agent: agent.runner.AgentRunner, or a benchmark's own."""

    async def run(
        self,
        work: AgentWork,
        meter: Meter,
        *,
        callbacks: Sequence[BaseCallbackHandler] = (),
        on_step: StepListener | None = None,
    ) -> Answer: ...


class Executor:
    def __init__(self, runner: Runner, tracing: Tracing, dice: random.Random | None = None) -> None:
        self._runner = runner
        self._tracing = tracing
        self._dice = dice or random.Random()  # noqa: S311  jitter is no secret
        self._stray: set[asyncio.Task[Answer | BaseException]] = set()

    async def run(self, attempt: Attempt) -> Settlement | None:
        """What becomes of the task; None when the lease was lost. Raises nothing but its own cancellation."""
        meter = attempt.steps.progress.meter
        attempt.trace = self._tracing.begin(attempt.claim)
        ending = await self._ending(attempt, meter)
        if isinstance(ending, Raised) and not is_expected(ending.error):
            about = {"task": attempt.claim.task_id, "attempt": attempt.claim.attempt}
            log.error("attempt_failed", extra=about, exc_info=ending.error)
        return settlement(attempt, ending, meter, self._dice)

    async def _ending(self, attempt: Attempt, meter: Meter) -> Ending:
        if why := attempt.stopped():
            return why
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def wake(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        run = loop.create_task(self._guarded(attempt, meter), name=f"agent:{attempt.claim.task_id}")
        run.add_done_callback(wake)
        attempt.on_stop = wake
        out_of_time = loop.call_later(attempt.timeout_s, wake)
        try:
            await over
            if not run.done():
                attempt.stop(attempt.timeout_means)  # counts only when nobody else had a reason
                run.cancel()
                await asyncio.wait({run}, timeout=GIVE_UP_S)
        finally:
            out_of_time.cancel()
            attempt.steps.close()
            self._leave(run, attempt.claim)
        if attempt.stopped() is Stop.LOST:
            return Stop.LOST
        if run.done() and not run.cancelled():
            result = run.result()
            if isinstance(result, Answer):
                return result  # finished just before it was stopped: the work is done and paid for
            if attempt.stopped() is None:
                return Raised(result)
        return attempt.stopped() or Raised(asyncio.CancelledError("the run cancelled itself"))

    async def _guarded(self, attempt: Attempt, meter: Meter) -> Answer | BaseException:
        """Every exception as a value: a SystemExit that leaves an asyncio task would end the whole event loop."""
        claim = attempt.claim
        try:
            durable = DurableRun(attempt.steps.progress)
            on_token = attempt.steps.token if claim.stream else None
            work = work_of(claim, seconds_left=attempt.timeout_s, durable=durable, on_token=on_token)
            trace = attempt.trace
            with trace.within():
                return await self._runner.run(
                    work, meter, callbacks=trace.callbacks(), on_step=trace.steps(attempt.steps.note)
                )
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001
            return error

    def _leave(self, run: "asyncio.Task[Answer | BaseException]", claim: Claim) -> None:
        if not run.done():
            run.cancel()
            log.warning("run_will_not_end", extra={"task": claim.task_id, "attempt": claim.attempt})
            self._stray.add(run)  # asyncio holds tasks weakly
            run.add_done_callback(self._stray.discard)


def is_expected(error: BaseException) -> bool:
    """Whether it is the provider's or the agent's named failure, of which the record says all there is to say."""
    return isinstance(error, AgentError) and error.code not in {ErrorCode.INTERNAL, ErrorCode.AGENT_FAILED}


def work_of(
    claim: Claim,
    *,
    seconds_left: float | None = None,
    durable: Durable | None = None,
    on_token: TokenListener | None = None,
) -> AgentWork:
    """Without what Langfuse reads from a run's metadata: a client could name another's session there."""
    history: list[Turn] = []
    for turn in claim.history:
        history += [Turn(role="user", text=turn.message), Turn(role="assistant", text=turn.answer)]
    return AgentWork(
        task_id=claim.task_id,
        message=claim.message,
        model=claim.model,
        agent=claim.agent,
        user_id=claim.user_id,
        session_id=claim.session_id,
        history=tuple(history),
        metadata={key: value for key, value in claim.metadata.items() if not key.startswith("langfuse_")},
        avoid=tuple(claim.avoid),
        input=claim.input,
        output_schema=claim.output_schema,
        durable=durable,
        on_token=on_token,
        seconds_left=seconds_left,
    )
