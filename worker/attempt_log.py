"""What the log says of an attempt: that it began, and how it, or its task with it, ended."""

import json
import logging
from typing import Any

from monitoring import log_context
from taskstore.claims import Claim, Settlement
from taskstore.states import Status

MOST_CONTENT = 2000
"""Characters of what was asked and answered, where LOG_CONTENT allows them."""

log = logging.getLogger(__name__)


def begins(claim: Claim) -> None:
    """Binds what every line of the attempt then has. A second attempt says that something became of the first."""
    log_context.begin(
        task=claim.task_id,
        attempt=claim.attempt,
        session=claim.session_id,
        caller=claim.caller,
        agent=claim.agent,
        model=claim.model,
    )
    log.log(logging.INFO if claim.attempt > 1 else logging.DEBUG, "attempt_started")


def ends(claim: Claim, settlement: Settlement, status: Status, seconds: float, *, content: bool) -> None:
    """`status` is the task's from here on, as the store told it; `seconds` is how long the attempt took."""
    about: dict[str, Any] = {"status": status.value, "duration_ms": round(seconds * 1000)}
    if settlement.usage is not None:
        about["tokens"] = settlement.usage.total_tokens
        about["cost_usd"] = "unknown" if settlement.cost_usd is None else settlement.cost_usd
    if settlement.answered_by not in {None, claim.model}:
        about["answered_by"] = settlement.answered_by
    if settlement.error_code is not None:
        about["error_code"] = settlement.error_code
    if content and status.is_final:
        asked = claim.message if claim.input is None else json.dumps(claim.input, ensure_ascii=False)
        about["asked"] = asked[:MOST_CONTENT]
        about["answer"] = (settlement.result_json or settlement.result or settlement.partial or "")[:MOST_CONTENT]
    failed = status in {Status.FAILED, Status.RETRYING}
    log.log(
        logging.WARNING if failed else logging.INFO, "task_ended" if status.is_final else "attempt_ended", extra=about
    )
