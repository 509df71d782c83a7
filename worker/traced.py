"""The end of an attempt's trace: whether the task ends with it, only the store knows for certain."""

import logging

from taskstore.claims import Claim, Settlement
from taskstore.errors import StoreUnavailable, TaskNotFound
from taskstore.store import TaskStore

from .attempt import Attempt

ENDS = {"success": "success", "cancelled": "cancelled", "bury": "failed"}
"""Final statuses of those settlements that always end a task."""

log = logging.getLogger(__name__)


async def end_trace(attempt: Attempt, settlement: Settlement | None, word: str, store: TaskStore) -> None:
    """After the attempt was settled, or was not (`word`). Raises nothing; what is not traced costs nothing."""
    if not attempt.trace.is_on:
        return
    try:
        if settlement is None or word != "ok":
            attempt.trace.end(None, None)
        else:
            attempt.trace.end(settlement, await _final_status(attempt.claim, settlement, store))
    except Exception:
        log.exception("trace_not_ended", extra={"task": attempt.claim.task_id, "attempt": attempt.claim.attempt})


async def _final_status(claim: Claim, settlement: Settlement, store: TaskStore) -> str | None:
    """The task's final status, None while it goes on. A retry may be one too many, a failure another worker's to mend,
    a release be cancelled: of those the record is asked.
    """
    if settlement.kind in ENDS:
        return ENDS[settlement.kind]
    try:
        record = await store.get(claim.task_id)
    except (StoreUnavailable, TaskNotFound):
        return "failed" if settlement.kind == "fail" else None
    is_ours = record.is_final and record.fence == claim.fence
    return record.status.value if is_ours else None
