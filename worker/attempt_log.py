"""What the log says of an attempt: that it began, and how it, or its task with it, ended."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from core_config import Settings
from monitoring import log_context
from taskstore.claims import Claim, SettleKind, Settlement
from taskstore.states import Status

MOST_CONTENT = 2000
"""Characters of what was asked and answered, where LOG_CONTENT allows them."""

log = logging.getLogger(__name__)

_STATUS: Mapping[SettleKind, Status] = {
    "success": Status.SUCCESS,
    "fail": Status.FAILED,
    "bury": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "retry": Status.RETRYING,
    "release": Status.PENDING,
    "suspend": Status.WAITING,
}


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


def ends(claim: Claim, settlement: Settlement, seconds: float, settings: Settings) -> None:
    """`seconds` is how long the attempt took in this worker."""
    status = _status(claim, settlement, seconds, settings)
    about: dict[str, Any] = {"status": status.value, "duration_ms": round(seconds * 1000)}
    if settlement.usage is not None:
        about["tokens"] = settlement.usage.total_tokens
        about["cost_usd"] = "unknown" if settlement.cost_usd is None else settlement.cost_usd
    if settlement.answered_by not in {None, claim.model}:
        about["answered_by"] = settlement.answered_by
    if settlement.error_code is not None:
        about["error_code"] = settlement.error_code
    if settings.log_content and status.is_final:
        asked = claim.message if claim.input is None else json.dumps(claim.input, ensure_ascii=False)
        about["asked"] = asked[:MOST_CONTENT]
        about["answer"] = (settlement.result_json or settlement.result or settlement.partial or "")[:MOST_CONTENT]
    failed = status in {Status.FAILED, Status.RETRYING}
    log.log(
        logging.WARNING if failed else logging.INFO, "task_ended" if status.is_final else "attempt_ended", extra=about
    )


def _status(claim: Claim, settlement: Settlement, seconds: float, settings: Settings) -> Status:
    """The task's from here on. A failure in passing is its end when it may have no more of them, or when its deadline
    comes before its next attempt: as `settle` decides it.
    """
    if settlement.kind == "retry":
        next_ms = seconds * 1000 + settlement.delay_ms
        if claim.retries >= settings.max_retries or (claim.left_ms is not None and next_ms >= claim.left_ms):
            return Status.FAILED
    return _STATUS[settlement.kind]
