"""What becomes of a task after an attempt: the one place that decides. Pure."""

import random
from dataclasses import dataclass, replace
from typing import Any

from agent.errors import AgentError
from agent.meter import Meter
from agent.work import Answer
from taskstore.claims import SettleKind, Settlement
from taskstore.error_codes import ErrorCode
from taskstore.records import TokenUsage, json_text

from .attempt import Attempt, Stop
from .backoff import delay_ms
from .storable import clean, encoded

MAX_OUTPUT_BYTES = 1_048_576
"""Largest answer that is stored; a Redis value should stay under a megabyte or so."""
MAX_PARTIAL_CHARS = 65_536

INTERNAL = "The agent failed for a reason of its own; the worker's log has it under this task's id."


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


Ending = Answer | Raised | Stop


def settlement(attempt: Attempt, ending: Ending, meter: Meter, dice: random.Random) -> Settlement | None:
    """What to write, or None when this worker may write nothing more."""
    match ending:
        case Stop.LOST:
            return None
        case Answer(text, data):
            return _answered(attempt, text, data, meter)
        case Raised(AgentError(transient=True) as error):
            delay = delay_ms(error.code, attempt.claim.retries, error.retry_after, dice)
            settled = _settle(attempt, "retry", meter, code=error.code, error=error.detail, delay=delay)
            return _with_fault(settled, attempt, error)
        case Raised(AgentError(code=ErrorCode.TOOL_OUTCOME_UNKNOWN) as error):
            # a dead letter: somebody has to look what the tool did
            return _settle(attempt, "bury", meter, code=error.code, error=error.detail)
        case Raised(AgentError() as error):
            return _with_fault(_settle(attempt, "fail", meter, code=error.code, error=error.detail), attempt, error)
        case Raised():
            return _settle(attempt, "fail", meter, code=ErrorCode.INTERNAL, error=INTERNAL)
        case Stop.TIMEOUT:
            said = f"The attempt ran into its time limit of {attempt.timeout_s:g} s."
            return _settle(attempt, "fail", meter, code=ErrorCode.ATTEMPT_TIMEOUT, error=said)
        case Stop.DEADLINE:
            said = "The task did not finish before its deadline."
            return _settle(attempt, "fail", meter, code=ErrorCode.DEADLINE_EXCEEDED, error=said)
        case Stop.CANCEL:
            return _settle(attempt, "cancelled", meter)
        case Stop.DRAIN:
            return _settle(attempt, "release", meter)


def _answered(attempt: Attempt, text: str, data: Any, meter: Meter) -> Settlement:
    try:
        result_json = None if data is None else json_text(data)
    except (TypeError, ValueError, RecursionError):  # of an agent that is somebody's own function
        said = "The agent answered with data that is no JSON."
        return _settle(attempt, "fail", meter, code=ErrorCode.INVALID_OUTPUT, error=said, partial=text)
    if max(len(encoded(text)), len(encoded(result_json or ""))) > MAX_OUTPUT_BYTES:
        said = f"The answer is larger than {MAX_OUTPUT_BYTES} bytes; `partial` holds its beginning."
        return _settle(attempt, "fail", meter, code=ErrorCode.OUTPUT_TOO_LARGE, error=said, partial=text)
    return _settle(attempt, "success", meter, result=text, result_json=result_json)


def _with_fault(settled: Settlement, attempt: Attempt, error: AgentError) -> Settlement:
    """A failure that no step tells of reaches the model's gate with the outcome."""
    if attempt.steps.tells_of_failure:
        return settled
    asked = None if error.retry_after is None else round(error.retry_after * 1000)
    return replace(settled, fault=error.code, retry_after_ms=asked)


def _settle(
    attempt: Attempt,
    kind: SettleKind,
    meter: Meter,
    *,
    result: str | None = None,
    result_json: str | None = None,
    code: str | None = None,
    error: str | None = None,
    partial: str | None = None,
    delay: int = 0,
) -> Settlement:
    unfinished = partial or meter.partial
    return Settlement(
        task_id=attempt.claim.task_id,
        fence=attempt.claim.fence,
        kind=kind,
        result=None if result is None else clean(result),
        result_json=None if result_json is None else clean(result_json),
        partial=None if result is not None or not unfinished else clean(unfinished[:MAX_PARTIAL_CHARS]),
        error=None if error is None else clean(error),
        error_code=None if code is None else str(code),
        delay_ms=delay,
        answered_by=meter.model,
        simulated=meter.simulated,
        usage=TokenUsage.of(meter.usage.as_dict()) if meter.model_calls else None,
        cost_usd=meter.cost_usd,
    )
